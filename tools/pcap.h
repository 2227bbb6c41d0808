/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads captures from a stream, record by record: classic pcap in both byte orders with micro- or
 * nanoseconds, and of pcapng the blocks that carry packets. Nothing in a file is believed: sizes
 * are limited before memory is asked for, and at most one record is held.
 */
#ifndef SENNET_TOOLS_PCAP_H
#define SENNET_TOOLS_PCAP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bytes.h"

/* Outcomes beside 0. After either of them only pcap_close() may follow. */
enum { PCAP_END = 1, PCAP_BROKEN = 2 };

enum {
    PCAP_RECORD_MAX = 262144,  /* the largest snapshot length in use */
    PCAP_INTERFACES_MAX = 256, /* of a pcapng section */
};

struct pcap_interface {
    uint16_t link_type; /* LINKTYPE_..., see tools/frame.h */
    uint32_t snap_len;  /* 0: no limit */
    uint8_t resolution; /* pcapng's if_tsresol */
    int64_t offset_s;   /* pcapng's if_tsoffset */
};

struct pcap {
    FILE *in; /* the caller's */
    bool next_generation;
    bool big_endian;
    uint8_t *block; /* of exactly the record's size */
    struct pcap_interface *interfaces;
    size_t n_interfaces;
    const char *why; /* after PCAP_BROKEN: a part of a sentence, "it ends within a record" */
};

struct pcap_record {
    bool has_time;
    int64_t time_ns; /* since 1970, UTC */
    uint16_t link_type;
    struct bytes octets; /* borrowed until the next call */
};

/* 0, or PCAP_BROKEN when this is no capture. In both cases pcap_close() must follow. */
int pcap_open(struct pcap *p, FILE *in);

/* 0 and the next packet, PCAP_END, or PCAP_BROKEN. */
int pcap_next(struct pcap *p, struct pcap_record *out);

void pcap_close(struct pcap *p);

#endif
