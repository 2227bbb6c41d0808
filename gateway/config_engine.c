/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine must know of the configuration, in the engine's own types. */
#include <errno.h>
#include <stdlib.h>

#include "config.h"

/* calloc() that gives something to free for nothing, too. */
static void *room_for(size_t n, size_t size)
{
    return calloc(n > 0 ? n : 1, size);
}

static struct sn_client_section *client_sections(const struct config *c)
{
    struct sn_client_section *list = room_for(c->n_clients, sizeof *list);
    for (size_t i = 0; list != NULL && i < c->n_clients; i++) {
        list[i] = (struct sn_client_section){.glob = c->clients[i].glob,
                                             .options = c->clients[i].options};
    }
    return list;
}

static struct sn_topics_section *topics_sections(const struct config *c)
{
    struct sn_topics_section *list = room_for(c->n_topics, sizeof *list);
    for (size_t i = 0; list != NULL && i < c->n_topics; i++) {
        list[i] = (struct sn_topics_section){.glob = c->topics[i].glob,
                                             .entries = c->topics[i].entries,
                                             .n_entries = c->topics[i].n_entries};
    }
    return list;
}

static struct sn_link_limits *link_limits(const struct config *c)
{
    struct sn_link_limits *list = room_for(c->n_links, sizeof *list);
    for (size_t i = 0; list != NULL && i < c->n_links; i++) {
        const struct stick_driver *stick = stick_driver_find(bytes_str(c->links[i].driver));
        list[i] = (struct sn_link_limits){.max_packet_bytes = c->links[i].max_packet_bytes,
                                          .reports = stick != NULL && stick_driver_reports(stick),
                                          .qos_minus_one = c->links[i].qos_minus_one,
                                          .advertise_s = c->links[i].advertise_s};
    }
    return list;
}

int config_engine(const struct config *c, struct sn_engine_config *out)
{
    *out = sn_engine_defaults();
    out->gateway_id = c->gateway.id;
    out->retry_interval_ms = c->gateway.retry_interval_ms;
    out->retry_min_ms = c->gateway.retry_min_ms;
    out->retry_max_ms = c->gateway.retry_max_ms;
    out->retry_count = c->gateway.retry_count;
    out->late_connect_ms = c->gateway.late_connect_ms;
    out->max_clients = c->gateway.max_clients;
    out->max_memory_bytes = c->gateway.max_memory_bytes;
    out->max_waiting = c->gateway.max_waiting;
    out->max_client_id = c->gateway.max_client_id;
    out->session_expiry_ms = c->gateway.session_expiry_ms;
    out->gwinfo_delay_ms = c->gateway.gwinfo_delay_ms;
    out->log_level = c->gateway.log_level;
    out->clients = client_sections(c);
    out->n_clients = c->n_clients;
    out->topics = topics_sections(c);
    out->n_topics = c->n_topics;
    out->links = link_limits(c);
    out->n_links = c->n_links;
    if (out->clients != NULL && out->topics != NULL && out->links != NULL)
        return 0;
    config_engine_free(out);
    return -ENOMEM;
}

void config_engine_free(struct sn_engine_config *ec)
{
    free((void *)(uintptr_t)ec->clients);
    free((void *)(uintptr_t)ec->topics);
    free((void *)(uintptr_t)ec->links);
    ec->clients = NULL;
    ec->topics = NULL;
    ec->links = NULL;
    ec->n_clients = ec->n_topics = ec->n_links = 0;
}
