#if defined(__x86_64__)
#include "codes.h"

#include <immintrin.h>

// AVX2, FMA and F16C: 8 floats a step, four sums in flight; the tail is copied into a zeroed block, so nothing beyond it is read.
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,popcnt"))), apply_to = function)

static inline __m256 load_f32(const uint8_t *p, size_t i) { return _mm256_loadu_ps((const float *)p + i); }
static inline __m256 load_f16(const uint8_t *p, size_t i) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 2 * i))); }
static inline __m256 load_u8(const uint8_t *p, size_t i) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(p + i))));
}
enum { size_f32 = 4, size_f16 = 2, size_u8 = 1 };

static inline __m256 step_l2(__m256 sum, __m256 q, __m256 x) {
    __m256 difference = _mm256_sub_ps(q, x);
    return _mm256_fmadd_ps(difference, difference, sum);
}
static inline __m256 step_dot(__m256 sum, __m256 q, __m256 x) { return _mm256_fmadd_ps(q, x, sum); }

static inline float total(__m256 sum) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

#define NT_ROW(metric, element)                                                                                   \
    static inline float metric##_##element(const float *query, const uint8_t *stored, size_t dimensions) {        \
        __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;                                               \
        size_t i = 0;                                                                                             \
        for (; i + 32 <= dimensions; i += 32) {                                                                   \
            s0 = step_##metric(s0, _mm256_loadu_ps(query + i), load_##element(stored, i));                        \
            s1 = step_##metric(s1, _mm256_loadu_ps(query + i + 8), load_##element(stored, i + 8));                \
            s2 = step_##metric(s2, _mm256_loadu_ps(query + i + 16), load_##element(stored, i + 16));              \
            s3 = step_##metric(s3, _mm256_loadu_ps(query + i + 24), load_##element(stored, i + 24));              \
        }                                                                                                         \
        for (; i + 8 <= dimensions; i += 8) s0 = step_##metric(s0, _mm256_loadu_ps(query + i), load_##element(stored, i)); \
        if (i < dimensions) {                                                                                     \
            float q[8] = {0};                                                                                     \
            uint8_t x[32] = {0};                                                                                  \
            memcpy(q, query + i, (dimensions - i) * 4);                                                           \
            memcpy(x, stored + i * size_##element, (dimensions - i) * size_##element);                            \
            s1 = step_##metric(s1, _mm256_loadu_ps(q), load_##element(x, 0));                                     \
        }                                                                                                         \
        return total(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));                                \
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
    for (; i + 8 <= bytes; i += 8) count += (uint64_t)_mm_popcnt_u64(nt_load_u64(query + i) ^ nt_load_u64(stored + i));
    for (; i < bytes; i++) count += (uint64_t)_mm_popcnt_u32((unsigned)(query[i] ^ stored[i]));
    return (float)count;
}

static void widen_f16(const void *source, size_t count, float *target) {
    const uint8_t *bytes = (const uint8_t *)source;
    size_t i = 0;
    for (; i + 8 <= count; i += 8) _mm256_storeu_ps(target + i, load_f16(bytes, i));
    for (; i < count; i++) target[i] = nt_widen_half((uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8));
}

static void widen_u8(const void *source, size_t count, float *target) {
    const uint8_t *bytes = (const uint8_t *)source;
    size_t i = 0;
    for (; i + 8 <= count; i += 8) _mm256_storeu_ps(target + i, load_u8(bytes, i));
    for (; i < count; i++) target[i] = (float)bytes[i];
}

// Products of bytes are summed as 16-bit pairs after widening: `maddubs` would saturate.
static inline __m256i step_codes(__m256i sum, __m128i codes, __m128i query) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_cvtepu8_epi16(codes), _mm256_cvtepi8_epi16(query)));
}

static inline int32_t total_codes(__m256i sum) {
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1)));
}

static inline NT_DOTS void lvq8_dots(const int8_t *query, const uint8_t *const row[4], size_t code_bytes, int32_t sums[4], int scan) {
    for (size_t j = 0; j < 4; j++) {
        if (scan) nt_prefetch_scan(row[j], NT_CODES_AT + code_bytes);
        const uint8_t *codes = row[j] + NT_CODES_AT;
        __m256i s0 = _mm256_setzero_si256(), s1 = s0;
        size_t i = 0;
        for (; i + 32 <= code_bytes; i += 32) {
            s0 = step_codes(s0, _mm_loadu_si128((const __m128i *)(codes + i)), _mm_loadu_si128((const __m128i *)(query + i)));
            s1 = step_codes(s1, _mm_loadu_si128((const __m128i *)(codes + i + 16)), _mm_loadu_si128((const __m128i *)(query + i + 16)));
        }
        int32_t sum = total_codes(_mm256_add_epi32(s0, s1));
        for (; i < code_bytes; i++) sum += (int32_t)query[i] * codes[i];
        sums[j] = sum;
    }
}

static inline NT_DOTS void lvq4_dots(const int8_t *query, const uint8_t *const row[4], size_t code_bytes, int32_t sums[4], int scan) {
    const __m128i fifteen = _mm_set1_epi8(15);
    for (size_t j = 0; j < 4; j++) {
        if (scan) nt_prefetch_scan(row[j], NT_CODES_AT + code_bytes);
        __m256i s0 = _mm256_setzero_si256(), s1 = s0;
        // Rows are whole blocks of 16 bytes.
        for (size_t i = 0; i < code_bytes; i += 16) {
            __m128i codes = _mm_loadu_si128((const __m128i *)(row[j] + NT_CODES_AT + i));
            s0 = step_codes(s0, _mm_and_si128(codes, fifteen), _mm_loadu_si128((const __m128i *)(query + i)));
            s1 = step_codes(s1, _mm_and_si128(_mm_srli_epi16(codes, 4), fifteen), _mm_loadu_si128((const __m128i *)(query + code_bytes + i)));
        }
        sums[j] = total_codes(_mm256_add_epi32(s0, s1));
    }
}

// At most 3·127 a product and eight products a sum of 16 bits.
static inline NT_DOTS void pairs_dots(const int8_t *query, const uint8_t *const row[4], size_t code_bytes, int32_t sums[4], int scan) {
    const __m128i three = _mm_set1_epi8(3), ones = _mm_set1_epi16(1);
    for (size_t j = 0; j < 4; j++) {
        if (scan) nt_prefetch_scan(row[j], NT_CODES_AT + code_bytes);
        __m128i sum = _mm_setzero_si128();
        // Rows are whole blocks of 16 bytes.
        for (size_t i = 0; i < code_bytes; i += 16) {
            __m128i codes = _mm_loadu_si128((const __m128i *)(row[j] + NT_CODES_AT + i));
            const int8_t *q = query + i;
            __m128i a = _mm_maddubs_epi16(_mm_and_si128(codes, three), _mm_loadu_si128((const __m128i *)q));
            __m128i b = _mm_maddubs_epi16(_mm_and_si128(_mm_srli_epi16(codes, 2), three), _mm_loadu_si128((const __m128i *)(q + code_bytes)));
            __m128i c = _mm_maddubs_epi16(_mm_and_si128(_mm_srli_epi16(codes, 4), three), _mm_loadu_si128((const __m128i *)(q + 2 * code_bytes)));
            __m128i d = _mm_maddubs_epi16(_mm_and_si128(_mm_srli_epi16(codes, 6), three), _mm_loadu_si128((const __m128i *)(q + 3 * code_bytes)));
            __m128i all = _mm_add_epi16(_mm_add_epi16(a, b), _mm_add_epi16(c, d));
            sum = _mm_add_epi32(sum, _mm_madd_epi16(all, ones));
        }
        sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
        sums[j] = _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
    }
}

// Bits of a nibble by table (Muła, Kurz and Lemire, "Faster population counts using AVX2 instructions", 2018), the weight of a plane in
// the table: a byte counts at most 8·15.
static inline __m256i weighted_bits(__m256i bits, __m256i table) {
    const __m256i fifteen = _mm256_set1_epi8(15);
    __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(bits, fifteen));
    return _mm256_add_epi8(low, _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(bits, 4), fifteen)));
}

static inline NT_DOTS void hammings(const uint8_t *planes, const uint8_t *const row[4], size_t code_bytes, int32_t sums[4], int scan,
                                    const size_t count) {
    const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i tables[4] = {table, _mm256_slli_epi16(table, 1), _mm256_slli_epi16(table, 2), _mm256_slli_epi16(table, 3)};
    for (size_t j = 0; j < 4; j++) {
        if (scan) nt_prefetch_scan(row[j], NT_CODES_AT + code_bytes);
        const uint8_t *bits = row[j] + NT_CODES_AT;
        __m256i sum = _mm256_setzero_si256();
        size_t i = 0;
        for (; i + 32 <= code_bytes; i += 32) {
            __m256i codes = _mm256_loadu_si256((const __m256i *)(bits + i)), weights = _mm256_setzero_si256();
            for (size_t plane = 0; plane < count; plane++) {
                __m256i other = _mm256_loadu_si256((const __m256i *)(planes + plane * code_bytes + i));
                weights = _mm256_add_epi8(weights, weighted_bits(_mm256_xor_si256(codes, other), tables[plane]));
            }
            sum = _mm256_add_epi64(sum, _mm256_sad_epu8(weights, _mm256_setzero_si256()));
        }
        int32_t total = total_codes(sum);
        for (; i < code_bytes; i += 8)
            for (size_t plane = 0; plane < count; plane++)
                total += (int32_t)_mm_popcnt_u64(nt_load_u64(bits + i) ^ nt_load_u64(planes + plane * code_bytes + i)) << plane;
        sums[j] = total;
    }
}

NT_PLANES
NT_ALL_ROWS
NT_ALL_CODES
NT_READ
NT_TABLE(nt_kernels_avx2, NT_LEVEL_AVX2)

#pragma clang attribute pop
#endif
