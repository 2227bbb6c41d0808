/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints, as hexadecimal lines, all that a driver of ours writes to an emulated stick: start or
 * formation, joining, packets each way, broadcasts, idle times. An emulated stick ignores what does
 * not concern it; frames.mjs has every octet explained by somebody else's library.
 *
 *     cross_frames DRIVER FIRMWARE formed|unformed
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/stick_world.h"
#include "tools/emu/emu_xbee.h"

void __real_emu_input_us(struct emu *m, int64_t now_us, struct bytes from_host);
void __wrap_emu_input_us(struct emu *m, int64_t now_us, struct bytes from_host);

void __wrap_emu_input_us(struct emu *m, int64_t now_us, struct bytes from_host)
{
    for (size_t i = 0; i < from_host.len; i++)
        printf("%02x", from_host.data[i]);
    printf("\n");
    __real_emu_input_us(m, now_us, from_host);
}

int main(int argc, char **argv)
{
    enum { NODES = 3, ROUNDS = 40, SHORTEST = 13, SPAN = 60, LATER_MS = 120000 };

    if (argc != 4) {
        fprintf(stderr, "usage: cross_frames DRIVER FIRMWARE formed|unformed\n");
        return 64;
    }
    struct stick_world_config c = stick_world_defaults(argv[1]);
    c.nodes = NODES;
    c.emu.firmware = (unsigned)strtoul(argv[2], NULL, 10);
    c.emu.formed = strcmp(argv[3], "formed") == 0;
    if (strcmp(argv[1], "xbee") == 0 && (c.emu.firmware & EMU_XBEE_MODEL) == EMU_XBEE_802154)
        c.kind = PEER_SHORT;
    c.stick.form_network = !c.emu.formed;
    c.stick.permit_join_s = 60;
    if (!c.emu.formed) {
        c.stick.channel = 20;
        c.stick.pan_id = 0x4242;
    }
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < ROUNDS; i++) {
        stick_world_to_node(w, i % NODES, SHORTEST + i * 7 % SPAN);
        stick_world_from_node(w, (i + 1) % NODES, SHORTEST + i);
        if (i % 10 == 0)
            stick_world_to_group(w, SHORTEST + i);
        stick_world_run(w, 100);
    }
    stick_world_run(w, LATER_MS);
    stick_world_end(w);
    return 0;
}
