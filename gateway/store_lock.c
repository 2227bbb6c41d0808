/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One daemon per directory. The lock belongs to the open file, so it goes with the process, however
 * that ends, and what a dead one has written into the file says nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "store_priv.h"

/* "1234", or "" if it is not there (yet). */
static void holder(int fd, char *out, size_t size)
{
    const ssize_t n = pread(fd, out, size - 1, 0);
    const size_t len = n > 0 ? strspn(out, "0123456789") : 0;
    out[n > 0 && len < (size_t)n ? len : n > 0 ? (size_t)n : 0] = '\0';
}

static void say_in_use(int fd, const char *dir, char *error, size_t error_size)
{
    char pid[16] = "";
    holder(fd, pid, sizeof pid);
    snprintf(error, error_size,
             "state_dir %s is in use by another process%s%s; give each gateway a directory of its "
             "own, or end that one",
             dir, pid[0] != '\0' ? ", pid " : "", pid);
}

int store_lock(const char *dir, char *error, size_t error_size)
{
    char *const path = sqlite3_mprintf("%s/sennet.lock", dir);
    if (path == NULL)
        return -ENOMEM;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == EROFS) /* there may be one from before */
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int rc = fd < 0 ? -errno : 0;
    if (rc != 0) {
        snprintf(error, error_size, "%s can't be opened: %s", path, strerror(-rc));
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        rc = -errno;
        if (rc == -EWOULDBLOCK)
            say_in_use(fd, dir, error, error_size);
        else
            snprintf(error, error_size, "%s can't be locked: %s", path, strerror(-rc));
    }
    sqlite3_free(path);
    if (rc != 0) {
        if (fd >= 0)
            close(fd);
        return rc;
    }
    char pid[16];
    const int len = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    /* Only to be told to others: that it can't be written shows soon enough elsewhere. */
    if (ftruncate(fd, 0) == 0 && pwrite(fd, pid, (size_t)len, 0) < 0)
        return fd;
    return fd;
}

bool store_in_use(const char *dir, char *error, size_t error_size)
{
    char *const path = sqlite3_mprintf("%s/sennet.lock", dir);
    const int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    sqlite3_free(path);
    if (fd < 0)
        return false;
    const bool in_use = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (in_use)
        say_in_use(fd, dir, error, error_size);
    close(fd);
    return in_use;
}

void store_unlock(int fd)
{
    if (fd < 0)
        return;
    if (ftruncate(fd, 0) != 0)
        (void)errno; /* a pid of nobody: harmless */
    close(fd);
}
