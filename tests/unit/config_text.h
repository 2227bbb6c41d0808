/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration from text, for tests of what it amounts to. */
#ifndef SENNET_TESTS_UNIT_CONFIG_TEXT_H
#define SENNET_TESTS_UNIT_CONFIG_TEXT_H

#include <stdio.h>
#include <stdlib.h>

#include <check.h>

#include "config_priv.h"

/* Loads text that must be good, and quiet. */
static inline struct config *parse(const char *text)
{
    char *said = NULL;
    size_t len = 0;
    FILE *errors = open_memstream(&said, &len);
    struct config *c = NULL;
    const int rc = config_parse("text", bytes_str(text), errors, &c);
    fclose(errors);
    ck_assert_msg(rc == 0 && len == 0, "code %d: %s", rc, said);
    free(said);
    return c;
}

#endif
