/*
 * See ollama_catalog.h.
 *
 * Owns the names, one transfer at a time, and a timer for its time limit. Says nothing of the server
 * being down: who asks it for an answer will find out, and a list is no reason for an alarm.
 */
#include "upstream/ollama_catalog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "upstream/curl_loop.h"
#include "upstream/transfer.h"
#include "wire/ollama_tags.h"

#define FRESH_USEC       (5 * USEC_PER_SEC)
#define LIMIT_USEC       (5 * USEC_PER_SEC)
#define ANSWER_MAX_BYTES (2 * 1024 * 1024) /* a model on it has about 600 bytes */
#define NAMES_MAX_BYTES  (OLLAMA_TAGS_MAX_MODELS * (REQUEST_MODEL_MAX + 1))

struct ollama_catalog {
    struct list link; /* upstreams.catalogs */
    unsigned n_refs;
    struct upstreams *up;        /* borrowed */
    struct server_state *server; /* a reference */
    char *url;                   /* owned */
    struct server_access access;
    uint64_t connect_usec;
    struct buf names; /* each with a NUL behind it */
    uint64_t asked_at_usec;
    struct transfer *transfer; /* NULL: nobody is asked now */
    sd_event_source *timer;
    struct buf answer;
    int status;
};

struct ollama_catalog *ollama_catalog_unref(struct ollama_catalog *c)
{
    if (!c || --c->n_refs > 0) {
        return NULL;
    }
    transfer_cancel(c->transfer);
    sd_event_source_disable_unref(c->timer);
    list_remove(&c->link);
    server_access_done(&c->access);
    server_state_unref(c->server);
    free(c->url);
    buf_done(&c->names);
    buf_done(&c->answer);
    free(c);
    return NULL;
}

/* ---- the exchange */

static void on_head(void *ctx, const struct transfer_head *head)
{
    ((struct ollama_catalog *) ctx)->status = head->status;
}

static enum transfer_answer on_bytes(void *ctx, struct str bytes)
{
    struct ollama_catalog *c = ctx;

    return buf_append_str(&c->answer, bytes) < 0 ? TRANSFER_STOP : TRANSFER_ROOM;
}

static void take_answer(struct ollama_catalog *c)
{
    struct buf names;
    int r = -EBADMSG;

    buf_init(&names, NAMES_MAX_BYTES);
    if (c->status == 200) {
        r = ollama_read_tags(buf_str(&c->answer), &names);
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

static void on_done(void *ctx, enum transfer_result result, const char *text)
{
    struct ollama_catalog *c = ctx;

    c->transfer = NULL;
    (void) sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
    if (result == TRANSFER_COMPLETE) {
        take_answer(c);
    } else {
        log_printf(LOG_LEVEL_DEBUG, "no list of models: %s", text);
    }
    buf_done(&c->answer);
    buf_init(&c->answer, ANSWER_MAX_BYTES);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
    struct ollama_catalog *c = ctx;

    c->transfer = transfer_cancel(c->transfer);
    on_done(c, TRANSFER_CUT, "it took too long");
    return 0;
}

/* Without memory it stays as it is; the next look tries again. */
static void refresh(struct ollama_catalog *c, uint64_t now_usec)
{
    static const struct transfer_callbacks callbacks = {on_head, on_bytes, on_done};
    const struct server_address *address = server_state_address(c->server);
    struct transfer_spec spec = {
        .url = c->url,
        .unix_path = address->unix_path,
        .access = &c->access,
        .accept = "application/json",
        .is_local = address->is_local,
        .connect_usec = c->connect_usec,
    };

    if (c->transfer ||
        (c->asked_at_usec != 0 && now_usec < usec_add(c->asked_at_usec, FRESH_USEC))) {
        return;
    }
    if (transfer_start(c->up->curl, &spec, &callbacks, c, &c->transfer) < 0) {
        return;
    }
    c->asked_at_usec = now_usec;
    c->status = 0;
    (void) sd_event_source_set_time(c->timer, usec_add(now_usec, LIMIT_USEC));
    (void) sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
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

static int fill(struct ollama_catalog *c, const struct ollama_catalog_spec *spec)
{
    int r;

    c->url = server_address_url(server_state_address(c->server), OLLAMA_TAGS_PATH);
    if (!c->url || server_access_copy(spec->access, &c->access) < 0) {
        return -ENOMEM;
    }
    r = sd_event_add_time(c->up->event, &c->timer, CLOCK_MONOTONIC, USEC_NEVER, USEC_PER_MSEC,
                          on_timer, c);
    return r < 0 ? r : sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
}

int ollama_catalog_ref(struct upstreams *up, const struct ollama_catalog_spec *spec,
                       struct ollama_catalog **ret)
{
    int r;

    list_for_each (pos, &up->catalogs) {
        struct ollama_catalog *known = CONTAINER_OF(pos, struct ollama_catalog, link);

        if (known->server == spec->server) {
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
    c->up = up;
    c->server = server_state_retain(spec->server);
    c->connect_usec = spec->connect_usec;
    list_init(&c->link);
    buf_init(&c->names, NAMES_MAX_BYTES);
    buf_init(&c->answer, ANSWER_MAX_BYTES);
    r = fill(c, spec);
    if (r < 0) {
        ollama_catalog_unref(c);
        return r;
    }
    list_append(&up->catalogs, &c->link);
    refresh(c, clock_now_usec());
    *ret = c;
    return 0;
}
