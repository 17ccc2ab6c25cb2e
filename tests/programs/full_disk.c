/* A disk that becomes full: preloaded into a process, it counts what takes room below a folder and fails it from the n-th on.

   gcc -shared -fPIC -O1 -o full_disk.so full_disk.c -ldl
   LD_PRELOAD=full_disk.so FULL_BELOW=/folder [FULL_AT=n] [FULL_FOR=k] [FULL_LOG=/elsewhere] COMMAND

   Counted: a write, a file that grows, a new file, folder or name, a sync. The n-th to the (n+k-1)-th fail with ENOSPC (k: no
   end); of the first of several, where it is a write, one half is written. Without FULL_AT it only counts. FULL_LOG gets, at the end, the
   count and what failed first. Processes that the command starts are spared. A process that has it loaded arms it itself by
   full_disk_arm. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char below[PATH_MAX], hit[2 * PATH_MAX], report[PATH_MAX];
static long first, last, count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void full_disk_arm(const char *folder, long at, long n) {
    if (!realpath(folder, below)) below[0] = 0;
    count = 0, first = at, last = at + (n > 0 ? n - 1 : LONG_MAX - at - 1), hit[0] = 0;
}
long full_disk_count(void) { return count; }
const char *full_disk_hit(void) { return hit; }

static int is_below(const char *path) {
    size_t n = strlen(below);
    return n && !strncmp(path, below, n) && (!path[n] || path[n] == '/');
}

/* 0: there is room; 1: there is none; 2: there is for a half. */
static int full(const char *what, const char *path) {
    pthread_mutex_lock(&lock);
    long now = ++count;
    int is_full = first && now >= first && now <= last;
    if (is_full && !hit[0]) snprintf(hit, sizeof hit, "%s %s", what, path);
    pthread_mutex_unlock(&lock);
    if (is_full) errno = ENOSPC;
    return is_full ? 1 + (now == first && last > first) : 0;
}

static int full_fd(const char *what, int fd) {
    char link[64], path[PATH_MAX];
    if (!below[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return is_below(path) ? full(what, path) : 0;
}

static int full_path(const char *what, const char *path) {
    char whole[2 * PATH_MAX], parent[PATH_MAX], real[PATH_MAX];
    if (!below[0]) return 0;
    snprintf(parent, sizeof parent, "%s", path);
    char *name = strrchr(parent, '/');
    if (name) *name++ = 0;
    if (!realpath(!name ? "." : parent[0] ? parent : "/", real)) return 0;
    snprintf(whole, sizeof whole, "%s/%s", real, name ? name : path);
    return is_below(whole) ? full(what, whole) : 0;
}

#define WRITE(name, ...) \
    switch (full_fd(#name, fd)) { case 1: return -1; case 2: if (n < 2) return -1; n /= 2; } \
    return REAL(name)(fd, data, n, ##__VA_ARGS__);
ssize_t write(int fd, const void *data, size_t n) { WRITE(write) }
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { WRITE(pwrite, at) }
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) { WRITE(pwrite64, at) }
ssize_t writev(int fd, const struct iovec *data, int n) { return full_fd("writev", fd) ? -1 : REAL(writev)(fd, data, n); }
ssize_t sendfile(int fd, int from, off_t *at, size_t n) { return full_fd("sendfile", fd) ? -1 : REAL(sendfile)(fd, from, at, n); }
ssize_t sendfile64(int fd, int from, off64_t *at, size_t n) { return full_fd("sendfile", fd) ? -1 : REAL(sendfile64)(fd, from, at, n); }
ssize_t copy_file_range(int from, off64_t *a, int fd, off64_t *b, size_t n, unsigned f) {
    return full_fd("copy_file_range", fd) ? -1 : REAL(copy_file_range)(from, a, fd, b, n, f);
}
static int grows(int fd, off64_t size) { struct stat is; return !fstat(fd, &is) && size > is.st_size; }
int ftruncate(int fd, off_t n) { return grows(fd, n) && full_fd("ftruncate", fd) ? -1 : REAL(ftruncate)(fd, n); }
int ftruncate64(int fd, off64_t n) { return grows(fd, n) && full_fd("ftruncate", fd) ? -1 : REAL(ftruncate64)(fd, n); }
int posix_fallocate(int fd, off_t at, off_t n) { return full_fd("posix_fallocate", fd) ? ENOSPC : REAL(posix_fallocate)(fd, at, n); }
int fsync(int fd) { return full_fd("fsync", fd) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return full_fd("fdatasync", fd) ? -1 : REAL(fdatasync)(fd); }

int mkdir(const char *path, mode_t mode) {
    return access(path, F_OK) && full_path("mkdir", path) ? -1 : REAL(mkdir)(path, mode);
}
int link(const char *from, const char *path) { return full_path("link", path) ? -1 : REAL(link)(from, path); }
int linkat(int a, const char *from, int b, const char *path, int flags) {
    return b == AT_FDCWD && full_path("link", path) ? -1 : REAL(linkat)(a, from, b, path, flags);
}
int rename(const char *from, const char *path) { return full_path("rename", path) ? -1 : REAL(rename)(from, path); }

#define MODE() mode_t mode = 0; if (flags & O_CREAT) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
#define IS_NEW(path) ((flags & O_CREAT) && access(path, F_OK) && full_path("open", path))
int open(const char *path, int flags, ...) { MODE() return IS_NEW(path) ? -1 : REAL(open)(path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE() return IS_NEW(path) ? -1 : REAL(open64)(path, flags, mode); }
int openat(int at, const char *path, int flags, ...) {
    MODE() return at == AT_FDCWD && IS_NEW(path) ? -1 : REAL(openat)(at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...) {
    MODE() return at == AT_FDCWD && IS_NEW(path) ? -1 : REAL(openat64)(at, path, flags, mode);
}

__attribute__((constructor)) static void from_environment(void) {
    const char *folder = getenv("FULL_BELOW"), *at = getenv("FULL_AT"), *n = getenv("FULL_FOR"), *log = getenv("FULL_LOG");
    if (log) snprintf(report, sizeof report, "%s", log);
    if (folder) full_disk_arm(folder, at ? atol(at) : 0, n ? atol(n) : 0);
    unsetenv("LD_PRELOAD"), unsetenv("FULL_BELOW"), unsetenv("FULL_AT"), unsetenv("FULL_FOR"), unsetenv("FULL_LOG");
}
__attribute__((destructor)) static void say(void) {
    FILE *file = report[0] ? fopen(report, "w") : NULL;
    if (file) fprintf(file, "%ld %s\n", count, hit), fclose(file);
}
