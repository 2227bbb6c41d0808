/* SPDX-License-Identifier: Apache-2.0 */
#include "radio/finder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH = 320 }; /* longer ones are none of ours */

enum { LEVELS = 6 }; /* from a tty up to its USB device; hubs don't count */

static void copy(char *out, const char *text)
{
    snprintf(out, FINDER_TEXT, "%.*s", FINDER_TEXT - 1, text);
}

/* Where the links of a path lead; false when nowhere. */
static bool resolve(const char *path, char out[PATH])
{
    char *target = realpath(path, NULL);
    const bool fits = target != NULL && strlen(target) < PATH;
    if (fits)
        snprintf(out, PATH, "%s", target);
    free(target);
    return fits;
}

/* The first line of a small file; false when it can't be read. */
static bool read_line(const char *directory, const char *name, char out[FINDER_TEXT])
{
    char path[PATH];
    out[0] = '\0';
    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path)
        return false;
    FILE *in = fopen(path, "re");
    if (in == NULL)
        return false;
    const bool got = fgets(out, FINDER_TEXT, in) != NULL;
    fclose(in);
    out[strcspn(out, "\n")] = '\0';
    return got;
}

static unsigned read_hex(const char *directory, const char *name)
{
    char text[FINDER_TEXT];
    return read_line(directory, name, text) ? (unsigned)strtoul(text, NULL, 16) : 0;
}

/* Climbs from the tty's device to the USB device that it belongs to. */
static void look_at_usb(const char *device_link, struct found_port *p)
{
    char at[PATH];
    char text[FINDER_TEXT];
    if (!resolve(device_link, at))
        return;
    for (unsigned level = 0; level < LEVELS; level++) {
        if (read_line(at, "bInterfaceNumber", text))
            p->interface = read_hex(at, "bInterfaceNumber");
        if (read_line(at, "idVendor", text)) {
            p->usb = true;
            p->vid = (uint16_t)read_hex(at, "idVendor");
            p->pid = (uint16_t)read_hex(at, "idProduct");
            read_line(at, "manufacturer", p->manufacturer);
            read_line(at, "product", p->product);
            read_line(at, "serial", p->serial);
            return;
        }
        char *slash = strrchr(at, '/');
        if (slash == NULL || slash == at)
            return;
        *slash = '\0';
    }
}

/* Which link in /dev/serial/by-id leads to the device? */
static void look_for_id(const char *root, struct found_port *p)
{
    char directory[PATH];
    snprintf(directory, sizeof directory, "%s/dev/serial/by-id", root);
    DIR *dir = opendir(directory);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char path[PATH];
        char target[PATH];
        const int n = snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (entry->d_name[0] == '.' || n >= FINDER_TEXT || !resolve(path, target) ||
            strcmp(target, p->device) != 0)
            continue;
        copy(p->by_id, path);
        break;
    }
    if (dir != NULL)
        closedir(dir);
}

/* A tty without a device behind it is a console or a pty; an 8250 port that is not wired has none of
 * a type. */
static bool is_serial(const char *root, const char *name, char link[PATH])
{
    char type_directory[PATH];
    char type[FINDER_TEXT];
    char target[PATH];
    snprintf(link, PATH, "%s/sys/class/tty/%s/device", root, name);
    if (!resolve(link, target))
        return false;
    snprintf(type_directory, sizeof type_directory, "%s/sys/class/tty/%s", root, name);
    return !read_line(type_directory, "type", type) || strcmp(type, "0") != 0;
}

static int by_device(const void *a, const void *b)
{
    return strcmp(((const struct found_port *)a)->device, ((const struct found_port *)b)->device);
}

size_t finder_list(const char *root, struct found_port *out, size_t max)
{
    char directory[PATH];
    size_t n = 0;
    snprintf(directory, sizeof directory, "%s/sys/class/tty", root);
    DIR *dir = opendir(directory);
    const struct dirent *entry;
    while (dir != NULL && n < max && (entry = readdir(dir)) != NULL) {
        char link[PATH];
        if (entry->d_name[0] == '.' || !is_serial(root, entry->d_name, link))
            continue;
        struct found_port *p = &out[n++];
        *p = (struct found_port){.usb = false};
        snprintf(p->device, sizeof p->device, "%s/dev/%.100s", root, entry->d_name);
        look_at_usb(link, p);
        look_for_id(root, p);
        finder_guess(p);
    }
    if (dir != NULL)
        closedir(dir);
    qsort(out, n, sizeof *out, by_device);
    return n;
}

bool finder_identify(const char *root, const char *device, struct found_port *out)
{
    struct found_port *all = calloc(FINDER_MAX, sizeof *all);
    char target[PATH];
    bool found = false;
    if (all != NULL && resolve(device, target)) {
        const size_t n = finder_list(root, all, FINDER_MAX);
        for (size_t i = 0; i < n && !found; i++) {
            found = strcmp(all[i].device, target) == 0;
            if (found)
                *out = all[i];
        }
    }
    free(all);
    return found;
}
