/* SPDX-License-Identifier: Apache-2.0 */
/* Who has a device open, as far as this user may see. "In use" alone costs people hours. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

#include "radio/port_line.h"

enum { NAME_ROOM = 64, PATH_ROOM = 300 };

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

bool port_holder(dev_t device, char *out, size_t size)
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
        char name[NAME_ROOM];
        read_name(entry->d_name, name, sizeof name);
        snprintf(out, size, "%s (pid %s)", name[0] != '\0' ? name : "a program", entry->d_name);
        found = true;
    }
    closedir(proc);
    if (!found && self)
        snprintf(out, size, "this very process (another [link]?)");
    return found || self;
}
