#include "kernels.h"

size_t nt_gather_unvisited(const uint32_t *list, size_t degree, uint32_t bound, uint64_t *visited, const nt_rows *rows, uint32_t *out) {
    const uint8_t *base = (const uint8_t *)rows->base;
    size_t count = 0;
    for (size_t i = 0; i < degree; i++) {
        // Other threads change lists in place: one load an entry, never a second look.
        uint32_t link = __atomic_load_n(list + i, __ATOMIC_RELAXED);
        if (link == 0) break;
        if (link > bound) continue;
        uint32_t slot = link - 1;
        uint64_t word = visited[slot >> 6], bit = 1ull << (slot & 63);
        visited[slot >> 6] = word | bit;
        // Without a branch: whether a neighbour was seen is as good as a coin's toss, and a wrong guess costs more than the work.
        out[count] = slot;
        count += (word & bit) == 0;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    size_t bytes = rows->prefetch_bytes, ahead = bytes == 0 ? 0 : NT_AHEAD_BYTES / bytes;
    for (size_t i = 0; i < count && i < ahead; i++) nt_prefetch_row(base + (size_t)out[i] * rows->stride, bytes);
    return count;
}

size_t nt_gather_admitted(const uint32_t *list, size_t degree, uint32_t bound, uint64_t *visited, const uint64_t *admitted,
                          uint32_t *out, uint32_t *refused, size_t *refused_count) {
    size_t count = 0, others = 0;
    for (size_t i = 0; i < degree; i++) {
        uint32_t link = __atomic_load_n(list + i, __ATOMIC_RELAXED);
        if (link == 0) break;
        if (link > bound) continue;
        uint32_t slot = link - 1, shift = slot & 63;
        size_t word = slot >> 6;
        uint64_t in = __atomic_load_n(admitted + word, __ATOMIC_RELAXED) >> shift & 1;
        uint64_t fresh = ~(visited[word] >> shift) & 1;
        // Without branches, as above. Only admitted slots are marked: refused ones may still be looked through from elsewhere.
        visited[word] |= (in & fresh) << shift;
        out[count] = slot;
        count += in & fresh;
        refused[others] = slot;
        others += ~in & fresh & 1;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    *refused_count = others;
    return count;
}
