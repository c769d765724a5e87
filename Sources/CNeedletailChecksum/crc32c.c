#include "CNeedletailChecksum.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#endif

// Reflected Castagnoli polynomial.
static const uint32_t polynomial = 0x82f63b78u;

static uint32_t crc32c_table(uint32_t crc, const uint8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (polynomial & (0u - (crc & 1u)));
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_native(uint32_t crc, const uint8_t *bytes, size_t count) {
    uint64_t state = crc;
    for (; count >= 8; bytes += 8, count -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        state = _mm_crc32_u64(state, word);
    }
    for (; count > 0; bytes++, count--) state = _mm_crc32_u8((uint32_t)state, *bytes);
    return (uint32_t)state;
}
static int has_native(void) { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
static uint32_t crc32c_native(uint32_t crc, const uint8_t *bytes, size_t count) {
    for (; count >= 8; bytes += 8, count -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        crc = __crc32cd(crc, word);
    }
    for (; count > 0; bytes++, count--) crc = __crc32cb(crc, *bytes);
    return crc;
}
static int has_native(void) { return 1; }
#else
static uint32_t crc32c_native(uint32_t crc, const uint8_t *bytes, size_t count) { return crc32c_table(crc, bytes, count); }
static int has_native(void) { return 0; }
#endif

uint32_t nt_crc32c(uint32_t crc, const void *bytes, size_t count) {
    crc = ~crc;
    crc = has_native() ? crc32c_native(crc, bytes, count) : crc32c_table(crc, bytes, count);
    return ~crc;
}
