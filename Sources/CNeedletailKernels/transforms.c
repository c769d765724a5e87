#include "CNeedletailTransforms.h"

// One source for every level: `transforms_level.h` is compiled once with each level's instructions. It is written with vector types, so
// the compiler maps blocks of 16 to the registers there are and never reorders a sum.

#include <string.h>

// Clang contracts a·b + c by default. Here that would change bits between machines.
#pragma STDC FP_CONTRACT OFF

typedef float nt_f32x16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t nt_i32x16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef double nt_f64x8 __attribute__((vector_size(64), aligned(8), may_alias));
typedef float nt_f32x8 __attribute__((vector_size(32), aligned(4), may_alias));

#define NT_NAME(name) NT_JOIN(name, NT_SUFFIX)
#define NT_JOIN(name, suffix) NT_PASTE(name, suffix)
#define NT_PASTE(name, suffix) name##_##suffix

// NT_SUMS: float32 blocks of sums that stay in registers; NT_TILE: float64 vectors a row of the tile of `moments`.

#if defined(__x86_64__)
#define NT_SUFFIX scalar
#define NT_SUFFIX_LEVEL NT_LEVEL_SCALAR
#define NT_SUMS 3
#define NT_TILE 1
#include "transforms_level.h"

#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#define NT_SUFFIX avx2
#define NT_SUFFIX_LEVEL NT_LEVEL_AVX2
#define NT_SUMS 5
#define NT_TILE 1
#include "transforms_level.h"
#pragma clang attribute pop

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))), apply_to = function)
#define NT_SUFFIX avx512
#define NT_SUFFIX_LEVEL NT_LEVEL_AVX512
#define NT_SUMS 12
#define NT_TILE 4
#include "transforms_level.h"
#pragma clang attribute pop
#else
#define NT_SUFFIX scalar
#define NT_SUFFIX_LEVEL NT_LEVEL_SCALAR
#define NT_SUMS 5
#define NT_TILE 1
#include "transforms_level.h"
#endif

const nt_transforms *nt_transforms_at(nt_level level) {
    switch (level) {
    case NT_LEVEL_SCALAR: return &transforms_scalar;
#if defined(__x86_64__)
    case NT_LEVEL_AVX2: return __builtin_cpu_supports("avx2") ? &transforms_avx2 : NULL;
    case NT_LEVEL_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                       __builtin_cpu_supports("avx512dq")
                   ? &transforms_avx512
                   : NULL;
#endif
#if defined(__aarch64__)
    // NEON is part of the architecture: the plain build has it already.
    case NT_LEVEL_NEON: return &transforms_scalar;
#endif
    default: return NULL;
    }
}
