#include "CNeedletailKernels.h"

#include <math.h>

// Locally-adaptive vector quantisation (Aguerrebere et al., "Similarity search in the blink of an eye with compressed indices", 2023):
// encoding, and what makes a query of a vector or of a row. Not hot: plain loops, the same floats on every machine.

#pragma STDC FP_CONTRACT OFF

float nt_lvq_quantise_query(const float *values, size_t count, int8_t *codes, int32_t *code_sum) {
    float greatest = 0;
    for (size_t i = 0; i < count; i++) {
        float magnitude = fabsf(values[i]);
        greatest = magnitude > greatest ? magnitude : greatest;
    }
    float t = greatest / 127.0f, inverse = t > 0 ? 1.0f / t : 0;
    // Magnitudes so small that their inverse is infinite count as zero.
    if (!(inverse < INFINITY)) t = inverse = 0;
    int32_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        float scaled = values[i] * inverse;
        int32_t code = (int32_t)(scaled + (scaled < 0 ? -0.5f : 0.5f));
        code = code > 127 ? 127 : code < -127 ? -127 : code;
        codes[i] = (int8_t)code;
        sum += code;
    }
    *code_sum = sum;
    return t;
}

float nt_lvq_quantise_query16(const float *values, size_t count, int8_t *high, int8_t *low, int32_t *code_sum) {
    float greatest = 0;
    for (size_t i = 0; i < count; i++) {
        float magnitude = fabsf(values[i]);
        greatest = magnitude > greatest ? magnitude : greatest;
    }
    const int32_t most = 127 * 256;
    float t = greatest / (float)most, inverse = t > 0 ? 1.0f / t : 0;
    if (!(inverse < INFINITY)) t = inverse = 0;
    int32_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        float scaled = values[i] * inverse;
        int32_t code = (int32_t)(scaled + (scaled < 0 ? -0.5f : 0.5f));
        code = code > most ? most : code < -most ? -most : code;
        int32_t upper = (code + 128) >> 8;
        high[i] = (int8_t)upper;
        low[i] = (int8_t)(code - upper * 256);
        sum += code;
    }
    *code_sum = sum;
    return t;
}

void nt_lvq_quantise_residual(const float *values, size_t count, const uint8_t *codes, float scale, float bias, uint8_t *residuals) {
    float inverse = scale > 0 ? 255.0f / scale : 0;
    if (!(inverse < INFINITY)) inverse = 0;
    for (size_t i = 0; i < count; i++) {
        float rest = values[i] - (scale * (float)codes[i] + bias);
        float scaled = rest * inverse + 128.0f;
        int32_t code = (int32_t)(scaled < 0 ? 0 : scaled);
        residuals[i] = (uint8_t)(code > 255 ? 255 : code);
    }
}

void nt_lvq_quantise(const float *values, size_t count, int levels, uint8_t *codes, float *scale, float *bias) {
    float least = values[0], greatest = values[0];
    for (size_t i = 1; i < count; i++) {
        least = values[i] < least ? values[i] : least;
        greatest = values[i] > greatest ? values[i] : greatest;
    }
    float step = (greatest - least) / (float)(levels - 1), inverse = step > 0 ? 1.0f / step : 0;
    if (!(inverse < INFINITY)) step = inverse = 0;
    for (size_t i = 0; i < count; i++) {
        int32_t code = (int32_t)((values[i] - least) * inverse + 0.5f);
        codes[i] = (uint8_t)(code > levels - 1 ? levels - 1 : code);
    }
    *scale = step;
    *bias = least;
}

void nt_lvq8_as_query(const uint8_t *codes, size_t count, int8_t *out) {
    for (size_t i = 0; i < count; i++) out[i] = (int8_t)(codes[i] ^ 0x80);
}

void nt_lvq4_pack(const uint8_t *codes, size_t count, uint8_t *packed) {
    for (size_t block = 0; block * 32 < count; block++)
        for (size_t i = 0; i < 16; i++) {
            size_t low = block * 32 + i, high = low + 16;
            packed[block * 16 + i] = (uint8_t)((low < count ? codes[low] : 0) | (high < count ? codes[high] : 0) << 4);
        }
}

void nt_lvq4_arrange(const int8_t *codes, size_t count, int8_t *arranged) {
    size_t half = (count + 31) / 32 * 16;
    for (size_t block = 0; block * 32 < count; block++)
        for (size_t i = 0; i < 16; i++) {
            size_t low = block * 32 + i, high = low + 16;
            arranged[block * 16 + i] = low < count ? codes[low] : 0;
            arranged[half + block * 16 + i] = high < count ? codes[high] : 0;
        }
}

void nt_lvq4_as_query(const uint8_t *codes, size_t code_bytes, size_t count, int8_t *out) {
    for (size_t i = 0; i < code_bytes; i++) out[i] = (int8_t)((codes[i] & 15) - 8);
    for (size_t i = 0; i < code_bytes; i++) out[code_bytes + i] = (int8_t)((codes[i] >> 4) - 8);
    // The last block's filling is no coordinate: its code 0 must count as nothing, not as -8.
    for (size_t i = count; i < code_bytes * 2; i++) out[i / 32 * 16 + i % 16 + (i % 32 < 16 ? 0 : code_bytes)] = 0;
}
