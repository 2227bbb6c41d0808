/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any datagram: opened, decoded, printed. What decodes must encode, and the encoding must be a
 * fixed point: it decodes to the same message and encodes to the same octets again.
 */
#include <string.h>

#include "fuzz.h"
#include "mqttsn/packet.h"

enum { DEEPEST = 8 };

static void print_in_small_steps(const struct sn_packet *p)
{
    static const size_t sizes[] = {1, 2, 3, 4, 5, 8, 16, 40, 80, 200, 512, 4096};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *out = malloc(sizes[i]);
        fuzz_require(out != NULL);
        memset(out, 'x', sizes[i]);
        sn_print(p, out, sizes[i]);
        const size_t len = strnlen(out, sizes[i]);
        fuzz_require(len < sizes[i]);
        fuzz_require(bytes_is_utf8(bytes_of(out, len)));
        for (size_t k = 0; k < len; k++)
            fuzz_require((uint8_t)out[k] >= 0x20 && out[k] != 0x7F);
        free(out);
    }
}

static void check_message(struct bytes in)
{
    struct sn_packet p;
    if (sn_decode(in, &p) != SN_DECODED)
        return;
    print_in_small_steps(&p);
    const size_t len = sn_encode(&p, NULL, 0);
    fuzz_require(len > 0 && len <= in.len);
    uint8_t *again = malloc(len);
    uint8_t *third = malloc(len);
    fuzz_require(again != NULL && third != NULL);
    fuzz_require(sn_encode(&p, again, len - 1) == 0);
    fuzz_require(sn_encode(&p, again, len) == len);
    struct sn_packet q;
    fuzz_require(sn_decode(bytes_of(again, len), &q) == SN_DECODED);
    fuzz_require(q.type == p.type && q.msg_id == p.msg_id && q.topic_id == p.topic_id);
    fuzz_require(q.qos == p.qos && q.topic_kind == p.topic_kind && q.duration_s == p.duration_s);
    fuzz_require(bytes_equal(q.data, p.data) && bytes_equal(q.topic, p.topic));
    fuzz_require(bytes_equal(q.client_id, p.client_id));
    fuzz_require(sn_encode(&q, third, len) == len && memcmp(again, third, len) == 0);
    free(again);
    free(third);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    struct sn_envelope env;
    for (unsigned depth = 0; depth < DEEPEST && sn_is_envelope(in); depth++) {
        struct sn_packet p;
        fuzz_require(sn_decode(in, &p) != SN_DECODED);
        if (sn_envelope_decode(in, &env) != SN_DECODED)
            return 0;
        uint8_t header[3 + SN_NODE_ID_MAX];
        const size_t n = sn_envelope_encode(&env, header, sizeof header);
        fuzz_require(n == 3 + env.node_id.len && n + env.inner.len == in.len);
        fuzz_require(memcmp(header + 3, data + (size_t)(in.data - data) + 3, n - 3) == 0);
        in = env.inner;
    }
    check_message(in);
    return 0;
}
