/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XBee as emu_config.firmware wants it: a model, and the API mode that its flash holds. Sum of
 * one of each.
 *
 * The ether's max_payload must not be below what the firmware carries, or it says 0x74 earlier than
 * NP: 66 octets for ZigBee (EE=1; 84 with EE=0), 100 for 802.15.4. Frames of 802.15.4 fail after
 * milliseconds on air, not after the ether's default no_ack_ms.
 */
#ifndef SENNET_TOOLS_EMU_EMU_XBEE_H
#define SENNET_TOOLS_EMU_EMU_XBEE_H

#include "tools/emu/emu.h"

enum emu_xbee_model {
    EMU_XBEE_ZIGBEE,      /* S2C with ZigBee firmware, coordinator: frames 10, 11, 8B, 90, 91 */
    EMU_XBEE_802154,      /* S1: frames 00, 01, 89; nodes have 16-bit addresses: 81 */
    EMU_XBEE_802154_LONG, /* S1; nodes (and it) have none: 80 */
    EMU_XBEE_802154_NEW,  /* XBee3 with 802.15.4 firmware and AO=0: frames 10, 8B, 90 */
    EMU_XBEE_MODEL = 0x0F,
};

enum emu_xbee_mode {
    EMU_XBEE_AP2 = 0x00,
    EMU_XBEE_AP1 = 0x10,
    EMU_XBEE_TRANSPARENT = 0x20, /* AP=0, as it is shipped */
    EMU_XBEE_MODE = 0xF0,
};

#endif
