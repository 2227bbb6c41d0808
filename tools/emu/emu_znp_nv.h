/* SPDX-License-Identifier: Apache-2.0 */
/* The non-volatile items of an emulated Z-Stack coordinator. They survive without power. */
#ifndef SENNET_TOOLS_EMU_EMU_ZNP_NV_H
#define SENNET_TOOLS_EMU_EMU_ZNP_NV_H

#include "base/bytes.h"

enum { ZNP_NV_ITEMS = 48, ZNP_NV_BYTES = 128 };

struct znp_nv_item {
    uint16_t id;
    uint16_t len; /* 0: a free place */
    uint8_t value[ZNP_NV_BYTES];
};

struct znp_nv {
    struct znp_nv_item items[ZNP_NV_ITEMS];
};

/* NULL: there is none. */
struct znp_nv_item *znp_nv_find(struct znp_nv *nv, uint16_t id);

/* Sets the whole item; false when there is no room. */
bool znp_nv_set(struct znp_nv *nv, uint16_t id, struct bytes value);
void znp_nv_delete(struct znp_nv *nv, uint16_t id);

/* Little-endian number of the item's first octets, `otherwise` when it is absent. */
uint32_t znp_nv_number(struct znp_nv *nv, uint16_t id, uint32_t otherwise);

/* One of the NV commands of SYS (cmd1); the answer's data goes to `out`. False: unknown command. */
bool znp_nv_command(struct znp_nv *nv, uint8_t cmd1, struct reader *r, struct writer *out);

/* The same of the simple interface (SAPI), by which hosts reach some items of old firmware. */
bool znp_nv_sapi(struct znp_nv *nv, uint8_t cmd1, struct reader *r, struct writer *out);

#endif
