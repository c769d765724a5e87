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

/// What lies before the codes of a RaBitQ row. A code stands for the odd number 2·code − (2^bits − 1); ĉ is the vector of them.
typedef struct {
    /// What the metric adds for this row.
    float norm;
    /// ⟨x, q⟩ ≈ factor·⟨ĉ, q⟩.
    float factor;
    /// ‖x‖.
    float radius;
    /// The standard deviation of that estimate for a q of norm 1 under random rotations.
    float error;
} nt_rabitq_constants;

/// A query against RaBitQ rows, in whole numbers: q ≈ t·p, and w is 2 for squared euclidean distance, 1 for an inner product.
///
/// distance(row) = offset + row.norm − scale·(row.factor·⟨ĉ, p⟩) with scale = w·t. Where `cosines` is not NULL the query is a row of 1 bit:
/// distance(row) = offset + row.norm − scale·(row.radius·cosines[h]), h the differing bits, scale = w·(the other row's radius).
typedef struct {
    float offset, scale;
    /// 1 bit: 15·dimensions; more bits: −(2^bits − 1)·Σp.
    int32_t shift;
    /// 1 bit: four planes of `code_bytes`, p = Σ 2^j·(2·plane_j − 1), or one when `cosines` is not NULL. 2 bits: the bytes p that meet the
    /// lowest pair of bits of each byte, then those of the next pairs, `code_bytes` each. 4 bits: as `lvq4`.
    const void *codes;
    const float *cosines;
} nt_rabitq_query;

/// Scores RaBitQ rows (`nt_rabitq_constants`, then `code_bytes` of codes, a multiple of 16, those beyond the dimensions 0). `rows` as in
/// `nt_rows_fn`. A query's values beyond the dimensions are 0.
typedef void (*nt_rabitq_rows_fn)(const nt_rabitq_query *query, const void *base, size_t stride, const uint32_t *rows, size_t count,
                                  size_t code_bytes, float *out);

/// A query against rows of codes that name centroids: `tables + offsets[i]` has 256 products with the query, one a value of code byte i;
/// with `offsets == NULL` that is `tables + 256·i`.
///
/// distance(row) = offset + row.norm − scale·Σᵢ tables[offsets[i] + codeᵢ]. Sum l of 16 takes every i ≡ l (mod 16) in rising order; then sum
/// l takes sum l+8, l+4, l+2, l+1.
typedef struct {
    float offset, scale;
    const float *tables;
    const uint32_t *offsets;
} nt_lookup_query;

/// Scores rows of a float32 norm and `code_bytes` of codes, 4-byte aligned. `rows` as in `nt_rows_fn`.
typedef void (*nt_lookup_rows_fn)(const nt_lookup_query *query, const void *base, size_t stride, const uint32_t *rows, size_t count,
                                  size_t code_bytes, float *out);

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
    /// Low bit first. Blocks of 16 bytes hold 64 coordinates of 2 bits (the lowest pairs the first 16) or 32 of 4 bits, as `lvq4`.
    nt_rabitq_rows_fn rabitq1, rabitq2, rabitq4;
    nt_lookup_rows_fn lookup;
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

/// Rounds a vector to the codes of `bits` (1, 2 or 4) bits whose odd numbers ĉ have the smallest angle with it, or nearly. Returns ⟨ĉ, x⟩;
/// `squares` receives ‖ĉ‖². One code a byte.
double nt_rabitq_quantise(const float *values, size_t count, int bits, uint8_t *codes, double *squares);

/// Packs codes as `rabitq1`, `rabitq2` and `rabitq4` read them; the rest of `code_bytes` becomes 0.
void nt_rabitq_pack(const uint8_t *codes, size_t count, int bits, size_t code_bytes, uint8_t *packed);
/// The other way round.
void nt_rabitq_unpack(const uint8_t *packed, size_t count, int bits, uint8_t *codes);

/// Rounds a query to four bits a coordinate, as planes: values[i] ≈ t·p[i], p odd in −15 … 15. Returns t. What rounding left of the values
/// stays in them.
float nt_rabitq_planes(float *values, size_t count, size_t code_bytes, uint8_t *planes);

/// Puts a query's signed bytes in the order that rows of 2 or 4 bits need.
void nt_rabitq_arrange(const int8_t *codes, size_t count, int bits, size_t code_bytes, int8_t *arranged);

/// The i < count for which halves[i] − products[i] is least, the lowest of several. `count` is a multiple of 16.
size_t nt_nearest_centroid(const float *products, const float *halves, size_t count);

/// Rows about to be scored.
typedef struct {
    const void *base;
    size_t stride, prefetch_bytes;
} nt_rows;

/// Takes from a neighbour list (slots plus one, ended by 0 or by `degree`) the slots below `bound` whose bit in `visited` is not set, sets
/// it, and hints the processor to fetch their rows. Returns how many were written to `out`, which has room for `degree`.
size_t nt_gather_unvisited(const uint32_t *list, size_t degree, uint32_t bound, uint64_t *visited, const nt_rows *rows, uint32_t *out);

/// The same among slots whose bits are set in `admitted`. Those not admitted and not visited go to `refused`, which has
/// room for `degree` too, and are not marked. Fetches nothing.
size_t nt_gather_admitted(const uint32_t *list, size_t degree, uint32_t bound, uint64_t *visited, const uint64_t *admitted,
                          uint32_t *out, uint32_t *refused, size_t *refused_count);

/// Hints the processor to fetch the line at `address`.
static inline void nt_prefetch(const void *address) { __builtin_prefetch(address, 0, 3); }

#include "CNeedletailTransforms.h"
