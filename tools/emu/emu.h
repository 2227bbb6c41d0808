/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An emulated stick: the other side of a serial line, as the firmware of its family behaves, as a
 * pure machine over the ether. Written from the protocol reference, not from our drivers, so that
 * both can be wrong only separately. Bytes from the host go in, bytes for the host come out.
 *
 * A front end (emu_xbee.c ...) exports one `struct emu_driver`; the frame around it (emu.c) owns
 * the bytes, the serial faults and the link to the ether.
 */
#ifndef SENNET_TOOLS_EMU_EMU_H
#define SENNET_TOOLS_EMU_EMU_H

#include "base/rng.h"

#include "tools/emu/ether.h"

enum {
    EMU_OUT_BYTES = 65536, /* that the host has not read; more are lost (overruns) */
    EMU_BACKLOG = 4096,    /* of these, and what comes from the air is lost: no stick keeps more */
    EMU_IN_BYTES = 8192,   /* that are still on the line to the stick */
    EMU_CHUNKS = 2048,     /* pieces of either, each with its time */
    EMU_FRAME_MAX = 1024,
};

/* Serial faults, in percent of frames (or of bytes, where said); all 0: a perfect line. */
struct emu_faults {
    double garbage_percent; /* random bytes before a frame to the host */
    double flip_percent;    /* one bit of a frame to the host is turned */
    double drop_percent;    /* one byte of a frame to the host is missing */
    double split_percent;   /* the frame comes in two pieces, split_ms apart */
    int64_t split_ms;
    double busy_percent;  /* "could not start" answers to sends */
    double mute_percent;  /* the confirm of a send never comes */
    double stray_percent; /* a confirm for an id that nobody used comes along */
};

/* What a stick is before the host talks to it. */
struct emu_config {
    uint64_t seed;
    uint64_t eui64;    /* of the coordinator */
    bool formed;       /* a network is stored in the stick */
    uint8_t channel;   /* of that network; 0: 15 */
    uint16_t pan_id;   /* of that network; 0: 1A62 */
    unsigned firmware; /* of the family's variants, see each emu_*.c; 0: the common one */
    uint32_t baud;  /* to pace the line: bytes to and from the host take their time. 0: at once */
    unsigned slots; /* outstanding sends it takes; 0: as the family's firmware */
    int64_t command_ms; /* time it takes to answer a command (emu_answer()); 0: at once */
    struct emu_faults faults;
};

struct emu;

struct emu_driver {
    const char *name; /* as the driver of the gateway that speaks to it */
    size_t size;      /* of its machine, which begins with struct emu; zeroed before init */
    void (*init)(struct emu *m);
    void (*power_on)(struct emu *m, int64_t now_ms); /* also after a reset by itself */
    void (*input)(struct emu *m, int64_t now_ms, struct bytes in);
    void (*event)(struct emu *m, int64_t now_ms, const struct ether_event *event);
    void (*advance)(struct emu *m, int64_t now_ms);
    int64_t (*next_deadline)(const struct emu *m);
};

/* Each has one row in emu_drivers.c. */
extern const struct emu_driver emu_xbee, emu_znp, emu_ezsp, emu_deconz, emu_serial;

/* NULL: no such. Name number `i`, NULL past the end. */
const struct emu_driver *emu_driver_find(const char *name);
const char *emu_driver_name(size_t i);

/* Octets on a line: one after the other from `from_us` on. */
struct emu_chunk {
    int64_t from_us;
    size_t len, taken;
};

/* One direction of the line. */
struct emu_line {
    uint8_t *bytes; /* ring of `size` */
    size_t size, head, used;
    struct emu_chunk *chunks; /* ring of EMU_CHUNKS */
    size_t first, n_chunks;
    int64_t free_us; /* the last octet has passed */
};

struct emu {
    const struct emu_driver *driver;
    struct emu_config config;
    struct ether *ether; /* not owned */
    struct rng rng;
    int64_t now_us;
    bool on;
    struct emu_line out, in; /* to the host, from the host */
    uint64_t frames_in, bad_frames_in, frames_out, sends, resets;
    uint64_t overruns; /* octets lost because nobody read, or the host wrote too fast */
};

/* A stick that is switched on; NULL when out of memory. */
struct emu *emu_new(const struct emu_driver *driver, const struct emu_config *config,
                    struct ether *ether, int64_t now_ms);
void emu_free(struct emu *m);

/* Changes the faults from now on. */
void emu_set_faults(struct emu *m, const struct emu_faults *faults);

/* What the firmware keeps without power stays (network, settings that were written). */
void emu_power_off(struct emu *m, int64_t now_ms);
void emu_power_on(struct emu *m, int64_t now_ms);

/* With a baud rate they take their time; see emu_room(). */
void emu_input(struct emu *m, int64_t now_ms, struct bytes from_host);

/* So many octets the line takes now; more would be lost (what flow control prevents). */
size_t emu_room(const struct emu *m);

/* A coordinator's event of the ether: CONFIRM, RECEIVED, ANNOUNCE. Nothing while switched off, and no
 * packet while EMU_BACKLOG octets wait for the host. */
void emu_event(struct emu *m, int64_t now_ms, const struct ether_event *event);

/* What has reached the host by now; when there is more later, emu_next_deadline() tells when. */
bool emu_peek_bytes(struct emu *m, int64_t now_ms, struct bytes *out);
void emu_took(struct emu *m, size_t n);

void emu_advance(struct emu *m, int64_t now_ms);
int64_t emu_next_deadline(const struct emu *m);

/* The same in microseconds, for whoever can be as exact as the line. Only the line is: the firmware
 * and the air count milliseconds. */
void emu_input_us(struct emu *m, int64_t now_us, struct bytes from_host);
bool emu_peek_bytes_us(struct emu *m, int64_t now_us, struct bytes *out);
void emu_advance_us(struct emu *m, int64_t now_us);
int64_t emu_next_us(const struct emu *m);

/* ---- for the front ends ------------------------------------------------------------------------ */

/* A whole frame to the host, EMU_FRAME_MAX octets at most (asserted): faults and pace are applied here. */
void emu_frame(struct emu *m, int64_t now_ms, struct bytes frame);

/* The same, config.command_ms later: an answer that the firmware had to think about. What is sent
 * afterwards comes after it. */
void emu_answer(struct emu *m, int64_t now_ms, struct bytes frame);

/* The firmware starts again: by a command, by itself, or because a test wants it. What has not
 * reached the host is lost, even in the middle of a frame; outstanding confirms never come. Then
 * driver->power_on(). */
void emu_reset(struct emu *m, int64_t now_ms);

/* True with the given probability. */
bool emu_chance(struct emu *m, double percent);

#endif
