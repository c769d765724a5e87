#include "CNeedletailKernels.h"

#include <string.h>

#pragma STDC FP_CONTRACT OFF

typedef float nt_lanes __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t nt_numbers __attribute__((vector_size(64), aligned(4), may_alias));

size_t nt_nearest_centroid(const float *products, const float *halves, size_t count) {
    // The least of each of sixteen lanes and where it stands; then the least of those, the lowest place of several.
    nt_lanes least = *(const nt_lanes *)halves - *(const nt_lanes *)products;
    nt_numbers places = {0};
    for (size_t i = 16; i < count; i += 16) {
        const nt_lanes value = *(const nt_lanes *)(halves + i) - *(const nt_lanes *)(products + i);
        const nt_numbers smaller = value < least, block = (nt_numbers){0} + (int32_t)i;
        least = (nt_lanes)(((nt_numbers)value & smaller) | ((nt_numbers)least & ~smaller));
        places = (block & smaller) | (places & ~smaller);
    }
    size_t best = (size_t)places[0];
    float value = least[0];
    for (size_t lane = 1; lane < 16; lane++) {
        const size_t place = (size_t)places[lane] + lane;
        if (least[lane] < value || (least[lane] == value && place < best)) {
            value = least[lane];
            best = place;
        }
    }
    return best;
}
