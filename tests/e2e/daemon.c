/* SPDX-License-Identifier: Apache-2.0 */
#include "e2e/daemon.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <check.h>

#include "e2e/pinned.h"
#include "unit/child.h"

enum { ANSWER_MS = 5000, START_MS = 15000, END_MS = 15000, LOG_END = 4000, WORD_ROOM = 64 };

int64_t test_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int bound_socket(uint16_t *port)
{
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

uint16_t free_udp_port(void)
{
    uint16_t port;
    close(bound_socket(&port));
    return port;
}

/* ---- the process ----------------------------------------------------------------------------- */

static const char *program(void)
{
    const char *path = getenv("SENNETD");
    ck_assert_msg(path != NULL, "set SENNETD to the program under test");
    return path;
}

/* stdout and stderr of the child go to the returned descriptor. */
static pid_t spawn(char *const arguments[], int *output)
{
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    const pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that failed leaves nobody behind */
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        execv(program(), arguments);
        _exit(127);
    }
    close(ends[1]);
    *output = ends[0];
    return pid;
}

/* Reads what is there; false at the end of the stream. */
static bool read_log(struct daemon *d, int timeout_ms)
{
    struct pollfd p = {.fd = d->log_fd, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) <= 0)
        return true;
    if (d->log_len > sizeof d->log / 2) { /* the newer half is enough */
        memmove(d->log, d->log + d->log_len / 2, d->log_len - d->log_len / 2);
        d->log_len -= d->log_len / 2;
    }
    const ssize_t n = read(d->log_fd, d->log + d->log_len, sizeof d->log - 1 - d->log_len);
    if (n <= 0)
        return false;
    d->log_len += (size_t)n;
    d->log[d->log_len] = '\0';
    return true;
}

bool daemon_has_logged(struct daemon *d, const char *text)
{
    read_log(d, 0);
    return strstr(d->log, text) != NULL;
}

const char *daemon_log_end(const struct daemon *d)
{
    return d->log + (d->log_len > LOG_END ? d->log_len - LOG_END : 0);
}

void daemon_wait_log(struct daemon *d, const char *text, int timeout_ms)
{
    const int64_t end_ms = test_now_ms() + timeout_ms;
    while (strstr(d->log, text) == NULL) {
        const int64_t left_ms = end_ms - test_now_ms();
        ck_assert_msg(left_ms > 0 && read_log(d, (int)left_ms),
                      "\"%s\" did not appear in the log:\n%s", text, daemon_log_end(d));
    }
}

static int wait_for_end(pid_t pid)
{
    const int status = child_wait(pid, END_MS, "the daemon");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void daemon_start_patient(struct daemon *d, uint16_t broker_port, unsigned retry_count,
                          const char *more)
{
    memset(d, 0, sizeof *d);
    strcpy(d->directory, "/tmp/sennet-e2e-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(d->directory));
    d->port = free_udp_port();
    daemon_configure(d, broker_port, retry_count, more);
    daemon_again(d);
}

void daemon_configure(struct daemon *d, uint16_t broker_port, unsigned retry_count,
                      const char *more)
{
    char path[128];
    snprintf(path, sizeof path, "%s/gateway.conf", d->directory);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    d->is_pinned = pinned_version() != NULL && strstr(more, "[broker]\nversion = ") == NULL;
    fprintf(f,
            "[gateway]\nname = e2e\nstate_dir = %s/state\nretry_interval = 400ms\n"
            "retry_count = %u\nlog_level = debug\n"
            "[broker]\naddress = mqtt://127.0.0.1:%u\nkeepalive = 5\nreconnect_max = 1s\n%s"
            "[link test]\ndriver = udp\nlisten = 127.0.0.1:%u\n%s",
            d->directory, retry_count, broker_port, d->is_pinned ? pinned_line() : "", d->port,
            more);
    ck_assert_int_eq(fclose(f), 0);
}

void daemon_again(struct daemon *d)
{
    char path[128];
    snprintf(path, sizeof path, "%s/gateway.conf", d->directory);
    char config_option[] = "-c";
    char name[] = "sennetd";
    d->log_len = 0;
    d->log[0] = '\0';
    d->pid = spawn((char *[]){name, config_option, path, NULL}, &d->log_fd);
    daemon_wait_log(d, "gateway.ready", START_MS);
}

void daemon_forget_log(struct daemon *d)
{
    read_log(d, 0);
    d->log_len = 0;
    d->log[0] = '\0';
}

void daemon_start(struct daemon *d, uint16_t broker_port, const char *more)
{
    daemon_start_patient(d, broker_port, DAEMON_RETRIES, more);
}

void daemon_crash(struct daemon *d)
{
    kill(d->pid, SIGKILL);
    wait_for_end(d->pid);
    close(d->log_fd);
}

uint64_t daemon_written(const struct daemon *d)
{
    char path[64], line[128];
    uint64_t octets = 0;
    snprintf(path, sizeof path, "/proc/%d/io", (int)d->pid);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "write_bytes:", 12) == 0)
            octets = strtoull(line + 12, NULL, 10);
    }
    fclose(f);
    return octets;
}

unsigned daemon_descriptors(const struct daemon *d)
{
    char path[64];
    unsigned n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)d->pid);
    DIR *dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

unsigned daemon_memory_kib(const struct daemon *d)
{
    char path[64], line[128];
    unsigned kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)d->pid);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = (unsigned)strtoul(line + 6, NULL, 10);
    }
    fclose(f);
    return kib;
}

/* The default broker has been spoken to in no other version than was to be. */
static void check_version(const struct daemon *d)
{
    const char *const other = pinned_to_5() ? " mqtt=3.1.1" : " mqtt=5";
    for (const char *at = d->log; d->is_pinned && (at = strstr(at, other)) != NULL; at++) {
        const char *line = at;
        while (line > d->log && line[-1] != '\n')
            line--;
        const char *const name = strstr(line, " broker=");
        const bool another =
            name != NULL && name < at && strncmp(name, " broker=default ", 16) != 0;
        ck_assert_msg(another, "not %s:\n%s", pinned_version(), daemon_log_end(d));
    }
}

int daemon_end(struct daemon *d, int signal)
{
    kill(d->pid, signal);
    /* A full pipe must not keep it from ending. */
    const int64_t end_ms = test_now_ms() + END_MS;
    while (read_log(d, 200) && test_now_ms() < end_ms &&
           waitpid(d->pid, NULL, WNOHANG | WNOWAIT) == 0)
        ;
    const int status = wait_for_end(d->pid);
    while (read_log(d, 0)) {
        struct pollfd p = {.fd = d->log_fd, .events = POLLIN};
        if (poll(&p, 1, 0) <= 0)
            break;
    }
    close(d->log_fd);
    check_version(d);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", d->directory);
    ck_assert_int_eq(system(command), 0);
    return status;
}

int daemon_run(char *const arguments[], char *output, size_t output_size)
{
    int fd;
    const pid_t pid = spawn(arguments, &fd);
    size_t len = 0;
    for (;;) {
        char discard[512];
        const bool room = len + 1 < output_size;
        const ssize_t n = room ? read(fd, output + len, output_size - 1 - len)
                               : read(fd, discard, sizeof discard);
        if (n <= 0)
            break;
        len += room ? (size_t)n : 0;
    }
    output[len] = '\0';
    close(fd);
    return wait_for_end(pid);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

void node_open(struct node *n, uint16_t port)
{
    uint16_t own;
    n->fd = bound_socket(&own);
    const struct sockaddr_in gateway = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    ck_assert_int_eq(connect(n->fd, (const struct sockaddr *)&gateway, sizeof gateway), 0);
}

void node_close(struct node *n)
{
    close(n->fd);
}

static size_t from_hex(const char *hex, uint8_t *out, size_t size)
{
    size_t len = 0;
    while (*hex != '\0') {
        if (*hex == ' ') {
            hex++;
            continue;
        }
        unsigned octet;
        ck_assert_int_eq(sscanf(hex, "%2x", &octet), 1);
        ck_assert_uint_lt(len, size);
        out[len++] = (uint8_t)octet;
        hex += 2;
    }
    return len;
}

static void to_hex(const uint8_t *octets, size_t len, char *hex, size_t size)
{
    size_t at = 0;
    hex[0] = '\0';
    for (size_t i = 0; i < len && at + 4 < size; i++)
        at += (size_t)snprintf(hex + at, size - at, i == 0 ? "%02X" : " %02X", octets[i]);
}

void node_say(struct node *n, const char *hex)
{
    uint8_t octets[1500];
    const size_t len = from_hex(hex, octets, sizeof octets);
    ck_assert_int_eq(send(n->fd, octets, len, 0), (ssize_t)len);
}

bool node_hear(struct node *n, char *hex, size_t size, int timeout_ms)
{
    struct pollfd p = {.fd = n->fd, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) <= 0)
        return false;
    uint8_t octets[1500];
    const ssize_t len = recv(n->fd, octets, sizeof octets, 0);
    ck_assert_int_ge(len, 0);
    to_hex(octets, (size_t)len, hex, size);
    return true;
}

void node_expect(struct node *n, const char *hex)
{
    char wanted[512];
    char got[512];
    uint8_t octets[128];
    to_hex(octets, from_hex(hex, octets, sizeof octets), wanted, sizeof wanted);
    ck_assert_msg(node_hear(n, got, sizeof got, ANSWER_MS), "expected %s, got nothing", wanted);
    ck_assert_str_eq(got, wanted);
}

void node_quiet(struct node *n, int for_ms)
{
    char got[512];
    ck_assert_msg(!node_hear(n, got, sizeof got, for_ms), "expected nothing, got %s", got);
}

static void say_connect(struct node *n, const char *client_id)
{
    uint8_t packet[64] = {(uint8_t)(6 + strlen(client_id)), 0x04, 0x04, 0x01, 0x00, 0x3C};
    memcpy(packet + 6, client_id, strlen(client_id));
    ck_assert_int_eq(send(n->fd, packet, packet[0], 0), packet[0]);
}

void node_connect(struct node *n, const char *client_id)
{
    say_connect(n, client_id);
    node_expect(n, "03 05 00");
}

void node_connect_patiently(struct node *n, const char *client_id, int timeout_ms)
{
    const int64_t end_ms = test_now_ms() + timeout_ms;
    char got[512] = "";
    while (strcmp(got, "03 05 00") != 0) {
        ck_assert_msg(test_now_ms() < end_ms, "not accepted in time, last answer: %s", got);
        say_connect(n, client_id);
        node_hear(n, got, sizeof got, 500);
        if (strcmp(got, "03 05 00") != 0)
            poll(NULL, 0, 50);
    }
}

void node_register(struct node *n, const char *topic)
{
    char hex[256];
    int at = snprintf(hex, sizeof hex, "%02X 0A 00 00 00 01", 6 + (unsigned)strlen(topic));
    for (const char *c = topic; *c != '\0'; c++)
        at += snprintf(hex + at, sizeof hex - (size_t)at, " %02X", (unsigned char)*c);
    node_say(n, hex);
    node_expect(n, "07 0B 00 01 00 01 00");
}

void node_publish(struct node *n, unsigned flags, unsigned msg_id, char letter)
{
    char hex[WORD_ROOM];
    snprintf(hex, sizeof hex, "08 0C %02X 00 01 %04X %02X", flags, msg_id, (unsigned char)letter);
    node_say(n, hex);
}

void node_expect_puback(struct node *n, unsigned msg_id)
{
    char hex[WORD_ROOM];
    snprintf(hex, sizeof hex, "07 0D 00 01 %04X 00", msg_id);
    node_expect(n, hex);
}

void node_connect_with(struct node *n, unsigned flags)
{
    char hex[WORD_ROOM];
    snprintf(hex, sizeof hex, "09 04 %02X 01 00 3C 64 65 76", flags);
    node_say(n, hex);
    node_expect(n, "03 05 00");
}

void node_subscribe(struct node *n, unsigned qos)
{
    char hex[WORD_ROOM];
    snprintf(hex, sizeof hex, "08 12 %02X 00 05 63 2F 31", qos << 5);
    node_say(n, hex);
    snprintf(hex, sizeof hex, "08 13 %02X 00 01 00 05 00", qos << 5);
    node_expect(n, hex);
}
