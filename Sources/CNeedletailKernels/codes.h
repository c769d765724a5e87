#pragma once

// Shared by the levels: locally-adaptive codes (LVQ) and RaBitQ. Each level defines the integer products of a query with four rows
// (`lvq8_dots`, `lvq4_dots`, `pairs_dots` of 2 bits, `bits_dots` and `bit_dots` of one bit against four planes and against one); the rest
// is the same everywhere. Integer sums and one fixed order of float operations make the distances bit-identical at every level.

#include "kernels.h"

#pragma STDC FP_CONTRACT OFF

static inline float nt_lvq_distance(const nt_lvq_query *query, const nt_lvq_constants *row, int32_t dot) {
    float product = query->scale * (row->scale * (float)dot);
    float shifts = query->sum * row->bias + query->bias * row->sum;
    return (query->offset + row->norm) - (product + shifts);
}

// Rows four at a time, with `dots(codes of the query, four rows, code bytes, four results, scan)`; `distance` is that of row[j], whose
// result is sums[j]. In a scan `dots` fetches what lies ahead of each row while it reads it.
#define NT_FOUR_ROWS(dots, distance)                                                                                       \
    const uint8_t *b = (const uint8_t *)base;                                                                              \
    const size_t bytes = NT_CODES_AT + code_bytes;                                                                         \
    const size_t ahead = nt_rows_ahead(bytes) > 8 ? nt_rows_ahead(bytes) : 8;                                              \
    if (rows != NULL)                                                                                                      \
        for (size_t i = 0; i < ahead && i < count; i++) nt_prefetch_row(b + (size_t)rows[i] * stride, bytes);              \
    for (size_t i = 0; i < count; i += 4) {                                                                                \
        const uint8_t *row[4];                                                                                             \
        int32_t sums[4];                                                                                                   \
        size_t these = count - i < 4 ? count - i : 4;                                                                      \
        for (size_t j = 0; j < 4; j++) {                                                                                   \
            size_t at = i + (j < these ? j : 0);                                                                           \
            row[j] = b + (rows == NULL ? at : (size_t)rows[at]) * stride;                                                  \
            if (rows != NULL && i + j + ahead < count) nt_prefetch_row(b + (size_t)rows[i + j + ahead] * stride, bytes);   \
        }                                                                                                                  \
        if (rows == NULL) dots(query->codes, row, code_bytes, sums, 1);                                                    \
        else dots(query->codes, row, code_bytes, sums, 0);                                                                 \
        for (size_t j = 0; j < these; j++) out[i + j] = distance;                                                          \
    }

#define NT_LVQ_ROWS(name, dots)                                                                                            \
    static void name(const nt_lvq_query *query, const void *base, size_t stride, const uint32_t *rows, size_t count,       \
                     size_t code_bytes, float *out) {                                                                      \
        NT_FOUR_ROWS(dots, nt_lvq_distance(query, (const nt_lvq_constants *)row[j], sums[j]))                              \
    }

// The second look of two-level codes: 255·(4-bit code) + (8-bit residual) against a query of 16 bits, as four products of bytes. The
// residuals lie behind the 4-bit codes, then the constants of the refined vector. Exact in 64 bits.
#define NT_LVQ_REFINE(name, dots4, dots8)                                                                                   \
    static void name(const nt_lvq_query *query, const void *base, size_t stride, const uint32_t *rows, size_t count,       \
                     size_t code_bytes, size_t dimensions, float *out) {                                                   \
        const uint8_t *b = (const uint8_t *)base;                                                                          \
        const int8_t *high4 = query->codes, *low4 = high4 + 2 * code_bytes, *high8 = low4 + 2 * code_bytes;                \
        const int8_t *low8 = high8 + dimensions;                                                                           \
        const size_t constants_at = NT_CODES_AT + ((code_bytes + dimensions + 15) & ~(size_t)15);                          \
        for (size_t i = 0; i < count; i++) {                                                                               \
            const uint8_t *row = b + (rows == NULL ? i : (size_t)rows[i]) * stride;                                        \
            const uint8_t *four[4] = {row, row, row, row};                                                                 \
            const uint8_t *eight[4] = {row + code_bytes, row + code_bytes, row + code_bytes, row + code_bytes};            \
            int32_t h4[4], l4[4], h8[4], l8[4];                                                                            \
            if (rows != NULL && i + 2 < count) nt_prefetch_row(b + (size_t)rows[i + 2] * stride, stride);                  \
            dots4(high4, four, code_bytes, h4, 0);                                                                            \
            dots4(low4, four, code_bytes, l4, 0);                                                                             \
            dots8(high8, eight, dimensions, h8, 0);                                                                           \
            dots8(low8, eight, dimensions, l8, 0);                                                                            \
            int64_t dot = 255 * (256 * (int64_t)h4[0] + l4[0]) + 256 * (int64_t)h8[0] + l8[0];                             \
            const nt_lvq_constants *refined = (const nt_lvq_constants *)(row + constants_at);                              \
            float product = query->scale * (refined->scale * (float)dot);                                                  \
            out[i] = (query->offset + refined->norm) - (product + query->sum * refined->bias);                             \
        }                                                                                                                  \
    }

// RaBitQ: `NT_FOUR_ROWS` with the whole number of a row, and what it is multiplied by.
static inline float nt_rabitq_distance(const nt_rabitq_query *query, const nt_rabitq_constants *row, int32_t value) {
    float product = query->scale * (row->factor * (float)value);
    return (query->offset + row->norm) - product;
}

static inline float nt_rabitq_symmetric(const nt_rabitq_query *query, const nt_rabitq_constants *row, int32_t differing) {
    float product = query->scale * (row->radius * query->cosines[differing]);
    return (query->offset + row->norm) - product;
}

#define NT_RABITQ_ROWS(name, dots, finish)                                                                                  \
    static void name(const nt_rabitq_query *query, const void *base, size_t stride, const uint32_t *rows, size_t count,    \
                     size_t code_bytes, float *out) {                                                                      \
        NT_FOUR_ROWS(dots, finish((const nt_rabitq_constants *)row[j], sums[j]))                                           \
    }
#define NT_RABITQ_DOT(row, sum) nt_rabitq_distance(query, row, query->shift + 2 * (sum))
#define NT_RABITQ_PLANES(row, sum) nt_rabitq_distance(query, row, query->shift - 2 * (sum))
#define NT_RABITQ_SYMMETRIC(row, sum) nt_rabitq_symmetric(query, row, sum)

#define NT_RABITQ_BITS(name, planes, symmetric)                                                                             \
    NT_RABITQ_ROWS(name##_planes, planes, NT_RABITQ_PLANES)                                                                 \
    NT_RABITQ_ROWS(name##_symmetric, symmetric, NT_RABITQ_SYMMETRIC)                                                        \
    static void name(const nt_rabitq_query *query, const void *base, size_t stride, const uint32_t *rows, size_t count,    \
                     size_t code_bytes, float *out) {                                                                      \
        if (query->cosines == NULL) name##_planes(query, base, stride, rows, count, code_bytes, out);                      \
        else name##_symmetric(query, base, stride, rows, count, code_bytes, out);                                          \
    }

// From `hammings`, which takes the number of planes: against four of them, and against one.
#define NT_PLANES                                                                                                                  \
    static inline NT_DOTS void bits_dots(const uint8_t *p, const uint8_t *const row[4], size_t bytes, int32_t sums[4], int scan) { \
        hammings(p, row, bytes, sums, scan, 4);                                                                                    \
    }                                                                                                                              \
    static inline NT_DOTS void bit_dots(const uint8_t *p, const uint8_t *const row[4], size_t bytes, int32_t sums[4], int scan) {  \
        hammings(p, row, bytes, sums, scan, 1);                                                                                    \
    }

static inline float nt_fold16(const float sums[16]) {
    float s[8];
    for (size_t l = 0; l < 8; l++) s[l] = sums[l] + sums[l + 8];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

// One load after the other, sixteen sums in flight, at every level: gathers are slower (AVX-512 on Zen 5: 12.9 ns for 32 codes, this 8.9).
// `offsets` is NULL, a constant, when the tables lie one after the other.
static inline NT_DOTS float nt_lookup_sum(const float *tables, const uint32_t *offsets, const uint8_t *codes, size_t code_bytes) {
    float sums[16] = {0};
    size_t i = 0;
#define NT_LOOKUP(i) tables[(offsets == NULL ? (i) * 256 : offsets[i]) + codes[i]]
    for (; i + 16 <= code_bytes; i += 16)
#pragma clang loop unroll(full)
        for (size_t l = 0; l < 16; l++) sums[l] += NT_LOOKUP(i + l);
    const size_t rest = code_bytes - i;
    // Unrolled, so that the sums stay in registers.
#pragma clang loop unroll(full)
    for (size_t l = 0; l < 16; l++)
        if (l < rest) sums[l] += NT_LOOKUP(i + l);
#undef NT_LOOKUP
    return nt_fold16(sums);
}

// Rows of codes that name centroids.
#define NT_LOOKUP_ROWS(name)                                                                                                \
    static inline NT_DOTS void name##_tables(const nt_lookup_query *query, const uint32_t *offsets, const void *base,      \
                                             size_t stride, const uint32_t *rows, size_t count, size_t code_bytes,         \
                                             float *out) {                                                                 \
        const uint8_t *b = (const uint8_t *)base;                                                                          \
        const size_t bytes = sizeof(float) + code_bytes;                                                                   \
        enum { ahead = 8 };                                                                                                \
        if (rows != NULL)                                                                                                  \
            for (size_t i = 0; i < ahead && i < count; i++) nt_prefetch_row(b + (size_t)rows[i] * stride, bytes);          \
        for (size_t i = 0; i < count; i++) {                                                                               \
            const uint8_t *row = b + (rows == NULL ? i : (size_t)rows[i]) * stride;                                        \
            if (rows == NULL) nt_prefetch_scan(row, bytes);                                                                \
            else if (i + ahead < count) nt_prefetch_row(b + (size_t)rows[i + ahead] * stride, bytes);                      \
            float norm, sum = nt_lookup_sum(query->tables, offsets, row + sizeof(float), code_bytes);                      \
            float product = query->scale * sum;                                                                            \
            memcpy(&norm, row, sizeof norm);                                                                               \
            out[i] = (query->offset + norm) - product;                                                                     \
        }                                                                                                                  \
    }                                                                                                                      \
    static void name(const nt_lookup_query *query, const void *base, size_t stride, const uint32_t *rows, size_t count,    \
                     size_t code_bytes, float *out) {                                                                      \
        if (query->offsets == NULL) name##_tables(query, NULL, base, stride, rows, count, code_bytes, out);                \
        else name##_tables(query, query->offsets, base, stride, rows, count, code_bytes, out);                             \
    }

#define NT_ALL_CODES                   \
    NT_LVQ_ROWS(rows_lvq8, lvq8_dots)  \
    NT_LVQ_ROWS(rows_lvq4, lvq4_dots)  \
    NT_LVQ_REFINE(rows_lvq4x8, lvq4_dots, lvq8_dots) \
    NT_RABITQ_BITS(rows_rabitq1, bits_dots, bit_dots) \
    NT_RABITQ_ROWS(rows_rabitq2, pairs_dots, NT_RABITQ_DOT) \
    NT_RABITQ_ROWS(rows_rabitq4, lvq4_dots, NT_RABITQ_DOT) \
    NT_LOOKUP_ROWS(rows_lookup)

enum { NT_CODES_AT = sizeof(nt_lvq_constants) };
_Static_assert(sizeof(nt_rabitq_constants) == NT_CODES_AT, "codes begin at the same place in all rows");
