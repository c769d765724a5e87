#pragma once

#include <stddef.h>
#include <stdint.h>

/// Distance kernels: one query against many stored rows in one call, so that the query stays in registers or L1, the next rows are
/// prefetched while this one is summed, and Swift pays for one call a neighbour list.
///
/// Rows lie at `base + row * stride` bytes. With `rows == NULL` the rows are 0 … count-1 in order (a scan).
/// `out[i]` receives: l2 the squared euclidean distance, dot the inner product, hamming the number of differing bits.
/// Sums are float32 in several lanes; against float64 the relative error is below 1e-5 up to 16,384 dimensions.
/// No alignment is needed. Nothing is read beyond `dimensions` elements of a row or of the query.

/// The instruction sets there are kernels for, slowest first.
typedef enum { NT_LEVEL_SCALAR = 0, NT_LEVEL_AVX2 = 1, NT_LEVEL_AVX512 = 2, NT_LEVEL_NEON = 3 } nt_level;

/// `query`: float32 × dimensions (hamming: dimensions bits packed in bytes, low bit first, unused high bits zero).
typedef void (*nt_rows_fn)(const void *query, const void *base, size_t stride, const uint32_t *rows, size_t count, size_t dimensions,
                           float *out);
/// Widens `count` stored elements to float32.
typedef void (*nt_widen_fn)(const void *source, size_t count, float *target);

/// What lies before the codes of an LVQ row. With codes c: x ≈ scale·c + bias, per coordinate.
typedef struct {
    /// What the metric adds for this row: see `nt_lvq_query`.
    float norm;
    float scale, bias;
    /// Σ x over the coordinates, as decoded.
    float sum;
} nt_lvq_constants;

/// A query against LVQ rows: q ≈ t·codes + shift per coordinate, codes signed bytes.
///
/// distance(row) = offset + row.norm − (scale·row.scale·⟨codes, row's codes⟩ + sum·row.bias + bias·row.sum), where scale = w·t,
/// sum = w·t·Σcodes, bias = w·shift, and w is 2 for squared euclidean distance, 1 for an inner product.
typedef struct {
    float offset, scale, sum, bias;
    /// 8 bits: one byte a coordinate. 4 bits: first the bytes for low nibbles, then those for high ones, `code_bytes` each; see `lvq4`.
    const int8_t *codes;
} nt_lvq_query;

/// Scores LVQ rows (`nt_lvq_constants`, then `code_bytes` of codes), 16-byte aligned. `rows` as in `nt_rows_fn`.
typedef void (*nt_lvq_rows_fn)(const nt_lvq_query *query, const void *base, size_t stride, const uint32_t *rows, size_t count,
                               size_t code_bytes, float *out);

/// The second look at rows of two levels: `nt_lvq_constants`, `code_bytes` of 4-bit codes, `dimensions` residuals of 8 bits, filled up to a
/// multiple of 16, and the `nt_lvq_constants` of the refined vector, whose codes are 255·code + residual. The query's codes: high and low
/// bytes of 16-bit codes, each arranged as for `lvq4`, then each as for `lvq8`.
typedef void (*nt_lvq_refine_fn)(const nt_lvq_query *query, const void *base, size_t stride, const uint32_t *rows, size_t count,
                                 size_t code_bytes, size_t dimensions, float *out);

/// Reads `bytes` bytes once, in order, and returns a sum of them: what a scan could reach that did nothing else.
typedef uint64_t (*nt_read_fn)(const void *source, size_t bytes);

/// All kernels of one level. `f32`, `f16` and `u8` name the stored element; the query is float32 for each.
typedef struct {
    nt_level level;
    nt_rows_fn l2_f32, l2_f16, l2_u8;
    nt_rows_fn dot_f32, dot_f16, dot_u8;
    nt_rows_fn hamming;
    nt_widen_fn widen_f16, widen_u8;
    /// One byte a coordinate.
    nt_lvq_rows_fn lvq8;
    /// Blocks of 16 bytes hold 32 coordinates: low nibbles the first 16, high nibbles the rest. The last block is filled with zeros.
    nt_lvq_rows_fn lvq4;
    /// The second look at `lvq4` rows with residuals.
    nt_lvq_refine_fn lvq4x8;
    nt_read_fn read;
} nt_kernels;

/// The kernels of a level, or NULL where this processor or this build has none.
const nt_kernels *nt_kernels_at(nt_level level);

/// The fastest kernels this processor runs.
const nt_kernels *nt_kernels_best(void);

/// Rounds float32 to IEEE half, nearest even; beyond ±65504 it becomes an infinity, which the caller refuses.
void nt_narrow_f16(const float *source, size_t count, uint16_t *target);

/// Rounds a query to signed bytes: codes[i] = round(values[i] / t) with t = max|values| / 127. Returns t; `code_sum` receives Σ codes.
float nt_lvq_quantise_query(const float *values, size_t count, int8_t *codes, int32_t *code_sum);

/// The same with codes of 16 bits, as high and low signed bytes (code = 256·high + low); t = max|values| / 32512.
float nt_lvq_quantise_query16(const float *values, size_t count, int8_t *high, int8_t *low, int32_t *code_sum);

/// Rounds what 4-bit codes left of a vector to 8 bits: values[i] ≈ scale·(codes[i] + residuals[i]/255 − 1/2) + bias.
void nt_lvq_quantise_residual(const float *values, size_t count, const uint8_t *codes, float scale, float bias, uint8_t *residuals);

/// Rounds a vector to codes 0 … `levels`−1 between its least and its greatest value: values[i] ≈ scale·codes[i] + bias.
void nt_lvq_quantise(const float *values, size_t count, int levels, uint8_t *codes, float *scale, float *bias);

/// 8-bit codes as signed bytes (code − 128), 4-bit ones (code − 8) in the order a query needs, so that a row can stand as a query.
void nt_lvq8_as_query(const uint8_t *codes, size_t count, int8_t *out);
void nt_lvq4_as_query(const uint8_t *codes, size_t code_bytes, size_t count, int8_t *out);

/// Two codes a byte, in the order of `lvq4`; `packed` has ⌈count/32⌉·16 bytes.
void nt_lvq4_pack(const uint8_t *codes, size_t count, uint8_t *packed);
/// The same order for a query's signed bytes: low half, then high half, each ⌈count/32⌉·16 bytes.
void nt_lvq4_arrange(const int8_t *codes, size_t count, int8_t *arranged);

/// Rows about to be scored.
typedef struct {
    const void *base;
    size_t stride, prefetch_bytes;
} nt_rows;

/// Takes from a neighbour list (slots plus one, ended by 0 or by `degree`) the slots below `bound` whose bit in `visited` is not set, sets
/// it, and hints the processor to fetch their rows. Returns how many were written to `out`, which has room for `degree`.
size_t nt_gather_unvisited(const uint32_t *list, size_t degree, uint32_t bound, uint64_t *visited, const nt_rows *rows, uint32_t *out);

/// Hints the processor to fetch the line at `address`.
static inline void nt_prefetch(const void *address) { __builtin_prefetch(address, 0, 3); }

#include "CNeedletailTransforms.h"
