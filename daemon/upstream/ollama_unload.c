/*
 * Unloads, each a few small exchanges:
 *
 *   LOOKING ──► TELLING ──► CHECKING ──► (gone: told)
 *      │                     ▲    │
 *      │                     └────┘ every CHECK_USEC, until LIMIT_USEC
 *      └──► (not there, and nobody thought so: told)
 *
 * Ollama answers the request at once and stops the runner when its last request is over, so only
 * its list says whether the memory is free (on GPUs up to 5 s later). A model may be loaded without
 * being on that list: those that share their weights share a runner, under the name of the one that
 * came first. So what the loader believes to be loaded is unloaded, too.
 *
 * Owns copies of all it needs and a reference to the loader, one timer (the next look, or the time
 * limit), one exchange at a time.
 */
#include "upstream/ollama_unload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "upstream/server_exchange.h"
#include "wire/ollama_json.h"
#include "wire/ollama_unload.h"

#define CHECK_USEC        (100 * USEC_PER_MSEC)
#define LIMIT_USEC        (8 * USEC_PER_SEC) /* a GPU's memory takes up to 5 s to come back */
#define LIST_MAX_BYTES    (256 * 1024)       /* a model on it has about 500 bytes */
#define REQUEST_MAX_BYTES 4096
#define NAME_SHOWN_MAX    60 /* bytes of a name in a message */

enum unload_state { UNLOAD_LOOKING, UNLOAD_TELLING, UNLOAD_CHECKING };

struct ollama_unload {
    struct unload_job job;
    enum unload_state state;
    struct unload_sink *sink; /* borrowed */
    struct upstreams *up;     /* borrowed */
    struct ollama_loader *loader;
    char *id, *model; /* owned */
    struct server_access access;
    bool is_trusted;
    uint64_t connect_usec, began_at_usec, ends_at_usec;
    struct server_exchange exchange;
    sd_event_source *timer;
    struct buf body;
};

static struct ollama_unload *unload_free(struct ollama_unload *u)
{
    server_exchange_done(&u->exchange);
    sd_event_source_disable_unref(u->timer);
    ollama_loader_unref(u->loader);
    server_access_done(&u->access);
    free(u->id);
    free(u->model);
    buf_done(&u->body);
    free(u);
    return NULL;
}

static void cancel(struct unload_job *job)
{
    unload_free(CONTAINER_OF(job, struct ollama_unload, job));
}

static void finish(struct ollama_unload *u, const struct unload_result *result)
{
    struct unload_sink *sink = u->sink;

    sink->on_unloaded(sink, result);
    unload_free(u);
}

static void fail(struct ollama_unload *u, enum errcode code, const char *text)
{
    struct str id = str_clip(str_from(u->id), NAME_SHOWN_MAX);
    struct str model = str_clip(str_from(u->model), NAME_SHOWN_MAX);
    char said[PROBLEM_TEXT_MAX];
    struct unload_result result = {.code = code, .text = said};

    (void) snprintf(said, sizeof said, "%.*s: unloading \"%.*s\": %s", STR_ARG(id), STR_ARG(model),
                    text);
    finish(u, &result);
}

static void start(struct ollama_unload *u, enum unload_state state);

static void check_later(struct ollama_unload *u)
{
    uint64_t at = usec_add(clock_now_usec(), CHECK_USEC);

    (void) sd_event_source_set_time(u->timer, at < u->ends_at_usec ? at : u->ends_at_usec);
    (void) sd_event_source_set_enabled(u->timer, SD_EVENT_ONESHOT);
}

/* ---------------------------------------------------------------- answers */

static void tell(const struct ollama_unload *u, bool is_gone)
{
    const struct upstream_hooks *hooks = &u->up->hooks;
    const struct unload_news news = {
        .server = ollama_loader_server(u->loader), .model = u->model, .is_gone = is_gone};

    if (hooks->on_unloaded) {
        hooks->on_unloaded(hooks->ctx, &news);
    }
}

static void evicted(struct ollama_unload *u, uint64_t now_usec)
{
    const struct upstream_hooks *hooks = &u->up->hooks;
    struct eviction_report report = {.server = ollama_loader_server(u->loader),
                                     .model = u->model,
                                     .took_usec = usec_since(now_usec, u->began_at_usec)};

    ollama_loader_saw(u->loader, u->model, false, now_usec);
    if (u->up->memory.on_gone) {
        u->up->memory.on_gone(u->up->memory.ctx, report.server, u->model);
    }
    if (hooks->on_evicted) {
        hooks->on_evicted(hooks->ctx, &report);
    }
    tell(u, true);
}

static void on_list(struct ollama_unload *u, struct str body)
{
    bool is_listed;
    int r = ollama_list_has(body, u->model, &is_listed);

    if (r == -ENOMEM) {
        fail(u, ERRCODE_OUT_OF_MEMORY, errcode_info(ERRCODE_OUT_OF_MEMORY)->text);
    } else if (r < 0) {
        fail(u, ERRCODE_UPSTREAM_GARBAGE, "the server does not say what it has loaded");
    } else if (u->state == UNLOAD_LOOKING && (is_listed || u->is_trusted)) {
        start(u, UNLOAD_TELLING);
    } else if (u->state == UNLOAD_LOOKING) {
        tell(u, true);
        finish(u, &(struct unload_result) {.code = ERRCODE_NONE, .was_loaded = false});
    } else if (is_listed) {
        check_later(u);
    } else {
        evicted(u, clock_now_usec());
        finish(u, &(struct unload_result) {.code = ERRCODE_NONE, .was_loaded = true});
    }
}

static void on_answer(struct ollama_unload *u, int status, struct str body)
{
    struct problem p = {.code = ERRCODE_UPSTREAM_ERROR};

    if (status != 200) {
        ollama_map_error(status, body, &p);
        fail(u, p.code, p.text[0] ? p.text : errcode_info(p.code)->text);
    } else if (u->state == UNLOAD_TELLING) {
        start(u, UNLOAD_CHECKING);
    } else {
        on_list(u, body);
    }
}

static void on_end(struct server_exchange *x, const struct server_answer *answer)
{
    struct ollama_unload *u = CONTAINER_OF(x, struct ollama_unload, exchange);

    switch (answer->result) {
    case TRANSFER_COMPLETE:
        on_answer(u, answer->status, answer->body);
        break;
    case TRANSFER_REFUSED:
        fail(u, ERRCODE_UPSTREAM_UNREACHABLE, answer->why);
        break;
    case TRANSFER_UNTRUSTED:
        fail(u, ERRCODE_UPSTREAM_UNTRUSTED, answer->why);
        break;
    case TRANSFER_CONNECT_TIMEOUT:
        fail(u, ERRCODE_UPSTREAM_TIMEOUT, answer->why);
        break;
    case TRANSFER_CUT:
        fail(u, ERRCODE_UPSTREAM_CUT, answer->why);
        break;
    case TRANSFER_GARBAGE:
    case TRANSFER_STOPPED: /* more than any list has */
        fail(u, ERRCODE_UPSTREAM_GARBAGE, answer->why);
        break;
    }
}

/* ---------------------------------------------------------------- exchanges */

static int begin_exchange(struct ollama_unload *u)
{
    bool tells = u->state == UNLOAD_TELLING;
    struct server_request request = {
        .path = tells ? OLLAMA_UNLOAD_PATH : OLLAMA_LIST_PATH,
        .access = &u->access,
        .body = tells ? buf_str(&u->body) : STR_NONE,
        .connect_usec = u->connect_usec,
        .ends_at_usec = USEC_NEVER, /* the timer has it */
    };
    int r = sd_event_source_set_time(u->timer, u->ends_at_usec);

    if (r >= 0) {
        r = sd_event_source_set_enabled(u->timer, SD_EVENT_ONESHOT);
    }
    return r < 0 ? r : server_exchange_start(&u->exchange, &request);
}

/* The next exchange. It may be over when this returns. */
static void start(struct ollama_unload *u, enum unload_state state)
{
    u->state = state;
    if (state == UNLOAD_TELLING) {
        /* from here on the next call loads it again */
        ollama_loader_saw(u->loader, u->model, false, clock_now_usec());
    }
    if (begin_exchange(u) < 0) {
        fail(u, ERRCODE_OUT_OF_MEMORY, errcode_info(ERRCODE_OUT_OF_MEMORY)->text);
    }
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
    struct ollama_unload *u = ctx;

    (void) server_exchange_stop(&u->exchange);
    if (clock_now_usec() < u->ends_at_usec) {
        start(u, UNLOAD_CHECKING);
    } else if (u->state == UNLOAD_CHECKING) {
        tell(u, false);
        fail(u, ERRCODE_UPSTREAM_TIMEOUT, "the server was asked, and still has it loaded");
    } else {
        fail(u, ERRCODE_UPSTREAM_TIMEOUT, "the server does not answer");
    }
    return 0;
}

static int fill(struct ollama_unload *u, const struct ollama_unload_spec *spec)
{
    u->id = strdup(spec->id);
    u->model = strdup(spec->model);
    if (!u->id || !u->model || server_access_copy(spec->access, &u->access) < 0) {
        return -ENOMEM;
    }
    return ollama_encode_unload(spec->model, &u->body);
}

int ollama_unload_start(const struct ollama_unload_spec *spec, struct unload_sink *sink,
                        struct unload_job **ret_job)
{
    struct ollama_unload *u;
    int r;

    if (ollama_loader_is_loading(spec->loader, spec->model)) {
        return -EBUSY;
    }
    u = calloc(1, sizeof *u);
    if (!u) {
        return -ENOMEM;
    }
    *u = (struct ollama_unload) {
        .job = {.cancel = cancel},
        .state = UNLOAD_LOOKING,
        .sink = sink,
        .up = spec->up,
        .loader = ollama_loader_retain(spec->loader),
        .is_trusted = spec->is_trusted,
        .connect_usec = spec->connect_usec,
        .began_at_usec = clock_now_usec(),
    };
    u->ends_at_usec = usec_add(u->began_at_usec, LIMIT_USEC);
    buf_init(&u->body, REQUEST_MAX_BYTES);
    server_exchange_init(&u->exchange, spec->up, spec->server, LIST_MAX_BYTES, on_end);
    r = fill(u, spec);
    if (r >= 0) {
        r = sd_event_add_time(u->up->event, &u->timer, CLOCK_MONOTONIC, USEC_NEVER, 1000, on_timer,
                              u);
    }
    if (r >= 0) {
        r = begin_exchange(u);
    }
    if (r < 0) {
        unload_free(u);
        return r;
    }
    *ret_job = &u->job;
    return 0;
}
