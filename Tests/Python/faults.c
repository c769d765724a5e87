// Preloaded into a process under test: makes syncs of its logs fail, and steps its wall clock, as the 16 bytes of the file say that
// NEEDLETAIL_FAULTS names: whether syncs fail, and by how many seconds the clock is off.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *faults;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("NEEDLETAIL_FAULTS");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, 16, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) faults = mapped;
    close(file);
}

static int fails(int file) {
    if (!faults || !faults[0]) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path);
    return length >= 4 && memcmp(path + length - 4, ".log", 4) == 0;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fdatasync(int file) {
    if (fails(file)) { errno = EIO; return -1; }
    return NEXT(fdatasync)(file);
}

int fsync(int file) {
    if (fails(file)) { errno = EIO; return -1; }
    return NEXT(fsync)(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*next)(clockid_t, struct timespec *);
    if (!next) next = NEXT(clock_gettime);
    int result = next(clock, now);
    if (clock == CLOCK_REALTIME && faults && result == 0) now->tv_sec += faults[1];
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    int result = NEXT(gettimeofday)(now, zone);
    if (faults && result == 0) now->tv_sec += faults[1];
    return result;
}

time_t time(time_t *out) {
    time_t now = NEXT(time)(NULL) + (faults ? faults[1] : 0);
    if (out) *out = now;
    return now;
}
