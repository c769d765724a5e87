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
