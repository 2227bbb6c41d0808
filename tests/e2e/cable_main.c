/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cable as a program, for scripts: relays to a loopback port and prints its own. SIGUSR1 pulls it
 * (connections are reset, and new ones dropped as soon as they are accepted), SIGUSR2 plugs it in;
 * SIGSTOP makes it a broker that is there and says nothing. SIGTERM ends it.
 *
 *     cable TO_PORT [MICROSECONDS]
 *
 * MICROSECONDS: how long everything is under way, in each direction.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "e2e/cable.h"

int main(int argc, char **argv)
{
    static struct cable c;
    sigset_t set;
    if (argc < 2)
        return 64;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    cable_start(&c, (uint16_t)strtoul(argv[1], NULL, 10));
    atomic_store(&c.delay_us, argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0);
    printf("%u\n", c.port);
    fflush(stdout);
    for (;;) {
        int got = 0;
        if (sigwait(&set, &got) != 0 || got == SIGTERM)
            break;
        atomic_store(&c.unplugged, got == SIGUSR1);
        if (got == SIGUSR1)
            atomic_store(&c.cut, true);
    }
    cable_stop(&c);
    return 0;
}
