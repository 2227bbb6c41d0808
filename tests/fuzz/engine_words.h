/* SPDX-License-Identifier: Apache-2.0 */
/* Operands of a fuzz_engine input: octets that stand for texts, ids and times. */
#ifndef SENNET_TESTS_FUZZ_ENGINE_WORDS_H
#define SENNET_TESTS_FUZZ_ENGINE_WORDS_H

#include "engine_judge.h"

/* Valid until the next call. */
struct bytes word_topic(struct reader *in);
struct bytes word_client_id(struct reader *in);
struct bytes word_data(struct reader *in);
uint16_t word_msg_id(struct reader *in, const struct judged_peer *peer);
uint16_t word_topic_id(struct reader *in, const struct judged_peer *peer);
uint16_t word_duration(struct reader *in);

/* What a peer says; `action` is one of the first (engine_script.h), and not RAW or AGAIN. */
struct sn_packet word_packet(struct reader *in, unsigned action, const struct judged_peer *peer);

#endif
