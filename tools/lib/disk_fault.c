// Preloaded into a server under test. While the file named by WEED_FAULT_TRIGGER exists and holds
// "all SUFFIX" or "sync SUFFIX", writes and syncs (or only syncs) of files whose path ends in
// SUFFIX fail with EIO. Everything else goes to the C library.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int faulty(int descriptor, int is_sync) {
    const char *trigger = getenv("WEED_FAULT_TRIGGER");
    if (!trigger || access(trigger, F_OK) != 0) return 0;
    char order[300], link[64], path[PATH_MAX];
    int file = open(trigger, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t got = read(file, order, sizeof order - 1);
    close(file);
    if (got <= 0) return 0;
    order[got] = 0;
    char *suffix = strchr(order, ' ');
    if (!suffix) return 0;
    *suffix++ = 0;
    if (strcmp(order, "sync") == 0 && !is_sync) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    ssize_t wanted = strlen(suffix);
    return length >= wanted && memcmp(path + length - wanted, suffix, wanted) == 0;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define FAULTY(type, name, is_sync, parameters, ...)         \
    type name parameters {                                   \
        if (faulty(fd, is_sync)) { errno = EIO; return -1; } \
        return NEXT(name)(__VA_ARGS__);                      \
    }

FAULTY(ssize_t, write, 0, (int fd, const void *data, size_t n), fd, data, n)
FAULTY(ssize_t, writev, 0, (int fd, const struct iovec *v, int n), fd, v, n)
FAULTY(ssize_t, pwrite, 0, (int fd, const void *data, size_t n, off_t at), fd, data, n, at)
FAULTY(ssize_t, pwrite64, 0, (int fd, const void *data, size_t n, off64_t at), fd, data, n, at)
FAULTY(ssize_t, pwritev, 0, (int fd, const struct iovec *v, int n, off_t at), fd, v, n, at)
FAULTY(ssize_t, pwritev64, 0, (int fd, const struct iovec *v, int n, off64_t at), fd, v, n, at)
FAULTY(ssize_t, pwritev2, 0, (int fd, const struct iovec *v, int n, off_t at, int f), fd, v, n,
       at, f)
FAULTY(int, fsync, 1, (int fd), fd)
FAULTY(int, fdatasync, 1, (int fd), fd)
