/* SPDX-License-Identifier: Apache-2.0 */
#include "xbee.h"

#include <stddef.h>

enum {
    START = 0x7E,
    ESCAPE = 0x7D,
    XON = 0x11,
    XOFF = 0x13,
    TRANSMIT = 0x10,
    RECEIVED = 0x90,
};

/* ---- to the module ------------------------------------------------------------------------------ */

static void put(uint8_t octet)
{
    if (octet == START || octet == ESCAPE || octet == XON || octet == XOFF) {
        xbee_uart_write(ESCAPE);
        octet ^= 0x20;
    }
    xbee_uart_write(octet);
}

/* The 64-bit address 0 is the coordinator, and that is the gateway's stick. */
void node_radio_send(const uint8_t *packet, uint8_t len)
{
    /* Frame id 0: no report from the module, MQTT-SN has its own acknowledgements. 16-bit address FFFE:
     * the module finds it out. Radius 0: any number of hops. */
    static const uint8_t head[14] = {[0] = TRANSMIT, [10] = 0xFF, [11] = 0xFE};

    uint8_t sum = 0;
    xbee_uart_write(START);
    put(0);
    put((uint8_t)(sizeof head + len));
    for (size_t i = 0; i < sizeof head; i++) {
        put(head[i]);
        sum = (uint8_t)(sum + head[i]);
    }
    for (uint8_t i = 0; i < len; i++) {
        put(packet[i]);
        sum = (uint8_t)(sum + packet[i]);
    }
    put((uint8_t)(0xFF - sum));
}

/* ---- from the module ---------------------------------------------------------------------------- */

static bool is_packet(const struct xbee *x)
{
    return x->sum == 0xFF && x->frame[0] == RECEIVED && x->len > XBEE_PACKET_AT;
}

bool xbee_octet(struct xbee *x, uint8_t octet, const uint8_t **packet, uint8_t *len)
{
    if (octet == START) { /* in API mode 2 nothing else looks like it */
        *x = (struct xbee){.at = 0};
        return false;
    }
    if (x->lost)
        return false;
    if (octet == ESCAPE) {
        x->escape = true;
        return false;
    }
    if (x->escape)
        octet ^= 0x20;
    x->escape = false;
    const uint16_t at = x->at++;
    if (at < 2) {
        x->len = (uint16_t)(x->len << 8 | octet);
        x->lost = at == 1 && (x->len == 0 || x->len > sizeof x->frame);
        return false;
    }
    x->sum = (uint8_t)(x->sum + octet);
    if (at < 2 + x->len) {
        x->frame[at - 2] = octet;
        return false;
    }
    x->lost = true; /* until the next start */
    *packet = x->frame + XBEE_PACKET_AT;
    *len = (uint8_t)(x->len - XBEE_PACKET_AT);
    return is_packet(x);
}
