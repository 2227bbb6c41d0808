/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor inside: doctor.c (links and broker), doctor_device.c (a serial device from outside). */
#ifndef SENNET_GATEWAY_DOCTOR_PRIV_H
#define SENNET_GATEWAY_DOCTOR_PRIV_H

#include <stdbool.h>

#include "doctor.h"

enum { DOCTOR_TEXT = 512 };

struct trial;

struct doctor {
    const struct config *config;
    const char *root;
    FILE *out;
    unsigned failures, warnings;
    struct trial *trial; /* of a link; the latest */
};

/* One line each. */
void doctor_good(struct doctor *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
void doctor_warn(struct doctor *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
void doctor_bad(struct doctor *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What can be told of the device without opening it: is it there, may we, who has it, is it what the
 * configuration says? False when opening makes no sense. */
bool doctor_device(struct doctor *d, const struct config_link *l);

/* Programs that talk to every new serial device. */
void doctor_disturbers(struct doctor *d);

#endif
