/* SPDX-License-Identifier: Apache-2.0 */
/* Who has a device open, as far as this user may see. "In use" alone costs people hours. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/text.h"

#include "radio/port_line.h"

enum { NAME_ROOM = 64, PATH_ROOM = 300, LINE_ROOM = 256, PID_ROOM = 24 };

#define OURSELVES "this very process (another [link]?)"

static bool is_number(const char *text)
{
    return isdigit((unsigned char)text[0]) && text[strspn(text, "0123456789")] == '\0';
}

/* Has the process one of its descriptors on `device`? */
static bool holds(const char *pid, dev_t device)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    DIR *fds = opendir(path);
    if (fds == NULL)
        return false;
    bool found = false;
    const struct dirent *entry = NULL;
    while (!found && (entry = readdir(fds)) != NULL) {
        struct stat st;
        found = fstatat(dirfd(fds), entry->d_name, &st, 0) == 0 && S_ISCHR(st.st_mode) &&
                st.st_rdev == device;
    }
    closedir(fds);
    return found;
}

static void read_name(const char *pid, char *out, size_t size)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof path, "/proc/%s/comm", pid);
    char comm[NAME_ROOM] = "";
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, comm, sizeof comm - 1) : 0;
    if (fd >= 0)
        close(fd);
    comm[n > 0 ? n : 0] = '\0';
    comm[strcspn(comm, "\n")] = '\0';
    struct text t = text_to(out, size);
    text_escaped(&t, bytes_str(comm));
}

/* The process that has it locked, 0 when there is none to be seen. Others may have it open, too, like
 * the other end of a pseudo terminal, and are not to blame. */
static long lock_owner(const struct stat *st)
{
    char line[LINE_ROOM];
    long owner = 0;
    FILE *locks = fopen("/proc/locks", "re");
    if (locks == NULL)
        return 0;
    while (owner == 0 && fgets(line, sizeof line, locks) != NULL) {
        unsigned maj = 0;
        unsigned min = 0;
        unsigned long long inode = 0;
        long pid = 0;
        if (sscanf(line, "%*s FLOCK %*s %*s %ld %x:%x:%llu", &pid, &maj, &min, &inode) == 4 &&
            inode == st->st_ino && makedev(maj, min) == st->st_dev && pid > 0)
            owner = pid;
    }
    fclose(locks);
    return owner;
}

static void describe(const char *pid, char *out, size_t size)
{
    char name[NAME_ROOM];
    read_name(pid, name, sizeof name);
    snprintf(out, size, "%s (pid %s)", name[0] != '\0' ? name : "a program", pid);
}

static bool find_any(dev_t device, char *out, size_t size)
{
    DIR *proc = opendir("/proc");
    if (proc == NULL)
        return false;
    bool found = false;
    bool self = false;
    const struct dirent *entry = NULL;
    while (!found && (entry = readdir(proc)) != NULL) {
        if (!is_number(entry->d_name) || !holds(entry->d_name, device))
            continue;
        self |= strtol(entry->d_name, NULL, 10) == getpid();
        if (strtol(entry->d_name, NULL, 10) == getpid())
            continue;
        describe(entry->d_name, out, size);
        found = true;
    }
    closedir(proc);
    if (!found && self)
        snprintf(out, size, OURSELVES);
    return found || self;
}

bool port_holder(const struct stat *st, char *out, size_t size)
{
    char pid[PID_ROOM];
    const long owner = lock_owner(st);
    if (owner == 0)
        return find_any(st->st_rdev, out, size);
    snprintf(pid, sizeof pid, "%ld", owner);
    if (owner == getpid())
        snprintf(out, size, OURSELVES);
    else
        describe(pid, out, size);
    return true;
}
