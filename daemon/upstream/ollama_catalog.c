/*
 * See ollama_catalog.h.
 *
 * Owns the names, and one exchange at a time. Says nothing of the server being down: who asks it for an answer will find out, and a list is no reason for an alarm.
 */
#include "upstream/ollama_catalog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "upstream/server_exchange.h"
#include "wire/ollama_tags.h"

#define FRESH_USEC       (5 * USEC_PER_SEC)
#define LIMIT_USEC       (5 * USEC_PER_SEC)
#define ANSWER_MAX_BYTES (2 * 1024 * 1024) /* a model on it has about 600 bytes */
#define NAMES_MAX_BYTES  (OLLAMA_TAGS_MAX_MODELS * (REQUEST_MODEL_MAX + 1))

struct ollama_catalog {
    struct list link; /* upstreams.catalogs */
    unsigned n_refs;
    struct server_access access;
    uint64_t connect_usec;
    struct buf names; /* each with a NUL behind it */
    uint64_t asked_at_usec;
    struct server_exchange exchange;
};

struct ollama_catalog *ollama_catalog_unref(struct ollama_catalog *c)
{
    if (!c || --c->n_refs > 0) {
        return NULL;
    }
    server_exchange_done(&c->exchange);
    list_remove(&c->link);
    server_access_done(&c->access);
    buf_done(&c->names);
    free(c);
    return NULL;
}

/* ---- the exchange */

static void take_answer(struct ollama_catalog *c, const struct server_answer *answer)
{
    struct buf names;
    int r = -EBADMSG;

    buf_init(&names, NAMES_MAX_BYTES);
    if (answer->status == 200) {
        r = ollama_read_tags(answer->body, &names);
    }
    if (r == 0 || r == -EBADMSG) {
        buf_done(&c->names);
        c->names = names;
        buf_init(&names, NAMES_MAX_BYTES);
        if (r < 0) {
            buf_clear(&c->names);
        }
    }
    buf_done(&names);
}

static void on_end(struct server_exchange *x, const struct server_answer *answer)
{
    if (answer->result == TRANSFER_COMPLETE) {
        take_answer(CONTAINER_OF(x, struct ollama_catalog, exchange), answer);
    } else {
        log_printf(LOG_LEVEL_DEBUG, "no list of models: %s", answer->why);
    }
}

/* Without memory it stays as it is; the next look tries again. */
static void refresh(struct ollama_catalog *c, uint64_t now_usec)
{
    struct server_request request = {
        .path = OLLAMA_TAGS_PATH,
        .access = &c->access,
        .connect_usec = c->connect_usec,
        .ends_at_usec = usec_add(now_usec, LIMIT_USEC),
    };
    bool is_fresh = c->asked_at_usec != 0 && now_usec < usec_add(c->asked_at_usec, FRESH_USEC);

    if (!is_fresh && !server_exchange_is_asked(&c->exchange) &&
        server_exchange_start(&c->exchange, &request) == 0) {
        c->asked_at_usec = now_usec;
    }
}

void ollama_catalog_list(struct ollama_catalog *c, uint64_t now_usec, model_visit_fn visit,
                         void *ctx)
{
    struct str names = buf_str(&c->names);

    while (names.len > 0) {
        struct str name = str_from(names.ptr);

        visit(ctx, name);
        names.ptr += name.len + 1;
        names.len -= name.len + 1;
    }
    refresh(c, now_usec);
}

/* ---- life */

int ollama_catalog_ref(struct upstreams *up, const struct ollama_catalog_spec *spec,
                       struct ollama_catalog **ret)
{
    int r;

    list_for_each (pos, &up->catalogs) {
        struct ollama_catalog *known = CONTAINER_OF(pos, struct ollama_catalog, link);

        if (known->exchange.server == spec->server) {
            known->n_refs++;
            *ret = known;
            return 0;
        }
    }

    struct ollama_catalog *c = calloc(1, sizeof *c);

    if (!c) {
        return -ENOMEM;
    }
    c->n_refs = 1;
    c->connect_usec = spec->connect_usec;
    list_init(&c->link);
    buf_init(&c->names, NAMES_MAX_BYTES);
    server_exchange_init(&c->exchange, up, spec->server, ANSWER_MAX_BYTES, on_end);
    r = server_access_copy(spec->access, &c->access);
    if (r < 0) {
        ollama_catalog_unref(c);
        return r;
    }
    list_append(&up->catalogs, &c->link);
    refresh(c, clock_now_usec());
    *ret = c;
    return 0;
}
