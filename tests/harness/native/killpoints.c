/* Preloaded into a test's process: counts the calls by which bytes reach files and sockets, and at a chosen one kills
 * the process, before it, after half of it, or from there on fails them as a full disk does. Calls on pipes and on
 * standard streams are let through, so that the process can tell how far it came.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OFF, KILL_BEFORE, KILL_HALFWAY, DISK_FULL };

static volatile int mode = OFF;
static volatile long left = 0;
static volatile long counted = 0;

void killpoints_arm(int how, long at) {
    counted = 0;
    left = at;
    mode = how;
}

long killpoints_count(void) { return counted; }

static int matters(int fd) {
    struct stat found;
    if (mode == OFF || fd <= 2 || fstat(fd, &found) != 0) return 0;
    if (mode == DISK_FULL) return S_ISREG(found.st_mode);
    return S_ISREG(found.st_mode) || S_ISSOCK(found.st_mode);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* 0: go on; 1: this is the call to do half of; -1: fail. */
static int at_point(int fd) {
    if (!matters(fd)) return 0;
    __sync_fetch_and_add(&counted, 1);
    long now = __sync_sub_and_fetch(&left, 1);
    if (mode == DISK_FULL) return now < 0 ? -1 : 0;
    if (now != 0) return 0;
    if (mode == KILL_BEFORE) die();
    return 1;
}

#define NEXT(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define HALFWAY(all, half) \
    switch (at_point(fd)) { \
    case 0: return all; \
    case 1: (void)!half; die(); \
    } \
    errno = ENOSPC; \
    return -1

ssize_t write(int fd, const void *data, size_t size) {
    NEXT(ssize_t, "write", int, const void *, size_t);
    HALFWAY(real(fd, data, size), real(fd, data, size / 2));
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    NEXT(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    HALFWAY(real(fd, data, size, at), real(fd, data, size / 2, at));
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    NEXT(ssize_t, "pwrite", int, const void *, size_t, off_t);
    HALFWAY(real(fd, data, size, at), real(fd, data, size / 2, at));
}

ssize_t send(int fd, const void *data, size_t size, int flags) {
    NEXT(ssize_t, "send", int, const void *, size_t, int);
    HALFWAY(real(fd, data, size, flags), real(fd, data, size / 2, flags));
}

ssize_t recv(int fd, void *data, size_t size, int flags) {
    NEXT(ssize_t, "recv", int, void *, size_t, int);
    HALFWAY(real(fd, data, size, flags), real(fd, data, size, flags));
}

int fdatasync(int fd) {
    NEXT(int, "fdatasync", int);
    HALFWAY(real(fd), real(fd));
}

int fsync(int fd) {
    NEXT(int, "fsync", int);
    HALFWAY(real(fd), real(fd));
}

int ftruncate64(int fd, off64_t size) {
    NEXT(int, "ftruncate64", int, off64_t);
    HALFWAY(real(fd, size), real(fd, size));
}

int ftruncate(int fd, off_t size) {
    NEXT(int, "ftruncate", int, off_t);
    HALFWAY(real(fd, size), real(fd, size));
}
