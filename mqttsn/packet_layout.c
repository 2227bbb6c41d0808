/* SPDX-License-Identifier: Apache-2.0 */
#include "mqttsn/packet_layout.h"

#include <stddef.h>

#include "mqttsn/packet.h"

enum { TO_THE_END = UINT16_MAX };

/* Zero-length strings pass where the specification wants at least one octet (client id, topic
 * names), because such a request deserves an answer rather than silence. */
static const struct sn_layout layouts[SN_TYPE_COUNT] = {
    [SN_ADVERTISE] = {"ADVERTISE",     3, 3         },
    [SN_SEARCHGW] = {"SEARCHGW",      1, 1         },
    [SN_GWINFO] = {"GWINFO",        1, TO_THE_END},
    [SN_CONNECT] = {"CONNECT",       4, TO_THE_END},
    [SN_CONNACK] = {"CONNACK",       1, 1         },
    [SN_WILLTOPICREQ] = {"WILLTOPICREQ",  0, 0         },
    [SN_WILLTOPIC] = {"WILLTOPIC",     0, TO_THE_END},
    [SN_WILLMSGREQ] = {"WILLMSGREQ",    0, 0         },
    [SN_WILLMSG] = {"WILLMSG",       0, TO_THE_END},
    [SN_REGISTER] = {"REGISTER",      4, TO_THE_END},
    [SN_REGACK] = {"REGACK",        5, 5         },
    [SN_PUBLISH] = {"PUBLISH",       5, TO_THE_END},
    [SN_PUBACK] = {"PUBACK",        5, 5         },
    [SN_PUBCOMP] = {"PUBCOMP",       2, 2         },
    [SN_PUBREC] = {"PUBREC",        2, 2         },
    [SN_PUBREL] = {"PUBREL",        2, 2         },
    [SN_SUBSCRIBE] = {"SUBSCRIBE",     3, TO_THE_END},
    [SN_SUBACK] = {"SUBACK",        6, 6         },
    [SN_UNSUBSCRIBE] = {"UNSUBSCRIBE",   3, TO_THE_END},
    [SN_UNSUBACK] = {"UNSUBACK",      2, 2         },
    [SN_PINGREQ] = {"PINGREQ",       0, TO_THE_END},
    [SN_PINGRESP] = {"PINGRESP",      0, 0         },
    [SN_DISCONNECT] = {"DISCONNECT",    0, 2         },
    [SN_WILLTOPICUPD] = {"WILLTOPICUPD",  0, TO_THE_END},
 /* RSMB answers with two octets; a client takes the first for the return code. */
    [SN_WILLTOPICRESP] = {"WILLTOPICRESP", 1, 2         },
    [SN_WILLMSGUPD] = {"WILLMSGUPD",    0, TO_THE_END},
    [SN_WILLMSGRESP] = {"WILLMSGRESP",   1, 1         },
};

const struct sn_layout *sn_layout_of(unsigned type)
{
    if (type >= SN_TYPE_COUNT || layouts[type].name == NULL)
        return NULL;
    return &layouts[type];
}

const char *sn_type_name(unsigned type)
{
    if (type == SN_FORWARD)
        return "FORWARD";
    const struct sn_layout *layout = sn_layout_of(type);
    return layout != NULL ? layout->name : "RESERVED";
}

const char *sn_decode_result_name(enum sn_decode_result r)
{
    static const char *const names[SN_DECODE_RESULTS] = {
        [SN_DECODED] = "decoded", [SN_BAD_TRUNCATED] = "truncated", [SN_BAD_LENGTH] = "length",
        [SN_BAD_TYPE] = "type",   [SN_BAD_BODY] = "body",           [SN_BAD_ENVELOPE] = "envelope",
    };
    return (unsigned)r < SN_DECODE_RESULTS ? names[r] : "unknown";
}
