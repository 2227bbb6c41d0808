/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the seeds of fuzz_engine's corpus: engine_seeds DIRECTORY writes one file for each of the
 * main flows, alone and with the shared session, in the language of engine_script.h.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_script.h"

enum { SCRIPT_MAX = 1024, END = -1 };

struct script {
    size_t len;
    uint8_t octets[SCRIPT_MAX];
};

static void put(struct script *s, int octet)
{
    if (s->len < SCRIPT_MAX)
        s->octets[s->len++] = (uint8_t)octet;
}

/* A node's action with its operands, up to END. */
static void act(struct script *s, int node, int action, ...)
{
    put(s, node << ACTION_BITS | action);
    va_list operands;
    va_start(operands, action);
    for (int o = va_arg(operands, int); o != END; o = va_arg(operands, int))
        put(s, o);
    va_end(operands);
}

/* Roomy limits, retry count 2, T_retry 10 s. */
static void begin(struct script *s, int world)
{
    static const uint8_t limits[CONFIG_OCTETS - 1] = {0x3D, 0x7C, 0x30, 0x80, 0};
    s->len = 0;
    put(s, world | 2 << 1);
    for (size_t i = 0; i < sizeof limits; i++)
        put(s, limits[i]);
}

static void connect(struct script *s, int node, int flags, int id)
{
    act(s, node, ACT_CONNECT, flags, 4, id, END);
    act(s, node, ACT_SETTLE, 0, END);
}

static void subscribe(struct script *s, int node, int qos, int msg_id, int topic)
{
    act(s, node, ACT_SUBSCRIBE, qos << 5, msg_id, topic, END);
    act(s, node, ACT_SETTLE, 0, END);
}

static void message(struct script *s, int topic, int flags)
{
    act(s, 0, ACT_MESSAGE, topic, flags, 9, 'm', 0xFF, END);
}

static void answer(struct script *s, int node, int times)
{
    while (times-- > 0)
        act(s, node, ACT_ANSWER, 0, END);
}

/* ---- flows ----------------------------------------------------------------------------------- */

static void connect_with_will(struct script *s)
{
    act(s, 0, ACT_CONNECT, 1, 3, ID_A, END);
    act(s, 0, ACT_CONNECT, 1, 3, ID_A, END);
    act(s, 0, ACT_TIME, STEP_RETRY, END);
    act(s, 0, ACT_WILLTOPIC, 0x30, T_A_B, END);
    act(s, 0, ACT_TIME, STEP_RETRY, END);
    act(s, 0, ACT_WILLTOPIC, 0x20, T_OTHER, END);
    act(s, 0, ACT_WILLMSG, 5, 'w', END);
    act(s, 0, ACT_WILLMSG, 5, 'w', END);
    act(s, 0, ACT_SETTLE, 0, END);
    act(s, 0, ACT_WILLMSG, 5, 'w', END);
    act(s, 0, ACT_WILLTOPICUPD, 0x40, T_OTHER2, END);
    act(s, 0, ACT_WILLMSGUPD, 7, 'v', END);
    act(s, 1, ACT_CONNECT, 3, 4, ID_B, END);
    answer(s, 1, 2);
    act(s, 1, ACT_SETTLE, 0, END);
    act(s, 1, ACT_WILLTOPICUPD, 0, T_EMPTY, END);
    act(s, 1, ACT_WILLMSGUPD, 7, 'v', END);
    act(s, 1, ACT_WILLTOPICUPD, 0, T_HASH, END);
    act(s, 0, ACT_TIME, STEP_90S, END);
    act(s, 0, ACT_SETTLE, 0, END);
    act(s, 2, ACT_CONNECT, 1, 3, ID_C, END);
    act(s, 2, ACT_WILLTOPIC, 0, T_EMPTY, END);
    act(s, 2, ACT_SETTLE, 0, END);
    act(s, 4, ACT_CONNECT, 1, 3, ID_QOS_0, END);
    act(s, 4, ACT_WILLTOPIC, 0x60, T_A, END);
    act(s, 4, ACT_CONNECT, 1, 3, ID_QOS_0, END);
    act(s, 4, ACT_WILLTOPIC, 0x20, T_A, END);
    for (int i = 0; i < 4; i++)
        act(s, 4, ACT_TIME, STEP_RETRY, END);
}

static void connect_refused(struct script *s)
{
    static const int ids[] = {ID_REFUSED, ID_EMPTY, ID_BAD_UTF8, ID_TOO_LONG};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        act(s, 0, ACT_CONNECT, 0, 3, ids[i], END);
    act(s, 0, ACT_CONNECT, 4, 3, ID_A, END);
    act(s, 0, ACT_CONNECT, 0, 3, ID_A, END);
    act(s, 0, ACT_BROKER, 0, 1, END);
    act(s, 0, ACT_CONNECT, 2, 3, ID_A, END);
    act(s, 0, ACT_BROKER, 0, 2, END);
    act(s, 0, ACT_UPSTREAM, 0, END);
    act(s, 0, ACT_CONNECT, 0, 3, ID_A, END);
    act(s, 0, ACT_UPSTREAM, 1, END);
    act(s, 0, ACT_DRAIN, DRAIN_NOTHING, END);
    act(s, 0, ACT_CONNECT, 0, 3, ID_A, END);
    for (int i = 0; i < 4; i++)
        act(s, 0, ACT_TIME, STEP_RETRY, END);
    act(s, 0, ACT_DRAIN, DRAIN_ALL, END);
    act(s, 1, ACT_CONNECT, 2, 3, ID_A, END);
    act(s, 1, ACT_CONNECT, 2, 3, ID_A, END);
    act(s, 1, ACT_SETTLE, 0, END);
    act(s, 1, ACT_CONNECT, 2, 3, ID_A, END);
}

static void publish_up(struct script *s)
{
    connect(s, 0, 2, ID_A);
    act(s, 0, ACT_REGISTER, T_A, 1, END);
    act(s, 0, ACT_REGISTER, T_A_PLUS, 2, END);
    for (int qos = 0; qos < 4; qos++) {
        act(s, 0, ACT_PUBLISH, qos << 5, TOPIC_ID_LATEST, 10 + qos, 4, 'p', END);
        act(s, 0, ACT_SETTLE, 0, END);
        act(s, 0, ACT_PUBLISH, 0x80 | qos << 5, TOPIC_ID_LATEST, 10 + qos, 4, 'p', END);
        act(s, 0, ACT_PUBLISH, qos << 5 | 1, 1, 20 + qos, 4, 'p', END);
        act(s, 0, ACT_PUBLISH, qos << 5 | 2, TOPIC_ID_SHORT, 30 + qos, 0, 0, END);
        act(s, 0, ACT_PUBLISH, qos << 5 | 2, TOPIC_ID_SHORT + 2, 40 + qos, 4, 'p', END);
        act(s, 0, ACT_PUBLISH, qos << 5, 77, 50 + qos, 4, 'p', END);
        act(s, 0, ACT_ACK, 3, 0, 10 + qos, 0, END);
        act(s, 0, ACT_TIME, STEP_10S, END);
    }
    act(s, 0, ACT_ACK, 3, 0, 32, 0, END);
    act(s, 0, ACT_ACK, 3, 0, 99, 0, END);
    act(s, 1, ACT_PUBLISH, 0x61, 1, 0, 4, 'p', END);
    act(s, 4, ACT_PUBLISH, 0x61, 1, 0, 4, 'p', END);
    act(s, 1, ACT_PUBLISH, 0x20, 1, 5, 4, 'p', END);
    act(s, 0, ACT_DISCONNECT, NO_DURATION, END);
}

/* Answers of every kind, in every order. */
static void publish_up_answers(struct script *s)
{
    connect(s, 0, 0, ID_A);
    act(s, 0, ACT_REGISTER, T_A, 1, END);
    for (int how = 0; how < 8; how++) {
        act(s, 0, ACT_PUBLISH, 0x40, TOPIC_ID_LATEST, 10 + how, 4, 'a' + how, END);
        act(s, 0, ACT_PUBLISH, 0x20, TOPIC_ID_LATEST, 20 + how, 4, 'a' + how, END);
        act(s, 0, ACT_PUBLISH, 0x20, TOPIC_ID_LATEST, 30 + how, 4, 'a' + how, END);
        act(s, 0, ACT_BROKER, 2, how, END);
        act(s, 0, ACT_BROKER, 0, how, END);
        act(s, 0, ACT_BOGUS, how << 2 | 1, how, END);
        act(s, 0, ACT_BOGUS, how << 4 | 1, 0, END);
    }
    act(s, 0, ACT_UPSTREAM, 0, END);
    act(s, 0, ACT_BROKER, 0, 3, END);
    act(s, 0, ACT_BROKER, 1, 1, END);
    act(s, 0, ACT_PUBLISH, 0x20, TOPIC_ID_LATEST, 99, 4, 'z', END);
    act(s, 0, ACT_PUBLISH, 0x00, TOPIC_ID_LATEST, 0, 4, 'z', END);
    act(s, 0, ACT_UPSTREAM, 2, END);
    act(s, 0, ACT_SETTLE, 0, END);
}

static void subscribe_and_message(struct script *s)
{
    connect(s, 0, 2, ID_A);
    subscribe(s, 0, 2, 1, T_A);
    subscribe(s, 0, 1, 2, T_A_HASH);
    act(s, 0, ACT_SUBSCRIBE, 0x21, 3, 1, END);
    act(s, 0, ACT_SUBSCRIBE, 0x22, 4, TOPIC_ID_SHORT, END);
    act(s, 0, ACT_SUBSCRIBE, 0x22, 4, TOPIC_ID_SHORT, END);
    act(s, 0, ACT_SUBSCRIBE, 0x23, 5, T_A, END);
    act(s, 0, ACT_SUBSCRIBE, 0x60, 6, T_A, END);
    act(s, 0, ACT_SUBSCRIBE, 0x21, 7, 99, END);
    act(s, 0, ACT_SETTLE, 0, END);
    act(s, 0, ACT_SUBSCRIBE, 0xA2, 4, TOPIC_ID_SHORT, END);
    static const int topics[] = {T_A, T_A_B, T_A_B_C, T_XY};
    for (int qos = 0; qos < 3; qos++) {
        for (size_t i = 0; i < 4; i++) {
            message(s, topics[i], qos | (i == 1 ? 0x10 : 0));
            answer(s, 0, 3);
        }
    }
    act(s, 0, ACT_UNSUBSCRIBE, 0, 8, T_A, END);
    act(s, 0, ACT_UNSUBSCRIBE, 1, 9, 1, END);
    act(s, 0, ACT_UNSUBSCRIBE, 0, 10, T_BAD, END);
    act(s, 0, ACT_SETTLE, 0, END);
    message(s, T_A_B, 1);
}

static void message_refused(struct script *s)
{
    connect(s, 0, 0, ID_A);
    subscribe(s, 0, 2, 1, T_HASH);
    for (int code = 0; code < 5; code++) {
        message(s, T_A, 1);
        act(s, 0, ACT_ANSWER, code, END);
        act(s, 0, ACT_ANSWER, code, END);
        act(s, 0, ACT_TIME, STEP_RETRY, END);
        message(s, T_OTHER + code % 3, 2);
        act(s, 0, ACT_ANSWER, 0, END);
        act(s, 0, ACT_ANSWER, code, END);
        act(s, 0, ACT_TIME, STEP_RETRY, END);
        answer(s, 0, 4);
    }
    act(s, 0, ACT_ACK, 1, TOPIC_ID_LATEST, 0, 2, END);
    message(s, T_OTHER, 0);
    act(s, 0, ACT_ACK, 2, 0, 44, 0, END);
    message(s, T_LONG, 0);
}

/* Nobody answers, then somebody does. */
static void retransmission(struct script *s)
{
    connect(s, 0, 0, ID_A);
    connect(s, 1, 0, ID_NO_DUP);
    connect(s, 2, 0, ID_QOS_0);
    connect(s, 4, 0, ID_NO_REGACK);
    for (int node = 0; node < 5; node++)
        subscribe(s, node, 2, 1, T_HASH);
    act(s, 4, ACT_REGISTER, T_A_B, 2, END);
    message(s, T_A, 2);
    message(s, T_A_B, 1);
    for (int i = 0; i < 4; i++)
        act(s, 0, ACT_TIME, STEP_RETRY, END);
    act(s, 0, ACT_PINGREQ, ID_NONE, END);
    for (int i = 0; i < 4; i++)
        act(s, 0, ACT_TIME, STEP_DEADLINE, END);
    for (int node = 0; node < 5; node++)
        answer(s, node, 1);
    for (int i = 0; i < 4; i++)
        act(s, 0, ACT_TIME, STEP_DEADLINE, END);
    connect(s, 0, 0, ID_A);
    connect(s, 1, 0, ID_NO_DUP);
    for (int node = 0; node < 5; node++)
        answer(s, node, 7);
}

static void sleep_cycle(struct script *s)
{
    connect(s, 0, 0, ID_SLEEPER);
    connect(s, 1, 2, ID_B);
    subscribe(s, 0, 2, 1, T_HASH);
    subscribe(s, 1, 2, 1, T_HASH);
    act(s, 0, ACT_SUBSCRIBE, 0x21, 3, 2, END);
    act(s, 0, ACT_SETTLE, 0, END);
    act(s, 0, ACT_DISCONNECT, 4, END);
    act(s, 1, ACT_DISCONNECT, 4, END);
    for (int qos = 0; qos < 3; qos++)
        message(s, T_A, qos);
    act(s, 0, ACT_TIME, STEP_30S, END);
    act(s, 0, ACT_PINGREQ, ID_SLEEPER, END);
    answer(s, 0, 2);
    act(s, 0, ACT_PINGREQ, ID_SLEEPER, END);
    message(s, T_A_B, 1);
    answer(s, 0, 8);
    act(s, 2, ACT_PINGREQ, ID_B, END);
    answer(s, 2, 2);
    act(s, 2, ACT_DISCONNECT, 5, END);
    message(s, T_OTHER, 2);
    act(s, 2, ACT_PINGREQ, ID_NONE, END);
    act(s, 2, ACT_TIME, STEP_ROUND, END);
    act(s, 2, ACT_PINGREQ, ID_NONE, END);
    for (int i = 0; i < 5; i++)
        act(s, 2, ACT_TIME, STEP_RETRY, END);
    connect(s, 0, 0, ID_SLEEPER);
    answer(s, 0, 8);
    act(s, 0, ACT_DISCONNECT, 1, END);
    act(s, 0, ACT_TIME, STEP_90S, END);
    act(s, 0, ACT_PINGREQ, ID_SLEEPER, END);
}

static void stored_session(struct script *s)
{
    connect(s, 0, 0, ID_A);
    subscribe(s, 0, 1, 1, T_A);
    act(s, 0, ACT_DISCONNECT, 0, END);
    for (int i = 0; i < 8; i++)
        message(s, T_A, i % 3);
    connect(s, 0, 0, ID_A);
    answer(s, 0, 12);
    act(s, 0, ACT_TIME, STEP_90S, END);
    message(s, T_A, 1);
    connect(s, 0, 2, ID_A);
    act(s, 0, ACT_DISCONNECT, NO_DURATION, END);
    connect(s, 1, 0, ID_B);
    act(s, 0, ACT_TIME, STEP_30H, END);
    act(s, 0, ACT_TIME, STEP_30D, END);
    connect(s, 1, 0, ID_B);
    act(s, 1, ACT_CLOSED, 0, END);
    connect(s, 1, 0, ID_B);
}

static void takeover(struct script *s)
{
    act(s, 0, ACT_CONNECT, 1, 4, ID_A, END);
    answer(s, 0, 2);
    act(s, 0, ACT_SETTLE, 0, END);
    subscribe(s, 0, 1, 1, T_HASH);
    connect(s, 1, 0, ID_A);
    message(s, T_A, 1);
    connect(s, 2, 0, ID_A);
    answer(s, 2, 3);
    connect(s, 2, 0, ID_B);
    connect(s, 2, 2, ID_C);
    connect(s, 2, 0, ID_B);
    connect(s, 5, 0, ID_A);
    connect(s, 7, 2, ID_A);
    act(s, 7, ACT_DISCONNECT, 4, END);
    connect(s, 3, 0, ID_LONG);
    act(s, 3, ACT_PINGREQ, ID_A, END);
    act(s, 0, ACT_SETTLE, 0, END);
}

static void forwarders(struct script *s)
{
    for (int node = 3; node < 8; node++) {
        connect(s, node, 0, ID_A + node - 3);
        subscribe(s, node, 2, 1, T_A_HASH);
    }
    act(s, 5, ACT_REGISTER, T_A_B, 1, END);
    act(s, 7, ACT_PUBLISH, 0x21, 1, 2, 4, 'p', END);
    act(s, 7, ACT_SETTLE, 0, END);
    message(s, T_A_B, 2);
    message(s, T_LONG, 1);
    for (int node = 3; node < 8; node++)
        answer(s, node, 4);
    act(s, 6, ACT_DISCONNECT, 4, END);
    message(s, T_A, 1);
    act(s, 5, ACT_PINGREQ, ID_NO_REGACK, END);
    /* An envelope in an envelope in ... too many; one with nothing in it. */
    act(s, 0, ACT_RAW, 14, 3, 0xFE, 0, 3, 0xFE, 1, 3, 0xFE, 2, 3, 0xFE, 3, 2, 0x16, END);
    act(s, 0, ACT_RAW, 3, 3, 0xFE, 0, END);
    act(s, 0, ACT_RAW, 6, 4, 0xFE, 0, 9, 2, 0x16, END);
    act(s, 0, ACT_RAW, 5, 3, 0xFE, 0, 2, 0x16, END);
}

static void broker_outage(struct script *s)
{
    for (int node = 0; node < 4; node++) {
        act(s, node, ACT_CONNECT, node & 1, 1 + node, ID_A + node, END);
        answer(s, node, 2);
        act(s, node, ACT_SETTLE, 0, END);
        act(s, node, ACT_SUBSCRIBE, 0x40, 1, node < 2 ? T_A : T_A_PLUS, END);
    }
    act(s, 0, ACT_BROKER, 0, 0, END);
    act(s, 0, ACT_UPSTREAM, 0, END);
    act(s, 0, ACT_PUBLISH, 0x21, 1, 5, 4, 'p', END);
    act(s, 0, ACT_SUBSCRIBE, 0x40, 6, T_OTHER, END);
    act(s, 1, ACT_UNSUBSCRIBE, 0x00, 7, T_A, END);
    for (int i = 0; i < 6; i++)
        act(s, 0, ACT_BROKER, i, 1, END);
    act(s, 0, ACT_TIME, STEP_10S, END);
    act(s, 0, ACT_UPSTREAM, 1, END);
    for (int i = 0; i < 6; i++)
        act(s, 0, ACT_BROKER, 1, i == 2 ? 2 : 8 * (i & 1), END);
    message(s, T_A, 0x11);
    message(s, T_A_B, 0x12);
    act(s, 0, ACT_TIME, STEP_90S, END);
    act(s, 0, ACT_SETTLE, 0, END);
    act(s, 0, ACT_UPSTREAM, 0, END);
    act(s, 0, ACT_UPSTREAM, 2, END);
    act(s, 2, ACT_DISCONNECT, 0, END);
    act(s, 0, ACT_SETTLE, 0, END);
}

/* The connection stands, but its queue is full. */
static void no_room(struct script *s)
{
    act(s, 0, ACT_CONNECT, 1, 4, ID_A, END);
    answer(s, 0, 2);
    act(s, 0, ACT_SETTLE, 0, END);
    subscribe(s, 0, 2, 1, T_A);
    connect(s, 1, 2, ID_B);
    subscribe(s, 1, 2, 1, T_A_B);
    act(s, 0, ACT_UPSTREAM, 0, END);
    act(s, 0, ACT_UPSTREAM, 1, END);
    act(s, 0, ACT_BROKER, 0, 1, END);
    act(s, 0, ACT_BROKER, 0, 1, END);
    act(s, 0, ACT_TIME, STEP_1S, END);
    act(s, 0, ACT_BROKER, 0, 1, END);
    act(s, 1, ACT_DISCONNECT, NO_DURATION, END);
    act(s, 0, ACT_BROKER, 0, 1, END);
    act(s, 0, ACT_TIME, STEP_1S, END);
    act(s, 0, ACT_TIME, STEP_90S, END);
    act(s, 0, ACT_BROKER, 0, 1, END);
    act(s, 0, ACT_SETTLE, 0, END);
    act(s, 0, ACT_UPSTREAM, 0, END);
    act(s, 0, ACT_UPSTREAM, 1, END);
    act(s, 0, ACT_BROKER, 0, 1, END);
}

/* Two subscribers of one filter, retained messages for the second. */
static void retained_replay(struct script *s)
{
    connect(s, 0, 0, ID_A);
    connect(s, 1, 2, ID_B);
    subscribe(s, 0, 2, 1, T_A_HASH);
    act(s, 1, ACT_SUBSCRIBE, 0x20, 1, T_A_HASH, END);
    act(s, 0, ACT_SUBSCRIBE, 0x20, 2, T_A_HASH, END);
    message(s, T_A, 0x11);
    message(s, T_A_B, 0x11);
    message(s, T_A, 0x11);
    act(s, 1, ACT_BROKER, 0, 0, END);
    message(s, T_A_B_C, 0x11);
    act(s, 1, ACT_BROKER, 0, 0, END);
    for (int node = 0; node < 2; node++)
        answer(s, node, 8);
    act(s, 0, ACT_TIME, STEP_2S, END);
    act(s, 0, ACT_TIME, STEP_5S, END);
    act(s, 0, ACT_TIME, STEP_30S, END);
    message(s, T_A, 0x10);
    act(s, 1, ACT_UNSUBSCRIBE, 0, 9, T_A_HASH, END);
    act(s, 0, ACT_UNSUBSCRIBE, 0, 9, T_A_HASH, END);
    subscribe(s, 0, 0, 10, T_PLUS_B_HASH);
    subscribe(s, 1, 0, 11, T_EMPTY_LEVEL);
    message(s, T_A_B_C, 0);
    message(s, T_EMPTY_LEVEL, 0);
    message(s, T_SYS, 0);
}

static void full_queue(struct script *s)
{
    s->octets[2] = 0x09; /* two messages, 300 octets */
    connect(s, 0, 0, ID_A);
    connect(s, 1, 0, ID_SLEEPER);
    subscribe(s, 0, 1, 1, T_A_HASH);
    subscribe(s, 1, 1, 1, T_A_HASH);
    act(s, 1, ACT_DISCONNECT, 5, END);
    for (int i = 0; i < 5; i++) {
        message(s, i & 1 ? T_A : T_A_B, 1 + (i & 1));
        act(s, 0, ACT_MESSAGE, T_A, 1, 0x90, 'b', 0xFF, END);
    }
    act(s, 1, ACT_PINGREQ, ID_SLEEPER, END);
    answer(s, 0, 6);
    answer(s, 1, 6);
}

/* Two clients of two topics each, over a link of 24 octets, with little memory. */
static void small_limits(struct script *s)
{
    s->octets[0] |= WORLD_TINY_MEMORY;
    s->octets[1] = 0x09;
    s->octets[3] = 0x08;
    s->octets[4] = 12;
    for (int node = 0; node < 4; node++) {
        connect(s, node, 0, ID_A + node);
        subscribe(s, node, 2, 1, T_HASH);
    }
    for (int topic = T_A; topic <= T_PRE; topic++) {
        act(s, 0, ACT_REGISTER, topic, 2 + topic, END);
        act(s, 0, ACT_PUBLISH, 0x20, TOPIC_ID_LATEST, 20 + topic, 4, 'p', END);
        message(s, topic, 1);
    }
    act(s, 0, ACT_MESSAGE, T_A, 1, 30, 'l', 0xFF, END);
    act(s, 0, ACT_REGISTER, TEXT_INLINE | 7, 0xC3, 0xA9, 0xE2, 0x82, 0xAC, 0x2F, 0x61, 9, END);
    act(s, 0, ACT_REGISTER, TEXT_INLINE | 4, 0xF0, 0x9F, 0x8C, 0xA1, 9, END);
    act(s, 0, ACT_REGISTER, TEXT_INLINE | 3, 0xEF, 0xBF, 0xBF, 9, END);
    answer(s, 0, 4);
    for (int i = 0; i < 6; i++)
        act(s, 0, ACT_PUBLISH, 0x21, 1, 40 + i, 4, 'p', END);
}

static void discovery(struct script *s)
{
    s->octets[0] |= WORLD_GROUPS;
    act(s, 0, ACT_TIME, STEP_1S, END);
    act(s, 0, ACT_SAY_TO_GROUP, 0, 0, 2, 0, END);
    act(s, 1, ACT_SAY_TO_GROUP, 0, 0, 0, 0, END);
    act(s, 0, ACT_TIME, STEP_1S, END);
    act(s, 0, ACT_SAY_TO_GROUP, 0, 0, 1, 0, END);
    act(s, 1, ACT_SAY_TO_GROUP, 2, 7, 1, 0, END);
    act(s, 1, ACT_SAY_TO_GROUP, 1, 7, 1, 5, END);
    act(s, 1, ACT_SAY_TO_GROUP, 1, 1, 1, 5, END);
    act(s, 1, ACT_SAY_TO_GROUP, 3, 1, 1, 5, END);
    act(s, 6, ACT_SAY_TO_GROUP, 0, 1, 3, 5, END);
    for (int i = 0; i < 4; i++)
        act(s, 0, ACT_PACKET, i, 0, 0, 0, 0, 1, T_A, END);
    act(s, 0, ACT_TIME, STEP_90S, END);
    act(s, 0, ACT_UPSTREAM, 0, END);
    act(s, 0, ACT_SAY_TO_GROUP, 0, 0, 2, 0, END);
    act(s, 0, ACT_UPSTREAM, 1, END);
    act(s, 0, ACT_GROUP, 0, END);
    act(s, 0, ACT_GROUP, 1, END);
    act(s, 0, ACT_TIME, STEP_1H, END);
}

/* Every type, to a stranger's and to a session's address. */
static void every_type(struct script *s)
{
    for (int i = 0; i < 6; i++)
        act(s, 0, ACT_PINGREQ, ID_NONE, END);
    for (int round = 0; round < 2; round++) {
        for (int type = 0; type < 0x1E; type++)
            act(s, 0, ACT_PACKET, type, 0x20, 1, 1, 3, 0, T_A, END);
        connect(s, 0, 2, ID_B);
    }
    act(s, 0, ACT_AGAIN, 1, 0xFF, 0, END);
    act(s, 0, ACT_AGAIN, 0, 1, 0, END);
    act(s, 0, ACT_AGAIN, 0, 0, 2, END);
}

static void drained_late(struct script *s)
{
    s->octets[3] |= 0x80;
    act(s, 0, ACT_DRAIN, DRAIN_REQUESTS, END);
    connect(s, 0, 0, ID_A);
    subscribe(s, 0, 2, 1, T_HASH);
    message(s, T_A, 1);
    act(s, 0, ACT_TIME, STEP_RETRY, END);
    act(s, 0, ACT_DRAIN, DRAIN_PACKETS, END);
    answer(s, 0, 2);
    act(s, 0, ACT_PUBLISH, 0x21, 1, 5, 4, 'p', END);
    act(s, 0, ACT_DRAIN, DRAIN_NOTHING, END);
    act(s, 0, ACT_CONNECT, 2, 3, ID_A, END);
    act(s, 0, ACT_TIME, TIME_LAZY | STEP_90S, END);
    message(s, T_A, 1);
}

/* ---- writing --------------------------------------------------------------------------------- */

static const struct flow {
    const char *name;
    void (*make)(struct script *s);
    int policy; /* of full queues: low bits of octet 3 */
} flows[] = {
    {"connect-with-will",     connect_with_will,     0},
    {"connect-refused",       connect_refused,       0},
    {"publish-up",            publish_up,            0},
    {"publish-up-answers",    publish_up_answers,    0},
    {"subscribe-and-message", subscribe_and_message, 0},
    {"message-refused",       message_refused,       0},
    {"retransmission",        retransmission,        0},
    {"sleep-cycle",           sleep_cycle,           0},
    {"stored-session",        stored_session,        0},
    {"takeover",              takeover,              0},
    {"forwarders",            forwarders,            0},
    {"broker-outage",         broker_outage,         0},
    {"no-room",               no_room,               0},
    {"retained-replay",       retained_replay,       0},
    {"full-queue",            full_queue,            0},
    {"full-queue-newest",     full_queue,            1},
    {"full-queue-latest",     full_queue,            2},
    {"small-limits",          small_limits,          0},
    {"discovery",             discovery,             0},
    {"every-type",            every_type,            0},
    {"drained-late",          drained_late,          0},
};

static bool write_script(const char *directory, const char *world, const char *name,
                         const struct script *s)
{
    char path[512];
    snprintf(path, sizeof path, "%s/seed-%s-%s", directory, world, name);
    FILE *out = fopen(path, "wb");
    if (out == NULL) {
        perror(path);
        return false;
    }
    const size_t n = fwrite(s->octets, 1, s->len, out);
    return fclose(out) == 0 && n == s->len && s->len < SCRIPT_MAX;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: engine_seeds DIRECTORY\n", stderr);
        return EXIT_FAILURE;
    }
    bool ok = true;
    for (size_t i = 0; i < sizeof flows / sizeof flows[0]; i++) {
        for (int shared = 0; shared <= 1; shared++) {
            struct script s;
            begin(&s, shared ? WORLD_SHARED | WORLD_TRACE : 0);
            s.octets[3] |= (uint8_t)flows[i].policy;
            flows[i].make(&s);
            ok = write_script(argv[1], shared ? "shared" : "scripted", flows[i].name, &s) && ok;
        }
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
