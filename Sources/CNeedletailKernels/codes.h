#pragma once

// Shared by the levels: locally-adaptive codes (LVQ). Each level defines the integer dot products `lvq8_dots` and `lvq4_dots` of a query
// with four rows; the rest is the same everywhere. Integer sums and one fixed order of float operations make the distances bit-identical
// at every level.

#include "kernels.h"

#pragma STDC FP_CONTRACT OFF

static inline float nt_lvq_distance(const nt_lvq_query *query, const nt_lvq_constants *row, int32_t dot) {
    float product = query->scale * (row->scale * (float)dot);
    float shifts = query->sum * row->bias + query->bias * row->sum;
    return (query->offset + row->norm) - (product + shifts);
}

// Defines `name`, which scores rows four at a time with `dots(codes of the query, four rows, code bytes, four results)`.
#define NT_LVQ_ROWS(name, dots)                                                                                                \
    static void name(const nt_lvq_query *query, const void *base, size_t stride, const uint32_t *rows, size_t count,           \
                     size_t code_bytes, float *out) {                                                                          \
        const uint8_t *b = (const uint8_t *)base;                                                                              \
        const size_t bytes = sizeof(nt_lvq_constants) + code_bytes;                                                            \
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
            dots(query->codes, row, code_bytes, sums);                                                                         \
            for (size_t j = 0; j < these; j++) out[i + j] = nt_lvq_distance(query, (const nt_lvq_constants *)row[j], sums[j]); \
        }                                                                                                                      \
    }

#define NT_ALL_CODES                   \
    NT_LVQ_ROWS(rows_lvq8, lvq8_dots)  \
    NT_LVQ_ROWS(rows_lvq4, lvq4_dots)

enum { NT_CODES_AT = sizeof(nt_lvq_constants) };
