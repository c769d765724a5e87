// The transform kernels of one level; `transforms.c` includes this once a level and says what the macros mean. No include guard.

#define NT_F32(p) (*(const nt_f32x16 *)(p))
#define NT_F64(p) (*(const nt_f64x8 *)(p))

// Sixteen float64 sums to one, in the order that the header fixes.
static double NT_NAME(fold)(const nt_f64x8 *low, const nt_f64x8 *high) {
    double sums[8];
    const nt_f64x8 both = *low + *high;
    memcpy(sums, &both, sizeof sums);
    for (int half = 4; half > 0; half /= 2)
        for (int lane = 0; lane < half; lane++) sums[lane] += sums[lane + half];
    return sums[0];
}

static double NT_NAME(squares)(const float *x, size_t count) {
    nt_f64x8 low = {0}, high = {0};
    float rest[NT_BLOCK] = {0};
    for (size_t i = 0; i < count; i += NT_BLOCK) {
        const float *block = x + i;
        if (count - i < NT_BLOCK) block = memcpy(rest, block, (count - i) * sizeof(float));
        nt_f64x8 a = __builtin_convertvector(*(const nt_f32x8 *)block, nt_f64x8);
        nt_f64x8 b = __builtin_convertvector(*(const nt_f32x8 *)(block + 8), nt_f64x8);
        low += a * a; // a zero added in the last block changes no sum of squares
        high += b * b;
    }
    return NT_NAME(fold)(&low, &high);
}

// Eight values of `centre`, whose float64 terms go to `norm` and `product`.
#define NT_CENTRE(x, mean, out, norm, product)                                                                        \
    do {                                                                                                              \
        const nt_f64x8 scaled = __builtin_convertvector(*(const nt_f32x8 *)(x), nt_f64x8) * factor;                   \
        const nt_f32x8 middle = *(const nt_f32x8 *)(mean), centred = __builtin_convertvector(scaled, nt_f32x8) - middle; \
        const nt_f64x8 wide = __builtin_convertvector(centred, nt_f64x8);                                             \
        norm += wide * wide;                                                                                          \
        product += wide * __builtin_convertvector(middle, nt_f64x8);                                                  \
        memcpy(out, &centred, sizeof centred);                                                                        \
    } while (0)

static void NT_NAME(centre)(const float *x, size_t count, double factor, const float *mean, float *out, double *sums) {
    static const float zeros[NT_BLOCK];
    nt_f64x8 norm_low = {0}, norm_high = {0}, product_low = {0}, product_high = {0};
    size_t i = 0;
    for (; i + NT_BLOCK <= count; i += NT_BLOCK) {
        const float *centre = mean ? mean + i : zeros;
        NT_CENTRE(x + i, centre, out + i, norm_low, product_low);
        NT_CENTRE(x + i + 8, centre + 8, out + i + 8, norm_high, product_high);
    }
    if (i < count) {
        float rest[NT_BLOCK] = {0}, centre[NT_BLOCK] = {0}, result[NT_BLOCK];
        memcpy(rest, x + i, (count - i) * sizeof(float));
        if (mean) memcpy(centre, mean + i, (count - i) * sizeof(float));
        NT_CENTRE(rest, centre, result, norm_low, product_low);
        NT_CENTRE(rest + 8, centre + 8, result + 8, norm_high, product_high);
        memcpy(out + i, result, (count - i) * sizeof(float));
    }
    sums[0] = NT_NAME(fold)(&norm_low, &norm_high);
    sums[1] = NT_NAME(fold)(&product_low, &product_high);
}
#undef NT_CENTRE

// `blocks` <= NT_SUMS blocks of outputs side by side; with a constant `blocks` the sums stay in registers.
static inline __attribute__((always_inline)) void NT_NAME(project_blocks)(
    const float *x, size_t inputs, const float *columns, size_t stride, const int blocks, nt_f32x16 *out) {
    nt_f32x16 sums[NT_SUMS] = {{0}};
    for (size_t i = 0; i < inputs; i++) {
        const float value = x[i];
#pragma clang loop unroll(full)
        for (int b = 0; b < blocks; b++) sums[b] += NT_F32(columns + i * stride + (size_t)b * NT_BLOCK) * value;
    }
    memcpy(out, sums, (size_t)blocks * sizeof *out);
}

static void NT_NAME(project)(const float *x, size_t inputs, const float *columns, size_t stride, size_t outputs, float *out) {
    // Even shares, so that no pass is left with one sum that waits for itself.
    const size_t blocks = stride / NT_BLOCK, passes = (blocks + NT_SUMS - 1) / NT_SUMS;
    nt_f32x16 sums[NT_SUMS];
    for (size_t pass = 0; pass < passes; pass++) {
        const size_t first = blocks * pass / passes, count = blocks * (pass + 1) / passes - first, start = first * NT_BLOCK;
        switch (count) {
#define NT_CASE(n) case n: NT_NAME(project_blocks)(x, inputs, columns + start, stride, n, sums); break;
            NT_CASE(1) NT_CASE(2) NT_CASE(3)
#if NT_SUMS > 3
            NT_CASE(4) NT_CASE(5)
#endif
#if NT_SUMS > 5
            NT_CASE(6) NT_CASE(7) NT_CASE(8) NT_CASE(9) NT_CASE(10) NT_CASE(11) NT_CASE(12)
#endif
#undef NT_CASE
        default: break;
        }
        const size_t rest = outputs - start, width = count * NT_BLOCK;
        memcpy(out + start, sums, (rest < width ? rest : width) * sizeof(float));
    }
}

// One butterfly step inside a block: lane l becomes v[l] + v[l+h], lane l+h becomes v[l] − v[l+h]. The products with ±1 are exact.
#define NT_STEP(v, h, ...) \
    ((v) * NT_SIGNS_##h + __builtin_shufflevector(v, v, __VA_ARGS__))
#define NT_SIGNS_1 ((nt_f32x16){1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1})
#define NT_SIGNS_2 ((nt_f32x16){1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1})
#define NT_SIGNS_4 ((nt_f32x16){1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1})
#define NT_SIGNS_8 ((nt_f32x16){1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1})

// All sums of the transform in place, widths rising from 1; then the scale.
static void NT_NAME(hadamard)(float *x, size_t count) {
    float scale = 1;
    for (size_t width = count; width > 1; width >>= 2) scale *= width == 2 ? 0x1.6a09e6p-1f : 0.5f;
    if (count < NT_BLOCK) {
        for (size_t width = 1; width < count; width *= 2)
            for (size_t i = 0; i < count; i++)
                if ((i & width) == 0) {
                    const float a = x[i], b = x[i + width];
                    x[i] = a + b;
                    x[i + width] = a - b;
                }
        for (size_t i = 0; i < count; i++) x[i] *= scale;
        return;
    }
    for (size_t i = 0; i < count; i += NT_BLOCK) {
        nt_f32x16 v = NT_F32(x + i);
        v = NT_STEP(v, 1, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
        v = NT_STEP(v, 2, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
        v = NT_STEP(v, 4, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
        v = NT_STEP(v, 8, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
        v *= scale; // as good as at the end but for rounding, and values never outgrow their norm
        memcpy(x + i, &v, sizeof v);
    }
    for (size_t width = NT_BLOCK; width < count; width *= 2)
        for (size_t start = 0; start < count; start += 2 * width)
            for (size_t i = start; i < start + width; i += NT_BLOCK) {
                const nt_f32x16 a = NT_F32(x + i), b = NT_F32(x + i + width), sum = a + b, difference = a - b;
                memcpy(x + i, &sum, sizeof sum);
                memcpy(x + i + width, &difference, sizeof difference);
            }
}
#undef NT_STEP
#undef NT_SIGNS_1
#undef NT_SIGNS_2
#undef NT_SIGNS_4
#undef NT_SIGNS_8

static void NT_NAME(mix)(float *x, size_t length, const uint16_t *bits, size_t first, size_t count) {
    const nt_i32x16 lanes = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
    size_t i = 0;
    for (; i + NT_BLOCK <= length; i += NT_BLOCK) {
        nt_i32x16 v, word = lanes & bits[i / NT_BLOCK];
        memcpy(&v, x + i, sizeof v);
        v ^= (word != 0) & INT32_MIN;
        memcpy(x + i, &v, sizeof v);
    }
    for (; i < length; i++)
        if (bits[i / NT_BLOCK] >> (i % NT_BLOCK) & 1) x[i] = -x[i];
    NT_NAME(hadamard)(x + first, count);
}

static void NT_NAME(pair)(float *x, size_t distance, size_t count) {
    float *restrict left = x, *restrict right = x + distance;
    for (size_t i = 0; i < count; i++) {
        const float a = left[i], b = right[i];
        left[i] = (a + b) * 0x1.6a09e6p-1f;
        right[i] = (a - b) * 0x1.6a09e6p-1f;
    }
}

// Four rows of sums from `left`, `8 · tiles` columns from `right`; with a constant `tiles` the sums stay in registers.
static inline __attribute__((always_inline)) void NT_NAME(moments_tile)(const double *left, const double *right, size_t count,
                                                                        size_t stride, double *sum, const int tiles) {
    nt_f64x8 tile[4][NT_TILE] = {{{0}}};
    for (size_t r = 0; r < count; r++)
#pragma clang loop unroll(full)
        for (int t = 0; t < tiles; t++)
#pragma clang loop unroll(full)
            for (int k = 0; k < 4; k++) tile[k][t] += NT_F64(right + r * stride + 8 * (size_t)t) * left[r * stride + (size_t)k];
    for (int k = 0; k < 4; k++)
        for (int t = 0; t < tiles; t++) {
            double *place = sum + (size_t)k * stride + 8 * (size_t)t;
            const nt_f64x8 total = NT_F64(place) + tile[k][t];
            memcpy(place, &total, sizeof total);
        }
}

static void NT_NAME(moments)(const double *a, size_t count, size_t stride, double *sum) {
    for (size_t i = 0; i < stride; i += 4) {
        size_t j = i / NT_BLOCK * NT_BLOCK;
        for (; j + 8 * NT_TILE <= stride; j += 8 * NT_TILE) NT_NAME(moments_tile)(a + i, a + j, count, stride, sum + i * stride + j, NT_TILE);
#if NT_TILE == 4
        if (j < stride) NT_NAME(moments_tile)(a + i, a + j, count, stride, sum + i * stride + j, 2);
#endif
    }
}

static void NT_NAME(combine)(const double *x, size_t rows, const double *a, size_t stride, size_t columns, double *out) {
    size_t j = 0;
    for (; j + 8 * NT_SUMS <= columns; j += 8 * NT_SUMS) {
        nt_f64x8 sums[NT_SUMS] = {{0}};
        for (size_t i = 0; i < rows; i++) {
            const double value = x[i];
#pragma clang loop unroll(full)
            for (int b = 0; b < NT_SUMS; b++) sums[b] += NT_F64(a + i * stride + j + 8 * (size_t)b) * value;
        }
        memcpy(out + j, sums, sizeof sums);
    }
    for (; j + 8 <= columns; j += 8) {
        nt_f64x8 sum = {0};
        for (size_t i = 0; i < rows; i++) sum += NT_F64(a + i * stride + j) * x[i];
        memcpy(out + j, &sum, sizeof sum);
    }
    for (; j < columns; j++) {
        double sum = 0;
        for (size_t i = 0; i < rows; i++) sum += x[i] * a[i * stride + j];
        out[j] = sum;
    }
}

// Loops over independent results: the compiler may use any width.

static void NT_NAME(rank2)(double *restrict a, size_t stride, size_t n, const double *restrict u, const double *restrict v) {
    for (size_t i = 0; i < n; i++) {
        double *restrict row = a + i * stride;
        const double ui = u[i], vi = v[i];
        for (size_t j = 0; j < n; j++) {
            const double left = ui * v[j], right = vi * u[j];
            row[j] -= left + right;
        }
    }
}

static void NT_NAME(rank1)(double *restrict a, size_t stride, size_t rows, size_t columns, const double *restrict u,
                           const double *restrict v) {
    for (size_t i = 0; i < rows; i++) {
        double *restrict row = a + i * stride;
        const double ui = u[i];
        for (size_t j = 0; j < columns; j++) row[j] -= ui * v[j];
    }
}

static void NT_NAME(turn)(double *restrict x, double *restrict y, size_t count, double c, double s) {
    for (size_t i = 0; i < count; i++) {
        const double a = x[i], b = y[i];
        x[i] = c * a - s * b;
        y[i] = s * a + c * b;
    }
}

static const nt_transforms NT_NAME(transforms) = {
    .level = NT_SUFFIX_LEVEL, .squares = NT_NAME(squares), .centre = NT_NAME(centre), .project = NT_NAME(project), .mix = NT_NAME(mix),
    .pair = NT_NAME(pair), .moments = NT_NAME(moments), .combine = NT_NAME(combine), .rank2 = NT_NAME(rank2), .rank1 = NT_NAME(rank1), .turn = NT_NAME(turn)};

#undef NT_F32
#undef NT_F64
#undef NT_SUFFIX
#undef NT_SUFFIX_LEVEL
#undef NT_SUMS
#undef NT_TILE
