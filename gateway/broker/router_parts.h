/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the router: wants, the parts they come to, and SUBSCRIBEs under way. */
#ifndef SENNET_BROKER_ROUTER_PARTS_H
#define SENNET_BROKER_ROUTER_PARTS_H

#include "broker/router_priv.h"

struct want *want_find(const struct client *c, struct bytes filter);
/* NULL: `*outcome` says why. */
struct want *want_new(struct router *r, struct client *c, struct bytes filter,
                      enum sn_outcome *outcome);
/* With its asks, unanswered. Parts that nobody needs any more go, too; `tell_brokers`: with an
 * UNSUBSCRIBE. */
void want_free(struct router *r, struct want *w, bool tell_brokers);
/* Its parts by the present names; its asks are dropped, unanswered. False: `*outcome` says why, and
 * there are none. */
bool want_retie(struct router *r, struct want *w, enum sn_outcome *outcome);
/* The same, but that its asks stay, to be asked again, and the old parts, until want_untie_old(). False:
 * nothing has changed. */
bool want_tie_anew(struct router *r, struct want *w, enum sn_outcome *outcome);
void want_untie_old(struct router *r, struct want *w, bool tell_brokers);

/* Is it needed, but for what want_untie_old() takes away? */
bool part_stays(const struct part *p);
/* What the filters of the part want of it. */
uint8_t part_qos(const struct part *p);
/* After a change of that, or of what the broker has: it may have to be asked again. */
void part_reckon(struct router *r, struct part *p);
void parts_reckon(struct router *r, const struct want *w);
/* The broker did not take it now. */
void part_owe(struct router *r, struct part *p);

struct pend *pend_find(const struct router *r, uint64_t client, uint16_t token);
/* NULL: out of memory. */
struct pend *pend_new(struct router *r, struct part *part, struct want *w, struct ask *a);
void pend_free(struct router *r, struct pend *p);
/* False: out of memory. */
bool pend_send(struct router *r, struct pend *p);

#endif
