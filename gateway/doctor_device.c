/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "doctor_priv.h"
#include "radio/finder.h"
#include "radio/port_line.h"

static bool is_network(const char *device)
{
    return strncmp(device, "tcp://", 6) == 0;
}

/* ---- is it there? ------------------------------------------------------------------------------ */

static void list_others(struct doctor *d)
{
    struct found_port *ports = calloc(FINDER_MAX, sizeof *ports);
    const size_t n = ports != NULL ? finder_list(d->root, ports, FINDER_MAX) : 0;
    if (n == 0)
        fprintf(d->out, "        There is no serial device at all: plug it in, and see what the "
                        "kernel says (dmesg | tail). In a container it has to be passed on.\n");
    for (size_t i = 0; i < n; i++) {
        const struct found_port *p = &ports[i];
        fprintf(d->out, "        There is %s%s%s%s\n", p->by_id[0] != '\0' ? p->by_id : p->device,
                p->name != NULL ? " (" : "", p->name != NULL ? p->name : "",
                p->name != NULL ? ")" : "");
    }
    free(ports);
}

static bool is_there(struct doctor *d, const char *device, struct stat *st)
{
    if (stat(device, st) != 0) {
        doctor_bad(d, "%s: %s.", device, strerror(errno));
        list_others(d);
        return false;
    }
    if (!S_ISCHR(st->st_mode)) {
        doctor_bad(d, "%s is no device, but a file.", device);
        return false;
    }
    return true;
}

/* ---- may we? ----------------------------------------------------------------------------------- */

static bool in_group(gid_t group)
{
    gid_t groups[256];
    const int n = getgroups(sizeof groups / sizeof groups[0], groups);
    bool found = getegid() == group;
    for (int i = 0; i < n; i++)
        found = found || groups[i] == group;
    return found;
}

static bool may_open(struct doctor *d, const char *device, const struct stat *st)
{
    if (access(device, R_OK | W_OK) == 0)
        return true;
    const struct group *group = getgrgid(st->st_gid);
    const struct passwd *user = getpwuid(geteuid());
    const char *group_name = group != NULL ? group->gr_name : "its group";
    const char *user_name = user != NULL ? user->pw_name : "this user";
    if (in_group(st->st_gid) || (st->st_mode & 0060) != 0060)
        doctor_bad(d,
                   "%s may not be opened by %s: its mode is %03o. The udev rules of an "
                   "installation set it; replug the stick after installing them.",
                   device, user_name, (unsigned)st->st_mode & 0777);
    else
        doctor_bad(
            d,
            "%s belongs to group %s, in which %s is not: sudo usermod -aG %s %s, then log in "
            "again (the systemd unit of an installation has that group).",
            device, group_name, user_name, group_name, user_name);
    return false;
}

/* ---- who has it? ------------------------------------------------------------------------------- */

/* Whoever has it for itself makes opening fail, and is named then; others would read half of what
 * the stick says. The other end of a pseudo terminal is no such thing. */
static void look_for_users(struct doctor *d, const char *device, const struct stat *st)
{
    char holder[128];
    char *target = realpath(device, NULL);
    const bool is_pty = target != NULL && strncmp(target, "/dev/pts/", 9) == 0;
    free(target);
    if (!is_pty && port_holder(st, holder, sizeof holder))
        doctor_warn(d, "%s is open in %s, too: stop it. Two programs can't share a stick.", device,
                    holder);
}

/* ---- what is it? ------------------------------------------------------------------------------- */

static void compare(struct doctor *d, const struct config_link *l)
{
    struct found_port p;
    const bool fixed = strcmp(l->driver, "auto") != 0 && strcmp(l->driver, "serial") != 0;
    if (!finder_identify(d->root, l->device, &p)) {
        doctor_good(d, "%s is there, and may be opened.", l->device);
        return;
    }
    doctor_good(d, "%s is there, and may be opened: %s.", l->device,
                p.name != NULL ? p.name : "nothing that could be told by its name");
    if (p.by_id[0] != '\0' && strncmp(l->device, "/dev/tty", 8) == 0)
        doctor_warn(d, "%s may be another device after the next boot: better device = %s.",
                    l->device, p.by_id);
    if (fixed && p.sure == FINDER_CERTAIN && strcmp(p.driver, l->driver) != 0)
        doctor_warn(d, "By its name it wants driver = %s, and the configuration says %s.", p.driver,
                    l->driver);
}

bool doctor_device(struct doctor *d, const struct config_link *l)
{
    struct stat st;
    if (is_network(l->device))
        return true;
    if (!is_there(d, l->device, &st) || !may_open(d, l->device, &st))
        return false;
    look_for_users(d, l->device, &st);
    compare(d, l);
    return true;
}

/* ---- who disturbs? ----------------------------------------------------------------------------- */

static const char *advice_about(const char *name)
{
    static const char *const known[][2] = {
        {"ModemManager", "it talks to every new serial device for half a minute. The udev rules of "
                         "an installation keep it away from known sticks; or: sudo systemctl "
                         "disable --now ModemManager"},
        {"brltty",       "it takes CH340 and CP210x adapters for braille displays: sudo apt remove "
                   "brltty"                                },
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(name, known[i][0]) == 0)
            return known[i][1];
    }
    return NULL;
}

void doctor_disturbers(struct doctor *d)
{
    char path[DOCTOR_TEXT];
    snprintf(path, sizeof path, "%s/proc", d->root);
    DIR *proc = opendir(path);
    const struct dirent *entry;
    while (proc != NULL && (entry = readdir(proc)) != NULL) {
        char name[64] = "";
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
            continue;
        snprintf(path, sizeof path, "%s/proc/%.32s/comm", d->root, entry->d_name);
        FILE *in = fopen(path, "re");
        if (in == NULL)
            continue;
        if (fgets(name, sizeof name, in) != NULL)
            name[strcspn(name, "\n")] = '\0';
        fclose(in);
        if (advice_about(name) != NULL)
            doctor_warn(d, "%s is running: %s.", name, advice_about(name));
    }
    if (proc != NULL)
        closedir(proc);
}
