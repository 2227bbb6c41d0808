/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands between Paho and the packets of brokers (broker/mqtt_guard.h, docs/adr/0017), by the linker's
 * --wrap: what is against the rules of MQTT ends the connection as a socket error does, with its reason
 * in paho_last_calls().tls, and is counted (mqtt_rule_gauges()).
 *
 *  - WebSocket_putdatas: whole packets on their way out, over plain TCP and TLS, too.
 *  - MQTTPacket_Factory, WebSocket_getch, WebSocket_getdata: a packet that comes in; its first octet; all
 *    the rest.
 *
 * What has not sent its CONNECT through the first passes unseen, so a Paho without it works as before.
 */
#ifndef SENNET_GATEWAY_PAHO_GUARD_H
#define SENNET_GATEWAY_PAHO_GUARD_H

/* Under Paho's lock: the descriptor is closed. */
void paho_guard_forget(int fd);

#endif
