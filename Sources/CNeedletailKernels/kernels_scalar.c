#include "codes.h"

// The reference level: plain loops, eight partial sums so that the error stays that of the SIMD levels.

#define NT_SCALAR_ROW(name, element, widen, term)                                     \
    static float name(const float *query, const uint8_t *stored, size_t dimensions) { \
        float sums[8] = {0};                                                          \
        for (size_t i = 0; i < dimensions; i++) {                                     \
            element raw;                                                              \
            memcpy(&raw, stored + i * sizeof(element), sizeof(element));              \
            float q = query[i], x = widen(raw);                                       \
            sums[i & 7] += term;                                                      \
        }                                                                             \
        return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7])); \
    }

#define NT_PLAIN(x) ((float)(x))
NT_SCALAR_ROW(l2_f32, float, NT_PLAIN, (q - x) * (q - x))
NT_SCALAR_ROW(l2_f16, uint16_t, nt_widen_half, (q - x) * (q - x))
NT_SCALAR_ROW(l2_u8, uint8_t, NT_PLAIN, (q - x) * (q - x))
NT_SCALAR_ROW(dot_f32, float, NT_PLAIN, q * x)
NT_SCALAR_ROW(dot_f16, uint16_t, nt_widen_half, q * x)
NT_SCALAR_ROW(dot_u8, uint8_t, NT_PLAIN, q * x)

static float hamming(const uint8_t *query, const uint8_t *stored, size_t dimensions) {
    size_t bytes = (dimensions + 7) / 8, i = 0;
    uint64_t count = 0;
    for (; i + 8 <= bytes; i += 8) count += (uint64_t)__builtin_popcountll(nt_load_u64(query + i) ^ nt_load_u64(stored + i));
    for (; i < bytes; i++) count += (uint64_t)__builtin_popcount((unsigned)(query[i] ^ stored[i]));
    return (float)count;
}

static void widen_f16(const void *source, size_t count, float *target) {
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, (const uint8_t *)source + 2 * i, 2);
        target[i] = nt_widen_half(half);
    }
}

static void widen_u8(const void *source, size_t count, float *target) {
    for (size_t i = 0; i < count; i++) target[i] = (float)((const uint8_t *)source)[i];
}

static inline NT_DOTS void lvq8_dots(const int8_t *query, const uint8_t *const row[4], size_t code_bytes, int32_t sums[4], int scan) {
    for (size_t j = 0; j < 4; j++) {
        if (scan) nt_prefetch_scan(row[j], NT_CODES_AT + code_bytes);
        const uint8_t *codes = row[j] + NT_CODES_AT;
        int32_t sum = 0;
        for (size_t i = 0; i < code_bytes; i++) sum += (int32_t)query[i] * codes[i];
        sums[j] = sum;
    }
}

static inline NT_DOTS void lvq4_dots(const int8_t *query, const uint8_t *const row[4], size_t code_bytes, int32_t sums[4], int scan) {
    for (size_t j = 0; j < 4; j++) {
        if (scan) nt_prefetch_scan(row[j], NT_CODES_AT + code_bytes);
        const uint8_t *codes = row[j] + NT_CODES_AT;
        int32_t sum = 0;
        for (size_t i = 0; i < code_bytes; i++)
            sum += (int32_t)query[i] * (codes[i] & 15) + (int32_t)query[code_bytes + i] * (codes[i] >> 4);
        sums[j] = sum;
    }
}

static inline NT_DOTS void pairs_dots(const int8_t *query, const uint8_t *const row[4], size_t code_bytes, int32_t sums[4], int scan) {
    for (size_t j = 0; j < 4; j++) {
        if (scan) nt_prefetch_scan(row[j], NT_CODES_AT + code_bytes);
        const uint8_t *codes = row[j] + NT_CODES_AT;
        int32_t sum = 0;
        for (size_t part = 0; part < 4; part++)
            for (size_t i = 0; i < code_bytes; i++) sum += (int32_t)query[part * code_bytes + i] * (codes[i] >> (2 * part) & 3);
        sums[j] = sum;
    }
}

static inline NT_DOTS void hammings(const uint8_t *planes, const uint8_t *const row[4], size_t code_bytes, int32_t sums[4], int scan,
                                    const size_t count) {
    for (size_t j = 0; j < 4; j++) {
        if (scan) nt_prefetch_scan(row[j], NT_CODES_AT + code_bytes);
        const uint8_t *bits = row[j] + NT_CODES_AT;
        int32_t sum = 0;
        for (size_t i = 0; i < code_bytes; i += 8)
            for (size_t plane = 0; plane < count; plane++)
                sum += __builtin_popcountll(nt_load_u64(bits + i) ^ nt_load_u64(planes + plane * code_bytes + i)) << plane;
        sums[j] = sum;
    }
}

NT_PLANES
NT_ALL_ROWS
NT_ALL_CODES
NT_READ
NT_TABLE(nt_kernels_scalar, NT_LEVEL_SCALAR)
