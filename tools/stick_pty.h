/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The USB port of an emulated stick: a pseudo terminal that comes and goes, mostly under another
 * name, and a symbolic link that leads to it, as /dev/serial/by-id has them.
 */
#ifndef SENNET_TOOLS_STICK_PTY_H
#define SENNET_TOOLS_STICK_PTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/emu/emu.h"

struct stick_pty {
    int master, slave; /* the slave stays open, or the master could not be read; -1: pulled out */
    int squatter;      /* has the name that the terminal had; -1: nobody */
    unsigned pulled;   /* times */
    char name[64];
    const char *link; /* NULL: none. Not owned */
};

void stick_pty_init(struct stick_pty *p, const char *link);

/* False with errno when the system has no terminal for it. */
bool stick_pty_plug(struct stick_pty *p);

/* Hangs up. Every other time somebody takes the old name until it comes back. */
void stick_pty_pull(struct stick_pty *p);

/* For ever: the link is removed. */
void stick_pty_deinit(struct stick_pty *p);

/* What the host wrote, as far as the line takes it: the rest waits in the terminal, as with flow
 * control. Octets read. */
size_t stick_pty_read(const struct stick_pty *p, struct emu *emu, int64_t now_us);

/* What has reached the host by now; `*full`: the terminal does not take more. Octets written. */
size_t stick_pty_write(const struct stick_pty *p, struct emu *emu, int64_t now_us, bool *full);

#endif
