/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls within Paho that go through us, by the linker's --wrap: faults that show with many handles, or
 * with handles that come and go (docs/adr/0017). A function that Paho does not have is not called.
 *
 *  - MQTTProtocol_retry: when one session is resumed, it sends again what is open in *every* session.
 *    It also walks along all clients for each packet.
 *  - MQTTAsync_writeContinue, MQTTProtocol_writeAvailable, MQTTAsync_writeComplete: called when a write
 *    that had stopped goes on. The first two walk along all handles without the lock under which another
 *    thread destroys one (upstream #1669); the third gives that thread time to free what its caller
 *    looks at next.
 *  - setRetryLoopInterval: how often Paho looks whether a ping is due. The latest CONNECT decides for
 *    all, also for those with a shorter keep alive.
 */
#ifndef SENNET_GATEWAY_PAHO_INNER_H
#define SENNET_GATEWAY_PAHO_INNER_H

/* Paho's receiving thread, without any lock: what the callbacks above have put off. */
void paho_complete_writes(void);

#endif
