/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a web server or proxy may send. Input: an octet; when it is even an HTTP answer follows, else
 * frames, and it says in what pieces they come. All at once or in pieces must be the same.
 */
#include <string.h>

#include "broker/http.h"
#include "broker/websocket.h"
#include "fuzz.h"

static void answers(const uint8_t *data, size_t size, size_t step)
{
    struct http_answer whole = {.state = HTTP_READING};
    struct http_answer pieces = {.state = HTTP_READING};
    char room[HTTP_REASON_MAX + 64];
    const char accept[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    size_t at = 0;

    const size_t taken = http_input(&whole, bytes_of(data, size));
    while (at < size && pieces.state == HTTP_READING) {
        const size_t n = size - at < step ? size - at : step;
        at += http_input(&pieces, bytes_of(data + at, n));
    }
    fuzz_require(taken <= size && taken <= HTTP_ANSWER_MAX + 1);
    fuzz_require(taken == at);
    fuzz_require(whole.state == pieces.state && whole.status == pieces.status);
    fuzz_require(strcmp(whole.reason, pieces.reason) == 0);
    if (whole.state == HTTP_READING)
        return;
    const char *const why = http_not_websocket(&whole, accept, room);
    for (const char *c = why; c != NULL && *c != '\0'; c++)
        fuzz_require(*c >= ' ' && *c <= '~');
    fuzz_require(why != NULL || (whole.status == 101 && whole.accepts == 1));
}

static void frames(const uint8_t *data, size_t size, size_t step)
{
    struct ws_reader whole = {.fault = WS_FINE};
    struct ws_reader pieces = {.fault = WS_FINE};
    uint8_t *const one = malloc(size + 1);
    uint8_t *const many = malloc(size + 1);
    size_t len = 0;

    fuzz_require(one != NULL && many != NULL);
    memcpy(one, data, size);
    const size_t got = ws_input(&whole, one, size);
    for (size_t at = 0; at < size; at += step) {
        const size_t n = size - at < step ? size - at : step;
        uint8_t *const piece = malloc(n);
        fuzz_require(piece != NULL);
        memcpy(piece, data + at, n);
        const size_t more = ws_input(&pieces, piece, n);
        fuzz_require(more <= n && len + more <= size);
        memcpy(many + len, piece, more);
        len += more;
        free(piece);
    }
    fuzz_require(got == len && memcmp(one, many, len) == 0);
    fuzz_require(whole.fault == pieces.fault && whole.closed == pieces.closed);
    fuzz_require(whole.status == pieces.status && whole.pinged == pieces.pinged);
    fuzz_require(whole.fault < WS_FAULTS && ws_fault_text(whole.fault) != NULL);
    fuzz_require(bytes_equal(ws_close_reason(&whole), ws_close_reason(&pieces)));
    fuzz_require(whole.ping_len <= WS_CONTROL_MAX && whole.left <= UINT32_MAX);
    free(one);
    free(many);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const size_t step = 1U + data[0] / 2;
    if (data[0] % 2 == 0)
        answers(data + 1, size - 1, step);
    else
        frames(data + 1, size - 1, step);
    return 0;
}
