#if defined(__x86_64__)
#include "codes.h"

#include <immintrin.h>

// AVX-512 F, BW, VL, DQ, VNNI and VPOPCNTDQ: 16 floats a step, four sums in flight, the tail by mask.
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vpopcntdq,f16c,fma,popcnt"))), apply_to = function)

#define LOAD_f32(p, i) _mm512_loadu_ps((const float *)(p) + (i))
#define LOAD_f16(p, i) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)((p) + 2 * (i))))
#define LOAD_u8(p, i) _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)((p) + (i)))))
#define TAIL_f32(p, i, m) _mm512_maskz_loadu_ps(m, (const float *)(p) + (i))
#define TAIL_f16(p, i, m) _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, (p) + 2 * (i)))
#define TAIL_u8(p, i, m) _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(m, (p) + (i))))

static inline __m512 step_l2(__m512 sum, __m512 q, __m512 x) {
    __m512 difference = _mm512_sub_ps(q, x);
    return _mm512_fmadd_ps(difference, difference, sum);
}
static inline __m512 step_dot(__m512 sum, __m512 q, __m512 x) { return _mm512_fmadd_ps(q, x, sum); }

#define NT_ROW(metric, element)                                                                                      \
    static inline float metric##_##element(const float *query, const uint8_t *stored, size_t dimensions) {           \
        __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;                                                  \
        size_t i = 0;                                                                                                \
        for (; i + 64 <= dimensions; i += 64) {                                                                      \
            s0 = step_##metric(s0, _mm512_loadu_ps(query + i), LOAD_##element(stored, i));                           \
            s1 = step_##metric(s1, _mm512_loadu_ps(query + i + 16), LOAD_##element(stored, i + 16));                 \
            s2 = step_##metric(s2, _mm512_loadu_ps(query + i + 32), LOAD_##element(stored, i + 32));                 \
            s3 = step_##metric(s3, _mm512_loadu_ps(query + i + 48), LOAD_##element(stored, i + 48));                 \
        }                                                                                                            \
        for (; i + 16 <= dimensions; i += 16) s0 = step_##metric(s0, _mm512_loadu_ps(query + i), LOAD_##element(stored, i)); \
        if (i < dimensions) {                                                                                        \
            __mmask16 mask = (__mmask16)((1u << (dimensions - i)) - 1u);                                             \
            s1 = step_##metric(s1, _mm512_maskz_loadu_ps(mask, query + i), TAIL_##element(stored, i, mask));         \
        }                                                                                                            \
        return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));                    \
    }

NT_ROW(l2, f32)
NT_ROW(l2, f16)
NT_ROW(l2, u8)
NT_ROW(dot, f32)
NT_ROW(dot, f16)
NT_ROW(dot, u8)

static inline float hamming(const uint8_t *query, const uint8_t *stored, size_t dimensions) {
    size_t bytes = (dimensions + 7) / 8, i = 0;
    __m512i count = _mm512_setzero_si512();
    for (; i + 64 <= bytes; i += 64)
        count = _mm512_add_epi64(count, _mm512_popcnt_epi64(_mm512_xor_si512(_mm512_loadu_si512(query + i), _mm512_loadu_si512(stored + i))));
    if (i < bytes) {
        __mmask64 mask = ~0ull >> (64 - (bytes - i));
        __m512i difference = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, query + i), _mm512_maskz_loadu_epi8(mask, stored + i));
        count = _mm512_add_epi64(count, _mm512_popcnt_epi64(difference));
    }
    return (float)_mm512_reduce_add_epi64(count);
}

static void widen_f16(const void *source, size_t count, float *target) {
    const uint8_t *bytes = (const uint8_t *)source;
    size_t i = 0;
    for (; i + 16 <= count; i += 16) _mm512_storeu_ps(target + i, LOAD_f16(bytes, i));
    if (i < count) {
        __mmask16 mask = (__mmask16)((1u << (count - i)) - 1u);
        _mm512_mask_storeu_ps(target + i, mask, TAIL_f16(bytes, i, mask));
    }
}

static void widen_u8(const void *source, size_t count, float *target) {
    const uint8_t *bytes = (const uint8_t *)source;
    size_t i = 0;
    for (; i + 16 <= count; i += 16) _mm512_storeu_ps(target + i, LOAD_u8(bytes, i));
    if (i < count) {
        __mmask16 mask = (__mmask16)((1u << (count - i)) - 1u);
        _mm512_mask_storeu_ps(target + i, mask, TAIL_u8(bytes, i, mask));
    }
}

// Four rows at once: each load of the query serves all four, and their sums are added up together.
static inline void store_sums(__m512i a, __m512i b, __m512i c, __m512i d, int32_t sums[4]) {
    __m256i a8 = _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    __m256i b8 = _mm256_add_epi32(_mm512_castsi512_si256(b), _mm512_extracti64x4_epi64(b, 1));
    __m256i c8 = _mm256_add_epi32(_mm512_castsi512_si256(c), _mm512_extracti64x4_epi64(c, 1));
    __m256i d8 = _mm256_add_epi32(_mm512_castsi512_si256(d), _mm512_extracti64x4_epi64(d, 1));
    __m256i pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(a8, b8), _mm256_hadd_epi32(c8, d8));
    _mm_storeu_si128((__m128i *)sums, _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1)));
}

// One row of a scan.
static inline __m512i lvq8_dot(const int8_t *query, const uint8_t *row, size_t code_bytes) {
    const uint8_t *codes = row + NT_CODES_AT;
    __m512i s0 = _mm512_setzero_si512(), s1 = s0;
    size_t i = 0;
    nt_prefetch_ahead(codes + code_bytes - 1);
    for (; i + 128 <= code_bytes; i += 128) {
        nt_prefetch_ahead(row + i);
        nt_prefetch_ahead(row + i + NT_LINE);
        s0 = _mm512_dpbusd_epi32(s0, _mm512_loadu_si512(codes + i), _mm512_loadu_si512(query + i));
        s1 = _mm512_dpbusd_epi32(s1, _mm512_loadu_si512(codes + i + 64), _mm512_loadu_si512(query + i + 64));
    }
    for (; i < code_bytes; i += 64) {
        __mmask64 mask = code_bytes - i < 64 ? ~0ull >> (64 - (code_bytes - i)) : ~0ull;
        nt_prefetch_ahead(row + i);
        s0 = _mm512_dpbusd_epi32(s0, _mm512_maskz_loadu_epi8(mask, codes + i), _mm512_maskz_loadu_epi8(mask, query + i));
    }
    return _mm512_add_epi32(s0, s1);
}

// In a scan one row after the other, which is one stream for the prefetcher (88% of the bandwidth of a plain read instead of 80%). Rows
// from all over are read side by side: each load of the query serves all four.
static inline NT_DOTS void lvq8_dots(const int8_t *query, const uint8_t *const row[4], size_t code_bytes, int32_t sums[4], int scan) {
    if (scan) {
        __m512i a = lvq8_dot(query, row[0], code_bytes), b = lvq8_dot(query, row[1], code_bytes);
        __m512i c = lvq8_dot(query, row[2], code_bytes), d = lvq8_dot(query, row[3], code_bytes);
        store_sums(a, b, c, d, sums);
        return;
    }
    __m512i s0 = _mm512_setzero_si512(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 64 <= code_bytes; i += 64) {
        __m512i q = _mm512_loadu_si512(query + i);
        s0 = _mm512_dpbusd_epi32(s0, _mm512_loadu_si512(row[0] + NT_CODES_AT + i), q);
        s1 = _mm512_dpbusd_epi32(s1, _mm512_loadu_si512(row[1] + NT_CODES_AT + i), q);
        s2 = _mm512_dpbusd_epi32(s2, _mm512_loadu_si512(row[2] + NT_CODES_AT + i), q);
        s3 = _mm512_dpbusd_epi32(s3, _mm512_loadu_si512(row[3] + NT_CODES_AT + i), q);
    }
    if (i < code_bytes) {
        __mmask64 mask = ~0ull >> (64 - (code_bytes - i));
        __m512i q = _mm512_maskz_loadu_epi8(mask, query + i);
        s0 = _mm512_dpbusd_epi32(s0, _mm512_maskz_loadu_epi8(mask, row[0] + NT_CODES_AT + i), q);
        s1 = _mm512_dpbusd_epi32(s1, _mm512_maskz_loadu_epi8(mask, row[1] + NT_CODES_AT + i), q);
        s2 = _mm512_dpbusd_epi32(s2, _mm512_maskz_loadu_epi8(mask, row[2] + NT_CODES_AT + i), q);
        s3 = _mm512_dpbusd_epi32(s3, _mm512_maskz_loadu_epi8(mask, row[3] + NT_CODES_AT + i), q);
    }
    store_sums(s0, s1, s2, s3, sums);
}

static inline __m512i nibbles(__m512i sum, __m512i codes, __m512i low, __m512i high) {
    const __m512i fifteen = _mm512_set1_epi8(15);
    sum = _mm512_dpbusd_epi32(sum, _mm512_and_si512(codes, fifteen), low);
    return _mm512_dpbusd_epi32(sum, _mm512_and_si512(_mm512_srli_epi16(codes, 4), fifteen), high);
}

static inline NT_DOTS void lvq4_dots(const int8_t *query, const uint8_t *const row[4], size_t code_bytes, int32_t sums[4], int scan) {
    __m512i s0 = _mm512_setzero_si512(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    if (scan)
        for (size_t j = 0; j < 4; j++) nt_prefetch_ahead(row[j] + NT_CODES_AT + code_bytes - 1);
    for (; i + 64 <= code_bytes; i += 64) {
        if (scan)
            for (size_t j = 0; j < 4; j++) nt_prefetch_ahead(row[j] + i);
        __m512i low = _mm512_loadu_si512(query + i), high = _mm512_loadu_si512(query + code_bytes + i);
        s0 = nibbles(s0, _mm512_loadu_si512(row[0] + NT_CODES_AT + i), low, high);
        s1 = nibbles(s1, _mm512_loadu_si512(row[1] + NT_CODES_AT + i), low, high);
        s2 = nibbles(s2, _mm512_loadu_si512(row[2] + NT_CODES_AT + i), low, high);
        s3 = nibbles(s3, _mm512_loadu_si512(row[3] + NT_CODES_AT + i), low, high);
    }
    if (i < code_bytes) {
        __mmask64 mask = ~0ull >> (64 - (code_bytes - i));
        if (scan)
            for (size_t j = 0; j < 4; j++) nt_prefetch_ahead(row[j] + i);
        __m512i low = _mm512_maskz_loadu_epi8(mask, query + i), high = _mm512_maskz_loadu_epi8(mask, query + code_bytes + i);
        s0 = nibbles(s0, _mm512_maskz_loadu_epi8(mask, row[0] + NT_CODES_AT + i), low, high);
        s1 = nibbles(s1, _mm512_maskz_loadu_epi8(mask, row[1] + NT_CODES_AT + i), low, high);
        s2 = nibbles(s2, _mm512_maskz_loadu_epi8(mask, row[2] + NT_CODES_AT + i), low, high);
        s3 = nibbles(s3, _mm512_maskz_loadu_epi8(mask, row[3] + NT_CODES_AT + i), low, high);
    }
    store_sums(s0, s1, s2, s3, sums);
}

static inline __m512i pairs(__m512i sum, __m512i codes, const __m512i query[4]) {
    const __m512i three = _mm512_set1_epi8(3);
    sum = _mm512_dpbusd_epi32(sum, _mm512_and_si512(codes, three), query[0]);
    sum = _mm512_dpbusd_epi32(sum, _mm512_and_si512(_mm512_srli_epi16(codes, 2), three), query[1]);
    sum = _mm512_dpbusd_epi32(sum, _mm512_and_si512(_mm512_srli_epi16(codes, 4), three), query[2]);
    return _mm512_dpbusd_epi32(sum, _mm512_and_si512(_mm512_srli_epi16(codes, 6), three), query[3]);
}

static inline NT_DOTS void pairs_dots(const int8_t *query, const uint8_t *const row[4], size_t code_bytes, int32_t sums[4], int scan) {
    __m512i s[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    for (size_t j = 0; scan && j < 4; j++) nt_prefetch_scan(row[j], NT_CODES_AT + code_bytes);
    for (size_t i = 0; i < code_bytes; i += 64) {
        __mmask64 mask = code_bytes - i < 64 ? ~0ull >> (64 - (code_bytes - i)) : ~0ull;
        __m512i q[4];
        for (size_t part = 0; part < 4; part++) q[part] = _mm512_maskz_loadu_epi8(mask, query + part * code_bytes + i);
        for (size_t j = 0; j < 4; j++) s[j] = pairs(s[j], _mm512_maskz_loadu_epi8(mask, row[j] + NT_CODES_AT + i), q);
    }
    store_sums(s[0], s[1], s[2], s[3], sums);
}

// The sums of 64 bits stay far below 2^31, so they are added up as sums of 32 bits whose other halves are 0.
static inline NT_DOTS void hammings(const uint8_t *planes, const uint8_t *const row[4], size_t code_bytes, int32_t sums[4], int scan,
                                    const size_t count) {
    __m512i s[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    for (size_t j = 0; scan && j < 4; j++) nt_prefetch_scan(row[j], NT_CODES_AT + code_bytes);
    for (size_t i = 0; i < code_bytes; i += 64) {
        __mmask64 mask = code_bytes - i < 64 ? ~0ull >> (64 - (code_bytes - i)) : ~0ull;
        __m512i bits[4];
        for (size_t j = 0; j < 4; j++) bits[j] = _mm512_maskz_loadu_epi8(mask, row[j] + NT_CODES_AT + i);
#pragma clang loop unroll(full)
        for (size_t plane = 0; plane < count; plane++) {
            __m512i other = _mm512_maskz_loadu_epi8(mask, planes + plane * code_bytes + i);
            for (size_t j = 0; j < 4; j++)
                s[j] = _mm512_add_epi64(s[j], _mm512_slli_epi64(_mm512_popcnt_epi64(_mm512_xor_si512(bits[j], other)), (unsigned)plane));
        }
    }
    store_sums(s[0], s[1], s[2], s[3], sums);
}

NT_PLANES
NT_ALL_ROWS
NT_ALL_CODES
NT_READ
NT_TABLE(nt_kernels_avx512, NT_LEVEL_AVX512)

#pragma clang attribute pop
#endif
