/* SPDX-License-Identifier: Apache-2.0 */
/* sennet-dump: shows MQTT-SN packets, one line each; see docs/man/sennet-dump.1.scd. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"

#include "tools/dissect.h"
#include "tools/frame.h"
#include "tools/hex.h"
#include "tools/pcap.h"

static const char USAGE[] =
    "Usage: sennet-dump [options] HEX...\n"
    "       sennet-dump [options] < LINES-OF-HEX\n"
    "       sennet-dump [options] -r FILE [-p PORT]...\n"
    "Shows MQTT-SN packets, one line each.\n"
    "\n"
    "  HEX...               one packet; blanks, colons, commas, hyphens and 0x are accepted\n"
    "  -r, --read FILE      a pcap or pcapng capture; - for standard input\n"
    "  -p, --port PORT      of a capture only UDP from or to this port; may be repeated\n"
    "      --json           one JSON object per line\n"
    "      --strict         exit with 1 when any packet is malformed\n"
    "      --help, --version\n";

enum { OPT_JSON = 256, OPT_STRICT, OPT_HELP, OPT_VERSION };

enum {
    PORTS_MAX = 32,
    TIME_SIZE = sizeof "1970-01-01T00:00:00.000000000Z",
    /* All envelopes with the longest node ids, and the message. */
    LINE_SIZE = DISSECT_ENVELOPES_MAX * 560 + SN_PRINT_MAX + 2 * PEER_TEXT_MAX + 64,
};

struct dump {
    const char *file; /* NULL: hex */
    uint16_t ports[PORTS_MAX];
    unsigned n_ports;
    bool json;
    bool strict;
    bool unreadable;
    unsigned long malformed;
    unsigned long unknown_links; /* records that could not be looked into */
    uint16_t unknown_link;
    char line[LINE_SIZE];
    uint8_t octets[SN_PACKET_MAX];
    struct frame_datagram datagram;
    struct dissection dissection;
};

/* ---- output ---------------------------------------------------------------------------------- */

/* RFC 3339 in UTC. */
static const char *print_time(int64_t time_ns, char out[TIME_SIZE])
{
    int64_t ns = time_ns % 1000000000;
    int64_t seconds = time_ns / 1000000000;
    if (ns < 0) {
        ns += 1000000000;
        seconds--;
    }
    const time_t when = (time_t)seconds;
    struct tm tm;
    if (gmtime_r(&when, &tm) == NULL || tm.tm_year < 0 || tm.tm_year > 8099)
        return "-";
    const size_t n = strftime(out, TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, TIME_SIZE - n, ".%09uZ", (unsigned)ns % 1000000000U);
    return out;
}

/* Time and addresses of a captured packet; not there for hex. */
struct origin {
    const char *time;
    char from[PEER_TEXT_MAX];
    char to[PEER_TEXT_MAX];
};

static void show_text(struct dump *d, const struct origin *origin)
{
    struct text t = text_to(d->line, sizeof d->line);
    if (origin != NULL) {
        text_word(&t, origin->time);
        text_word(&t, " ");
        text_word(&t, origin->from);
        text_word(&t, " > ");
        text_word(&t, origin->to);
        text_word(&t, " ");
    }
    dissect_text(&d->dissection, &t);
    puts(d->line);
}

static void show_json(struct dump *d, const struct origin *origin, size_t len)
{
    fputs("{", stdout);
    if (origin != NULL && strcmp(origin->time, "-") != 0)
        printf("\"time\":\"%s\",", origin->time);
    if (origin != NULL)
        printf("\"src\":\"%s\",\"dst\":\"%s\",", origin->from, origin->to);
    printf("\"len\":%zu", len);
    dissect_json(&d->dissection, stdout);
    fputs("}\n", stdout);
}

static void show(struct dump *d, const struct origin *origin, struct bytes datagram,
                 const char *reason)
{
    dissect(datagram, reason, &d->dissection);
    if (d->dissection.malformed != NULL)
        d->malformed++;
    if (d->json)
        show_json(d, origin, datagram.len);
    else
        show_text(d, origin);
}

/* ---- captures -------------------------------------------------------------------------------- */

static bool is_wanted(const struct dump *d, const struct frame_datagram *datagram)
{
    for (unsigned i = 0; i < d->n_ports; i++) {
        if (datagram->from_port == d->ports[i] || datagram->to_port == d->ports[i])
            return true;
    }
    return d->n_ports == 0;
}

static void show_record(struct dump *d, const struct pcap_record *record)
{
    struct frame_datagram *datagram = &d->datagram;
    const int result = frame_open(record->link_type, record->octets, datagram);
    if (result == FRAME_UNKNOWN_LINK) {
        d->unknown_links++;
        d->unknown_link = record->link_type;
    }
    if (result != 0 || !is_wanted(d, datagram))
        return;
    char time_text[TIME_SIZE];
    struct origin origin = {.time =
                                record->has_time ? print_time(record->time_ns, time_text) : "-"};
    peer_print(peer_in(&datagram->from), origin.from, sizeof origin.from);
    peer_print(peer_in(&datagram->to), origin.to, sizeof origin.to);
    show(d, &origin, datagram->payload,
         datagram->is_fragment ? "fragment"
         : datagram->is_cut    ? "capture"
                               : NULL);
}

static void show_capture(struct dump *d, FILE *in, const char *name)
{
    struct pcap p;
    struct pcap_record record;
    int result = pcap_open(&p, in);
    while (result == 0) {
        result = pcap_next(&p, &record);
        if (result == 0)
            show_record(d, &record);
    }
    if (result == PCAP_BROKEN) {
        fflush(stdout);
        fprintf(stderr, "sennet-dump: %s: not a whole capture: %s\n", name,
                ferror(in) ? strerror(errno) : p.why);
        d->unreadable = true;
    }
    pcap_close(&p);
    if (d->unknown_links > 0) {
        fflush(stdout);
        fprintf(stderr,
                "sennet-dump: %s: %lu records left out, whose link type (%u) is not supported\n",
                name, d->unknown_links, d->unknown_link);
    }
}

static void show_file(struct dump *d)
{
    if (strcmp(d->file, "-") == 0) {
        show_capture(d, stdin, "standard input");
        return;
    }
    FILE *in = fopen(d->file, "rb");
    if (in == NULL) {
        fprintf(stderr, "sennet-dump: %s cannot be opened: %s\n", d->file, strerror(errno));
        d->unreadable = true;
        return;
    }
    show_capture(d, in, d->file);
    fclose(in);
}

/* ---- hex ------------------------------------------------------------------------------------- */

static void show_arguments(struct dump *d, char **words, int n)
{
    struct hex h;
    hex_start(&h, d->octets, sizeof d->octets);
    for (int i = 0; i < n; i++) {
        for (const char *c = words[i]; *c != '\0'; c++)
            hex_feed(&h, *c);
        hex_feed(&h, ' ');
    }
    if (hex_end(&h)) {
        show(d, NULL, bytes_of(d->octets, h.len), NULL);
        return;
    }
    fprintf(stderr, "sennet-dump: the packet on the command line: %s\n", h.why);
    exit(EXIT_USAGE);
}

static void end_line(struct dump *d, struct hex *h, unsigned long line)
{
    if (!hex_end(h)) {
        fflush(stdout);
        fprintf(stderr, "sennet-dump: standard input, line %lu: %s\n", line, h->why);
        d->unreadable = true;
    } else if (h->len > 0) {
        show(d, NULL, bytes_of(d->octets, h->len), NULL);
    }
    hex_start(h, d->octets, sizeof d->octets);
}

/* Character by character, so that no line is too long; "#" starts a comment. */
static void show_lines(struct dump *d)
{
    struct hex h;
    hex_start(&h, d->octets, sizeof d->octets);
    unsigned long line = 1;
    bool comment = false;
    for (int c = getchar(); c != EOF; c = getchar()) {
        if (c == '\n') {
            end_line(d, &h, line++);
            comment = false;
        } else if (comment || c == '#') {
            comment = true;
        } else {
            hex_feed(&h, (char)c);
        }
    }
    end_line(d, &h, line);
    if (ferror(stdin)) {
        fprintf(stderr, "sennet-dump: standard input cannot be read: %s\n", strerror(errno));
        d->unreadable = true;
    }
}

/* ---- command line ---------------------------------------------------------------------------- */

_Noreturn static void usage_hint(void)
{
    fputs("Try 'sennet-dump --help'.\n", stderr);
    exit(EXIT_USAGE);
}

static void add_port(struct dump *d, const char *text)
{
    char *end;
    const unsigned long port = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || *text == '-' || port < 1 || port > 65535) {
        fprintf(stderr, "sennet-dump: -p: '%s' is not a port from 1 to 65535\n", text);
        usage_hint();
    }
    if (d->n_ports == PORTS_MAX) {
        fprintf(stderr, "sennet-dump: -p: more than %d ports\n", PORTS_MAX);
        usage_hint();
    }
    d->ports[d->n_ports++] = (uint16_t)port;
}

static void read_options(struct dump *d, int argc, char **argv)
{
    static const struct option options[] = {
        {"read",    required_argument, NULL, 'r'        },
        {"port",    required_argument, NULL, 'p'        },
        {"json",    no_argument,       NULL, OPT_JSON   },
        {"strict",  no_argument,       NULL, OPT_STRICT },
        {"help",    no_argument,       NULL, OPT_HELP   },
        {"version", no_argument,       NULL, OPT_VERSION},
        {NULL,      0,                 NULL, 0          }
    };
    for (int opt; (opt = getopt_long(argc, argv, "r:p:", options, NULL)) != -1;) {
        switch (opt) {
        case 'r':
            d->file = optarg;
            break;
        case 'p':
            add_port(d, optarg);
            break;
        case OPT_JSON:
            d->json = true;
            break;
        case OPT_STRICT:
            d->strict = true;
            break;
        case OPT_HELP:
            fputs(USAGE, stdout);
            exit(EXIT_OK);
        case OPT_VERSION:
            puts("sennet-dump " SENNET_VERSION);
            exit(EXIT_OK);
        default:
            usage_hint();
        }
    }
    if (d->file != NULL ? optind < argc : d->n_ports > 0) {
        fputs(d->file != NULL ? "sennet-dump: give either -r or a packet in hexadecimal\n"
                              : "sennet-dump: -p needs a capture (-r)\n",
              stderr);
        usage_hint();
    }
}

static int exit_code(const struct dump *d)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "sennet-dump: the output cannot be written: %s\n", strerror(errno));
        return EXIT_RUNTIME;
    }
    if (d->unreadable)
        return EXIT_NO_INPUT;
    return d->strict && d->malformed > 0 ? EXIT_RUNTIME : EXIT_OK;
}

int main(int argc, char **argv)
{
    struct dump *d = calloc(1, sizeof *d);
    if (d == NULL) {
        fputs("sennet-dump: out of memory\n", stderr);
        return EXIT_SYSTEM;
    }
    read_options(d, argc, argv);
    if (d->file != NULL)
        show_file(d);
    else if (optind < argc)
        show_arguments(d, argv + optind, argc - optind);
    else
        show_lines(d);
    const int code = exit_code(d);
    free(d);
    return code;
}
