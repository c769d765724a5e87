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
enum { NT_LINE = 64, NT_AHEAD_BYTES = 8192, NT_PREFETCH_ROW_BYTES = 2048, NT_SCAN_AHEAD_BYTES = 4096 };

static inline void nt_prefetch_row(const uint8_t *row, size_t bytes) {
    size_t limit = bytes < NT_PREFETCH_ROW_BYTES ? bytes : NT_PREFETCH_ROW_BYTES;
    for (size_t offset = 0; offset < limit; offset += NT_LINE) __builtin_prefetch(row + offset, 0, 3);
}

// A scan: fetches what lies ahead of the `bytes` at `row`. The hardware follows long rows by itself, but loses short ones, of which several
// are read side by side or by mask: with AVX-512, 768 dimensions and rows out of cache, LVQ4 goes from 64% of the bandwidth of a plain
// read to 91% and hamming from 27% to all of it. Long rows lose by it (f32: 100% to 85%).
static inline void nt_prefetch_scan(const uint8_t *row, size_t bytes) {
    if (bytes > NT_PREFETCH_ROW_BYTES) return;
    for (size_t offset = 0; offset < bytes; offset += NT_LINE) __builtin_prefetch(row + NT_SCAN_AHEAD_BYTES + offset, 0, 3);
}

// The same for one line, in loops that go through a row line by line.
static inline void nt_prefetch_ahead(const uint8_t *line) { __builtin_prefetch(line + NT_SCAN_AHEAD_BYTES, 0, 3); }

// Functions with an argument that is a constant to each caller.
#define NT_DOTS __attribute__((always_inline))

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
        const size_t bytes = (row_bytes);                                                                                       \
        if (rows == NULL) {                                                                                                     \
            for (size_t i = 0; i < count; i++) {                                                                                \
                nt_prefetch_scan(b + i * stride, bytes);                                                                        \
                out[i] = row(q, b + i * stride, dimensions);                                                                    \
            }                                                                                                                   \
            return;                                                                                                             \
        }                                                                                                                       \
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

typedef uint64_t nt_line __attribute__((vector_size(NT_LINE), aligned(1), may_alias));

// Four lines a step; the compiler makes of a line the registers of the level. The sum keeps it from leaving the reads out.
#define NT_READ                                                                                             \
    static uint64_t read_all(const void *source, size_t bytes) {                                            \
        const uint8_t *p = (const uint8_t *)source;                                                         \
        nt_line sums[4] = {{0}};                                                                            \
        size_t i = 0;                                                                                       \
        for (; i + 4 * NT_LINE <= bytes; i += 4 * NT_LINE)                                                  \
            for (size_t j = 0; j < 4; j++) sums[j] += *(const nt_line *)(p + i + j * NT_LINE);              \
        uint64_t lanes[NT_LINE / 8], sum = 0;                                                               \
        sums[0] += sums[1] + (sums[2] + sums[3]);                                                           \
        memcpy(lanes, &sums[0], sizeof lanes);                                                              \
        for (size_t j = 0; j < NT_LINE / 8; j++) sum += lanes[j];                                           \
        for (; i < bytes; i++) sum += p[i];                                                                 \
        return sum;                                                                                         \
    }

#define NT_TABLE(symbol, at)                                                                                           \
    const nt_kernels symbol = {.level = at,                                                                            \
                               .l2_f32 = rows_l2_f32, .l2_f16 = rows_l2_f16, .l2_u8 = rows_l2_u8,                      \
                               .dot_f32 = rows_dot_f32, .dot_f16 = rows_dot_f16, .dot_u8 = rows_dot_u8,                \
                               .hamming = rows_hamming, .widen_f16 = widen_f16, .widen_u8 = widen_u8,                  \
                               .lvq8 = rows_lvq8, .lvq4 = rows_lvq4, .lvq4x8 = rows_lvq4x8,                            \
                               .rabitq1 = rows_rabitq1, .rabitq2 = rows_rabitq2, .rabitq4 = rows_rabitq4,              \
                               .lookup = rows_lookup, .read = read_all};

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
