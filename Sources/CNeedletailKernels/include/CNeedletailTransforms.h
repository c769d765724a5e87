#pragma once

#include "CNeedletailKernels.h"

/// Kernels of vector transforms and of fitting them. Unlike the distance kernels, these give the same bits at every level and on
/// every machine, since what they compute is stored, shipped and compared:
/// - a product and a sum are two roundings, never one (no fused multiply-add);
/// - every result has one order of summation, written at its function; levels differ only in how many results they keep in flight.
///
/// Inputs must be finite. No alignment is needed. Nothing is written beyond what is named.

/// Results kept side by side in one block: matrices are padded with zeros to whole blocks.
enum { NT_BLOCK = 16 };

/// Rows that `moments` takes at a time.
enum { NT_PANEL = 64 };

typedef struct {
    nt_level level;

    /// Σ xᵢ² in float64. Sum l of 16 takes every i ≡ l (mod 16) in rising order; then sum l takes sum l+8, l+4, l+2, l+1.
    double (*squares)(const float *x, size_t count);

    /// out[i] = float32(factor · x[i]) − mean[i]; `mean == NULL` counts as zeros. `out` may be `x`.
    /// sums[0] = Σ out[i]², sums[1] = Σ out[i]·mean[i], in float64 and in the order of `squares`.
    void (*centre)(const float *x, size_t count, double factor, const float *mean, float *out, double *sums);

    /// out[j] = Σᵢ x[i] · columns[i·stride + j] for j < outputs, float32, i rising. `stride` is `outputs` rounded up to whole blocks.
    void (*project)(const float *x, size_t inputs, const float *columns, size_t stride, size_t outputs, float *out);

    /// Flips the sign of x[i] where bit i of `bits` (16 a word, low bit first) is set, then applies the orthonormal Walsh–Hadamard
    /// transform to `count` values from `x + first`. `count` is a power of two, `first + count <= length`.
    void (*mix)(float *x, size_t length, const uint16_t *bits, size_t first, size_t count);

    /// (x[i], x[distance + i]) = √½ · (their sum, their difference) for i < count <= distance.
    void (*pair)(float *x, size_t distance, size_t count);

    /// The upper triangle, by blocks of 16 columns, of sum[i·stride + j] += Σᵣ a[r·stride + i] · a[r·stride + j], float64, r rising from
    /// 0, the panel's sum first. `count` <= NT_PANEL rows of `stride` values, a multiple of 16. What lies left of the diagonal's
    /// block is not touched.
    void (*moments)(const double *a, size_t count, size_t stride, double *sum);

    /// out[j] = Σᵢ x[i] · a[i·stride + j] for j < columns, float64, i rising over `rows`.
    void (*combine)(const double *x, size_t rows, const double *a, size_t stride, size_t columns, double *out);

    /// a[i·stride + j] −= u[i]·v[j] + v[i]·u[j] for i, j < n: keeps a symmetric matrix symmetric to the bit.
    void (*rank2)(double *a, size_t stride, size_t n, const double *u, const double *v);

    /// a[i·stride + j] −= u[i]·v[j] for i < rows, j < columns.
    void (*rank1)(double *a, size_t stride, size_t rows, size_t columns, const double *u, const double *v);

    /// (x[i], y[i]) = (c·x[i] − s·y[i], s·x[i] + c·y[i]).
    void (*turn)(double *x, double *y, size_t count, double c, double s);
} nt_transforms;

/// The kernels of a level, or NULL where this processor or this build has none.
const nt_transforms *nt_transforms_at(nt_level level);
