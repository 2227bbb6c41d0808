/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates, keys and lists (pki.sh), made once for all tests of a suite. */
#ifndef SENNET_TESTS_E2E_PKI_H
#define SENNET_TESTS_E2E_PKI_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "unit/suite.h"

enum { PATH_ROOM = 128 };

static char pki[] = "/tmp/sennet-pki-XXXXXX";

static inline bool make_pki(void)
{
    char command[2 * PATH_ROOM];
    if (mkdtemp(pki) == NULL)
        return false;
    snprintf(command, sizeof command, "'%s' %s", PKI_SCRIPT, pki);
    return system(command) == 0;
}

static inline void remove_pki(void)
{
    char command[2 * PATH_ROOM];
    snprintf(command, sizeof command, "rm -rf %s", pki);
    if (system(command) != 0)
        fprintf(stderr, "%s is left behind\n", pki);
}

/* The path of one of them, or of what a test adds; the next 7 calls leave it alone. */
static inline const char *file(const char *name)
{
    static char rooms[8][PATH_ROOM];
    static unsigned next;
    char *const path = rooms[next++ % 8];
    ck_assert_int_lt(snprintf(path, PATH_ROOM, "%s/%s", pki, name), PATH_ROOM);
    return path;
}

static inline void copy_file(const char *from, const char *to)
{
    char command[3 * PATH_ROOM];
    snprintf(command, sizeof command, "cp %s %s", file(from), file(to));
    ck_assert_int_eq(system(command), 0);
}

/* In place of run_suite(): tests run in processes of their own, which all see the same files. */
static inline int run_suite_with_pki(Suite *s)
{
    if (!make_pki()) {
        fprintf(stderr, "no certificates in %s: is openssl installed?\n", pki);
        return EXIT_FAILURE;
    }
    const int result = run_suite(s);
    remove_pki();
    return result;
}

#endif
