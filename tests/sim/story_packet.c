/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets as words: the message type, flags by name, fields as key=value, and one bare word whose
 * meaning depends on the type (return code, topic name or data). What a message does not carry
 * can't be written.
 */
#include <stdlib.h>
#include <string.h>

#include "sim/story_priv.h"

enum {
    F_DUP = 1 << 0,
    F_RETAIN = 1 << 1,
    F_WILL = 1 << 2,
    F_CLEAN = 1 << 3,
    F_QOS = 1 << 4,
    F_TOPIC = 1 << 5,
    F_MSG_ID = 1 << 6,
    F_DURATION = 1 << 7,
    F_PROTOCOL = 1 << 8,
    F_GW_ID = 1 << 9,
    F_RADIUS = 1 << 10,
    F_CLIENT_ID = 1 << 11,
};

enum bare { BARE_NONE, BARE_CODE, BARE_NAME, BARE_DATA };

struct form {
    enum sn_type type;
    unsigned fields;
    enum bare bare;
};

static const struct form forms[] = {
    {SN_ADVERTISE,     F_GW_ID | F_DURATION,                                     BARE_NONE},
    {SN_SEARCHGW,      F_RADIUS,                                                 BARE_NONE},
    {SN_GWINFO,        F_GW_ID,                                                  BARE_DATA},
    {SN_CONNECT,       F_CLIENT_ID | F_DURATION | F_CLEAN | F_WILL | F_PROTOCOL, BARE_NONE},
    {SN_CONNACK,       0,                                                        BARE_CODE},
    {SN_WILLTOPICREQ,  0,                                                        BARE_NONE},
    {SN_WILLTOPIC,     F_QOS | F_RETAIN,                                         BARE_NAME},
    {SN_WILLMSGREQ,    0,                                                        BARE_NONE},
    {SN_WILLMSG,       0,                                                        BARE_DATA},
    {SN_REGISTER,      F_TOPIC | F_MSG_ID,                                       BARE_NAME},
    {SN_REGACK,        F_TOPIC | F_MSG_ID,                                       BARE_CODE},
    {SN_PUBLISH,       F_DUP | F_QOS | F_RETAIN | F_TOPIC | F_MSG_ID,            BARE_DATA},
    {SN_PUBACK,        F_TOPIC | F_MSG_ID,                                       BARE_CODE},
    {SN_PUBCOMP,       F_MSG_ID,                                                 BARE_NONE},
    {SN_PUBREC,        F_MSG_ID,                                                 BARE_NONE},
    {SN_PUBREL,        F_MSG_ID,                                                 BARE_NONE},
    {SN_SUBSCRIBE,     F_DUP | F_QOS | F_TOPIC | F_MSG_ID,                       BARE_NAME},
    {SN_SUBACK,        F_QOS | F_TOPIC | F_MSG_ID,                               BARE_CODE},
    {SN_UNSUBSCRIBE,   F_TOPIC | F_MSG_ID,                                       BARE_NAME},
    {SN_UNSUBACK,      F_MSG_ID,                                                 BARE_NONE},
    {SN_PINGREQ,       F_CLIENT_ID,                                              BARE_NONE},
    {SN_PINGRESP,      0,                                                        BARE_NONE},
    {SN_DISCONNECT,    F_DURATION,                                               BARE_NONE},
    {SN_WILLTOPICUPD,  F_QOS | F_RETAIN,                                         BARE_NAME},
    {SN_WILLTOPICRESP, 0,                                                        BARE_CODE},
    {SN_WILLMSGUPD,    0,                                                        BARE_DATA},
    {SN_WILLMSGRESP,   0,                                                        BARE_CODE},
};

static const struct form *find_form(const struct story_word *w)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (story_word_is(w, sn_type_name(forms[i].type)))
            return &forms[i];
    }
    return NULL;
}

static bool unknown_word(struct story *s, const struct story_word *w, const struct form *form)
{
    story_fail(s, "%s has no '%s%s%.*s'", sn_type_name(form->type), w->key,
               w->key[0] != '\0' ? "=" : "", (int)w->value.len, (const char *)w->value.data);
    return false;
}

/* "0x21", "predefined:5", "short:t1". */
static bool parse_topic(struct story *s, const struct story_word *w, struct story_packet *out)
{
    static const struct {
        const char *prefix;
        enum sn_topic_kind kind;
    } kinds[] = {
        {"normal:",     SN_TOPIC_NORMAL    },
        {"predefined:", SN_TOPIC_PREDEFINED},
        {"short:",      SN_TOPIC_SHORT     },
        {"reserved:",   SN_TOPIC_RESERVED  },
    };

    struct story_word rest = *w;
    out->p.topic_kind = SN_TOPIC_NORMAL;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const size_t n = strlen(kinds[i].prefix);
        if (w->value.len > n && memcmp(w->value.data, kinds[i].prefix, n) == 0) {
            out->p.topic_kind = kinds[i].kind;
            rest.value = bytes_of(w->value.data + n, w->value.len - n);
        }
    }
    if (out->p.topic_kind == SN_TOPIC_SHORT) {
        if (rest.value.len != 2) {
            story_fail(s, "a short topic has two octets");
            return false;
        }
        out->p.topic_id = (uint16_t)(rest.value.data[0] << 8 | rest.value.data[1]);
        return true;
    }
    uint64_t id = 0;
    if (!story_number_or_hole(s, &rest, UINT16_MAX, &id, &out->topic_id))
        return false;
    out->p.topic_id = (uint16_t)id;
    return true;
}

static bool parse_qos(struct story *s, const struct story_word *w, struct sn_packet *p)
{
    if (bytes_equal(w->value, bytes_str("-1"))) {
        p->qos = SN_QOS_MINUS_1;
        return true;
    }
    uint64_t qos;
    if (!story_number(s, w, 2, &qos))
        return false;
    p->qos = (enum sn_qos)qos;
    return true;
}

/* N octets of filling. */
static bool parse_filler(struct story *s, const struct story_word *w, struct story_packet *out,
                         const struct form *form)
{
    uint64_t n;
    if (!story_number(s, w, SN_PACKET_MAX, &n))
        return false;
    out->filler = malloc(n + 1);
    if (out->filler == NULL)
        abort();
    memset(out->filler, 'x', n);
    const struct bytes text = bytes_of(out->filler, n);
    if (form->bare == BARE_NAME)
        out->p.topic = text;
    else
        out->p.data = text;
    return form->bare == BARE_NAME || form->bare == BARE_DATA || unknown_word(s, w, form);
}

static bool parse_number_field(struct story *s, const struct story_word *w, const struct form *form,
                               struct sn_packet *p)
{
    static const struct {
        const char *key;
        unsigned field;
        uint64_t most;
    } numbers[] = {
        {"keepalive", F_DURATION, UINT16_MAX},
        {"duration",  F_DURATION, UINT16_MAX},
        {"protocol",  F_PROTOCOL, UINT8_MAX },
        {"gwid",      F_GW_ID,    UINT8_MAX },
        {"radius",    F_RADIUS,   UINT8_MAX },
    };

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(w->key, numbers[i].key) != 0 || (form->fields & numbers[i].field) == 0)
            continue;
        uint64_t n;
        if (!story_number(s, w, numbers[i].most, &n))
            return false;
        if (numbers[i].field == F_DURATION) {
            p->duration_s = (uint16_t)n;
            p->has_duration = true;
        } else if (numbers[i].field == F_PROTOCOL) {
            p->protocol_id = (uint8_t)n;
        } else if (numbers[i].field == F_GW_ID) {
            p->gw_id = (uint8_t)n;
        } else {
            p->radius = (uint8_t)n;
        }
        return true;
    }
    return unknown_word(s, w, form);
}

static bool parse_field(struct story *s, const struct story_word *w, const struct form *form,
                        struct story_packet *out)
{
    if (strcmp(w->key, "topic") == 0 && (form->fields & F_TOPIC) != 0)
        return parse_topic(s, w, out);
    if (strcmp(w->key, "qos") == 0 && (form->fields & F_QOS) != 0)
        return parse_qos(s, w, &out->p);
    if (strcmp(w->key, "bytes") == 0)
        return parse_filler(s, w, out, form);
    if (strcmp(w->key, "id") == 0 && (form->fields & F_CLIENT_ID) != 0) {
        out->p.client_id = w->value;
        return true;
    }
    if (strcmp(w->key, "msgid") == 0 && (form->fields & F_MSG_ID) != 0) {
        uint64_t id = 0;
        const bool ok = story_number_or_hole(s, w, UINT16_MAX, &id, &out->msg_id);
        out->p.msg_id = (uint16_t)id;
        return ok;
    }
    return parse_number_field(s, w, form, &out->p);
}

static bool parse_flag(const struct story_word *w, const struct form *form, struct sn_packet *p)
{
    const struct {
        const char *name;
        unsigned field;
        bool *flag;
    } flags[] = {
        {"dup",    F_DUP,    &p->dup   },
        {"retain", F_RETAIN, &p->retain},
        {"will",   F_WILL,   &p->will  },
        {"clean",  F_CLEAN,  &p->clean },
    };

    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (!w->quoted && story_word_is(w, flags[i].name) && (form->fields & flags[i].field) != 0) {
            *flags[i].flag = true;
            return true;
        }
    }
    return false;
}

static bool parse_code(struct story *s, const struct story_word *w, struct sn_packet *p)
{
    static const char *const names[] = {"accepted", "congestion", "invalid-topic-id",
                                        "not-supported"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (story_word_is(w, names[i])) {
            p->return_code = (uint8_t)i;
            return true;
        }
    }
    uint64_t n;
    if (!story_number(s, w, UINT8_MAX, &n))
        return false;
    p->return_code = (uint8_t)n;
    return true;
}

static bool parse_bare(struct story *s, const struct story_word *w, const struct form *form,
                       struct sn_packet *p)
{
    if (parse_flag(w, form, p))
        return true;
    switch (form->bare) {
    case BARE_CODE:
        return parse_code(s, w, p);
    case BARE_NAME:
        p->topic = w->value;
        return true;
    case BARE_DATA:
        p->data = w->value;
        return true;
    case BARE_NONE:
        break;
    }
    return unknown_word(s, w, form);
}

bool story_parse_packet(struct story *s, const struct story_line *line, unsigned first,
                        struct story_packet *out)
{
    free(out->filler);
    *out = (struct story_packet){0};
    const struct form *form = first < line->count ? find_form(&line->words[first]) : NULL;
    if (form == NULL) {
        story_fail(s, "a message type is needed");
        return false;
    }
    out->p = (struct sn_packet){.type = form->type, .protocol_id = SN_PROTOCOL_ID};
    bool has_code = false;
    for (unsigned i = first + 1; i < line->count; i++) {
        const struct story_word *w = &line->words[i];
        has_code = has_code || (form->bare == BARE_CODE && w->key[0] == '\0');
        if (!(w->key[0] != '\0' ? parse_field(s, w, form, out) : parse_bare(s, w, form, &out->p)))
            return false;
    }
    if (form->bare == BARE_CODE && !has_code) {
        story_fail(s, "%s needs its return code", sn_type_name(form->type));
        return false;
    }
    return true;
}
