/*
 * One load at a time for each Ollama server.
 *
 * Owns: the models it has heard of (a small table), the load under way, those that wait. A loader
 * lives as long as a deployment refers to it; a load under way is cancelled only with its loader,
 * and then whoever waits, and who decides what is in memory, is told so: a reload may drop a server
 * at any moment.
 */
#include "upstream/ollama_loader.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "upstream/curl_loop.h"
#include "upstream/ollama_watch.h"
#include "upstream/server_state.h"
#include "upstream/transfer.h"
#include "wire/ollama_json.h"
#include "wire/ollama_names.h"
#include "wire/ollama_tags.h"

#define ANSWER_MAX_BYTES 4096
#define NAME_SHOWN_MAX   60 /* bytes of a name in a message */
#define MODELS_MAX       64 /* heard of at one server; the one not used for longest is forgotten */

/* A model that somebody asked for, with one set of load options. */
struct load {
    struct list link;         /* loader.models */
    struct list waiters;      /* load_waiter.link */
    char *model, *path, *url; /* owned */
    char *body;               /* owned: JSON text with the load options */
    struct server_access access;
    uint64_t connect_usec, answer_usec;
    uint64_t trusted_until_usec;
    unsigned epoch; /* of the server, when that was learned */
    bool is_wanted; /* waits for its turn or is under way */
};

struct ollama_loader {
    struct list link; /* upstreams.loaders */
    unsigned n_refs;
    struct upstreams *up;        /* borrowed */
    struct server_state *server; /* a reference */
    struct ollama_watch *watch;
    struct log_limit limit;
    struct list models; /* load.link, most recently used first */
    size_t n_models;

    struct load *current;      /* under way, or NULL */
    bool could_not_start;      /* current: out of memory; the timer tells it from the loop */
    uint64_t started_at_usec;  /* current */
    uint64_t ended_at_usec;    /* the last one; 0: none */
    struct transfer *transfer; /* of current */
    sd_event_source *timer;    /* its time limit */
    struct buf answer;
    int status;
    uint64_t retry_after_usec;
};

static void start_next(struct ollama_loader *l);

static void load_free(struct load *m)
{
    assert(list_is_empty(&m->waiters));
    list_remove(&m->link);
    server_access_done(&m->access);
    free(m->model);
    free(m->path);
    free(m->url);
    free(m->body);
    free(m);
}

static bool is_trusted(const struct ollama_loader *l, const struct load *m, uint64_t now_usec)
{
    return !m->is_wanted && now_usec < m->trusted_until_usec &&
           m->epoch == server_state_epoch(l->server);
}

static void trust(const struct ollama_loader *l, struct load *m, uint64_t now_usec)
{
    m->trusted_until_usec = usec_add(now_usec, LOADER_TRUST_USEC);
    m->epoch = server_state_epoch(l->server);
}

/* Ollama holds a model once: loading it with other options has unloaded it with these. */
static void distrust_variants(struct ollama_loader *l, const struct load *loaded)
{
    list_for_each (pos, &l->models) {
        struct load *m = CONTAINER_OF(pos, struct load, link);

        if (strcmp(m->model, loaded->model) == 0 && strcmp(m->body, loaded->body) != 0) {
            m->trusted_until_usec = 0;
        }
    }
}

const char *ollama_loader_server(const struct ollama_loader *l)
{
    return server_state_name(l->server);
}

static void report(struct ollama_loader *l, const struct load *m, const struct problem *problem)
{
    const struct upstream_hooks *hooks = &l->up->hooks;
    struct load_report load = {
        .server = server_state_name(l->server),
        .model = m->model,
        .took_usec = usec_since(clock_now_usec(), l->started_at_usec),
        .problem = problem,
        .limit = &l->limit,
    };

    if (l->up->memory.on_load_ended) {
        l->up->memory.on_load_ended(l->up->memory.ctx, load.server, m->model, problem);
    }
    if (hooks->on_load && !(problem && server_state_is_down(l->server))) {
        hooks->on_load(hooks->ctx, &load);
    }
}

/* The server is there, and what it holds has changed. */
static void follow_load(struct ollama_loader *l, const struct load *m, uint64_t now_usec)
{
    const struct ollama_watch_terms terms = {&m->access, m->connect_usec};

    ollama_resident_confirm(ollama_watch_resident(l->watch), m->model);
    ollama_watch_loaded(l->watch, &terms, now_usec);
    ollama_watch_contact(l->watch, &terms, now_usec);
}

/* Everybody who waits for it. They may come back with another wish at once. */
static void tell_waiters(struct load *m, const struct problem *problem, uint64_t retry_after_usec)
{
    struct list told, *w;

    list_init(&told);
    while ((w = list_first(&m->waiters))) {
        list_remove(w);
        list_append(&told, w);
    }
    while ((w = list_first(&told))) {
        struct load_waiter *waiter = CONTAINER_OF(w, struct load_waiter, link);

        list_remove(w);
        waiter->on_loaded(waiter, problem, retry_after_usec);
    }
}

/* The load is over. */
static void finish(struct ollama_loader *l, const struct problem *problem,
                   uint64_t retry_after_usec)
{
    struct load *m = TAKE(l->current);

    l->transfer = NULL;
    l->ended_at_usec = clock_now_usec();
    (void) sd_event_source_set_enabled(l->timer, SD_EVENT_OFF);
    m->is_wanted = false;
    report(l, m, problem);
    if (!problem) {
        distrust_variants(l, m);
    }
    m->trusted_until_usec = 0;
    if (!problem) {
        trust(l, m, clock_now_usec());
        follow_load(l, m, clock_now_usec());
    }
    tell_waiters(m, problem, retry_after_usec);
    start_next(l);
}

static void fail(struct ollama_loader *l, enum errcode code, const char *text)
{
    struct str model = str_clip(str_from(l->current->model), NAME_SHOWN_MAX);
    struct problem p = {.code = code};

    (void) snprintf(p.text, sizeof p.text, "loading model \"%.*s\" failed: %s", STR_ARG(model),
                    text);
    finish(l, &p, 0);
}

static void fail_server(struct ollama_loader *l, enum errcode code, const char *text)
{
    server_state_failed(l->server, code, text, clock_now_usec());
    fail(l, code, text);
}

static void on_head(void *ctx, const struct transfer_head *head)
{
    struct ollama_loader *l = ctx;

    server_state_answered(l->server, clock_now_usec());
    l->status = head->status;
    l->retry_after_usec = head->retry_after_usec;
}

static enum transfer_answer on_bytes(void *ctx, struct str bytes)
{
    struct ollama_loader *l = ctx;

    size_t n = bytes.len < buf_room(&l->answer) ? bytes.len : buf_room(&l->answer);

    /*
     * an error text that is cut, or lost when memory is short, still fails the load by its status
     */
    if (buf_append(&l->answer, bytes.ptr, n) < 0) {
        buf_clear(&l->answer);
    }
    return TRANSFER_ROOM;
}

static void on_done(void *ctx, enum transfer_result result, const char *text)
{
    struct ollama_loader *l = ctx;
    struct problem p;

    l->transfer = NULL;
    switch (result) {
    case TRANSFER_COMPLETE:
        break;
    case TRANSFER_REFUSED:
        fail_server(l, ERRCODE_UPSTREAM_UNREACHABLE, text);
        return;
    case TRANSFER_UNTRUSTED:
        fail_server(l, ERRCODE_UPSTREAM_UNTRUSTED, text);
        return;
    case TRANSFER_CONNECT_TIMEOUT:
        fail_server(l, ERRCODE_UPSTREAM_TIMEOUT, text);
        return;
    case TRANSFER_GARBAGE:
        fail(l, ERRCODE_UPSTREAM_GARBAGE, text);
        return;
    case TRANSFER_CUT:
        server_state_renew(l->server);
        fail(l, ERRCODE_UPSTREAM_CUT, text);
        return;
    case TRANSFER_STOPPED:
        fail(l, ERRCODE_UPSTREAM_CUT, text);
        return;
    }
    if (l->status == 200 && ollama_is_forwarded(buf_str(&l->answer))) {
        ollama_refuse_cloud(&p);
        finish(l, &p, 0);
        return;
    }
    if (l->status == 200) {
        finish(l, NULL, 0);
        return;
    }
    ollama_map_error(l->status, buf_str(&l->answer), &p);
    finish(l, &p, l->retry_after_usec);
}

static int on_timeout(sd_event_source *s, uint64_t usec, void *ctx)
{
    struct ollama_loader *l = ctx;

    l->transfer = transfer_cancel(l->transfer);
    if (l->could_not_start) {
        l->could_not_start = false;
        fail(l, ERRCODE_OUT_OF_MEMORY, "out of memory");
    } else {
        fail(l, ERRCODE_UPSTREAM_TIMEOUT, "it took too long");
    }
    return 0;
}

static int start_load(struct ollama_loader *l, struct load *m)
{
    static const struct transfer_callbacks callbacks = {on_head, on_bytes, on_done};
    const struct server_address *address = server_state_address(l->server);
    struct transfer_spec spec = {
        .url = m->url,
        .unix_path = address->unix_path,
        .access = &m->access,
        .body = str_from(m->body),
        .is_local = address->is_local,
        .connect_usec = m->connect_usec,
    };
    int r;

    buf_clear(&l->answer);
    l->status = 0;
    l->retry_after_usec = 0;
    l->started_at_usec = clock_now_usec();
    r = sd_event_source_set_time(l->timer, usec_add(l->started_at_usec, m->answer_usec));
    if (r >= 0) {
        r = sd_event_source_set_enabled(l->timer, SD_EVENT_ONESHOT);
    }
    return r < 0 ? r : transfer_start(l->up->curl, &spec, &callbacks, l, &l->transfer);
}

/*
 * The wish that is oldest: new ones are put in front of the list. Nobody waits for it any more: not
 * a wish.
 */
static struct load *oldest_wish(struct ollama_loader *l)
{
    struct load *oldest = NULL;

    list_for_each (pos, &l->models) {
        struct load *m = CONTAINER_OF(pos, struct load, link);

        m->is_wanted = m->is_wanted && !list_is_empty(&m->waiters);
        oldest = m->is_wanted ? m : oldest;
    }
    return oldest;
}

static void start_next(struct ollama_loader *l)
{
    if (l->current) {
        return;
    }
    l->current = oldest_wish(l);
    if (l->current && l->up->memory.on_load_began) {
        l->up->memory.on_load_began(l->up->memory.ctx, server_state_name(l->server),
                                    l->current->model);
    }
    if (l->current && start_load(l, l->current) < 0) {
        l->could_not_start = true;
        (void) sd_event_source_set_time(l->timer, 0);
        (void) sd_event_source_set_enabled(l->timer, SD_EVENT_ONESHOT);
    }
}

static struct load *find(struct ollama_loader *l, const struct load_spec *spec)
{
    list_for_each (pos, &l->models) {
        struct load *m = CONTAINER_OF(pos, struct load, link);

        if (strcmp(m->model, spec->model) == 0 && strcmp(m->path, spec->path) == 0 &&
            str_is(spec->body, m->body)) {
            return m;
        }
    }
    return NULL;
}

static void forget_oldest(struct ollama_loader *l)
{
    struct load *oldest = NULL;

    list_for_each (pos, &l->models) {
        struct load *m = CONTAINER_OF(pos, struct load, link);

        oldest = m->is_wanted ? oldest : m;
    }
    if (oldest) {
        load_free(oldest);
        l->n_models--;
    }
}

static int add(struct ollama_loader *l, const struct load_spec *spec, struct load **ret)
{
    struct load *m = calloc(1, sizeof *m);

    if (!m) {
        return -ENOMEM;
    }
    list_init(&m->link);
    list_init(&m->waiters);
    m->model = strdup(spec->model);
    m->path = strdup(spec->path);
    m->url = server_address_url(server_state_address(l->server), spec->path);
    m->body = strndup(spec->body.ptr, spec->body.len);
    if (!m->model || !m->path || !m->url || !m->body) {
        load_free(m);
        return -ENOMEM;
    }
    if (l->n_models >= MODELS_MAX) {
        forget_oldest(l);
    }
    list_prepend(&l->models, &m->link);
    l->n_models++;
    *ret = m;
    return 0;
}

/* How to ask, and how long to wait for the answer: as the latest wish has it. */
static int set_terms(struct load *m, const struct load_spec *spec)
{
    struct server_access access;
    int r = server_access_copy(spec->access, &access);

    if (r < 0) {
        return r;
    }
    server_access_done(&m->access);
    m->access = access;
    m->connect_usec = spec->connect_usec;
    m->answer_usec = spec->answer_usec;
    return 0;
}

int ollama_loader_want(struct ollama_loader *l, const struct load_spec *spec, struct load_waiter *w,
                       uint64_t now_usec)
{
    const struct ollama_watch_terms terms = {spec->access, spec->connect_usec};
    struct load *m = find(l, spec);
    int r;

    ollama_watch_contact(l->watch, &terms, now_usec);
    if (m && is_trusted(l, m, now_usec)) {
        return 1;
    }
    if (!m) {
        r = add(l, spec, &m);
        if (r < 0) {
            return r;
        }
    }
    if (!m->is_wanted) {
        r = set_terms(m, spec);
        if (r < 0) {
            return r;
        }
        m->is_wanted = true;
        list_remove(&m->link);
        list_prepend(&l->models, &m->link);
    }
    list_append(&m->waiters, &w->link);
    start_next(l);
    return 0;
}

bool ollama_loader_trusts(const struct ollama_loader *l, const char *model, struct str body,
                          uint64_t now_usec)
{
    list_for_each (pos, &l->models) {
        const struct load *m = CONTAINER_OF(pos, struct load, link);

        if (strcmp(m->model, model) == 0 && str_is(body, m->body) && is_trusted(l, m, now_usec)) {
            return true;
        }
    }
    return false;
}

bool ollama_loader_trusts_any(const struct ollama_loader *l, const char *model, uint64_t now_usec)
{
    list_for_each (pos, &l->models) {
        const struct load *m = CONTAINER_OF(pos, struct load, link);

        if (strcmp(m->model, model) == 0 && is_trusted(l, m, now_usec)) {
            return true;
        }
    }
    return false;
}

bool ollama_loader_has(const struct ollama_loader *l, const char *model, struct str body,
                       uint64_t now_usec)
{
    if (ollama_loader_trusts_any(l, model, now_usec)) {
        return !body.ptr || ollama_loader_trusts(l, model, body, now_usec);
    }
    return ollama_resident_find(ollama_watch_resident(l->watch), model,
                                server_state_epoch(l->server), now_usec) != NULL;
}

void ollama_loader_look(struct ollama_loader *l, const struct server_access *access,
                        uint64_t connect_usec, uint64_t now_usec)
{
    ollama_watch_look(l->watch, &(struct ollama_watch_terms) {access, connect_usec}, now_usec);
}

const char *ollama_loader_version(const struct ollama_loader *l)
{
    return ollama_watch_version(l->watch);
}

void ollama_loader_stop(struct ollama_loader *l, const char *model, const char *why)
{
    if (l->current && l->transfer && strcmp(l->current->model, model) == 0) {
        l->transfer = transfer_cancel(l->transfer);
        fail(l, ERRCODE_UPSTREAM_OUT_OF_MEMORY, why);
    }
}

bool ollama_loader_is_loading(const struct ollama_loader *l, const char *model)
{
    list_for_each (pos, &l->models) {
        const struct load *m = CONTAINER_OF(pos, struct load, link);

        if (strcmp(m->model, model) == 0 && m->is_wanted &&
            (m == l->current || !list_is_empty(&m->waiters))) {
            return true;
        }
    }
    return false;
}

bool ollama_loader_any_since(const struct upstreams *up, uint64_t since_usec)
{
    list_for_each (pos, &up->loaders) {
        const struct ollama_loader *l = CONTAINER_OF(pos, struct ollama_loader, link);

        if (server_state_address(l->server)->is_local &&
            (l->current || (l->ended_at_usec > 0 && l->ended_at_usec >= since_usec))) {
            return true;
        }
    }
    return false;
}

void load_waiter_leave(struct load_waiter *w)
{
    list_remove(&w->link);
}

void ollama_loader_saw(struct ollama_loader *l, const char *model, bool answered, uint64_t now_usec)
{
    if (answered) {
        ollama_resident_confirm(ollama_watch_resident(l->watch), model);
    } else {
        ollama_resident_doubt(ollama_watch_resident(l->watch), model, now_usec);
    }
    list_for_each (pos, &l->models) {
        struct load *m = CONTAINER_OF(pos, struct load, link);

        /* an answer cannot say with which options, so it only confirms what was loaded last */
        if (strcmp(m->model, model) == 0 && m->trusted_until_usec != 0 && answered) {
            trust(l, m, now_usec);
        } else if (strcmp(m->model, model) == 0) {
            m->trusted_until_usec = 0;
        }
    }
}

/* What is not told to the log: nothing went wrong, and at the end of the daemon nobody reads it. */
static void abandon(struct ollama_loader *l, struct load *m)
{
    const struct model_hooks *memory = &l->up->memory;
    struct str model = str_clip(str_from(m->model), NAME_SHOWN_MAX);
    struct problem p = {.code = ERRCODE_UPSTREAM_UNREACHABLE};

    (void) snprintf(p.text, sizeof p.text,
                    "loading model \"%.*s\" was given up: its server left the configuration",
                    STR_ARG(model));
    m->is_wanted = false;
    if (l->current == m) {
        l->current = NULL;
        if (memory->on_load_ended) {
            memory->on_load_ended(memory->ctx, server_state_name(l->server), m->model, &p);
        }
    }
    tell_waiters(m, &p, 0);
}

struct ollama_loader *ollama_loader_unref(struct ollama_loader *l)
{
    if (!l || --l->n_refs > 0) {
        return NULL;
    }
    l->n_refs = 1; /* whoever is told now may still ask it something */
    l->transfer = transfer_cancel(l->transfer);
    list_for_each (pos, &l->models) {
        abandon(l, CONTAINER_OF(pos, struct load, link));
    }
    sd_event_source_disable_unref(l->timer);
    list_for_each_safe (pos, &l->models) {
        load_free(CONTAINER_OF(pos, struct load, link));
    }
    list_remove(&l->link);
    ollama_watch_free(l->watch);
    server_state_unref(l->server);
    buf_done(&l->answer);
    free(l);
    return NULL;
}

struct ollama_loader *ollama_loader_retain(struct ollama_loader *l)
{
    l->n_refs++;
    return l;
}

static int loader_new(struct upstreams *up, struct server_state *server, struct ollama_loader **ret)
{
    struct ollama_loader *l = calloc(1, sizeof *l);
    int r;

    if (!l) {
        return -ENOMEM;
    }
    l->n_refs = 1;
    l->up = up;
    l->server = server_state_retain(server);
    list_init(&l->link);
    list_init(&l->models);
    buf_init(&l->answer, ANSWER_MAX_BYTES);
    r = ollama_watch_new(up, server, &l->watch);
    if (r >= 0) {
        r = sd_event_add_time(up->event, &l->timer, CLOCK_MONOTONIC, USEC_NEVER, 1, on_timeout, l);
    }
    if (r >= 0) {
        r = sd_event_source_set_enabled(l->timer, SD_EVENT_OFF);
    }
    if (r < 0) {
        ollama_loader_unref(l);
        return r;
    }
    list_append(&up->loaders, &l->link);
    *ret = l;
    return 0;
}

int ollama_loader_ref(struct upstreams *up, const char *api_base, struct ollama_loader **ret)
{
    struct server_state *server;
    int r = server_state_ref(up, api_base, &server);

    if (r < 0) {
        return r;
    }
    list_for_each (pos, &up->loaders) {
        struct ollama_loader *known = CONTAINER_OF(pos, struct ollama_loader, link);

        if (known->server == server) {
            server_state_unref(server);
            *ret = ollama_loader_retain(known);
            return 0;
        }
    }
    r = loader_new(up, server, ret);
    server_state_unref(server);
    return r;
}
