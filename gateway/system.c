/* SPDX-License-Identifier: Apache-2.0 */
#include "system.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int64_t system_wall_ms(void)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

unsigned system_minute(int64_t wall_ms)
{
    const time_t seconds = (time_t)(wall_ms / 1000);
    struct tm local = {0};
    tzset(); /* localtime_r() alone goes on with the time zone of the start */
    localtime_r(&seconds, &local);
    return (unsigned)(local.tm_hour * 60 + local.tm_min);
}

int system_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        const int null = open("/dev/null", O_RDWR); /* the lowest number free: `fd` */
        if (null < 0)
            return -errno;
        assert(null == fd);
    }
    return 0;
}

int system_random(void *out, size_t size)
{
    size_t done = 0;
    while (done < size) {
        const ssize_t n = getrandom((char *)out + done, size - done, 0);
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* The C library's own limits, but that they stay: they would follow the largest block that was ever freed,
 * a table that has grown, and then megabytes are kept. */
void system_tune_memory(void)
{
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
#endif
}

/* Whatever is mapped for reading alone is as it is in the file. Not the program itself: debuggers write
 * their breakpoints there. */
static int let_go(struct dl_phdr_info *object, size_t size, void *arg)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    (void)size;
    (void)arg;
    if (object->dlpi_name == NULL || object->dlpi_name[0] != '/')
        return 0;
    for (unsigned i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || (part->p_flags & PF_W) != 0)
            continue;
        const uintptr_t begin = (object->dlpi_addr + part->p_vaddr) & ~(page - 1);
        const uintptr_t end = object->dlpi_addr + part->p_vaddr + part->p_memsz;
        madvise((void *)begin, end - begin, MADV_DONTNEED); /* advice: it may be refused */
    }
    return 0;
}

void system_let_go_of_start(void)
{
    dl_iterate_phdr(let_go, NULL);
}

void system_raise_file_limit(void)
{
    enum { WANTED = 4096 };
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= WANTED)
        return;
    limit.rlim_cur = limit.rlim_max < WANTED ? limit.rlim_max : WANTED;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int failed(int error, const char *path, char *text, size_t text_size)
{
    snprintf(text, text_size,
             "state_dir %s can't be used: %s; create it for this user, or name another one in "
             "[gateway]",
             path, strerror(error));
    return -error;
}

/* mkdir -p: every prefix of `path` that ends before a slash, then `path` itself. */
static int make_path(const char *path)
{
    char *prefix = strdup(path);
    if (prefix == NULL)
        return -ENOMEM;
    int rc = *path != '\0' ? 0 : -ENOENT;
    for (size_t i = 1; rc == 0 && prefix[i - 1] != '\0'; i++) {
        const char next = prefix[i];
        if (next != '/' && next != '\0')
            continue;
        prefix[i] = '\0';
        if (mkdir(prefix, 0700) != 0 && errno != EEXIST)
            rc = -errno;
        prefix[i] = next;
    }
    free(prefix);
    return rc;
}

int system_state_dir(const char *path, char *error, size_t error_size)
{
    struct stat st;
    const int rc = stat(path, &st) == 0 ? 0 : make_path(path);
    if (rc != 0)
        return failed(-rc, path, error, error_size);
    if (stat(path, &st) != 0)
        return failed(errno, path, error, error_size);
    if (!S_ISDIR(st.st_mode))
        return failed(ENOTDIR, path, error, error_size);
    if (access(path, W_OK | X_OK) != 0 && errno != EROFS) /* which may pass */
        return failed(errno, path, error, error_size);
    return 0;
}
