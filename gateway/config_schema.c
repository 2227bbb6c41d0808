/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of keys. Reading, range checks, "did you mean", --print-config and the tests of
 * gateway.conf.example and gateway.conf(5) all go by it: a new key is one row here, one field in
 * config.h, and its paragraphs in those two documents.
 */
#include <string.h>

#include "config_priv.h"
#include "tls.h"

/* The section, and which field of its struct. */
#define FIELD(type, member) offsetof(struct type, member), sizeof(((struct type *)NULL)->member)
#define GATEWAY(member)     SECTION_GATEWAY, FIELD(config, gateway.member)
#define BROKER(member)      SECTION_BROKER, FIELD(config_broker, member)
#define ROUTE(member)       SECTION_ROUTE, FIELD(config_route, member)
#define STORE(member)       SECTION_STORE, FIELD(config_store, member)
#define LINK(member)        SECTION_LINK, FIELD(config_link, member)
#define CLIENT(member)      SECTION_CLIENT, FIELD(config_client, options.member)
#define CLIENT_MQTT(member) SECTION_CLIENT, FIELD(config_client, member)

/* What a reload does with a new value. */
#define LATER CONFIG_NEEDS_RESTART
#define NOW   CONFIG_TAKES_EFFECT
#define ANEW  CONFIG_NEEDS_CONNECTION

#define KIB    (INT64_C(1) << 10)
#define MIB    (INT64_C(1) << 20)
#define GIB    (INT64_C(1) << 30)
#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

/* clang-format off */
const struct config_key config_keys[] = {
    {GATEWAY(id), "id", TYPE_NUMBER, 0, 255, "1", "",
     "number of this gateway in ADVERTISE and GWINFO; distinct for gateways in reach of each other",
     LATER},
    {GATEWAY(name), "name", TYPE_PLAIN, 1, 64, NULL, "",
     "name of this gateway; without it the host name", LATER},
    {GATEWAY(state_dir), "state_dir", TYPE_PATH, 1, 1024, "/var/lib/sennet", "",
     "directory for what must survive a restart", LATER},
    {GATEWAY(prefix), "prefix", TYPE_TEXT, 1, 1024, NULL, "",
     "put before every topic on its way to the broker; without it nothing", NOW},
    {GATEWAY(log_level), "log_level", TYPE_LEVEL, 0, 0, "info", "",
     "least severity that is logged", NOW},
    {GATEWAY(log_json), "log_format", TYPE_FORMAT, 0, 0, "text", "",
     "form of the log lines", NOW},
    {GATEWAY(pcap), "pcap", TYPE_PATH, 1, 1024, NULL, "",
     "file to which the traffic of all links is captured; without it none is", LATER},
    {GATEWAY(pcap_limit), "pcap_limit", TYPE_SIZE, 0, 1024 * GIB, "256MiB", "octets",
     "length at which that capture ends; 0: none", LATER},
    {GATEWAY(retry_interval_ms), "retry_interval", TYPE_DURATION, 50, HOUR, "10s", "ms",
     "how long a node has to answer before a message is repeated, until that is measured (Tretry)",
     NOW},
    {GATEWAY(retry_min_ms), "retry_min", TYPE_DURATION, 10, HOUR, "1s", "ms",
     "shortest wait for an answer, once a node has shown how fast it answers", NOW},
    {GATEWAY(retry_max_ms), "retry_max", TYPE_DURATION, 50, HOUR, "60s", "ms",
     "longest wait for an answer, for nodes that have shown to be slow", NOW},
    {GATEWAY(retry_count), "retry_count", TYPE_NUMBER, 0, 10, "3", "",
     "repetitions before nothing more is sent until the node gives a sign of life (Nretry)", NOW},
    {GATEWAY(late_connect_ms), "late_connect", TYPE_DURATION, 0, 10 * SECOND, "0s", "ms",
     "how long a CONNECT may be late that the network has copied", NOW},
    {GATEWAY(max_clients), "max_clients", TYPE_NUMBER, 1, 16777215, "100000", "",
     "sessions kept at once, connected or not", NOW},
    {GATEWAY(max_memory_bytes), "max_memory", TYPE_SIZE, MIB, 1024 * GIB, "256MiB", "octets",
     "memory for all that is kept for nodes", NOW},
    {GATEWAY(max_waiting), "max_waiting", TYPE_NUMBER, 1, 1000000000, "1000000", "",
     "messages waiting for nodes, of all nodes together", NOW},
    {GATEWAY(max_client_id), "max_client_id", TYPE_NUMBER, 1, 255, "64", "octets",
     "longest client id that is accepted", NOW},
    {GATEWAY(session_expiry_ms), "session_expiry", TYPE_DURATION, SECOND, 3650 * DAY, "7d", "ms",
     "how long a stored session waits for its node", NOW},
    {GATEWAY(gwinfo_delay_ms), "gwinfo_delay", TYPE_DURATION, 0, 10 * SECOND, "500ms", "ms",
     "longest wait, at random, before a search on a multicast group is answered", NOW},
    {GATEWAY(drain_ms), "drain", TYPE_DURATION, 0, 5 * MINUTE, "5s", "ms",
     "how long a stop waits for what is under way", NOW},
    {SECTION_GATEWAY, 0, 0, "include_dir", TYPE_PATH, 1, 1024, NULL, "",
     "directory whose *.conf files are read after this file, sorted by name", NOW},

    {BROKER(address), "address", TYPE_TEXT, 1, 2048, NULL, "",
     "the MQTT broker, as mqtt://host:port or ws://host:port/path; or several, in order (required)", ANEW},
    {BROKER(proxy), "proxy", TYPE_TEXT, 1, 1024, NULL, "",
     "HTTP proxy on the way to it, as http://user:password@host:port; without it none", ANEW},
    {BROKER(client_id), "client_id", TYPE_TEXT, 1, 1024, NULL, "",
     "MQTT client id of the gateway; without it sennet- and the gateway's name", LATER},
    {BROKER(username), "username", TYPE_TEXT, 1, 1024, NULL, "",
     "login at the broker; without it none", ANEW},
    {BROKER(password_file), "password_file", TYPE_PATH, 1, 1024, NULL, "",
     "file whose only line is the password", ANEW},
    {BROKER(keepalive_s), "keepalive", TYPE_DURATION, 5, 65535, "60s", "s",
     "MQTT keep alive: a silent broker counts as lost after one and a half times this", ANEW},
    {BROKER(window), "window", TYPE_NUMBER, 1, 1000, "200", "",
     "messages sent to the broker before the first acknowledgement is due", ANEW},
    {BROKER(window_qos2), "window_qos2", TYPE_NUMBER, 1, 1000, "16", "",
     "messages of QoS 2 among them; with MQTT 5 by default as many as the broker allows", ANEW},
    {BROKER(max_qos), "max_qos", TYPE_QOS, 0, 0, "2", "",
     "highest QoS of messages to the broker", ANEW},
    {BROKER(max_queued), "max_queued", TYPE_NUMBER, 1, 16777216, "65536", "",
     "messages waiting for that window", NOW},
    {BROKER(max_queued_bytes), "max_queued_bytes", TYPE_SIZE, 64 * KIB, GIB, "64MiB", "octets",
     "their topics and payloads", NOW},
    {BROKER(reconnect_min_ms), "reconnect_min", TYPE_DURATION, 10, HOUR, "1s", "ms",
     "first pause before the broker is tried again", NOW},
    {BROKER(reconnect_max_ms), "reconnect_max", TYPE_DURATION, 10, HOUR, "60s", "ms",
     "longest pause; in between it doubles", NOW},
    {BROKER(rate_messages), "rate_messages", TYPE_NUMBER, 0, 1000000, "0", "",
     "messages per second that leave for the broker at most; 0: any number", NOW},
    {BROKER(rate_bytes), "rate_bytes", TYPE_SIZE, 0, GIB, "0", "octets",
     "octets of messages per second that leave for the broker at most; 0: any number", NOW},
    {BROKER(collect_s), "collect", TYPE_DURATION, 0, 604800, "0s", "s",
     "how long messages are collected before they leave together; 0: they leave at once", NOW},
    {BROKER(quiet), "quiet", TYPE_TEXT, 1, 128, NULL, "",
     "hours of the day, in local time, in which no message leaves; without it none", NOW},
    {BROKER(version), "version", TYPE_MQTT, 0, 0, "auto", "",
     "version of MQTT; auto: 5, or 3.1.1 with brokers that do not speak that", LATER},
    {BROKER(session_expiry_s), "session_expiry", TYPE_DURATION, 1, UINT32_MAX - 1, "1d", "s",
     "how long a broker of MQTT 5 keeps the session of a gateway that is away", ANEW},
    {BROKER(message_expiry_s), "message_expiry", TYPE_DURATION, 0, UINT32_MAX - 1, "0s", "s",
     "after how long a message of a node is not worth delivering any more; 0: it always is", ANEW},
    {BROKER(user_properties), "user_properties", TYPE_TEXT, 1, 128, NULL, "",
     "what goes with each message to a broker of MQTT 5; without it nothing", ANEW},
    {BROKER(primary_check_ms), "primary_check", TYPE_DURATION, 0, DAY, "5m", "ms",
     "how often the first of several addresses is tried while another is in use; 0: never", ANEW},
    {BROKER(cluster), "cluster", TYPE_SWITCH, 0, 0, "no", "",
     "whether several addresses are of one broker that has one session of the gateway", LATER},
    {BROKER(ca_file), "ca_file", TYPE_PATH, 1, 1024, NULL, "",
     "authorities whose certificates are trusted (PEM); without it and ca_path those of the system",
     ANEW},
    {BROKER(ca_path), "ca_path", TYPE_PATH, 1, 1024, NULL, "",
     "directory of such certificates, one per file, as openssl rehash leaves it", ANEW},
    {BROKER(crl_file), "crl_file", TYPE_PATH, 1, 1024, NULL, "",
     "lists of revoked certificates (PEM); without it nobody asks", ANEW},
    {BROKER(cert_file), "cert_file", TYPE_PATH, 1, 1024, NULL, "",
     "certificate of the gateway, and its chain (PEM); without it the gateway shows none", ANEW},
    {BROKER(key_file), "key_file", TYPE_PATH, 1, 1024, NULL, "",
     "private key of that certificate (PEM); without it the key is in cert_file", ANEW},
    {BROKER(key_password_file), "key_password_file", TYPE_PATH, 1, 1024, NULL, "",
     "file whose only line opens the private key", ANEW},
    {BROKER(tls_min), "tls_min", TYPE_TLS_MIN, 0, 0, "1.2", "",
     "oldest version of TLS that is spoken", ANEW},
    {BROKER(ciphers), "ciphers", TYPE_TEXT, 1, 1024, NULL, "",
     "ciphers, in OpenSSL's names; without it OpenSSL's choice", ANEW},
    {BROKER(alpn), "alpn", TYPE_TEXT, 1, 128, NULL, "",
     "names of the protocol in TLS, separated by commas; without it none are sent", ANEW},
    {BROKER(psk_identity), "psk_identity", TYPE_TEXT, 1, TLS_PSK_IDENTITY_MAX, NULL, "",
     "name of a pre-shared key", ANEW},
    {BROKER(psk_file), "psk_file", TYPE_PATH, 1, 1024, NULL, "",
     "file whose only line is that key, in hexadecimal", ANEW},
    {BROKER(insecure), "insecure", TYPE_SWITCH, 0, 0, "no", "",
     "whether the broker is trusted without any verification", ANEW},

    {BROKER(sessions), "sessions", TYPE_SESSIONS, 0, 0, "shared", "",
     "whether all nodes share one MQTT session at this broker, or have one each of their own",
     LATER},
    {BROKER(own_client_id), "own_client_id", TYPE_TEXT, 1, 1024, "{client}", "",
     "MQTT client id in sessions of their own, made from the node's", LATER},

    {ROUTE(client), "client", TYPE_TEXT, 1, 255, NULL, "",
     "pattern of the client ids that the route is for; without it all", NOW},
    {ROUTE(from), "from", TYPE_TEXT, 1, 1024, "#", "",
     "topic filter, as nodes name topics, that the route is for", NOW},
    {ROUTE(to), "to", TYPE_TEXT, 1, 1024, NULL, "",
     "the brokers, by name, separated by commas (required)", NOW},
    {ROUTE(topic), "topic", TYPE_TEXT, 1, 1024, NULL, "",
     "name of the topic at these brokers; without it prefix and the node's name", NOW},
    {ROUTE(qos), "qos", TYPE_QOS, 0, 0, NULL, "",
     "QoS there; without it the node's", NOW},
    {ROUTE(retain), "retain", TYPE_RETAIN, 0, 0, "same", "",
     "whether messages are retained there; same: as the node wants it", NOW},
    {ROUTE(direction), "direction", TYPE_DIRECTION, 0, 0, "both", "",
     "whether the route is for messages from nodes, to nodes, or both", NOW},
    {ROUTE(required), "required", TYPE_SWITCH, 0, 0, "yes", "",
     "whether a node's message is acknowledged only when these brokers have it", NOW},

    {STORE(durability), "durability", TYPE_DURABLE, 0, 0, "process", "",
     "what stored state survives: nothing (off), a crash of the gateway, or a power cut", LATER},
    {STORE(max_bytes), "max_size", TYPE_SIZE, 4 * MIB, 1024 * GIB, "1GiB", "octets",
     "size that the store may reach on disk", LATER},
    {STORE(linger_ms), "commit_interval", TYPE_DURATION, 0, SECOND, "5ms", "ms",
     "how long records gather for one write to the disk", LATER},
    {STORE(spool_messages), "spool_messages", TYPE_NUMBER, 1, 100000000, "1000000", "",
     "messages of nodes that wait for the broker at once", NOW},
    {STORE(spool_bytes), "spool_bytes", TYPE_SIZE, 64 * KIB, 1024 * GIB, "256MiB", "octets",
     "their topics and payloads", NOW},
    {STORE(spool_full), "spool_full", TYPE_FULL, 0, 0, "refuse", "",
     "whether at these bounds new messages are refused or the oldest give way", NOW},
    {STORE(spool_age_ms), "spool_age", TYPE_DURATION, 0, 3650 * DAY, "7d", "ms",
     "age at which they are not worth sending any more; 0: they always are", NOW},
    {STORE(spool_qos_0), "spool_qos_0", TYPE_SWITCH, 0, 0, "no", "",
     "whether QoS 0 messages wait for the broker, too", NOW},
    {STORE(spool_window), "spool_window", TYPE_NUMBER, 1, 1000, "128", "",
     "how many of them are under way to the broker at once", NOW},

    {LINK(driver), "driver", TYPE_TEXT, 1, 32, NULL, "",
     "kind of the link (required)", LATER},
    {LINK(listen), "listen", TYPE_TEXT, 1, 128, NULL, "",
     "address and port to listen on (required by udp)", LATER},
    {LINK(multicast), "multicast", TYPE_TEXT, 1, 128, NULL, "",
     "multicast group and port by which nodes find the gateway; without it they can't search",
     LATER},
    {LINK(advertise_s), "advertise", TYPE_DURATION, 0, 65535, "15m", "s",
     "how often the gateway announces itself to that group (Tadv); 0: not at all", NOW},
    {LINK(max_packet_bytes), "max_packet", TYPE_SIZE, 12, 65535, "1400", "octets",
     "largest MQTT-SN packet in either direction", LATER},
    {LINK(receive_buffer_bytes), "receive_buffer", TYPE_SIZE, 0, GIB, "4MiB", "octets",
     "receive buffer asked of the system; 0 leaves it alone", LATER},
    {LINK(qos_minus_one), "qos_minus_one", TYPE_SWITCH, 0, 0, "yes", "",
     "whether nodes may publish without a connection (QoS -1)", NOW},
    {LINK(prefix), "prefix", TYPE_TEXT, 1, 1024, NULL, "",
     "put before topics of this link's nodes, behind the gateway's; without it nothing", NOW},
    {LINK(device), "device", TYPE_TEXT, 1, 512, NULL, "",
     "the stick: /dev/serial/by-id/..., another path, or tcp://host:port (required by sticks)",
     LATER},
    {LINK(baud), "baud", TYPE_NUMBER, 300, 4000000, NULL, "",
     "speed of the serial line; without it 115200, with the driver xbee 9600", LATER},
    {LINK(flow_control), "flow_control", TYPE_FLOW, 0, 0, "none", "",
     "flow control of the serial line", LATER},
    {LINK(dtr), "dtr", TYPE_PIN, 0, 0, NULL, "",
     "level of DTR after opening; without it as the system leaves it", LATER},
    {LINK(rts), "rts", TYPE_PIN, 0, 0, NULL, "",
     "level of RTS after opening; without it as the system leaves it", LATER},
    {LINK(channel), "channel", TYPE_NUMBER, 11, 26, NULL, "",
     "radio channel; without it as the stick has it, 15 when a network is formed", LATER},
    {LINK(pan_id), "pan_id", TYPE_HEX, 1, 0xFFFE, NULL, "",
     "number of the network; without it as the stick has it, random when a network is formed",
     LATER},
    {LINK(network_key_file), "network_key_file", TYPE_PATH, 1, 1024, NULL, "",
     "file whose only line is the network key; without it a random one when a network is formed",
     LATER},
    {LINK(form_network), "form_network", TYPE_SWITCH, 0, 0, "no", "",
     "whether a network is formed when the stick has none", LATER},
    {LINK(permit_join_s), "permit_join", TYPE_DURATION, 0, 65535, "0s", "s",
     "how long nodes may join after each start; 0: not at all, 65535s: always", LATER},
    {LINK(endpoint), "endpoint", TYPE_HEX, 1, 240, "0xE8", "",
     "ZigBee endpoint of gateway and nodes", LATER},
    {LINK(profile), "profile", TYPE_HEX, 0, 0xFFFF, "0xC105", "",
     "ZigBee profile of gateway and nodes", LATER},
    {LINK(cluster), "cluster", TYPE_HEX, 0, 0xFFFF, "0x0011", "",
     "ZigBee cluster that carries the packets", LATER},
    {LINK(api), "api", TYPE_API, 0, 0, "auto", "",
     "API mode of an XBee; auto: whichever it has", LATER},
    {LINK(family), "family", TYPE_FAMILY, 0, 0, "auto", "",
     "firmware of an XBee", LATER},
    {LINK(framing), "framing", TYPE_FRAMING, 0, 0, "raw", "",
     "how packets are told apart on a plain serial line", LATER},
    {LINK(forwarder), "forwarder", TYPE_SWITCH, 0, 0, "no", "",
     "whether a forwarder with many nodes is at the other end of the line, not one node", LATER},

    {CLIENT(allow), "allow", TYPE_SWITCH, 0, 0, "yes", "",
     "whether these clients may connect", NOW},
    {CLIENT(qos_minus_one), "qos_minus_one", TYPE_SWITCH, 0, 0, NULL, "",
     "whether these clients may publish with QoS -1; without it as the link says", NOW},
    {CLIENT(max_packet_bytes), "max_packet", TYPE_SIZE, 12, 65535, NULL, "octets",
     "largest packet sent to these clients; without it as the link says", NOW},
    {CLIENT(max_topics), "max_topics", TYPE_NUMBER, 1, 65534, "256", "",
     "topic ids registered per client", NOW},
    {CLIENT(max_subscriptions), "max_subscriptions", TYPE_NUMBER, 1, 65535, "64", "",
     "topic filters subscribed per client", NOW},
    {CLIENT(max_queue), "max_queue", TYPE_NUMBER, 1, 1000000, "100", "",
     "messages waiting per client", NOW},
    {CLIENT(max_queue_bytes), "max_queue_bytes", TYPE_SIZE, 256, GIB, "64KiB", "octets",
     "their topics and payloads", NOW},
    {CLIENT(max_inflight), "max_inflight", TYPE_NUMBER, 1, 1024, "16", "",
     "QoS 1 and 2 messages of a client under way at once", NOW},
    {CLIENT(keep_alive_max_ms), "keep_alive_max", TYPE_DURATION, SECOND, 365 * DAY, "24h", "ms",
     "after which silence a client that asked for keep alive 0 counts as lost", NOW},
    {CLIENT(overflow), "overflow", TYPE_OVERFLOW, 0, 0, "drop-oldest", "",
     "what gives way when the messages waiting for a client become too many", NOW},
    {CLIENT(queue_qos_0), "queue_qos_0", TYPE_SWITCH, 0, 0, "yes", "",
     "whether QoS 0 messages wait for a sleeping client, too", NOW},
    {CLIENT(rebind), "rebind", TYPE_SWITCH, 0, 0, "yes", "",
     "whether a sleeping client may wake up at another address", NOW},
    {CLIENT(resume_asleep), "resume_asleep", TYPE_SWITCH, 0, 0, "no", "",
     "whether CONNECT of a sleeping client goes on with its session also if it asks for a clean one",
     NOW},
    {CLIENT(regack), "regack", TYPE_SWITCH, 0, 0, "yes", "",
     "whether these clients answer REGISTER; no: none is sent, nor what would need one", NOW},
    {CLIENT(dup), "dup", TYPE_SWITCH, 0, 0, "yes", "",
     "whether a PUBLISH that is repeated to these clients says so", NOW},
    {CLIENT(max_qos), "max_qos", TYPE_QOS, 0, 0, "2", "",
     "highest QoS at which messages are delivered to these clients", NOW},
    {CLIENT_MQTT(prefix), "prefix", TYPE_TEXT, 1, 1024, NULL, "",
     "put before topics of these clients, behind the gateway's and the link's; without it nothing",
     NOW},
    {CLIENT_MQTT(sessions), "sessions", TYPE_SESSIONS, 0, 0, NULL, "",
     "whether these clients share the MQTT session; without it as the broker's section says",
     LATER},
    {CLIENT_MQTT(mqtt_client_id), "mqtt_client_id", TYPE_TEXT, 1, 1024, NULL, "",
     "their MQTT client id in sessions of their own; without it the broker's own_client_id", LATER},
    {CLIENT_MQTT(username), "username", TYPE_TEXT, 1, 1024, NULL, "",
     "their login at the broker in sessions of their own; without it the broker's", ANEW},
    {CLIENT_MQTT(password_file), "password_file", TYPE_PATH, 1, 1024, NULL, "",
     "file whose only line is their password", ANEW},
    {CLIENT_MQTT(cert_file), "cert_file", TYPE_PATH, 1, 1024, NULL, "",
     "certificate that they show to the broker; without it the broker's", ANEW},
    {CLIENT_MQTT(key_file), "key_file", TYPE_PATH, 1, 1024, NULL, "",
     "key of that certificate", ANEW},
};
/* clang-format on */

const size_t config_n_keys = sizeof config_keys / sizeof config_keys[0];

_Static_assert(sizeof config_keys / sizeof config_keys[0] <= CONFIG_KEYS_MAX,
               "config_origin has a place for every key");

static const char *const section_names[N_CONFIG_SECTIONS] = {
    [SECTION_GATEWAY] = "gateway", [SECTION_BROKER] = "broker", [SECTION_ROUTE] = "route",
    [SECTION_STORE] = "store",     [SECTION_LINK] = "link",     [SECTION_TOPICS] = "topics",
    [SECTION_CLIENT] = "client",
};

const char *config_section_name(enum config_section s)
{
    return section_names[s];
}

bool config_section_find(const char *name, enum config_section *out)
{
    for (unsigned s = 0; s < N_CONFIG_SECTIONS; s++) {
        if (strcmp(section_names[s], name) == 0) {
            *out = (enum config_section)s;
            return true;
        }
    }
    return false;
}

const struct config_key *config_key_find(enum config_section s, const char *name)
{
    for (size_t i = 0; i < config_n_keys; i++) {
        if (config_keys[i].section == s && strcmp(config_keys[i].name, name) == 0)
            return &config_keys[i];
    }
    return NULL;
}

enum { WORD_MAX = 24 }; /* of names that a suggestion is looked for */

static char folded(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c == '-' ? '_' : c;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Edit distance with neighbours swapped counting as one edit; case and - for _ count as none. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[3][WORD_MAX + 1];
    const size_t n_a = strlen(a);
    const size_t n_b = strlen(b);
    if (n_a > WORD_MAX || n_b > WORD_MAX)
        return WORD_MAX;
    for (unsigned k = 0; k <= n_b; k++)
        row[0][k] = k;
    for (unsigned i = 1; i <= n_a; i++) {
        unsigned *now = row[i % 3];
        const unsigned *above = row[(i + 2) % 3];
        const unsigned *before = row[(i + 1) % 3];
        now[0] = i;
        for (unsigned k = 1; k <= n_b; k++) {
            const bool same = folded(a[i - 1]) == folded(b[k - 1]);
            now[k] = least(least(now[k - 1], above[k]) + 1, above[k - 1] + (same ? 0 : 1));
            if (i > 1 && k > 1 && folded(a[i - 1]) == folded(b[k - 2]) &&
                folded(a[i - 2]) == folded(b[k - 1]))
                now[k] = least(now[k], before[k - 2] + 1);
        }
    }
    return row[n_a % 3][n_b];
}

/* The farthest that still looks like a slip of the finger. */
static unsigned tolerance(const char *name)
{
    return (unsigned)(strlen(name) + 2) / 3;
}

/* The key nearest to `name`: in section `s` with `here`, else in the others. NULL: none is near. */
static const struct config_key *nearest_key(enum config_section s, bool here, const char *name)
{
    const struct config_key *best = NULL;
    unsigned nearest = tolerance(name) + 1;
    for (size_t i = 0; i < config_n_keys; i++) {
        const unsigned d = distance(name, config_keys[i].name);
        if ((config_keys[i].section == s) == here && d < nearest) {
            best = &config_keys[i];
            nearest = d;
        }
    }
    return best;
}

void config_suggest_key(enum config_section s, const char *name, char *out, size_t size)
{
    const struct config_key *here = nearest_key(s, true, name);
    const struct config_key *there = nearest_key(s, false, name);
    out[0] = '\0';
    if (there != NULL && strcmp(there->name, name) == 0)
        snprintf(out, size, "; it belongs in [%s]", section_names[there->section]);
    else if (here != NULL)
        snprintf(out, size, "; did you mean '%s'?", here->name);
    else if (there != NULL)
        snprintf(out, size, "; did you mean '%s', which belongs in [%s]?", there->name,
                 section_names[there->section]);
}

void config_suggest_section(const char *name, char *out, size_t size)
{
    unsigned nearest = tolerance(name) + 1;
    snprintf(out, size,
             "there are [gateway], [broker], [broker NAME], [route NAME], [store], [link NAME], "
             "[topics], [topics GLOB] and "
             "[client GLOB]");
    for (unsigned s = 0; s < N_CONFIG_SECTIONS; s++) {
        const unsigned d = distance(name, section_names[s]);
        if (d < nearest) {
            nearest = d;
            snprintf(out, size, "did you mean [%s]?", section_names[s]);
        }
    }
}
