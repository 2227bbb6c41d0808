/* SPDX-License-Identifier: Apache-2.0 */
#include "radio/port_line.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "radio/port_fd.h"
#include "radio/port_termios.h"

enum { GROUP_ROOM = 1024 };

/* A port that is being opened in a thread. It may be closed meanwhile; the request then ends by
 * itself. */
struct request {
    uv_work_t work;
    struct port_fd *port; /* NULL: nobody waits any more */
    int (*opener)(const struct port_config *, const char *, char *, size_t);
    struct port_config config;
    int fd; /* or a negative errno */
    char error[PORT_TEXT_MAX];
    char path[PATH_MAX];
};

struct line {
    struct port_fd base;
    struct request *request; /* under way */
    enum port_flow flow;
};

/* ---- sentences ------------------------------------------------------------------------------- */

static void explain_permission(const char *path, char *text, size_t size)
{
    struct stat st;
    struct group room;
    struct group *group = NULL;
    char names[GROUP_ROOM];
    if (stat(path, &st) != 0 || getgrgid_r(st.st_gid, &room, names, sizeof names, &group) != 0 ||
        group == NULL || st.st_gid == 0 || (st.st_mode & 060) != 060) {
        snprintf(text, size, "%s: no permission to open it (the udev rule of Sennet is missing?)",
                 path);
        return;
    }
    snprintf(text, size,
             "%s: no permission to open it; the user that runs sennetd must be in the group '%s' "
             "(usermod -aG %s USER, then start sennetd again)",
             path, group->gr_name, group->gr_name);
}

static void explain_busy(const char *path, char *text, size_t size)
{
    struct stat st;
    char holder[128];
    if (stat(path, &st) == 0 && port_holder(&st, holder, sizeof holder)) {
        snprintf(text, size, "%s is in use by %s; only one program can have it", path, holder);
    } else {
        snprintf(text, size,
                 "%s is in use by another program (sudo fuser -v %s tells by which); only one can "
                 "have it",
                 path, path);
    }
}

int line_explain(int error, const char *path, char *text, size_t size)
{
    switch (-error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
        snprintf(text, size, "%s is not there: is the stick plugged in?", path);
        return -ENODEV;
    case EACCES:
    case EPERM:
        explain_permission(path, text, size);
        break;
    case EBUSY:
        explain_busy(path, text, size);
        break;
    default:
        snprintf(text, size, "%s can't be opened: %s", path, strerror(-error));
        break;
    }
    return error;
}

/* ---- setting up ------------------------------------------------------------------------------ */

static int explain_settings(int error, const struct port_config *config, const char *path,
                            char *text, size_t size)
{
    if (error == -EINVAL)
        snprintf(text, size, "%s can't do %u baud", path, (unsigned)config->baud);
    else if (error == -ENOTSUP)
        snprintf(text, size, "%s has no RTS/CTS flow control; try flow_control = none", path);
    else
        return line_explain(error, path, text, size);
    return error;
}

static int set_up(int fd, const struct port_config *config, const char *path, char *error,
                  size_t error_size)
{
    static const char pty[] = "/dev/pts/";
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? -EBUSY : line_explain(-errno, path, error, error_size);
    /* A pty is open at its other end, too, where the mark would outlive us. */
    if (strncmp(path, pty, strlen(pty)) != 0)
        ioctl(fd, TIOCEXCL);
    /* Opening has raised both, and boards with a boot loader behind them want them off at once. A
     * line without pins has no levels that could be wrong. */
    int rc = line_set_pins(fd, config->dtr, config->rts);
    if (rc == 0 || rc == -ENOTTY || rc == -EINVAL)
        rc = line_configure(fd, config->baud, config->flow_control);
    return rc != 0 ? explain_settings(rc, config, path, error, error_size) : 0;
}

int line_set_up(int fd, const struct port_config *config, const char *path, char *error,
                size_t error_size)
{
    const int rc = set_up(fd, config, path, error, error_size);
    if (rc == 0)
        return fd;
    close(fd);
    /* Only now, because the search would come upon this descriptor, too. */
    return rc == -EBUSY ? line_explain(rc, path, error, error_size) : rc;
}

int line_set(struct port *port, int32_t baud, int dtr, int rts)
{
    const struct line *l = (const struct line *)(const void *)port;
    if (l->base.fd < 0)
        return -ENODEV;
    int rc = baud > 0 ? line_set_baud(l->base.fd, (uint32_t)baud) : 0;
    /* With hardware flow control RTS is the driver's. */
    const int rc_pins = line_set_pins(l->base.fd, dtr, l->flow == PORT_FLOW_RTSCTS ? -1 : rts);
    return rc != 0 ? rc : rc_pins;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void work(uv_work_t *w)
{
    struct request *r = w->data;
    r->fd = r->opener(&r->config, r->path, r->error, sizeof r->error);
}

static void after_work(uv_work_t *w, int status)
{
    struct request *r = w->data;
    struct port_fd *p = r->port;
    if (p == NULL) {
        if (status == 0 && r->fd >= 0)
            close(r->fd);
    } else {
        ((struct line *)(void *)p)->request = NULL;
        if (r->fd >= 0)
            port_fd_adopt(p, r->fd, false);
        else
            port_fd_fail(p, r->fd, r->error);
    }
    free(r);
}

/* A thread that has not begun never will; one that has closes what it opened. */
static void abandon(struct port_fd *p)
{
    struct line *l = (struct line *)(void *)p;
    if (l->request == NULL)
        return;
    l->request->port = NULL;
    uv_cancel((uv_req_t *)&l->request->work);
    l->request = NULL;
}

int line_check(const struct port_config *config, char *error, size_t error_size)
{
    struct stat st;
    if (config->device == NULL || config->device[0] != '/') {
        snprintf(error, error_size,
                 "the device must be a path like /dev/serial/by-id/..., or tcp://host:port");
        return -EINVAL;
    }
    if (stat(config->device, &st) != 0)
        return line_explain(-ENODEV, config->device, error, error_size);
    if (S_ISCHR(st.st_mode))
        return 0;
    snprintf(error, error_size, "%s is %s, not a serial device", config->device,
             S_ISDIR(st.st_mode) ? "a directory" : "a file");
    return -ENOTTY;
}

int line_begin(const struct port_kind *kind, uv_loop_t *loop, const struct port_config *config,
               const struct port_sink *sink,
               int (*opener)(const struct port_config *, const char *, char *, size_t),
               struct port **out, char *error, size_t error_size)
{
    int rc = line_check(config, error, error_size);
    if (rc != 0)
        return rc;
    struct request *r = calloc(1, sizeof *r);
    struct port_fd *p = r != NULL ? port_fd_new(sizeof(struct line), kind, loop, sink) : NULL;
    if (p == NULL) {
        free(r);
        return line_explain(-ENOMEM, config->device, error, error_size);
    }
    if (realpath(config->device, r->path) == NULL)
        snprintf(r->path, sizeof r->path, "%s", config->device);
    snprintf(p->where, sizeof p->where, "%.279s", r->path);
    struct line *l = (struct line *)(void *)p;
    l->flow = config->flow_control;
    l->request = r;
    p->closing = abandon;
    r->port = p;
    r->opener = opener;
    r->config = *config;
    r->config.device = r->path; /* the caller's text may be gone by then */
    r->work.data = r;
    rc = uv_queue_work(loop, &r->work, work, after_work);
    if (rc != 0) {
        l->request = NULL;
        free(r);
        port_fd_close(&p->base);
        return line_explain(rc, config->device, error, error_size);
    }
    *out = &p->base;
    return 0;
}
