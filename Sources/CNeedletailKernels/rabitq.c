#include "CNeedletailKernels.h"

#include <math.h>
#include <string.h>

// RaBitQ (Gao and Long, "RaBitQ: quantizing high-dimensional vectors with a theoretical error bound", 2024) and its form with more bits
// (Gao et al., "Practical and asymptotically optimal quantization of high-dimensional vectors in Euclidean space", 2025): encoding, and
// what makes a query of a vector. Plain loops and fixed orders of float operations, the same bits on every machine.

#pragma STDC FP_CONTRACT OFF

enum { NT_LANES = 8 };

static double nt_fold(const double sums[NT_LANES]) {
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

// The cosine, up to ‖x‖, of x with the odd numbers that rounding x·`scale` gives: the code of |x| is ⌊|x|·scale⌋, at most `most`.
static double nt_alignment(const float *values, size_t count, float scale, int32_t most, double *product, double *squares) {
    double products[NT_LANES] = {0}, norms[NT_LANES] = {0};
    size_t i = 0;
    for (; i + NT_LANES <= count; i += NT_LANES)
        for (size_t lane = 0; lane < NT_LANES; lane++) {
            float magnitude = fabsf(values[i + lane]), scaled = magnitude * scale;
            int32_t code = scaled < (float)most ? (int32_t)scaled : most;
            float odd = (float)(2 * code + 1);
            products[lane] += (double)odd * (double)magnitude;
            norms[lane] += (double)odd * (double)odd;
        }
    for (size_t lane = 0; i < count; i++, lane++) {
        float magnitude = fabsf(values[i]), scaled = magnitude * scale;
        int32_t code = scaled < (float)most ? (int32_t)scaled : most;
        float odd = (float)(2 * code + 1);
        products[lane] += (double)odd * (double)magnitude;
        norms[lane] += (double)odd * (double)odd;
    }
    *product = nt_fold(products);
    *squares = nt_fold(norms);
    return *product / sqrt(*squares);
}

// The best scale: a coarse look over a range around that of Gaussian values, then a finer one around the best of the first.
static float nt_best_scale(const float *values, size_t count, int bits, int32_t most) {
    double product, squares, sum = 0;
    for (size_t i = 0; i < count; i++) sum += (double)values[i] * (double)values[i];
    const float deviation = (float)sqrt(sum / (double)count), inverse = 1.0f / deviation;
    if (!(deviation > 0) || !(inverse < INFINITY)) return 0;
    // Steps of the uniform quantiser that loses least of a Gaussian: 0.9957 deviations for 4 levels, 0.3352 for 16 (Max, "Quantizing for
    // minimum distortion", 1960).
    float best = inverse / (bits == 2 ? 0.9957f : 0.3352f), factor = 1.3f;
    double most_aligned = nt_alignment(values, count, best, most, &product, &squares);
    for (int round = 0; round < 5; round++) {
        const float middle = best;
        for (int side = 0; side < 2; side++) {
            const float scale = side == 0 ? middle * factor : middle / factor;
            const double alignment = nt_alignment(values, count, scale, most, &product, &squares);
            if (alignment > most_aligned) {
                most_aligned = alignment;
                best = scale;
            }
        }
        if (best == middle) factor = sqrtf(factor);
    }
    return best;
}

double nt_rabitq_quantise(const float *values, size_t count, int bits, uint8_t *codes, double *squares) {
    const int32_t half = 1 << (bits - 1), most = half - 1;
    const float scale = bits == 1 ? 0 : nt_best_scale(values, count, bits, most);
    double product;
    nt_alignment(values, count, scale, most, &product, squares);
    for (size_t i = 0; i < count; i++) {
        float scaled = fabsf(values[i]) * scale;
        int32_t code = scaled < (float)most ? (int32_t)scaled : most;
        codes[i] = (uint8_t)(values[i] < 0 ? half - 1 - code : half + code);
    }
    return product;
}

// Where coordinate i lies: 16 bytes hold 128 / bits coordinates, one after the other in one bit each, else in 16 bytes side by side.
static inline size_t nt_place(size_t i, int bits, int *shift) {
    if (bits == 1) {
        *shift = (int)(i % 8);
        return i / 8;
    }
    const size_t block = 128 / (size_t)bits;
    *shift = (int)(i % block / 16) * bits;
    return i / block * 16 + i % 16;
}

void nt_rabitq_pack(const uint8_t *codes, size_t count, int bits, size_t code_bytes, uint8_t *packed) {
    memset(packed, 0, code_bytes);
    for (size_t i = 0; i < count; i++) {
        int shift;
        const size_t at = nt_place(i, bits, &shift);
        packed[at] |= (uint8_t)(codes[i] << shift);
    }
}

void nt_rabitq_unpack(const uint8_t *packed, size_t count, int bits, uint8_t *codes) {
    for (size_t i = 0; i < count; i++) {
        int shift;
        const size_t at = nt_place(i, bits, &shift);
        codes[i] = (uint8_t)(packed[at] >> shift & ((1 << bits) - 1));
    }
}

float nt_rabitq_planes(float *values, size_t count, size_t code_bytes, uint8_t *planes) {
    float greatest = 0;
    for (size_t i = 0; i < count; i++) {
        float magnitude = fabsf(values[i]);
        greatest = magnitude > greatest ? magnitude : greatest;
    }
    float t = greatest / 15.0f, inverse = t > 0 ? 0.5f / t : 0;
    if (!(inverse < INFINITY)) t = inverse = 0;
    memset(planes, 0, 4 * code_bytes);
    for (size_t i = 0; i < count; i++) {
        int32_t code = (int32_t)(values[i] * inverse + 8.0f);
        code = code > 15 ? 15 : code < 0 ? 0 : code;
        for (size_t plane = 0; plane < 4; plane++) planes[plane * code_bytes + i / 8] |= (uint8_t)((code >> plane & 1) << (i % 8));
        values[i] -= t * (float)(2 * code - 15);
    }
    return t;
}

void nt_rabitq_arrange(const int8_t *codes, size_t count, int bits, size_t code_bytes, int8_t *arranged) {
    memset(arranged, 0, (size_t)(8 / bits) * code_bytes);
    for (size_t i = 0; i < count; i++) {
        int shift;
        const size_t at = nt_place(i, bits, &shift);
        arranged[(size_t)(shift / bits) * code_bytes + at] = codes[i];
    }
}
