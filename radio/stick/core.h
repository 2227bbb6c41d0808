/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the families of sticks have in common, as their drivers see it. A driver is one file that
 * exports one `struct stick_driver` whose machine begins with `struct stick`; it knows frames and
 * start-up. The core knows nodes, queues, slots, ids, deadlines of outcomes and retries:
 *
 *     stick_send() -> queue of the node -> a slot is free -> driver->transmit(send, send->id)
 *     stick's confirm -> stick_verdict(id)      no confirm in time -> STICK_UNKNOWN
 *     stick's packet  -> stick_heard() or, when only a 16-bit address is known, stick_heard_short()
 *
 * One packet per node is outstanding, and as many nodes as there are slots; nodes that keep failing
 * share a part of the slots, so that the dead don't delay the living, until something is heard from
 * them. Order among the living is round robin. Only what could not start is transmitted again here (radio reference, 0.5).
 */
#ifndef SENNET_RADIO_STICK_CORE_H
#define SENNET_RADIO_STICK_CORE_H

#include "base/deadline.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/log.h"
#include "base/rng.h"

#include "radio/stick/stick.h"

enum {
    SHORT_UNKNOWN = 0xFFFE,

    STICK_NODE_QUEUE = 32,      /* packets waiting per node */
    STICK_QUEUE = 256,          /* and in all */
    STICK_QUEUE_AGE_MS = 15000, /* a packet that waited longer is of no use to anybody */
    STICK_TRIES = 3,            /* transmissions of one packet, counting what could not start */
    STICK_HELD = 64,            /* packets that wait for the name of their sender */
    STICK_HELD_MS = 3000,
    STICK_GROUP_GAP_MS = 1000,  /* between broadcasts: each occupies every router (I.2) */
    STICK_SUSPECT_FAILURES = 1, /* in a row make a node suspect */
    STICK_MOVED_FAILURES = 2,   /* in a row, and it may have got another 16-bit address */
    STICK_OUT_BYTES = 8192,     /* for the port */
    STICK_OUT_RESERVE =
        3072,              /* of these, kept for commands; the longest frame fits (1500, stuffed) */
    STICK_STUCK_MS = 5000, /* no byte taken by the port for so long: the line is stuck */
    STICK_EVENT_BYTES = 65536,
    STICK_TEXT_MAX = 256,
};

/* ---- nodes ------------------------------------------------------------------------------------- */

/* Named by (kind, address): EUI-64 as a number whose most significant octet is printed first, a
 * 16-bit address, 0 for the node at the end of a line, 0 for the group. */
struct stick_node {
    struct hmap_node by_address;
    struct hmap_node by_short; /* in the map only while short_address is known and kind is EUI64 */
    struct list recency;       /* longest unheard first */
    struct list ready;         /* of the core's ready queues; alone when nothing can be sent */
    struct list queue;         /* struct stick_send.link, oldest first */
    struct stick_send *outstanding;
    struct deadline resume; /* armed: no transmission before */
    uint64_t address;
    uint8_t kind; /* enum peer_kind */
    bool has_lqi, has_rssi;
    bool search_owed; /* one was due, but another node's had just been made */
    uint8_t lqi;
    int8_t rssi;
    uint8_t failures_in_row;
    uint16_t short_address; /* SHORT_UNKNOWN */
    uint16_t queued;
    int64_t heard_ms;
    uint32_t delivered, failed;
};

/* One packet on its way to a node. */
struct stick_send {
    struct list link; /* node's queue, or the pool */
    struct stick_node *node;
    struct deadline confirm; /* while waiting: when it is of no use any more */
    int64_t queued_ms;
    uint16_t len;
    uint8_t id;     /* 1..255 while outstanding, 0 otherwise; unique among the outstanding */
    uint8_t tries;  /* transmissions begun */
    uint8_t radius; /* of a broadcast; 0: all */
    uint8_t note;   /* of the driver, zero at the first transmission: what it has tried already */
    bool suspect;   /* took one of the slots for suspect nodes */
    uint8_t data[];
};

static inline struct bytes stick_packet(const struct stick_send *send)
{
    return bytes_of(send->data, send->len);
}

static inline bool stick_is_group(const struct stick_send *send)
{
    return send->node->kind == PEER_GROUP;
}

/* Does its node keep failing? Then it may have got another 16-bit address without our hearing of
 * it, and the stick should find it by its EUI-64. */
static inline bool stick_may_have_moved(const struct stick_send *send)
{
    return send->node->failures_in_row >= STICK_MOVED_FAILURES;
}

/* Is it time to search for a node that failed so often? After 1, 2, 4, 8, ... failures in a row: a
 * search is a broadcast, but a node that moves when it has failed before must be found, too. */
static inline bool stick_search_due(const struct stick_node *node, unsigned failures)
{
    return failures > 0 && (node->search_owed || (failures & (failures - 1)) == 0);
}

/* ---- the driver -------------------------------------------------------------------------------- */

struct stick_driver {
    const char *name;
    size_t size;         /* of its machine, which begins with struct stick; zeroed before init */
    bool reports;        /* outcomes are known */
    size_t window_bytes; /* so many outstanding octets bar the next packet; 0: no limit */

    /* The machine has its configuration, and no port. */
    void (*init)(struct stick *s);

    /* Frees what init allocated, which may be nothing yet (all zero). NULL: nothing to free. */
    void (*deinit)(struct stick *s);

    /* The port is open; everything of an earlier opening is forgotten before (closed()). */
    void (*opened)(struct stick *s, int64_t now_ms);
    void (*closed)(struct stick *s);

    void (*input)(struct stick *s, int64_t now_ms, struct bytes in);

    /* Fires the driver's own deadlines. Its sends' deadlines are the core's business. */
    void (*advance)(struct stick *s, int64_t now_ms);
    int64_t (*next_deadline)(const struct stick *s);

    /* Begins to transmit. Ends, now or later, in one stick_verdict(send->id). Called only while
     * stick_up() holds, nothing says stick_pause(), and STICK_OUT_RESERVE octets are free in the
     * out buffer. Sets send->confirm by stick_await() if the default does not suit. */
    void (*transmit)(struct stick *s, int64_t now_ms, struct stick_send *send);

    /* Permit joining for `seconds`; called only while up, and after each stick_up() if the time
     * is not over. NULL: the family has no such thing. */
    void (*permit_join)(struct stick *s, int64_t now_ms, unsigned seconds);
};

/* Each has one row in drivers.c. */
extern const struct stick_driver stick_xbee, stick_znp, stick_ezsp, stick_deconz, stick_serial,
    stick_auto;

struct stick_held {
    int64_t until_ms;
    uint64_t order;
    uint16_t short_address;
    uint16_t len; /* 0: free */
    bool to_group, has_lqi, has_rssi;
    uint8_t lqi;
    int8_t rssi;
    uint8_t data[256];
};

/* Members are for core*.c, except config, rng, counters, state (read). */
struct stick {
    const struct stick_driver *driver;
    struct stick_config config;
    struct rng rng;
    struct stick_counters counters;
    enum stick_state state;
    int64_t now_ms;

    struct hmap by_address, by_short;
    struct list recency;
    struct list *walk; /* of stick_node() */
    size_t walk_at;
    size_t n_nodes;
    struct stick_node *group; /* made once */
    struct stick_held held[STICK_HELD];
    unsigned holds;  /* of these are in use */
    uint64_t n_held; /* ever */

    struct deadlines deadlines;
    struct list living, suspects; /* nodes ready to transmit */
    struct list pool;             /* free sends */
    void *sends;                  /* the memory of all */
    struct stick_send *by_id[256];
    unsigned slots, busy, busy_suspects, turn;
    size_t busy_bytes;
    uint8_t last_id;
    bool paused, kicking;
    int64_t confirm_ms;
    uint32_t max_packet_bytes;

    int64_t join_until_ms; /* 0: closed */

    uint8_t *out;
    size_t out_at, out_end;
    int64_t out_since_ms; /* the port took something, or the buffer was empty */

    uint8_t *events; /* ring of records */
    size_t ev_head, ev_tail, ev_used;
    struct peer_room ev_peer;
};

/* ---- services to the drivers ------------------------------------------------------------------- */

/* Bytes for the port. False, and nothing written, when they don't fit: the line is stuck, and the
 * driver may forget the frame, for the core asks for a new opening soon. */
bool stick_write(struct stick *s, struct bytes bytes);

/* Room in the out buffer, the reserve included. */
size_t stick_room(const struct stick *s);

/* Packets pass from now on, at most `max_packet_bytes` each (cut to the configured limit); so many
 * may be outstanding at once, 1..255, and a confirm takes at most `confirm_ms`. `text` describes
 * stick and network. Also to change these while up. */
void stick_up(struct stick *s, int64_t now_ms, uint32_t max_packet_bytes, unsigned slots,
              int64_t confirm_ms, const char *text);

/* The stick has refused an outstanding packet for want of room: until the next stick_up() there may
 * be one fewer than now, but `least`. Before its verdict. */
void stick_fit_slots(struct stick *s, unsigned least);

/* The stick has reset itself or lost its network, and the driver starts it anew: outstanding
 * packets become STICK_UNKNOWN, waiting ones stay. */
void stick_down(struct stick *s, int64_t now_ms, const char *text);

/* This opening has failed. The driver hears nothing more until closed(). */
void stick_reopen(struct stick *s, int64_t now_ms, const char *text);

/* The device is a stick of that family (a static name), at that baud. Ends the opening. */
void stick_identified(struct stick *s, int64_t now_ms, const char *family, int32_t baud);

/* Change the port: see struct stick_port. */
void stick_set_port(struct stick *s, struct stick_port port);

/* A record for people; `name` static and stable ("znp.version"). printf-like. */
void stick_log(struct stick *s, enum log_level level, const char *name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* While paused nothing is transmitted (no free slot in the stick, a command sequence in progress).
 * Resuming transmits at once. */
void stick_pause(struct stick *s);
void stick_resume(struct stick *s, int64_t now_ms);

enum stick_verdict {
    VERDICT_DELIVERED,
    VERDICT_FAILED, /* sent, not acknowledged */
    VERDICT_UNKNOWN,
    VERDICT_REFUSED,   /* the stick won't: final */
    VERDICT_TOO_LONG,  /* of these the packet's length is the reason */
    VERDICT_NOT_BEGUN, /* busy, no buffer, no channel: again after `again_ms`, STICK_TRIES in all */
};

/* What became of the outstanding packet `id`. An id that is not outstanding is counted and ignored
 * (false). `again_ms` only for NOT_BEGUN. The send is gone or waiting again afterwards. */
bool stick_verdict(struct stick *s, int64_t now_ms, uint8_t id, enum stick_verdict verdict,
                   int64_t again_ms);

/* The outstanding packet of that id, or NULL. */
struct stick_send *stick_outstanding(struct stick *s, uint8_t id);

/* Its confirm may take until now_ms + `ms`. */
void stick_await(struct stick *s, struct stick_send *send, int64_t now_ms, int64_t ms);

/* How a packet was heard. */
struct stick_radio {
    bool to_group, has_lqi, has_rssi;
    uint8_t lqi;
    int8_t rssi;
};

/* A packet from a node of known name. `short_address` SHORT_UNKNOWN: not told. */
void stick_heard(struct stick *s, int64_t now_ms, enum peer_kind kind, uint64_t address,
                 uint16_t short_address, const struct stick_radio *radio, struct bytes packet);

/* A packet from a node of which only the 16-bit address was told. True when its EUI-64 is known;
 * else the packet is held for STICK_HELD_MS and the driver should find out: stick_learn(). */
bool stick_heard_short(struct stick *s, int64_t now_ms, uint16_t short_address,
                       const struct stick_radio *radio, struct bytes packet);

/* The node of this EUI-64 has this 16-bit address (nobody else has it any more). Makes no node,
 * unless packets are held for it. SHORT_UNKNOWN: it has none that we know. */
void stick_learn(struct stick *s, int64_t now_ms, uint64_t eui64, uint16_t short_address);

/* Is a packet from this address held? Then its sender's name is worth asking for. */
bool stick_is_held(const struct stick *s, uint16_t short_address);

/* Known node, or NULL. */
struct stick_node *stick_find(struct stick *s, enum peer_kind kind, uint64_t address);
struct stick_node *stick_find_short(struct stick *s, uint16_t short_address);

/* Octets that nobody can guess who does not know hash_seed: for keys. */
void stick_secret(struct stick *s, uint8_t *out, size_t len);

/* ---- small things ------------------------------------------------------------------------------ */

static inline uint64_t rd_u64_le(struct reader *r)
{
    const uint64_t low = rd_u32_le(r);
    return low | (uint64_t)rd_u32_le(r) << 32;
}

static inline uint64_t rd_u64(struct reader *r)
{
    const uint64_t high = rd_u32(r);
    return high << 32 | rd_u32(r);
}

static inline void wr_u64_le(struct writer *w, uint64_t value)
{
    wr_u32_le(w, (uint32_t)value);
    wr_u32_le(w, (uint32_t)(value >> 32));
}

static inline void wr_u64(struct writer *w, uint64_t value)
{
    wr_u32(w, (uint32_t)(value >> 32));
    wr_u32(w, (uint32_t)value);
}

#endif
