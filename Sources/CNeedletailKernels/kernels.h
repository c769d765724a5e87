#pragma once

// Shared by the levels: the loop over rows. Each level defines one function a row and wraps it with NT_ROWS.

#include "CNeedletailKernels.h"

#include <string.h>

extern const nt_kernels nt_kernels_scalar;
#if defined(__x86_64__)
extern const nt_kernels nt_kernels_avx2;
extern const nt_kernels nt_kernels_avx512;
#endif
#if defined(__aarch64__)
extern const nt_kernels nt_kernels_neon;
#endif

// How far ahead rows are fetched: far enough to cover a trip to memory, near enough to stay in L1.
enum { NT_LINE = 64, NT_AHEAD_BYTES = 8192, NT_PREFETCH_ROW_BYTES = 2048 };

static inline void nt_prefetch_row(const uint8_t *row, size_t bytes) {
    size_t limit = bytes < NT_PREFETCH_ROW_BYTES ? bytes : NT_PREFETCH_ROW_BYTES;
    for (size_t offset = 0; offset < limit; offset += NT_LINE) __builtin_prefetch(row + offset, 0, 3);
}

static inline size_t nt_rows_ahead(size_t bytes) {
    size_t ahead = NT_AHEAD_BYTES / (bytes + 1);
    return ahead < 1 ? 1 : ahead > 8 ? 8 : ahead;
}

// Defines `name`, which calls `row(query, stored, dimensions)` for every row.
#define NT_ROWS(name, row, query_type, row_bytes)                                                                               \
    static void name(const void *query, const void *base, size_t stride, const uint32_t *rows, size_t count, size_t dimensions, \
                     float *out) {                                                                                              \
        const query_type *q = (const query_type *)query;                                                                        \
        const uint8_t *b = (const uint8_t *)base;                                                                               \
        if (rows == NULL) { /* a scan: the hardware prefetcher follows it by itself */                                          \
            for (size_t i = 0; i < count; i++) out[i] = row(q, b + i * stride, dimensions);                                     \
            return;                                                                                                             \
        }                                                                                                                       \
        const size_t bytes = (row_bytes);                                                                                       \
        const size_t ahead = nt_rows_ahead(bytes);                                                                              \
        for (size_t i = 0; i < ahead && i < count; i++) nt_prefetch_row(b + (size_t)rows[i] * stride, bytes);                   \
        for (size_t i = 0; i < count; i++) {                                                                                    \
            if (i + ahead < count) nt_prefetch_row(b + (size_t)rows[i + ahead] * stride, bytes);                                \
            out[i] = row(q, b + (size_t)rows[i] * stride, dimensions);                                                          \
        }                                                                                                                       \
    }

#define NT_ALL_ROWS                                              \
    NT_ROWS(rows_l2_f32, l2_f32, float, dimensions * 4)          \
    NT_ROWS(rows_l2_f16, l2_f16, float, dimensions * 2)          \
    NT_ROWS(rows_l2_u8, l2_u8, float, dimensions)                \
    NT_ROWS(rows_dot_f32, dot_f32, float, dimensions * 4)        \
    NT_ROWS(rows_dot_f16, dot_f16, float, dimensions * 2)        \
    NT_ROWS(rows_dot_u8, dot_u8, float, dimensions)              \
    NT_ROWS(rows_hamming, hamming, uint8_t, (dimensions + 7) / 8)

#define NT_TABLE(symbol, at)                                                                                                   \
    const nt_kernels symbol = {.level = at,                                                                                    \
                               .l2_f32 = rows_l2_f32, .l2_f16 = rows_l2_f16, .l2_u8 = rows_l2_u8,                              \
                               .dot_f32 = rows_dot_f32, .dot_f16 = rows_dot_f16, .dot_u8 = rows_dot_u8,                        \
                               .hamming = rows_hamming, .widen_f16 = widen_f16, .widen_u8 = widen_u8,                         \
                               .lvq8 = rows_lvq8, .lvq4 = rows_lvq4, .lvq4x8 = rows_lvq4x8};

// IEEE half to float32 by bits: exact, subnormals, infinities and NaN included.
static inline float nt_widen_half(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 31u, mantissa = half & 0x3ffu, bits;
    if (exponent == 31) {
        bits = sign | 0x7f800000u | (mantissa << 13);
    } else if (exponent != 0) {
        bits = sign | ((exponent + 112u) << 23) | (mantissa << 13);
    } else {
        float value = (float)mantissa * 0x1p-24f;
        memcpy(&bits, &value, 4);
        bits |= sign;
    }
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static inline uint64_t nt_load_u64(const uint8_t *bytes) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    return word;
}
