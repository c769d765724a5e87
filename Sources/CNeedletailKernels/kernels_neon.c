#if defined(__aarch64__)
#include "codes.h"

#include <arm_neon.h>

// NEON: 4 floats a step, four sums in flight; the tail is copied into a zeroed block.

static inline float32x4_t load_f32(const uint8_t *p, size_t i) { return vld1q_f32((const float *)p + i); }
static inline float32x4_t load_f16(const uint8_t *p, size_t i) { return vcvt_f32_f16(vld1_f16((const float16_t *)p + i)); }
static inline float32x4_t load_u8(const uint8_t *p, size_t i) {
    uint32_t word;
    memcpy(&word, p + i, 4);
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(word)))));
}
enum { size_f32 = 4, size_f16 = 2, size_u8 = 1 };

static inline float32x4_t step_l2(float32x4_t sum, float32x4_t q, float32x4_t x) {
    float32x4_t difference = vsubq_f32(q, x);
    return vfmaq_f32(sum, difference, difference);
}
static inline float32x4_t step_dot(float32x4_t sum, float32x4_t q, float32x4_t x) { return vfmaq_f32(sum, q, x); }

#define NT_ROW(metric, element)                                                                            \
    static inline float metric##_##element(const float *query, const uint8_t *stored, size_t dimensions) { \
        float32x4_t s0 = vdupq_n_f32(0), s1 = s0, s2 = s0, s3 = s0;                                        \
        size_t i = 0;                                                                                      \
        for (; i + 16 <= dimensions; i += 16) {                                                            \
            s0 = step_##metric(s0, vld1q_f32(query + i), load_##element(stored, i));                       \
            s1 = step_##metric(s1, vld1q_f32(query + i + 4), load_##element(stored, i + 4));               \
            s2 = step_##metric(s2, vld1q_f32(query + i + 8), load_##element(stored, i + 8));               \
            s3 = step_##metric(s3, vld1q_f32(query + i + 12), load_##element(stored, i + 12));             \
        }                                                                                                  \
        for (; i + 4 <= dimensions; i += 4) s0 = step_##metric(s0, vld1q_f32(query + i), load_##element(stored, i)); \
        if (i < dimensions) {                                                                              \
            float q[4] = {0};                                                                              \
            uint8_t x[16] = {0};                                                                           \
            memcpy(q, query + i, (dimensions - i) * 4);                                                    \
            memcpy(x, stored + i * size_##element, (dimensions - i) * size_##element);                     \
            s1 = step_##metric(s1, vld1q_f32(q), load_##element(x, 0));                                    \
        }                                                                                                  \
        return vaddvq_f32(vaddq_f32(vaddq_f32(s0, s1), vaddq_f32(s2, s3)));                                \
    }

NT_ROW(l2, f32)
NT_ROW(l2, f16)
NT_ROW(l2, u8)
NT_ROW(dot, f32)
NT_ROW(dot, f16)
NT_ROW(dot, u8)

static inline float hamming(const uint8_t *query, const uint8_t *stored, size_t dimensions) {
    size_t bytes = (dimensions + 7) / 8, i = 0;
    uint64_t count = 0;
    for (; i + 16 <= bytes; i += 16) count += vaddvq_u8(vcntq_u8(veorq_u8(vld1q_u8(query + i), vld1q_u8(stored + i))));
    for (; i < bytes; i++) count += (uint64_t)__builtin_popcount((unsigned)(query[i] ^ stored[i]));
    return (float)count;
}

static void widen_f16(const void *source, size_t count, float *target) {
    const uint8_t *bytes = (const uint8_t *)source;
    size_t i = 0;
    for (; i + 4 <= count; i += 4) vst1q_f32(target + i, load_f16(bytes, i));
    for (; i < count; i++) target[i] = nt_widen_half((uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8));
}

static void widen_u8(const void *source, size_t count, float *target) {
    for (size_t i = 0; i < count; i++) target[i] = (float)((const uint8_t *)source)[i];
}

static inline int32x4_t step_codes(int32x4_t sum, uint8x16_t codes, int8x16_t query) {
    int16x8_t c0 = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(codes))), c1 = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(codes)));
    int16x8_t q0 = vmovl_s8(vget_low_s8(query)), q1 = vmovl_s8(vget_high_s8(query));
    sum = vmlal_s16(vmlal_s16(sum, vget_low_s16(c0), vget_low_s16(q0)), vget_high_s16(c0), vget_high_s16(q0));
    return vmlal_s16(vmlal_s16(sum, vget_low_s16(c1), vget_low_s16(q1)), vget_high_s16(c1), vget_high_s16(q1));
}

static inline NT_DOTS void lvq8_dots(const int8_t *query, const uint8_t *const row[4], size_t code_bytes, int32_t sums[4], int scan) {
    for (size_t j = 0; j < 4; j++) {
        if (scan) nt_prefetch_scan(row[j], NT_CODES_AT + code_bytes);
        const uint8_t *codes = row[j] + NT_CODES_AT;
        int32x4_t total = vdupq_n_s32(0);
        size_t i = 0;
        for (; i + 16 <= code_bytes; i += 16) total = step_codes(total, vld1q_u8(codes + i), vld1q_s8(query + i));
        int32_t sum = vaddvq_s32(total);
        for (; i < code_bytes; i++) sum += (int32_t)query[i] * codes[i];
        sums[j] = sum;
    }
}

static inline NT_DOTS void lvq4_dots(const int8_t *query, const uint8_t *const row[4], size_t code_bytes, int32_t sums[4], int scan) {
    for (size_t j = 0; j < 4; j++) {
        if (scan) nt_prefetch_scan(row[j], NT_CODES_AT + code_bytes);
        int32x4_t total = vdupq_n_s32(0);
        // Rows are whole blocks of 16 bytes.
        for (size_t i = 0; i < code_bytes; i += 16) {
            uint8x16_t codes = vld1q_u8(row[j] + NT_CODES_AT + i);
            total = step_codes(total, vandq_u8(codes, vdupq_n_u8(15)), vld1q_s8(query + i));
            total = step_codes(total, vshrq_n_u8(codes, 4), vld1q_s8(query + code_bytes + i));
        }
        sums[j] = vaddvq_s32(total);
    }
}

// At most 3·127 a product and eight products a sum of 16 bits.
static inline NT_DOTS void pairs_dots(const int8_t *query, const uint8_t *const row[4], size_t code_bytes, int32_t sums[4], int scan) {
    const uint8x16_t three = vdupq_n_u8(3);
    for (size_t j = 0; j < 4; j++) {
        if (scan) nt_prefetch_scan(row[j], NT_CODES_AT + code_bytes);
        int32x4_t total = vdupq_n_s32(0);
        // Rows are whole blocks of 16 bytes.
        for (size_t i = 0; i < code_bytes; i += 16) {
            uint8x16_t codes = vld1q_u8(row[j] + NT_CODES_AT + i);
            int16x8_t sum = vdupq_n_s16(0);
            for (size_t part = 0; part < 4; part++) {
                int8x16_t c = vreinterpretq_s8_u8(vandq_u8(codes, three)), q = vld1q_s8(query + part * code_bytes + i);
                sum = vmlal_s8(vmlal_s8(sum, vget_low_s8(c), vget_low_s8(q)), vget_high_s8(c), vget_high_s8(q));
                codes = vshrq_n_u8(codes, 2);
            }
            total = vpadalq_s16(total, sum);
        }
        sums[j] = vaddvq_s32(total);
    }
}

// A byte counts at most 8·15.
static inline NT_DOTS void hammings(const uint8_t *planes, const uint8_t *const row[4], size_t code_bytes, int32_t sums[4], int scan,
                                    const size_t count) {
    for (size_t j = 0; j < 4; j++) {
        if (scan) nt_prefetch_scan(row[j], NT_CODES_AT + code_bytes);
        uint32x4_t total = vdupq_n_u32(0);
        for (size_t i = 0; i < code_bytes; i += 16) {
            uint8x16_t bits = vld1q_u8(row[j] + NT_CODES_AT + i), weights = vdupq_n_u8(0);
            for (size_t plane = 0; plane < count; plane++) {
                uint8x16_t set = vcntq_u8(veorq_u8(bits, vld1q_u8(planes + plane * code_bytes + i)));
                weights = vaddq_u8(weights, vshlq_u8(set, vdupq_n_s8((int8_t)plane)));
            }
            total = vpadalq_u16(total, vpaddlq_u8(weights));
        }
        sums[j] = (int32_t)vaddvq_u32(total);
    }
}

NT_PLANES
NT_ALL_ROWS
NT_ALL_CODES
NT_READ
NT_TABLE(nt_kernels_neon, NT_LEVEL_NEON)
#endif
