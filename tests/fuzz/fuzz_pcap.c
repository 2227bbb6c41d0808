/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A capture file through all of sennet-dump but its command line: records, frames, datagrams, and
 * both output forms. The text goes nowhere but must be one line of printable UTF-8.
 */
#include "fuzz.h"
#include "tools/dissect.h"
#include "tools/frame.h"
#include "tools/pcap.h"

enum { LINE_SIZE = DISSECT_ENVELOPES_MAX * 560 + SN_PRINT_MAX };

static void show(struct frame_datagram *datagram, FILE *nowhere)
{
    static char line[LINE_SIZE];
    static struct dissection d;
    char peer[PEER_TEXT_MAX];
    peer_print(peer_in(&datagram->from), peer, sizeof peer);
    peer_print(peer_in(&datagram->to), peer, sizeof peer);
    dissect(datagram->payload, NULL, &d);
    struct text t = text_to(line, sizeof line);
    dissect_text(&d, &t);
    fuzz_require(!t.cut);
    fuzz_require(bytes_is_utf8(bytes_of(line, t.len)));
    for (size_t i = 0; i < t.len; i++)
        fuzz_require((uint8_t)line[i] >= 0x20);
    dissect_json(&d, nowhere);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *nowhere;
    static struct frame_datagram datagram;
    if (nowhere == NULL)
        nowhere = fopen("/dev/null", "w");
    /* An empty memory stream cannot be opened. */
    FILE *in = size > 0 ? fmemopen((void *)(uintptr_t)data, size, "rb") : fopen("/dev/null", "rb");
    fuzz_require(in != NULL && nowhere != NULL);
    struct pcap p;
    struct pcap_record record;
    size_t payload = 0;
    int result = pcap_open(&p, in);
    while (result == 0) {
        result = pcap_next(&p, &record);
        if (result != 0)
            break;
        payload += record.octets.len;
        if (frame_open(record.link_type, record.octets, &datagram) == 0)
            show(&datagram, nowhere);
    }
    fuzz_require(result != PCAP_BROKEN || p.why != NULL);
    fuzz_require(payload <= size); /* every record's octets are there */
    pcap_close(&p);
    fclose(in);
    return 0;
}
