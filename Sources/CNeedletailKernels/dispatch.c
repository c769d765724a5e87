#include "kernels.h"

const nt_kernels *nt_kernels_at(nt_level level) {
    switch (level) {
    case NT_LEVEL_SCALAR: return &nt_kernels_scalar;
#if defined(__x86_64__)
    case NT_LEVEL_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") ? &nt_kernels_avx2 : NULL;
    case NT_LEVEL_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vpopcntdq") &&
                       __builtin_cpu_supports("avx512vnni")
                   ? &nt_kernels_avx512
                   : NULL;
#endif
#if defined(__aarch64__)
    case NT_LEVEL_NEON: return &nt_kernels_neon;
#endif
    default: return NULL;
    }
}

const nt_kernels *nt_kernels_best(void) {
    static const nt_level fastest_first[] = {NT_LEVEL_AVX512, NT_LEVEL_NEON, NT_LEVEL_AVX2};
    for (size_t i = 0; i < sizeof fastest_first / sizeof *fastest_first; i++) {
        const nt_kernels *kernels = nt_kernels_at(fastest_first[i]);
        if (kernels != NULL) return kernels;
    }
    return &nt_kernels_scalar;
}

// Round to nearest, ties to even, by adding half of the dropped weight and letting the carry run into the exponent.
static uint16_t narrow(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t sign = (bits >> 16) & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits >= 0x7f800000u) return (uint16_t)(sign | 0x7c00u | (bits > 0x7f800000u ? 0x200u : 0));
    if (bits >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
    if (bits < 0x38800000u) { // subnormal half: let the float adder do the rounding
        float magnitude;
        memcpy(&magnitude, &bits, 4);
        magnitude += 0.5f;
        memcpy(&bits, &magnitude, 4);
        return (uint16_t)(sign | (bits - 0x3f000000u));
    }
    bits += 0xfffu + ((bits >> 13) & 1u) - (112u << 23);
    return (uint16_t)(sign | (bits >> 13));
}

void nt_narrow_f16(const float *source, size_t count, uint16_t *target) {
    for (size_t i = 0; i < count; i++) target[i] = narrow(source[i]);
}
