/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sennet-pub and sennet-sub as programs: exit codes, sentences and output, against a gateway played
 * here on a loopback socket, so that refusals and silence can be asked for. No broker, no daemon.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "base/error.h"

#include "mqttsn/packet.h"
#include "unit/child.h"
#include "unit/suite.h"

enum { TEXT_MAX = 8192, ARGS_MAX = 24, CODES_MAX = 4, PATIENCE_MS = 30000 };

/* What the played gateway does, and what it saw. Codes beyond those given are SN_ACCEPTED. */
struct play {
    bool silent;
    uint8_t connack;
    uint8_t puback[CODES_MAX];
    uint8_t suback;
    unsigned messages;        /* to be sent after the SUBACK, QoS 1, short topic "xy" */
    unsigned interrupt_after; /* SIGTERM once so many lines were printed; 0: never */
    const char *input;        /* standard input of the program */

    int fd;
    uint16_t port;
    unsigned seen[SN_TYPE_COUNT];
    struct sockaddr_in peer;
    uint16_t next_topic_id;
    char last_data[64];

    pid_t pid;
    char out[TEXT_MAX];
    char err[TEXT_MAX];
    int exit_code;
};

static void play_init(struct play *p)
{
    memset(p, 0, sizeof *p);
    p->next_topic_id = 0x21;
    p->input = "";
    p->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    ck_assert_int_eq(bind(p->fd, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(getsockname(p->fd, (struct sockaddr *)&address, &len), 0);
    p->port = ntohs(address.sin_port);
}

/* ---- the played gateway ---------------------------------------------------------------------- */

static void reply(struct play *p, const struct sn_packet *packet)
{
    uint8_t buf[256];
    const size_t len = sn_encode(packet, buf, sizeof buf);
    ck_assert_uint_gt(len, 0);
    ck_assert_int_eq(sendto(p->fd, buf, len, 0, (struct sockaddr *)&p->peer, sizeof p->peer),
                     (ssize_t)len);
}

static void send_messages(struct play *p)
{
    for (unsigned i = 1; i <= p->messages; i++) {
        char text[32];
        snprintf(text, sizeof text, "message %u", i);
        reply(p, &(struct sn_packet){.type = SN_PUBLISH,
                                     .qos = SN_QOS_1,
                                     .retain = i == 1,
                                     .topic_kind = SN_TOPIC_SHORT,
                                     .topic_id = 0x7879,
                                     .msg_id = (uint16_t)i,
                                     .data = bytes_str(text)});
    }
}

static void answer_publish(struct play *p, const struct sn_packet *in)
{
    const unsigned n = p->seen[SN_PUBLISH] - 1;
    const uint8_t code = n < CODES_MAX ? p->puback[n] : SN_ACCEPTED;
    snprintf(p->last_data, sizeof p->last_data, "%.*s", (int)in->data.len,
             (const char *)in->data.data);
    const enum sn_type type = in->qos == SN_QOS_2 && code == SN_ACCEPTED ? SN_PUBREC : SN_PUBACK;
    const bool answered = in->qos == SN_QOS_1 || in->qos == SN_QOS_2;
    if (answered || (in->qos == SN_QOS_0 && code != SN_ACCEPTED))
        reply(p, &(struct sn_packet){.type = type,
                                     .topic_id = in->topic_id,
                                     .msg_id = in->msg_id,
                                     .return_code = code});
}

static void answer(struct play *p, const struct sn_packet *in)
{
    struct sn_packet out = {.msg_id = in->msg_id, .topic_id = in->topic_id};
    switch ((int)in->type) {
    case SN_CONNECT:
        out.type = SN_CONNACK;
        out.return_code = p->connack;
        break;
    case SN_REGISTER:
        out.type = SN_REGACK;
        out.topic_id = p->next_topic_id++;
        break;
    case SN_PUBREL:
        out.type = SN_PUBCOMP;
        break;
    case SN_SUBSCRIBE:
        out.type = SN_SUBACK;
        out.return_code = p->suback;
        break;
    case SN_DISCONNECT:
        out.type = SN_DISCONNECT;
        break;
    case SN_PUBLISH:
        answer_publish(p, in);
        return;
    default:
        return;
    }
    reply(p, &out);
    if (in->type == SN_SUBSCRIBE)
        send_messages(p);
}

static bool gateway_receive(struct play *p)
{
    static uint8_t buf[65536];
    socklen_t len = sizeof p->peer;
    const ssize_t n =
        recvfrom(p->fd, buf, sizeof buf, MSG_DONTWAIT, (struct sockaddr *)&p->peer, &len);
    if (n < 0)
        return false;
    struct sn_packet in;
    ck_assert_int_eq(sn_decode(bytes_of(buf, (size_t)n), &in), SN_DECODED);
    p->seen[in.type]++;
    if (!p->silent)
        answer(p, &in);
    return true;
}

/* ---- the program ----------------------------------------------------------------------------- */

static void start(struct play *p, const char *variable, char *const *args, int *out, int *err)
{
    int in_pipe[2];
    int out_pipe[2];
    int err_pipe[2];
    ck_assert(pipe2(in_pipe, O_CLOEXEC) == 0 && pipe2(out_pipe, O_CLOEXEC) == 0 &&
              pipe2(err_pipe, O_CLOEXEC) == 0);
    const char *program = getenv(variable);
    ck_assert_msg(program != NULL, "%s is not set: run this by ctest", variable);
    p->pid = fork();
    if (p->pid == 0) {
        dup2(in_pipe[0], STDIN_FILENO);
        dup2(out_pipe[1], STDOUT_FILENO);
        dup2(err_pipe[1], STDERR_FILENO);
        execv(program, args);
        _exit(127);
    }
    ck_assert_int_gt(p->pid, 0);
    ck_assert_int_eq(write(in_pipe[1], p->input, strlen(p->input)), (ssize_t)strlen(p->input));
    close(in_pipe[0]);
    close(in_pipe[1]);
    close(out_pipe[1]);
    close(err_pipe[1]);
    *out = out_pipe[0];
    *err = err_pipe[0];
}

/* Appends what can be read; false at the end. */
static bool collect(int fd, char *text)
{
    const size_t used = strlen(text);
    ck_assert_uint_lt(used, TEXT_MAX - 1);
    const ssize_t n = read(fd, text + used, TEXT_MAX - 1 - used);
    ck_assert_int_ge(n, 0);
    text[used + (size_t)n] = '\0';
    return n > 0;
}

static unsigned count_lines(const char *text)
{
    unsigned n = 0;
    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

/* Plays until the program ends. The arguments follow, NULL at the end. */
static void run(struct play *p, const char *variable, ...)
{
    char port[8];
    snprintf(port, sizeof port, "%u", p->port);
    char name[] = "tool";
    char port_option[] = "-p";
    char retry_option[] = "--retry-interval";
    /* A slow machine must not make repetitions where none are wanted. */
    char retry[] = "20.00";
    if (p->silent)
        snprintf(retry, sizeof retry, "0.05");
    char *args[ARGS_MAX] = {name, port_option, port, retry_option, retry};
    unsigned n = 5;
    va_list list;
    va_start(list, variable);
    while ((args[n] = va_arg(list, char *)) != NULL)
        ck_assert_uint_lt(++n, ARGS_MAX);
    va_end(list);
    int out;
    int err;
    start(p, variable, args, &out, &err);
    bool open_out = true;
    bool open_err = true;
    while (open_out || open_err) {
        struct pollfd fds[] = {
            {.fd = p->fd,               .events = POLLIN},
            {.fd = open_out ? out : -1, .events = POLLIN},
            {.fd = open_err ? err : -1, .events = POLLIN}
        };
        ck_assert_msg(poll(fds, 3, PATIENCE_MS) > 0, "the program hangs");
        if (fds[0].revents != 0)
            gateway_receive(p);
        if (fds[1].revents != 0)
            open_out = collect(out, p->out);
        if (fds[2].revents != 0)
            open_err = collect(err, p->err);
        if (p->interrupt_after > 0 && count_lines(p->out) >= p->interrupt_after) {
            p->interrupt_after = 0;
            kill(p->pid, SIGTERM);
        }
    }
    const int status = child_wait(p->pid, PATIENCE_MS, "the program");
    ck_assert_msg(WIFEXITED(status), "killed by a signal: %s", p->err);
    p->exit_code = WEXITSTATUS(status);
    while (gateway_receive(p)) /* what it sent just before it ended */
        ;
    close(out);
    close(err);
    close(p->fd);
}

#define PUB(play, ...) run(play, "SENNET_PUB", __VA_ARGS__, (char *)NULL)
#define SUB(play, ...) run(play, "SENNET_SUB", __VA_ARGS__, (char *)NULL)

static void assert_told(const struct play *p, const char *sentence)
{
    ck_assert_msg(strstr(p->err, sentence) != NULL, "'%s' does not tell '%s'", p->err, sentence);
    ck_assert_uint_eq(count_lines(p->err), 1);
}

/* ---- sennet-pub ------------------------------------------------------------------------------ */

/* _i is the QoS. */
START_TEST(pub_succeeds_when_acknowledged)
{
    static struct play p;
    play_init(&p);
    const char *const qos[] = {"0", "1", "2"};
    PUB(&p, "-t", "a/b", "-m", "hello", "-q", qos[_i]);
    ck_assert_int_eq(p.exit_code, 0);
    ck_assert_str_eq(p.out, "");
    ck_assert_str_eq(p.err, "");
    ck_assert_str_eq(p.last_data, "hello");
    ck_assert_uint_eq(p.seen[SN_REGISTER], 1);
    ck_assert_uint_eq(p.seen[SN_PUBREL], _i == 2);
    ck_assert_uint_eq(p.seen[SN_DISCONNECT], 1);
}

END_TEST

START_TEST(pub_tells_of_a_refused_message)
{
    for (unsigned qos = 0; qos < 3; qos++) {
        static struct play p;
        play_init(&p);
        p.puback[0] = SN_CONGESTION;
        const char *const letters[] = {"0", "1", "2"};
        PUB(&p, "-T", "5", "-m", "hello", "-q", letters[qos]);
        ck_assert_int_eq(p.exit_code, 1);
        assert_told(&p, "gateway refused: congestion");
        ck_assert_uint_eq(p.seen[SN_DISCONNECT], 1);
    }
}

END_TEST

START_TEST(pub_tells_of_a_refused_connection)
{
    static struct play p;
    play_init(&p);
    p.connack = SN_CONGESTION;
    PUB(&p, "-t", "a/b", "-m", "hello");
    ck_assert_int_eq(p.exit_code, 1);
    assert_told(&p, "gateway refused the connection: congestion");
    ck_assert_uint_eq(p.seen[SN_PUBLISH] + p.seen[SN_DISCONNECT], 0);
}

END_TEST

START_TEST(pub_gives_up_on_a_silent_gateway)
{
    static struct play p;
    play_init(&p);
    p.silent = true;
    PUB(&p, "-t", "a/b", "-m", "hello", "--retry-count", "2");
    ck_assert_int_eq(p.exit_code, 1);
    char sentence[64];
    snprintf(sentence, sizeof sentence, "no answer from 127.0.0.1:%u after 3 tries", p.port);
    assert_told(&p, sentence);
    ck_assert_uint_eq(p.seen[SN_CONNECT], 3);
}

END_TEST

START_TEST(pub_registers_again_once_when_the_id_is_invalid)
{
    static struct play p;
    play_init(&p);
    p.puback[0] = SN_INVALID_TOPIC_ID;
    PUB(&p, "-t", "a/b", "-m", "hello", "-q", "1");
    ck_assert_int_eq(p.exit_code, 0);
    ck_assert_uint_eq(p.seen[SN_REGISTER], 2);
    ck_assert_uint_eq(p.seen[SN_PUBLISH], 2);
    play_init(&p);
    p.puback[0] = p.puback[1] = SN_INVALID_TOPIC_ID;
    PUB(&p, "-t", "a/b", "-m", "hello", "-q", "1");
    ck_assert_int_eq(p.exit_code, 1);
    ck_assert_uint_eq(p.seen[SN_PUBLISH], 2);
    assert_told(&p, "gateway refused: invalid topic id");
}

END_TEST

START_TEST(pub_goes_on_after_a_refused_line)
{
    static struct play p;
    play_init(&p);
    p.puback[1] = SN_NOT_SUPPORTED;
    p.input = "one\n\ntwo\nthree";
    PUB(&p, "-S", "xy", "-l", "-q", "1");
    ck_assert_int_eq(p.exit_code, 1);
    ck_assert_uint_eq(p.seen[SN_PUBLISH], 3);
    ck_assert_str_eq(p.last_data, "three");
    assert_told(&p, "gateway refused: not supported");
}

END_TEST

START_TEST(pub_repeats_and_reads_standard_input)
{
    static struct play p;
    play_init(&p);
    p.input = "two\nlines";
    PUB(&p, "-S", "xy", "-s", "-q", "1", "--repeat", "3", "--repeat-delay", "0.01");
    ck_assert_int_eq(p.exit_code, 0);
    ck_assert_uint_eq(p.seen[SN_PUBLISH], 3);
    ck_assert_str_eq(p.last_data, "two\nlines");
}

END_TEST

START_TEST(pub_at_qos_minus_one_sends_one_packet_and_is_done)
{
    static struct play p;
    play_init(&p);
    PUB(&p, "-T", "5", "-m", "hello", "-q", "-1");
    ck_assert_int_eq(p.exit_code, 0);
    ck_assert_uint_eq(p.seen[SN_PUBLISH], 1);
    ck_assert_uint_eq(p.seen[SN_CONNECT] + p.seen[SN_DISCONNECT], 0);
}

END_TEST

START_TEST(wrong_command_lines_are_usage_errors)
{
    const char *const lines[][4] = {
        {"-t", "a/#", "-m", "x"            },
        {"-T", "0",   "-m", "x"            },
        {"-S", "abc", "-m", "x"            },
        {"-t", "a",   "-n", "--will-retain"},
        {"-t", "a",   "-n", "-n"           },
        {"-t", "a",   "-l", "--repeat=2"   },
        {"-t", "a",   "-n", "-c"           },
        {"-t", "a",   "-n", "--unknown"    },
        {"-t", "a",   "-n", "x"            },
        {"-t", "a",   "-n", "-k70000"      }
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        static struct play p;
        play_init(&p);
        PUB(&p, lines[i][0], lines[i][1], lines[i][2], lines[i][3]);
        ck_assert_int_eq(p.exit_code, EXIT_USAGE);
        ck_assert_str_eq(p.out, "");
        ck_assert_ptr_nonnull(strstr(p.err, "--help"));
    }
    static struct play p;
    play_init(&p);
    PUB(&p, "-t", "a", "-m", "x", "-q", "-1");
    ck_assert_int_eq(p.exit_code, EXIT_USAGE);
    play_init(&p);
    PUB(&p, "-t", "a", "-f", "/nonexistent/file");
    ck_assert_int_eq(p.exit_code, EXIT_NO_INPUT);
    play_init(&p);
    PUB(&p, "--help");
    ck_assert_int_eq(p.exit_code, 0);
    ck_assert_str_eq(p.err, "");
    ck_assert_ptr_nonnull(strstr(p.out, "--will-topic"));
}

END_TEST

/* ---- sennet-sub ------------------------------------------------------------------------------ */

START_TEST(sub_prints_and_stops_after_the_count)
{
    static struct play p;
    play_init(&p);
    p.messages = 3;
    SUB(&p, "-t", "a/b", "-C", "3", "-F", "%t %p %q%r%m");
    ck_assert_int_eq(p.exit_code, 0);
    ck_assert_str_eq(p.out, "xy message 1 111\nxy message 2 102\nxy message 3 103\n");
    ck_assert_uint_eq(p.seen[SN_PUBACK], 3);
    ck_assert_uint_eq(p.seen[SN_DISCONNECT], 1);
}

END_TEST

START_TEST(sub_tells_retained_messages_from_others)
{
    static struct play p;
    play_init(&p);
    p.messages = 2; /* the first is retained */
    SUB(&p, "-S", "xy", "-R", "-C", "1", "-v");
    ck_assert_str_eq(p.out, "xy message 2\n");
    play_init(&p);
    p.messages = 2;
    SUB(&p, "-S", "xy", "--retained-only", "-N");
    ck_assert_int_eq(p.exit_code, 0);
    ck_assert_str_eq(p.out, "message 1");
}

END_TEST

START_TEST(sub_disconnects_on_sigterm_after_each_line_is_out)
{
    static struct play p;
    play_init(&p);
    p.messages = 2;
    p.interrupt_after = 2; /* only seen when the lines do not wait in a buffer */
    SUB(&p, "-t", "a/b", "-T", "5");
    ck_assert_int_eq(p.exit_code, 0);
    ck_assert_uint_eq(p.seen[SN_DISCONNECT], 1);
}

END_TEST

START_TEST(sub_ends_with_27_when_its_time_is_up)
{
    static struct play p;
    play_init(&p);
    SUB(&p, "-t", "a/b", "-W", "0.2");
    ck_assert_int_eq(p.exit_code, 27);
    ck_assert_uint_eq(p.seen[SN_DISCONNECT], 1);
    ck_assert_str_eq(p.err, "");
}

END_TEST

START_TEST(sub_exits_once_subscribed)
{
    static struct play p;
    play_init(&p);
    SUB(&p, "-t", "a/b", "-T", "5", "-S", "xy", "-E");
    ck_assert_int_eq(p.exit_code, 0);
    ck_assert_uint_eq(p.seen[SN_SUBSCRIBE], 3);
    play_init(&p);
    p.suback = SN_INVALID_TOPIC_ID;
    SUB(&p, "-T", "5");
    ck_assert_int_eq(p.exit_code, 1);
    assert_told(&p, "gateway refused predefined topic 5: invalid topic id");
    ck_assert_uint_eq(p.seen[SN_DISCONNECT], 1);
}

END_TEST

int main(void)
{
    TCase *pub = tcase_create("sennet-pub");
    tcase_set_timeout(pub, 60);
    tcase_add_loop_test(pub, pub_succeeds_when_acknowledged, 0, 3);
    tcase_add_test(pub, pub_tells_of_a_refused_message);
    tcase_add_test(pub, pub_tells_of_a_refused_connection);
    tcase_add_test(pub, pub_gives_up_on_a_silent_gateway);
    tcase_add_test(pub, pub_registers_again_once_when_the_id_is_invalid);
    tcase_add_test(pub, pub_goes_on_after_a_refused_line);
    tcase_add_test(pub, pub_repeats_and_reads_standard_input);
    tcase_add_test(pub, pub_at_qos_minus_one_sends_one_packet_and_is_done);
    tcase_add_test(pub, wrong_command_lines_are_usage_errors);
    TCase *sub = tcase_create("sennet-sub");
    tcase_set_timeout(sub, 60);
    tcase_add_test(sub, sub_prints_and_stops_after_the_count);
    tcase_add_test(sub, sub_tells_retained_messages_from_others);
    tcase_add_test(sub, sub_disconnects_on_sigterm_after_each_line_is_out);
    tcase_add_test(sub, sub_ends_with_27_when_its_time_is_up);
    tcase_add_test(sub, sub_exits_once_subscribed);
    Suite *suite = suite_create("pub and sub");
    suite_add_tcase(suite, pub);
    suite_add_tcase(suite, sub);
    return run_suite(suite);
}
