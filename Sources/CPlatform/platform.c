#define _GNU_SOURCE
#include <malloc.h>
#include "CPlatform.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_nanoseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t suanpan_monotonic_nanoseconds(void) { return clock_nanoseconds(CLOCK_MONOTONIC); }
uint64_t suanpan_wall_microseconds(void) { return clock_nanoseconds(CLOCK_REALTIME) / 1000; }
uint64_t suanpan_thread_cpu_nanoseconds(void) { return clock_nanoseconds(CLOCK_THREAD_CPUTIME_ID); }

uint64_t suanpan_process_cpu_nanoseconds(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
    uint64_t seconds = (uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec;
    uint64_t micros = (uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec;
    return seconds * 1000000000u + micros * 1000u;
}

uint64_t suanpan_resident_bytes(void) {
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) return 0;
    unsigned long long total = 0, resident = 0;
    int found = fscanf(file, "%llu %llu", &total, &resident);
    fclose(file);
    return found == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

int suanpan_reserve_space(int file, uint64_t bytes) {
    while (fallocate(file, 0, 0, (off_t)bytes) != 0) {
        if (errno == EINTR) continue;
        if (errno != EOPNOTSUPP && errno != ENOSYS) return errno;
        off_t end = lseek(file, 0, SEEK_END);
        if (end < 0) return errno;
        if ((uint64_t)end >= bytes) return 0;
        return ftruncate(file, (off_t)bytes) == 0 ? 0 : errno;
    }
    return 0;
}

const int suanpan_direct_io = O_DIRECT;

int suanpan_write_zeros(int file, uint64_t offset, size_t count) {
    // Of a file opened with O_DIRECT the kernel takes aligned memory only.
    static const _Alignas(4096) char zeros[1 << 19];
    while (count > 0) {
        ssize_t written = pwrite(file, zeros, count < sizeof zeros ? count : sizeof zeros, (off_t)offset);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return errno;
        if (written == 0) return ENOSPC;
        offset += (uint64_t)written;
        count -= (size_t)written;
    }
    return 0;
}

int suanpan_write_all(int file, struct iovec *vectors, int count, uint64_t offset) {
    while (count > 0) {
        int some = count < IOV_MAX ? count : IOV_MAX;
        ssize_t done = pwritev(file, vectors, some, (off_t)offset);
        if (done < 0) {
            if (errno == EINTR) continue;
            return errno;
        }
        offset += (uint64_t)done;
        size_t left = (size_t)done;
        while (count > 0 && left >= vectors->iov_len) {
            left -= vectors->iov_len;
            vectors++;
            count--;
        }
        if (count > 0) {
            // Nothing taken of something wanted: a full disk that does not say so.
            if (done == 0) return ENOSPC;
            vectors->iov_base = (char *)vectors->iov_base + left;
            vectors->iov_len -= left;
        }
    }
    return 0;
}

int suanpan_read_all(int file, void *to, size_t count, uint64_t offset, size_t *got) {
    *got = 0;
    while (*got < count) {
        ssize_t done = pread(file, (char *)to + *got, count - *got, (off_t)(offset + *got));
        if (done < 0) {
            if (errno == EINTR) continue;
            return errno;
        }
        if (done == 0) return 0;
        *got += (size_t)done;
    }
    return 0;
}

int suanpan_free_bytes(int file, uint64_t *bytes) {
    struct statvfs state;
    if (fstatvfs(file, &state) != 0) return errno;
    *bytes = (uint64_t)state.f_bavail * (uint64_t)state.f_frsize;
    return 0;
}

int suanpan_sync_data(int file) {
    // Not repeated on EINTR or anything else: after a failed sync nobody knows what the page cache still holds.
    return fdatasync(file) == 0 ? 0 : errno;
}

int suanpan_lock_exclusively(int file) {
    while (flock(file, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EINTR) return errno;
    }
    return 0;
}

void suanpan_name_thread(const char *name) {
    char cut[16];
    snprintf(cut, sizeof cut, "%s", name);
    pthread_setname_np(pthread_self(), cut);
}

void suanpan_error_text(int code, char *buffer, size_t size) {
    // The GNU variant may answer with a text of its own instead of filling the buffer.
    const char *text = strerror_r(code, buffer, size);
    if (text != buffer) snprintf(buffer, size, "%s", text);
}

void suanpan_keep_large_allocations(void) {
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
}

// A switch of the runtime (stdlib/public/runtime/Exclusivity.cpp).
extern bool _swift_disableExclusivityChecking;

void suanpan_skip_exclusivity_checks(void) { _swift_disableExclusivityChecking = true; }
