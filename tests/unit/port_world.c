/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/port_world.h"

#include <dirent.h>
#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <check.h>

enum { SAFETY_MS = 20000 };

/* ---- callbacks ------------------------------------------------------------------------------- */

static void close_if(struct port_world *w, char where)
{
    if (w->close_in == where)
        pw_close(w);
}

static void on_opened(void *owner)
{
    struct port_world *w = owner;
    ck_assert_ptr_nonnull(w->port);
    w->opened++;
    close_if(w, 'o');
}

static void on_bytes(void *owner, struct bytes in)
{
    struct port_world *w = owner;
    ck_assert_ptr_nonnull(w->port);
    ck_assert_uint_gt(in.len, 0);
    ck_assert_uint_le(in.len, 1024);
    ck_assert_uint_eq(w->lost, 0);
    ck_assert_uint_le(w->n_heard + in.len, PW_HEARD);
    memcpy(w->heard + w->n_heard, in.data, in.len);
    w->n_heard += in.len;
    w->pieces++;
    close_if(w, 'b');
}

static void on_writable(void *owner)
{
    struct port_world *w = owner;
    ck_assert_ptr_nonnull(w->port);
    w->writable++;
    close_if(w, 'w');
}

static void on_lost(void *owner, int error, const char *text)
{
    struct port_world *w = owner;
    ck_assert_ptr_nonnull(w->port);
    ck_assert_int_lt(error, 0);
    w->lost++;
    w->error = error;
    snprintf(w->text, sizeof w->text, "%s", text);
    close_if(w, 'l');
}

static void on_safety(uv_timer_t *timer)
{
    ((struct port_world *)timer->data)->late = true;
}

/* ---- life ------------------------------------------------------------------------------------ */

void pw_start(struct port_world *w)
{
    *w = (struct port_world){
        .config = {.baud = 115200, .flow_control = PORT_FLOW_NONE, .dtr = -1, .rts = -1}
    };
    w->heard = malloc(PW_HEARD);
    ck_assert_ptr_nonnull(w->heard);
    ck_assert_int_eq(uv_loop_init(&w->loop), 0);
    uv_timer_init(&w->loop, &w->safety);
    w->safety.data = w;
    uv_timer_start(&w->safety, on_safety, SAFETY_MS, 0);
    uv_unref((uv_handle_t *)&w->safety);
}

int pw_open(struct port_world *w, const struct port_kind *kind, const char *device)
{
    const struct port_sink sink = {.owner = w,
                                   .opened = on_opened,
                                   .bytes = on_bytes,
                                   .writable = on_writable,
                                   .lost = on_lost};
    ck_assert_ptr_null(w->port);
    /* The port must not keep what it was called with. */
    char *copy = strdup(device);
    w->config.device = copy;
    w->refusal[0] = w->text[0] = '\0';
    w->opened = w->lost = w->writable = w->pieces = 0;
    w->n_heard = 0;
    const int rc = (kind != NULL ? kind : port_find(copy))
                       ->open(&w->loop, &w->config, &sink, &w->port, w->refusal, sizeof w->refusal);
    memset(copy, '?', strlen(copy));
    free(copy);
    w->config.device = NULL;
    ck_assert_uint_eq(w->opened + w->lost + w->pieces, 0);
    return rc;
}

void pw_close(struct port_world *w)
{
    struct port *port = w->port;
    w->port = NULL;
    port->kind->close(port);
}

void pw_end(struct port_world *w)
{
    if (w->port != NULL)
        pw_close(w);
    uv_close((uv_handle_t *)&w->safety, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&w->loop), 0);
    free(w->heard);
}

/* ---- ptys ------------------------------------------------------------------------------------ */

void pty_open(struct pty *p)
{
    struct termios t;
    ck_assert_int_eq(openpty(&p->master, &p->slave, p->name, NULL, NULL), 0);
    tcgetattr(p->slave, &t);
    cfmakeraw(&t);
    tcsetattr(p->slave, TCSANOW, &t);
    fcntl(p->master, F_SETFD, FD_CLOEXEC);
    fcntl(p->slave, F_SETFD, FD_CLOEXEC);
}

void pty_close(struct pty *p)
{
    close(p->slave);
    close(p->master);
    p->master = p->slave = -1;
}

void pty_say(const struct pty *p, const void *data, size_t len)
{
    ck_assert_int_eq(write(p->master, data, len), (ssize_t)len);
}

unsigned count_descriptors(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}
