#pragma once

#include "CPlatformProcess.h"
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

// Functions of Linux that Swift sees badly or not at all. Those that return `int` give 0, or errno.

/// Nanoseconds of the monotonic clock.
uint64_t suanpan_monotonic_nanoseconds(void);

/// Microseconds of the wall clock since 1970-01-01T00:00Z.
uint64_t suanpan_wall_microseconds(void);

/// User and system time of this process, all threads, in nanoseconds.
uint64_t suanpan_process_cpu_nanoseconds(void);

/// User and system time of the calling thread, in nanoseconds.
uint64_t suanpan_thread_cpu_nanoseconds(void);

/// Bytes of this process that are in memory; 0 if /proc is not there.
uint64_t suanpan_resident_bytes(void);

/// Reserves space for the first `bytes` of a file and makes it that long. Where the file system cannot reserve, the file only
/// grows.
int suanpan_reserve_space(int file, uint64_t bytes);

/// O_DIRECT, which Swift does not see: whole blocks pass the page cache by.
extern const int suanpan_direct_io;

/// Writes `count` zeros at `offset`.
int suanpan_write_zeros(int file, uint64_t offset, size_t count);

/// Writes all of the vectors at `offset`, however often the system takes a part. Changes the vectors.
int suanpan_write_all(int file, struct iovec *vectors, int count, uint64_t offset);

/// Reads until `count` bytes are there or the file ends; `*got` says how many.
int suanpan_read_all(int file, void *to, size_t count, uint64_t offset, size_t *got);

/// Bytes an unprivileged process may still write to the file system of an open file.
int suanpan_free_bytes(int file, uint64_t *bytes);

/// Makes written data durable, with what metadata is needed to read it back.
int suanpan_sync_data(int file);

/// Takes the exclusive lock of an open file without waiting; EWOULDBLOCK if another process has it.
int suanpan_lock_exclusively(int file);

/// Names the calling thread, 15 characters at most.
void suanpan_name_thread(const char *name);

/// The text of an errno, in a buffer of the caller.
void suanpan_error_text(int code, char *buffer, size_t size);

/// Has malloc keep freed blocks of up to 64 MiB for the next use instead of giving each back to the system: entries and frames
/// of a megabyte come and go hundreds of times a second.
void suanpan_keep_large_allocations(void);

/// Has Swift's runtime check exclusive access to properties no more in this process, which costs a simulated world a tenth of
/// its time. For worlds whose code the tests run with the checks on; never for a node.
void suanpan_skip_exclusivity_checks(void);
