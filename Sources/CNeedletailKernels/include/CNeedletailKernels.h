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

/// All kernels of one level. `f32`, `f16` and `u8` name the stored element; the query is float32 for each.
typedef struct {
    nt_level level;
    nt_rows_fn l2_f32, l2_f16, l2_u8;
    nt_rows_fn dot_f32, dot_f16, dot_u8;
    nt_rows_fn hamming;
    nt_widen_fn widen_f16, widen_u8;
} nt_kernels;

/// The kernels of a level, or NULL where this processor or this build has none.
const nt_kernels *nt_kernels_at(nt_level level);

/// The fastest kernels this processor runs.
const nt_kernels *nt_kernels_best(void);

/// Rounds float32 to IEEE half, nearest even; beyond ±65504 it becomes an infinity, which the caller refuses.
void nt_narrow_f16(const float *source, size_t count, uint16_t *target);

/// Hints the processor to fetch the line at `address`.
static inline void nt_prefetch(const void *address) { __builtin_prefetch(address, 0, 3); }

#include "CNeedletailTransforms.h"
