/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the story player.
 *
 *   story.c          lines in order, time, what may be left over
 *   story_config.c   the header: options, topics, clients, links, nodes
 *   story_words.c    a line into words, variables, numbers
 *   story_packet.c   packets as words
 *   story_broker.c   requests and events of both seams as words
 *   story_store.c    what is stored, and survives a restart
 *   story_report.c   what happened so far, and what went wrong
 *
 * Errors are sticky: story_fail() keeps the first, everything after it does nothing.
 */
#ifndef SENNET_TESTS_SIM_STORY_PRIV_H
#define SENNET_TESTS_SIM_STORY_PRIV_H

#include "mqttsn/packet.h"
#include "sim/story.h"
#include "sim/world.h"

enum {
    STORY_WORDS = 64,
    STORY_LINE = 4096,
    STORY_NAME = 32,
    STORY_NODES = 16,
    STORY_VARIABLES = 64,
    STORY_CLIENTS = 32,
    STORY_KEYS = 16,
    STORY_SECTIONS = 8,
    STORY_TOPICS = 16,
    STORY_LINKS = 4,
    STORY_LOOPS = 3,
    STORY_PAST = 60, /* lines of the report */
    STORY_PAST_LINE = 400,
};

struct story;

/* ---- words ----------------------------------------------------------------------------------- */

/* `value`, or `key=value`. */
struct story_word {
    char key[STORY_NAME];
    struct bytes value; /* unescaped, variables replaced */
    bool quoted;
    const char *unset; /* the value is this variable, which is not set yet; "" for `*` */
};

struct story_line {
    struct story_word words[STORY_WORDS];
    unsigned count;
    char text[STORY_LINE]; /* behind the views */
    size_t used;
};

/* Splits; empty for comments. False: error reported. */
bool story_split(struct story *s, struct bytes text, struct story_line *line);
bool story_word_is(const struct story_word *w, const char *text);
/* Numbers in decimal or 0x hexadecimal, up to `most`. */
bool story_number(struct story *s, const struct story_word *w, uint64_t most, uint64_t *out);
/* "500ms", "10s", "2m", "1h", "7d". */
bool story_duration(struct story *s, const struct story_word *w, int64_t *out_ms);
/* The hexadecimal octets of the words from `first` on. */
size_t story_hex(struct story *s, const struct story_line *line, unsigned first, uint8_t *out,
                 size_t cap);

struct story_variable {
    char name[STORY_NAME];
    uint64_t value;
};

void story_set(struct story *s, const char *name, uint64_t value);
const struct story_variable *story_get(const struct story *s, const char *name);
void story_unset(struct story *s, const char *name);

/* A number that an expected line leaves open. */
struct story_hole {
    bool open;
    char name[STORY_NAME]; /* of the variable to set; "" = none */
};

/* Takes the number of a word, or notes that it is left open. */
bool story_number_or_hole(struct story *s, const struct story_word *w, uint64_t most, uint64_t *out,
                          struct story_hole *hole);
void story_fill(struct story *s, const struct story_hole *hole, uint64_t value);

/* ---- packets and requests -------------------------------------------------------------------- */

struct story_packet {
    struct sn_packet p;
    struct story_hole topic_id;
    struct story_hole msg_id;
    uint8_t *filler; /* behind `bytes=N`; free() it */
};

/* The words from `first` on. */
bool story_parse_packet(struct story *s, const struct story_line *line, unsigned first,
                        struct story_packet *out);

/* `broker <` and `broker >`; the words from 2 on. */
void story_expect_ask(struct story *s, const struct story_line *line);
void story_tell(struct story *s, const struct story_line *line);
/* broker up, broker down */
void story_upstream(struct story *s, const struct story_line *line);
void story_print_ask(const struct story *s, const struct sim_ask *a, char *out, size_t size);

/* ---- the header ------------------------------------------------------------------------------ */

struct story_node {
    char name[STORY_NAME];
    struct peer_room direct; /* the address on the link */
    struct peer_room peer;   /* with its forwarders */
};

struct story_config {
    struct sn_engine_config engine;
    struct shared_config shared;
    struct sn_client_section clients[STORY_SECTIONS];
    struct sn_topics_section topics[STORY_SECTIONS];
    struct sn_predefined predefined[STORY_SECTIONS][STORY_TOPICS];
    struct sn_link_limits links[STORY_LINKS];
    bool has_shared;
    int64_t commit_ms;
    bool live;        /* nobody takes over QoS 2 */
    void *texts[256]; /* free() them */
    unsigned n_texts;
};

void story_config_init(struct story_config *c);
void story_config_deinit(struct story_config *c);
/* True when the line belongs to the header (and was taken, or failed). */
bool story_config_line(struct story *s, const struct story_line *line);
/* Actions: another configuration begins, and is in effect. */
void story_change(struct story *s, const struct story_line *line);
void story_changed(struct story *s, const struct story_line *line);
struct story_node *story_node(struct story *s, const struct story_word *w);

/* ---- the store ------------------------------------------------------------------------------- */

void story_header_store(struct story *s, const struct story_line *line);
void story_header_spooling(struct story *s, const struct story_line *line);
void story_check_store(struct story *s, bool at_last);
void story_restart(struct story *s, const struct story_line *line);
void story_written(struct story *s, const struct story_line *line);

/* ---- the story ------------------------------------------------------------------------------- */

/* Keys under which a client id was opened, oldest first: `dev1` is the latest, `dev1@1` the first.
 */
struct story_client {
    char name[STORY_NAME];
    uint64_t keys[STORY_KEYS];
    unsigned n_keys;
};

struct story_loop {
    size_t start; /* offset behind the `repeat` line */
    unsigned line;
    uint64_t round, rounds;
};

struct story {
    const char *file;
    unsigned line;
    bool failed;
    bool started;
    bool changing; /* the configuration */
    FILE *out;
    struct story_config config;
    struct sim_world world;
    struct story_node nodes[STORY_NODES];
    unsigned n_nodes;
    struct story_variable variables[STORY_VARIABLES];
    unsigned n_variables;
    struct story_client clients[STORY_CLIENTS];
    unsigned n_clients;
    struct story_loop loops[STORY_LOOPS];
    unsigned n_loops;

    /* What an answer without client and token belongs to. */
    struct {
        uint64_t client, token;
        uint8_t qos;
        bool any;
    } latest[ASK_TYPES];

    char past[STORY_PAST][STORY_PAST_LINE];
    uint64_t n_past;
    char logged[STORY_PAST][STORY_PAST_LINE];
    uint64_t n_logged;
    uint64_t written;        /* records, as said last */
    struct story_line words; /* of the line being played */
    struct story_packet packet;
    uint8_t octets[2 * SN_PACKET_MAX]; /* of that */
};

enum { STORY_START_MS = 1000000 }; /* not 0, which could hide a forgotten time */

/* Prints FILE:LINE: and the message with everything that happened; once. */
void story_fail(struct story *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Remembers one line for the report. */
void story_note(struct story *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void story_log(void *arg, const struct log_record *record);

#endif
