/* SPDX-License-Identifier: Apache-2.0 */
#include "e2e/broker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "unit/child.h"

enum { READY_MS = 10000, LOOK_MS = 10, END_MS = 10000, REMIND_MS = 1000, PATH_BYTES = 128 };

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

uint16_t free_tcp_port(void)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = loopback(0);
    socklen_t len = sizeof a;
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static bool accepts(uint16_t port)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in a = loopback(port);
    const bool ok = fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

/* mosquitto lives in sbin, which an ordinary user's PATH may lack. */
static const char *program(const char *name)
{
    static const char *const folders[] = {"/usr/sbin", "/usr/bin", "/usr/local/sbin",
                                          "/usr/local/bin"};
    static char path[PATH_BYTES];
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folders[i], name);
        if (access(path, X_OK) == 0)
            return path;
    }
    return name; /* execvp() looks along PATH */
}

static void file_path(const struct broker *b, const char *name, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/%s", b->directory, name);
}

static pid_t spawn(const struct broker *b, const char *const arguments[])
{
    char log[PATH_BYTES];
    file_path(b, "log", log);
    const pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
    }
    execvp(arguments[0], (char *const *)(uintptr_t)arguments);
    _exit(127);
}

void broker_run(const struct broker *b, const char *const arguments[])
{
    const int status = child_wait(spawn(b, arguments), END_MS, arguments[0]);
    ck_assert_msg(status == 0, "%s failed with status %d: see %s/log", arguments[0], status,
                  b->directory);
}

static void make_directory(struct broker *b)
{
    *b = (struct broker){.port = free_tcp_port()};
    snprintf(b->directory, sizeof b->directory, "/tmp/sennet-broker-XXXXXX");
    ck_assert_msg(mkdtemp(b->directory) != NULL, "no temporary directory: %s", strerror(errno));
}

static void write_config(const struct broker *b, const char *more)
{
    char path[PATH_BYTES];
    file_path(b, "conf", path);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    /* As root mosquitto would change to a user who can't read the directory. */
    fprintf(f,
            "listener %u 127.0.0.1\nuser root\npersistence false\nmax_queued_messages 200000\n%s\n",
            b->port, more);
    ck_assert_int_eq(fclose(f), 0);
}

/* Nothing but its end tells itself: for its listener one has to look. */
void broker_await(const struct broker *b, uint16_t port)
{
    int status;
    for (int waited_ms = 0; !accepts(port); waited_ms += LOOK_MS) {
        ck_assert_msg(waited_ms < READY_MS, "mosquitto does not listen: see %s/log", b->directory);
        ck_assert_msg(!child_ends(b->pid, LOOK_MS, &status),
                      "mosquitto does not run (installed?): see %s/log", b->directory);
    }
}

void broker_start_again(struct broker *b)
{
    char conf[PATH_BYTES];
    file_path(b, "conf", conf);
    const char *const arguments[] = {program("mosquitto"), "-c", conf, NULL};
    ck_assert_int_eq(b->pid, 0);
    b->pid = spawn(b, arguments);
    b->paused = false;
    broker_await(b, b->port);
}

void broker_start(struct broker *b, const char *more)
{
    char config[1024];
    make_directory(b);
    snprintf(config, sizeof config, "allow_anonymous true\n%s", more != NULL ? more : "");
    write_config(b, config);
    broker_start_again(b);
}

void broker_start_with_user(struct broker *b, const char *user, const char *password)
{
    char config[PATH_BYTES + 64];
    char users[PATH_BYTES];
    make_directory(b);
    file_path(b, "users", users);
    const char *const arguments[] = {
        program("mosquitto_passwd"), "-b", "-c", users, user, password, NULL};
    broker_run(b, arguments);
    snprintf(config, sizeof config, "allow_anonymous false\npassword_file %s\n", users);
    write_config(b, config);
    broker_start_again(b);
}

void broker_pause(struct broker *b)
{
    int status;
    ck_assert_int_eq(kill(b->pid, SIGSTOP), 0);
    /* From here on it does nothing more. */
    ck_assert_int_eq(waitpid(b->pid, &status, WUNTRACED), b->pid);
    ck_assert_msg(WIFSTOPPED(status), "mosquitto has ended: see %s/log", b->directory);
    b->paused = true;
}

void broker_resume(struct broker *b)
{
    ck_assert_int_eq(kill(b->pid, SIGCONT), 0);
    b->paused = false;
}

/* More than once if need be: mosquitto 2.0.11 accepts connections before it is in its main loop, and a
 * SIGTERM that comes just before that is forgotten. */
void broker_end(struct broker *b, int signal)
{
    const pid_t pid = b->pid;
    int status;

    ck_assert_int_gt(pid, 0);
    if (b->paused && signal != SIGKILL) /* who is killed does nothing more before */
        broker_resume(b);
    b->paused = false;
    for (int waited_ms = 0; waited_ms < END_MS; waited_ms += REMIND_MS) {
        ck_assert_int_eq(kill(pid, signal), 0);
        if (child_ends(pid, REMIND_MS, &status)) {
            b->pid = 0;
            return;
        }
    }
    child_hangs(pid, "mosquitto");
}

void broker_stop(struct broker *b)
{
    static const char *const names[] = {"conf", "log", "users"};

    if (b->pid > 0)
        broker_end(b, SIGTERM);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[PATH_BYTES];
        file_path(b, names[i], path);
        unlink(path);
    }
    rmdir(b->directory);
}
