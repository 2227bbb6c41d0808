/* SPDX-License-Identifier: Apache-2.0 */
#include "node.h"

#include <string.h>

/* MsgType and Flags, MQTT-SN 1.2 sections 5.2.2 and 5.3.4. */
enum {
    CONNECT = 0x04,
    CONNACK = 0x05,
    PUBLISH = 0x0C,
    PUBACK = 0x0D,
    PINGREQ = 0x16,
    PINGRESP = 0x17,
    DISCONNECT = 0x18,

    CLEAN_SESSION = 0x04,
    PREDEFINED_ID = 0x01,
    QOS_1 = 0x20,
    DUP = 0x80,

    ACCEPTED = 0,
    PUBLISH_HEAD = 7,
};

static void transmit(struct node *n, uint32_t now_ms)
{
    n->sent_ms = now_ms;
    n->wait_ms = NODE_RETRY_MS;
    node_radio_send(n->packet, n->len);
}

/* n->packet has been filled, except for its length. */
static void request(struct node *n, uint32_t now_ms, enum node_state state, uint8_t len)
{
    n->state = state;
    n->tries = 0;
    n->len = len;
    n->packet[0] = len;
    transmit(n, now_ms);
}

static void idle(struct node *n)
{
    n->state = NODE_IDLE;
    n->wait_ms = NODE_KEEP_ALIVE_S * 1000U;
}

static void connect(struct node *n, uint32_t now_ms)
{
    const size_t id_len = strlen(n->client_id);
    n->packet[1] = CONNECT;
    n->packet[2] = CLEAN_SESSION;
    n->packet[3] = 1; /* ProtocolId */
    n->packet[4] = NODE_KEEP_ALIVE_S >> 8;
    n->packet[5] = NODE_KEEP_ALIVE_S & 0xFF;
    memcpy(n->packet + 6, n->client_id, id_len);
    request(n, now_ms, NODE_CONNECTING, (uint8_t)(6 + id_len));
}

void node_start(struct node *n, uint32_t now_ms, const char *client_id)
{
    *n = (struct node){.client_id = client_id};
    connect(n, now_ms);
}

bool node_publish(struct node *n, uint32_t now_ms, uint16_t topic_id, const void *data, uint8_t len)
{
    if (n->state != NODE_IDLE || len > NODE_PACKET_MAX - PUBLISH_HEAD)
        return false;
    n->msg_id = n->msg_id == UINT16_MAX ? 1 : (uint16_t)(n->msg_id + 1);
    n->packet[1] = PUBLISH;
    n->packet[2] = QOS_1 | PREDEFINED_ID;
    n->packet[3] = (uint8_t)(topic_id >> 8);
    n->packet[4] = (uint8_t)topic_id;
    n->packet[5] = (uint8_t)(n->msg_id >> 8);
    n->packet[6] = (uint8_t)n->msg_id;
    memcpy(n->packet + PUBLISH_HEAD, data, len);
    request(n, now_ms, NODE_PUBLISHING, (uint8_t)(PUBLISH_HEAD + len));
    return true;
}

static void connected(struct node *n, uint32_t now_ms, uint8_t return_code)
{
    if (return_code == ACCEPTED) {
        idle(n);
        return;
    }
    n->sent_ms = now_ms;
    n->wait_ms = NODE_REFUSED_MS;
}

void node_input(struct node *n, uint32_t now_ms, const uint8_t *packet, uint8_t len)
{
    if (len < 2 || packet[0] != len)
        return;
    switch (packet[1]) {
    case CONNACK:
        if (len == 3 && n->state == NODE_CONNECTING)
            connected(n, now_ms, packet[2]);
        break;
    case PUBACK:
        if (len == 7 && n->state == NODE_PUBLISHING && packet[4] == n->packet[5] &&
            packet[5] == n->packet[6]) {
            n->refused = (uint16_t)(n->refused + (packet[6] != ACCEPTED));
            idle(n);
        }
        break;
    case PINGRESP:
        if (n->state == NODE_PINGING)
            idle(n);
        break;
    case DISCONNECT: /* the gateway does not know us: it was restarted, or has lost us */
        if (n->state != NODE_CONNECTING)
            connect(n, now_ms);
        break;
    default:
        break;
    }
}

void node_tick(struct node *n, uint32_t now_ms)
{
    if (now_ms - n->sent_ms < n->wait_ms)
        return;
    if (n->state == NODE_IDLE) {
        n->packet[1] = PINGREQ;
        request(n, now_ms, NODE_PINGING, 2);
        return;
    }
    if (n->state != NODE_CONNECTING && n->tries == NODE_RETRIES) {
        connect(n, now_ms); /* a message under way is lost */
        return;
    }
    if (n->state == NODE_PUBLISHING)
        n->packet[2] |= DUP;
    n->tries++;
    transmit(n, now_ms);
}
