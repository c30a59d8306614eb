#ifndef CPOSIX_H
#define CPOSIX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/// CRC-32C (Castagnoli) of `length` bytes, continuing from `crc` (0 to start).
/// Uses the processor's instruction where it has one, a table elsewhere.
uint32_t weed_crc32c(uint32_t crc, const void *bytes, size_t length);

/// preadv2 with RWF_NOWAIT: only what the page cache holds. -1 and errno EAGAIN when it would block.
ssize_t weed_pread_nowait(int fd, void *buffer, size_t length, off_t offset);

/// fallocate with FALLOC_FL_KEEP_SIZE: reserves blocks, leaves the length.
int weed_reserve(int fd, off_t offset, off_t length);

/// Starts write-back of a range without waiting for it.
int weed_start_writeback(int fd, off_t offset, off_t length);

/// copy_file_range; advances both offsets.
ssize_t weed_copy_range(int from, off_t *from_offset, int to, off_t *to_offset, size_t length);

/// Names the calling thread, cut to 15 bytes; shown by top and debuggers.
void weed_name_thread(const char *name);

/// The calling kernel thread's id, for diagnostics.
int weed_thread_id(void);

#endif
