/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/session.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

/* Datagrams taken per wake-up, so that a flood cannot keep the timers from firing. */
enum { RECEIVE_BATCH = 64, LINE_MAX_CHARS = 512, SEND_PATIENCE_MS = 1000 };

static void show(const struct session *s, const char *arrow, struct bytes packet)
{
    if (!s->options->debug)
        return;
    struct sn_packet p;
    char line[LINE_MAX_CHARS];
    const enum sn_decode_result result = sn_decode(packet, &p);
    if (result == SN_DECODED)
        sn_print(&p, line, sizeof line);
    else
        snprintf(line, sizeof line, "malformed, %zu octets: %s", packet.len,
                 sn_decode_result_name(result));
    fprintf(stderr, "%s %s %s\n", s->options->client_id, arrow, line);
}

/* ---- life cycle ------------------------------------------------------------------------------ */

static int catch_signals(struct session *s)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -errno;
    s->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    /* A reader that closes the pipe is seen as a failed write. */
    if (s->signals < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return -errno;
    return 0;
}

static struct snc *make_machine(const struct cli_options *options)
{
    const char *payload = options->will_payload != NULL ? options->will_payload : "";
    const struct snc_options machine = {.client_id = options->client_id,
                                        .clean = !options->keep_session,
                                        .keep_alive_s = options->keep_alive_s,
                                        .will_topic = options->will_topic,
                                        .will_message = bytes_str(payload),
                                        .will_qos = (uint8_t)options->will_qos,
                                        .will_retain = options->will_retain,
                                        .retry_ms = options->retry_ms,
                                        .retry_count = options->retry_count};
    return snc_new(&machine, net_now_ms());
}

int session_open(struct session *s, const struct cli_options *options)
{
    *s = (struct session){.options = options, .signals = -1, .net.fd = -1};
    char why[256];
    if (net_open(&s->net, options->host, options->port, options->bind_address, why, sizeof why)) {
        cli_complain(options, "%s", why);
        return EXIT_UNAVAILABLE;
    }
    const int failure = catch_signals(s);
    s->snc = failure == 0 ? make_machine(options) : NULL;
    if (s->snc == NULL) {
        cli_complain(options, "cannot start: %s", strerror(failure != 0 ? -failure : ENOMEM));
        session_close(s);
        return EXIT_SYSTEM;
    }
    return 0;
}

void session_close(struct session *s)
{
    snc_free(s->snc);
    s->snc = NULL;
    if (s->signals >= 0)
        close(s->signals);
    net_close(&s->net);
}

/* ---- socket ---------------------------------------------------------------------------------- */

/* Most failures of send() are losses, which the machine repeats; some would repeat for ever. */
static void on_send_failure(struct session *s, int error, size_t len)
{
    if (error == ECONNREFUSED) {
        s->refused = true;
    } else if (error == EMSGSIZE) {
        s->broken = true;
        cli_complain(s->options, "a packet of %zu octets does not fit a datagram to %s", len,
                     s->net.name);
    } else if (error != EAGAIN && error != EINTR && error != ENOBUFS) {
        s->broken = true;
        cli_complain(s->options, "cannot send to %s: %s", s->net.name, strerror(error));
    }
}

/* A full socket buffer is waited for, within reason: nothing else can be done meanwhile. */
static ssize_t send_patiently(struct session *s, struct bytes packet)
{
    for (unsigned tries = 0;; tries++) {
        const ssize_t n = send(s->net.fd, packet.data, packet.len, 0);
        if (n >= 0 || tries > 0)
            return n;
        if (errno == EAGAIN) {
            struct pollfd writable = {.fd = s->net.fd, .events = POLLOUT};
            poll(&writable, 1, SEND_PATIENCE_MS);
        } else if (errno == ECONNREFUSED) {
            s->refused = true; /* reported late, of an earlier datagram, and cleared by that */
        } else if (errno != EINTR) {
            return n;
        }
    }
}

void session_flush(struct session *s)
{
    struct bytes packet;
    for (; !s->broken && snc_peek_packet(s->snc, &packet); snc_done_packet(s->snc)) {
        show(s, ">", packet);
        if (send_patiently(s, packet) < 0)
            on_send_failure(s, errno, packet.len);
    }
}

static void receive(struct session *s)
{
    static uint8_t datagram[SN_PACKET_MAX + 1];
    for (unsigned i = 0; i < RECEIVE_BATCH; i++) {
        const ssize_t n = recv(s->net.fd, datagram, sizeof datagram, 0);
        if (n < 0) {
            if (errno == ECONNREFUSED)
                s->refused = true;
            return;
        }
        s->refused = false;
        const struct bytes packet = bytes_of(datagram, (size_t)n);
        show(s, "<", packet);
        snc_input(s->snc, net_now_ms(), packet);
    }
}

/* ---- waiting --------------------------------------------------------------------------------- */

static int poll_timeout(int64_t due_ms, int64_t now_ms)
{
    if (due_ms == TIME_NEVER)
        return -1;
    if (due_ms <= now_ms)
        return 0;
    return due_ms - now_ms > INT_MAX ? INT_MAX : (int)(due_ms - now_ms);
}

enum session_result session_wait(struct session *s, int input_fd, int64_t until_ms)
{
    for (bool looked = false;; looked = true) {
        const int64_t now_ms = net_now_ms();
        snc_advance(s->snc, now_ms);
        session_flush(s);
        struct snc_event event;
        if (snc_peek_event(s->snc, &event))
            return SESSION_EVENT;
        if (s->broken || (s->choosing && s->refused && s->net.next != NULL))
            return SESSION_BROKEN;
        if (looked && until_ms <= now_ms)
            return SESSION_TIME;
        struct pollfd fds[] = {
            {.fd = s->net.fd,  .events = POLLIN},
            {.fd = s->signals, .events = POLLIN},
            {.fd = input_fd,   .events = POLLIN}
        };
        const int64_t due_ms = time_min(until_ms, snc_next_deadline(s->snc));
        if (poll(fds, 3, poll_timeout(due_ms, now_ms)) <= 0)
            continue;
        if (fds[1].revents != 0) {
            struct signalfd_siginfo info;
            if (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info)
                return SESSION_SIGNAL;
        }
        if (fds[0].revents != 0)
            receive(s);
        else if (fds[2].revents != 0)
            return SESSION_INPUT;
    }
}

/* ---- session --------------------------------------------------------------------------------- */

void session_explain(const struct session *s, const struct snc_event *event)
{
    if (event->type == SNC_REFUSED) {
        cli_complain(s->options, "gateway refused the connection: %s",
                     cli_return_code(event->return_code));
    } else if (event->type == SNC_TIMEOUT) {
        cli_complain(s->options, "no answer from %s after %u %s%s", s->net.name, event->sendings,
                     event->sendings == 1 ? "try" : "tries",
                     s->refused ? " (nothing listens at that port)" : "");
    } else {
        cli_complain(s->options, "gateway at %s ended the connection", s->net.name);
    }
}

/* Nothing listens at this address. True when the machine is connecting, there or still here. */
static bool try_next_address(struct session *s)
{
    s->refused = false;
    if (net_next(&s->net) != 0)
        return true;
    snc_free(s->snc);
    s->snc = make_machine(s->options);
    if (s->snc == NULL) {
        cli_complain(s->options, "out of memory");
        s->broken = true;
        return false;
    }
    return snc_connect(s->snc, net_now_ms()) == 0;
}

enum session_result session_connect(struct session *s, int64_t until_ms)
{
    if (snc_connect(s->snc, net_now_ms()) != 0) {
        cli_complain(s->options, "the client id or the will is too long for a packet");
        return SESSION_BROKEN;
    }
    enum session_result result;
    s->choosing = true;
    do
        result = session_wait(s, -1, until_ms);
    while (result == SESSION_BROKEN && !s->broken && try_next_address(s));
    s->choosing = false;
    if (result != SESSION_EVENT)
        return result;
    struct snc_event event;
    snc_peek_event(s->snc, &event);
    const bool connected = event.type == SNC_CONNECTED;
    if (!connected)
        session_explain(s, &event);
    snc_done_event(s->snc);
    return connected ? SESSION_EVENT : SESSION_BROKEN;
}

uint8_t session_disconnect(struct session *s)
{
    uint8_t refusal = SN_ACCEPTED;
    if (s->broken || snc_disconnect(s->snc, net_now_ms(), 0) != 0)
        return refusal;
    const int64_t until_ms = net_now_ms() + s->options->retry_ms * 3 / 2;
    bool gone = false;
    while (!gone && session_wait(s, -1, until_ms) == SESSION_EVENT) {
        struct snc_event event;
        snc_peek_event(s->snc, &event);
        gone = event.type == SNC_DISCONNECTED || event.type == SNC_TIMEOUT;
        if (event.type == SNC_PUBLISHED)
            refusal = event.return_code;
        snc_done_event(s->snc);
    }
    return refusal;
}
