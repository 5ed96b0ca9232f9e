/*
 * See ollama_watch.h.
 *
 *   (nothing) ──contact, look──► (asked) ──answer──► (known) ──when it is old──► (asked) ...
 *
 * Owns two questions, each with an exchange and a time limit for it: Ollama answers
 * late, up to 5 s, while it frees a GPU's memory.
 */
#include "upstream/ollama_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "upstream/server_exchange.h"
#include "upstream/server_state.h"
#include "wire/ollama_unload.h"

#define LIMIT_USEC        (10 * USEC_PER_SEC)
#define LIST_FRESH_USEC   (30 * USEC_PER_SEC)
#define AGAIN_USEC        (30 * USEC_PER_SEC)      /* after no answer */
#define VERSION_OLD_USEC  (10 * 60 * USEC_PER_SEC) /* a restart that no call has met */
#define LIST_MAX_BYTES    (256 * 1024)             /* a model on it has about 500 bytes */
#define VERSION_MAX_BYTES 4096

struct question {
    struct ollama_watch *watch;
    void (*on_answer)(struct question *q, struct str body); /* status 200 */
    const char *path;                                       /* static */
    struct server_exchange exchange;
    uint64_t asked_at_usec; /* 0: never */
    uint64_t old_at_usec;   /* from when on it may be asked again */
    unsigned epoch;         /* of the server, when it was asked */
};

struct ollama_watch {
    struct upstreams *up;        /* borrowed */
    struct server_state *server; /* borrowed */
    struct question list, version;
    struct ollama_resident resident;
    char version_text[OLLAMA_VERSION_BYTES];
    unsigned version_epoch; /* when it said so */
    struct log_limit limit;
};

/* ---------------------------------------------------------------- a question */

static void on_end(struct server_exchange *x, const struct server_answer *answer)
{
    struct question *q = CONTAINER_OF(x, struct question, exchange);

    if (answer->result == TRANSFER_COMPLETE && answer->status == 200) {
        q->on_answer(q, answer->body);
    } else {
        log_printf(LOG_LEVEL_DEBUG, "%s: no answer from %s: %s",
                   server_state_name(q->watch->server), q->path,
                   answer->result == TRANSFER_COMPLETE ? "an error" : answer->why);
    }
}

/* Without memory it stays as it is; the next one tries again. */
static void ask(struct question *q, const struct ollama_watch_terms *terms, uint64_t now_usec)
{
    struct server_request request = {
        .path = q->path,
        .access = terms->access,
        .connect_usec = terms->connect_usec,
        .ends_at_usec = usec_add(now_usec, LIMIT_USEC),
    };

    if (server_exchange_start(&q->exchange, &request) < 0) {
        return;
    }
    q->asked_at_usec = now_usec;
    q->old_at_usec = usec_add(now_usec, AGAIN_USEC);
    q->epoch = server_state_epoch(q->watch->server);
}

/* A server that is down is not asked: the next call finds out. */
static void ask_if_old(struct question *q, const struct ollama_watch_terms *terms,
                       uint64_t now_usec)
{
    bool is_old = q->asked_at_usec == 0 || now_usec >= q->old_at_usec ||
                  q->epoch != server_state_epoch(q->watch->server);

    if (is_old && !server_exchange_is_asked(&q->exchange) &&
        !server_state_is_down(q->watch->server)) {
        ask(q, terms, now_usec);
    }
}

/* ---------------------------------------------------------------- the list */

static void on_list(struct question *q, struct str body)
{
    struct ollama_loaded_list list;

    if (ollama_read_loaded(body, &list) < 0) {
        return;
    }
    q->old_at_usec = usec_add(q->asked_at_usec, LIST_FRESH_USEC);
    if (!ollama_resident_take(&q->watch->resident, &list, q->asked_at_usec, q->epoch)) {
        q->old_at_usec = 0;
        ollama_loaded_list_done(&list);
    }
}

void ollama_watch_look(struct ollama_watch *w, const struct ollama_watch_terms *terms,
                       uint64_t now_usec)
{
    ask_if_old(&w->list, terms, now_usec);
}

void ollama_watch_loaded(struct ollama_watch *w, const struct ollama_watch_terms *terms,
                         uint64_t now_usec)
{
    if (w->list.asked_at_usec != 0) {
        (void) server_exchange_stop(&w->list.exchange);
        ask(&w->list, terms, now_usec);
    }
}

struct ollama_resident *ollama_watch_resident(struct ollama_watch *w)
{
    return &w->resident;
}

/* ---------------------------------------------------------------- the version */

static void tell(struct ollama_watch *w, const char *version_before)
{
    const struct upstream_hooks *hooks = &w->up->hooks;
    struct renewal_report report = {
        .server = server_state_name(w->server),
        .version = w->version_text,
        .version_before = version_before,
        .limit = &w->limit,
    };

    if (hooks->on_renewed) {
        hooks->on_renewed(hooks->ctx, &report);
    }
}

static void on_version(struct question *q, struct str body)
{
    struct ollama_watch *w = q->watch;
    char before[OLLAMA_VERSION_BYTES], said[OLLAMA_VERSION_BYTES];
    bool was_away = q->epoch != w->version_epoch, is_known = w->version_text[0] != '\0';
    int r = ollama_read_version(body, said);

    if (r == -ENOMEM) {
        return;
    }
    q->old_at_usec = usec_add(q->asked_at_usec, VERSION_OLD_USEC);
    if (r < 0) {
        return; /* something else, or something in between, that speaks as Ollama does */
    }
    memcpy(before, w->version_text, sizeof before);
    memcpy(w->version_text, said, sizeof said);
    if (is_known && !was_away && strcmp(before, said) != 0) {
        server_state_renew(w->server);
        q->epoch = server_state_epoch(w->server);
    }
    if (is_known && q->epoch != w->version_epoch) {
        tell(w, before);
    }
    w->version_epoch = q->epoch;
}

void ollama_watch_contact(struct ollama_watch *w, const struct ollama_watch_terms *terms,
                          uint64_t now_usec)
{
    ask_if_old(&w->version, terms, now_usec);
}

const char *ollama_watch_version(const struct ollama_watch *w)
{
    return w->version_text;
}

/* ---------------------------------------------------------------- life */

struct ollama_watch *ollama_watch_free(struct ollama_watch *w)
{
    if (w) {
        server_exchange_done(&w->list.exchange);
        server_exchange_done(&w->version.exchange);
        ollama_resident_done(&w->resident);
        free(w);
    }
    return NULL;
}

int ollama_watch_new(struct upstreams *up, struct server_state *server, struct ollama_watch **ret)
{
    struct ollama_watch *w = calloc(1, sizeof *w);

    if (!w) {
        return -ENOMEM;
    }
    w->up = up;
    w->server = server;
    w->list = (struct question) {.watch = w, .on_answer = on_list, .path = OLLAMA_LIST_PATH};
    w->version =
        (struct question) {.watch = w, .on_answer = on_version, .path = OLLAMA_VERSION_PATH};
    server_exchange_init(&w->list.exchange, up, server, LIST_MAX_BYTES, on_end);
    server_exchange_init(&w->version.exchange, up, server, VERSION_MAX_BYTES, on_end);
    *ret = w;
    return 0;
}
