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
 * limit), one transfer at a time. Nothing is freed inside a transfer's on_bytes.
 */
#include "upstream/ollama_unload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "upstream/curl_loop.h"
#include "upstream/transfer.h"
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
    char *id, *model, *unix_path, *list_url, *tell_url; /* owned */
    struct server_access access;
    bool is_local, is_trusted, could_not_start;
    uint64_t connect_usec, began_at_usec, ends_at_usec;
    struct transfer *transfer;
    sd_event_source *timer;
    struct buf body, answer;
    int status;
};

static struct ollama_unload *unload_free(struct ollama_unload *u)
{
    transfer_cancel(u->transfer);
    sd_event_source_disable_unref(u->timer);
    ollama_loader_unref(u->loader);
    server_access_done(&u->access);
    free(u->id);
    free(u->model);
    free(u->unix_path);
    free(u->list_url);
    free(u->tell_url);
    buf_done(&u->body);
    buf_done(&u->answer);
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
}

static void on_list(struct ollama_unload *u)
{
    bool is_listed;
    int r = ollama_list_has(buf_str(&u->answer), u->model, &is_listed);

    if (r == -ENOMEM) {
        fail(u, ERRCODE_OUT_OF_MEMORY, errcode_info(ERRCODE_OUT_OF_MEMORY)->text);
    } else if (r < 0) {
        fail(u, ERRCODE_UPSTREAM_GARBAGE, "the server does not say what it has loaded");
    } else if (u->state == UNLOAD_LOOKING && (is_listed || u->is_trusted)) {
        start(u, UNLOAD_TELLING);
    } else if (u->state == UNLOAD_LOOKING) {
        finish(u, &(struct unload_result) {.code = ERRCODE_NONE, .was_loaded = false});
    } else if (is_listed) {
        check_later(u);
    } else {
        evicted(u, clock_now_usec());
        finish(u, &(struct unload_result) {.code = ERRCODE_NONE, .was_loaded = true});
    }
}

static void on_head(void *ctx, const struct transfer_head *head)
{
    ((struct ollama_unload *) ctx)->status = head->status;
}

static enum transfer_answer on_bytes(void *ctx, struct str bytes)
{
    struct ollama_unload *u = ctx;

    return buf_append_str(&u->answer, bytes) < 0 ? TRANSFER_STOP : TRANSFER_ROOM;
}

static void on_answer(struct ollama_unload *u)
{
    struct problem p = {.code = ERRCODE_UPSTREAM_ERROR};

    if (u->status != 200) {
        ollama_map_error(u->status, buf_str(&u->answer), &p);
        fail(u, p.code, p.text[0] ? p.text : errcode_info(p.code)->text);
    } else if (u->state == UNLOAD_TELLING) {
        start(u, UNLOAD_CHECKING);
    } else {
        on_list(u);
    }
}

static void on_done(void *ctx, enum transfer_result result, const char *text)
{
    struct ollama_unload *u = ctx;

    u->transfer = NULL;
    switch (result) {
    case TRANSFER_COMPLETE:
        on_answer(u);
        break;
    case TRANSFER_REFUSED:
        fail(u, ERRCODE_UPSTREAM_UNREACHABLE, text);
        break;
    case TRANSFER_UNTRUSTED:
        fail(u, ERRCODE_UPSTREAM_UNTRUSTED, text);
        break;
    case TRANSFER_CONNECT_TIMEOUT:
        fail(u, ERRCODE_UPSTREAM_TIMEOUT, text);
        break;
    case TRANSFER_CUT:
        fail(u, ERRCODE_UPSTREAM_CUT, text);
        break;
    case TRANSFER_GARBAGE:
    case TRANSFER_STOPPED: /* more than any list has */
        fail(u, ERRCODE_UPSTREAM_GARBAGE, text);
        break;
    }
}

/* ---------------------------------------------------------------- exchanges */

static int begin_exchange(struct ollama_unload *u)
{
    static const struct transfer_callbacks callbacks = {on_head, on_bytes, on_done};
    bool tells = u->state == UNLOAD_TELLING;
    struct transfer_spec spec = {
        .url = tells ? u->tell_url : u->list_url,
        .unix_path = u->unix_path,
        .access = &u->access,
        .body = tells ? buf_str(&u->body) : STR_NONE,
        .accept = "application/json",
        .is_local = u->is_local,
        .connect_usec = u->connect_usec,
    };
    int r;

    buf_clear(&u->answer);
    u->status = 0;
    r = sd_event_source_set_time(u->timer, u->ends_at_usec);
    if (r >= 0) {
        r = sd_event_source_set_enabled(u->timer, SD_EVENT_ONESHOT);
    }
    return r < 0 ? r : transfer_start(u->up->curl, &spec, &callbacks, u, &u->transfer);
}

/* The next exchange. What cannot be started the timer tells. */
static void start(struct ollama_unload *u, enum unload_state state)
{
    u->state = state;
    if (state == UNLOAD_TELLING) {
        /* from here on the next call loads it again */
        ollama_loader_saw(u->loader, u->model, false, clock_now_usec());
    }
    if (begin_exchange(u) < 0) {
        u->could_not_start = true;
        (void) sd_event_source_set_time(u->timer, 0);
        (void) sd_event_source_set_enabled(u->timer, SD_EVENT_ONESHOT);
    }
}

static void tell_if_stuck(const struct ollama_unload *u)
{
    const struct upstream_hooks *hooks = &u->up->hooks;

    if (u->state == UNLOAD_CHECKING && hooks->on_stuck) {
        hooks->on_stuck(hooks->ctx, ollama_loader_server(u->loader), u->model);
    }
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
    struct ollama_unload *u = ctx;

    u->transfer = transfer_cancel(u->transfer);
    if (u->could_not_start) {
        fail(u, ERRCODE_OUT_OF_MEMORY, errcode_info(ERRCODE_OUT_OF_MEMORY)->text);
    } else if (clock_now_usec() < u->ends_at_usec) {
        start(u, UNLOAD_CHECKING);
    } else {
        tell_if_stuck(u);
        fail(u, ERRCODE_UPSTREAM_TIMEOUT,
             u->state == UNLOAD_CHECKING ? "the server was asked, and still has it loaded"
                                         : "the server does not answer");
    }
    return 0;
}

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

static int fill(struct ollama_unload *u, const struct ollama_unload_spec *spec)
{
    const struct server_address *address = server_state_address(spec->server);

    u->id = strdup(spec->id);
    u->model = strdup(spec->model);
    u->unix_path = copy(address->unix_path);
    u->list_url = server_address_url(address, OLLAMA_LIST_PATH);
    u->tell_url = server_address_url(address, OLLAMA_UNLOAD_PATH);
    if (!u->id || !u->model || !u->list_url || !u->tell_url ||
        (address->unix_path && !u->unix_path) || server_access_copy(spec->access, &u->access) < 0) {
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
        .is_local = server_state_address(spec->server)->is_local,
        .is_trusted = spec->is_trusted,
        .connect_usec = spec->connect_usec,
        .began_at_usec = clock_now_usec(),
    };
    u->ends_at_usec = usec_add(u->began_at_usec, LIMIT_USEC);
    buf_init(&u->body, REQUEST_MAX_BYTES);
    buf_init(&u->answer, LIST_MAX_BYTES);
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
