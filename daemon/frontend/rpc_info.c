/* See rpc_info.h: gathers from core and hands to wire/rpc_msg. */
#include "frontend/rpc_info.h"

#include <errno.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"
#include "core/residency.h"
#include "core/router_catalog.h"
#include "frontend/rpc_status_load.h"
#include "frontend/rpc_output.h"
#include "proto/frame.h"
#include "wire/rpc_msg.h"

#define ROWS_MAX_BYTES (2 * RPC_INFO_MAX_BYTES) /* names and rows, of which the answer is made */

static int encode_info(const struct frontends *f, uint64_t high_water_bytes, struct buf *out)
{
    struct rpc_limits limits = {
        .frame_bytes = FRAME_MAX_BYTES,
        .output_high_water_bytes = high_water_bytes,
        .stalled_reader_usec = f->params.stalled_reader_usec,
        .calls_per_connection = (uint32_t) f->params.max_calls_per_connection,
    };

    return rpc_encode_info(&limits, out);
}

/* Rows of an answer, while they are gathered. */
struct model_rows {
    const struct router *router; /* borrowed */
    struct arena arena;          /* of names and rows */
    struct rpc_model *items;
    size_t n, max;
    uint64_t now_usec;
    int r;
};

static void describe(const struct router_listed *one, uint64_t now_usec, struct rpc_model *ret)
{
    const struct model_group *g = one->group;

    *ret = (struct rpc_model) {.name = one->name.ptr,
                               .provider = g->deployments[0]->provider,
                               .n_deployments = (unsigned) g->n_deployments};
    for (size_t i = 0; i < g->n_deployments; i++) {
        const struct deployment *d = g->deployments[i];

        ret->n_available += d->backend && deployment_paused_by(d, now_usec, NULL) == PAUSE_NONE;
    }
}

/* What the model takes at the first deployment that is asked for it here; its server is, for the next time. */
static void describe_account(struct model_rows *rows, const struct router_listed *one,
                             struct rpc_model *ret)
{
    struct residency *r = rows->router->residency;

    for (size_t i = 0; r && i < one->group->n_deployments && !ret->memory_state; i++) {
        const struct deployment *d = one->group->deployments[i];
        char text[ROUTER_MODEL_BYTES];
        const char *model = router_upstream_model(rows->router, one->group, d, one->name, text);
        struct residency_view view;

        (void) residency_want_facts_of(r, d, model);
        if (!residency_view(r, d, model, rows->now_usec, &view)) {
            continue;
        }
        ret->memory_state = view.state;
        ret->need_source = view.source;
        ret->fits = view.fits;
        ret->need_bytes = view.need_bytes;
        ret->file_bytes = view.file_bytes;
        ret->held_bytes = view.held_bytes;
        ret->api_base = d->api_base;
        ret->upstream_model =
            model ? arena_copy(&rows->arena, str_from(model)).ptr : d->upstream_model;
        rows->r = ret->upstream_model ? rows->r : -ENOMEM;
    }
}

static void count_row(void *ctx, const struct router_listed *one)
{
    (void) one;
    ((struct model_rows *) ctx)->max++;
}

static void add_row(void *ctx, const struct router_listed *one)
{
    struct model_rows *rows = ctx;
    struct router_listed mine = {.name = arena_copy(&rows->arena, one->name), .group = one->group};

    if (rows->r < 0 || rows->n == rows->max) {
        return;
    }
    if (!mine.name.ptr) {
        rows->r = -ENOMEM;
        return;
    }
    describe(&mine, rows->now_usec, &rows->items[rows->n]);
    describe_account(rows, &mine, &rows->items[rows->n++]);
}

/* Twice over the same names: how many, and what of each. A list changes between two turns only. */
static int encode_models(const struct frontends *f, uint64_t now_usec, struct buf *out)
{
    struct model_rows rows = {.router = f->router, .now_usec = now_usec};
    int r = -ENOMEM;

    arena_init(&rows.arena, ROWS_MAX_BYTES);
    router_each_listed(f->router, now_usec, count_row, &rows);
    rows.items = arena_array(&rows.arena, rows.max + 1, sizeof *rows.items);
    if (rows.items) {
        router_each_listed(f->router, now_usec, add_row, &rows);
        r = rows.r < 0 ? rows.r : rpc_encode_models(rows.items, rows.n, out);
    }
    arena_done(&rows.arena);
    return r;
}

/* Rows of a status, while they are gathered. */
struct status_rows {
    const struct router *router;        /* borrowed */
    struct arena arena;                 /* of rows and their texts */
    const struct model_group **targets; /* what the router's aliases lead to, in their order */
    struct rpc_deployment *items;
    size_t n;
    bool with_times; /* also what passes by itself */
    uint64_t now_usec;
    bool is_out_of_memory;
};

/* A text of its own for a row, out of words that stand in a buffer, one a line. */
static const char *keep_lines(struct status_rows *rows, struct buf *lines, int r)
{
    struct str text = r < 0 ? STR_NONE : arena_copy(&rows->arena, buf_str(lines));

    buf_done(lines);
    rows->is_out_of_memory |= !text.ptr;
    return text.ptr ? text.ptr : "";
}

static int add_line(struct buf *lines, const char *word)
{
    int r = lines->len > 0 ? buf_append_char(lines, '\n') : 0;

    return r < 0 ? r : buf_append_z(lines, word);
}

static const char *tags_of(struct status_rows *rows, const struct deployment *d)
{
    struct buf lines;
    int r = 0;

    buf_init(&lines, RPC_INFO_MAX_BYTES);
    for (size_t i = 0; r == 0 && i < d->terms->n_tags; i++) {
        r = add_line(&lines, d->terms->tags[i]);
    }
    return keep_lines(rows, &lines, r);
}

static const char *aliases_of(struct status_rows *rows, const struct model_group *g,
                              const struct deployment *d)
{
    struct buf lines;
    int r = 0;

    buf_init(&lines, RPC_INFO_MAX_BYTES);
    for (size_t i = 0; r == 0 && i < rows->router->n_aliases; i++) {
        const struct model_group *target = rows->targets[i];

        if (target == g || (target && target->is_single && target->deployments[0] == d)) {
            r = add_line(&lines, rows->router->aliases[i].name);
        }
    }
    return keep_lines(rows, &lines, r);
}

static const char *why_off(struct status_rows *rows, const struct deployment *d)
{
    char *text = arena_alloc(&rows->arena, DEPLOYMENT_TEXT_BYTES);

    rows->is_out_of_memory |= !text;
    return d->off_reason ? d->off_reason
           : text        ? deployment_describe_pause(d, rows->with_times, rows->now_usec, text)
                         : NULL;
}

static void describe_memory(const struct status_rows *rows, const struct deployment *d,
                            struct rpc_deployment *ret)
{
    const struct residency *r = rows->router->residency;
    struct residency_view view;

    if (!r || !residency_view(r, d, NULL, rows->now_usec, &view)) {
        return;
    }
    ret->memory_state = view.state;
    if (rows->with_times) { /* what moves with memory is no change */
        ret->need_source = view.source;
        ret->fits = view.fits;
        ret->need_bytes = view.need_bytes;
        ret->file_bytes = view.file_bytes;
        ret->held_bytes = view.held_bytes;
    }
}

static void describe_deployment(struct status_rows *rows, const struct model_group *g,
                                const struct deployment *d, struct rpc_deployment *ret)
{
    bool with_times = rows->with_times;
    uint64_t paused_usec = 0;

    *ret = (struct rpc_deployment) {
        .model = g->name,
        .id = d->id,
        .provider = d->provider,
        .off_reason = why_off(rows, d),
        .slots = d->slots,
        .in_use = d->in_use,
        .upstream_model = d->upstream_model,
        .api_base = d->api_base,
        .server_version = deployment_server_version(d),
        .is_loaded = deployment_is_loaded(d, NULL, rows->now_usec),
        .idle_usec = with_times ? deployment_idle_usec(d, rows->now_usec) : 0,
        .order = d->terms->order,
        .weight_permille = (uint64_t) (d->terms->weight * 1000 + 0.5),
        .tags = tags_of(rows, d),
        .is_local_only = d->terms->is_local_only,
        .aliases = aliases_of(rows, g, d),
        .memory_state = "",
        .need_source = "",
        .fits = "",
    };
    describe_memory(rows, d, ret);
    if (with_times && !d->off_reason &&
        deployment_paused_by(d, rows->now_usec, &paused_usec) != PAUSE_NONE) {
        ret->paused_usec = paused_usec;
    }
}

static size_t count_deployments(const struct router *router)
{
    size_t n = 0;

    for (size_t i = 0; i < router->n_groups; i++) {
        n += router->groups[i].n_deployments;
    }
    return n;
}

/* 0 or -ENOMEM; what is there by then is the arena's. */
static int list_deployments(struct status_rows *rows, struct router *router)
{
    rows->router = router;
    rows->items = arena_array(&rows->arena, count_deployments(router) + 1, sizeof *rows->items);
    rows->targets = arena_array(&rows->arena, router->n_aliases + 1, sizeof(void *));
    if (!rows->items || !rows->targets) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < router->n_aliases; i++) {
        rows->targets[i] = router_resolve(router, str_from(router->aliases[i].name));
    }
    for (size_t i = 0; i < router->n_groups; i++) {
        const struct model_group *g = &router->groups[i];

        for (size_t k = 0; k < g->n_deployments; k++) {
            describe_deployment(rows, g, g->deployments[k], &rows->items[rows->n++]);
        }
    }
    return rows->is_out_of_memory ? -ENOMEM : 0;
}

/* What moves with each look at the memory is told, and is no change; the level and its reason are. */
static void add_memory(const struct pressure *p, bool with_times, char why[PRESSURE_TEXT_MAX],
                       struct rpc_status *status)
{
    status->pressure_level = p->level;
    status->pressure_source = pressure_rung_name(p->rung);
    status->pressure_reason = pressure_reason_name(p->cause.reason);
    if (with_times) {
        status->pressure_reason = pressure_describe_now(p, why);
        status->some_permille = p->some_permille;
        status->full_permille = p->full_permille;
        status->memory_bytes = p->total_bytes;
        status->headroom_bytes = p->total_bytes > 0 ? p->headroom_bytes : 0;
    }
}

static void add_models(const struct residency *r, struct rpc_status *status)
{
    if (r) {
        status->n_reservations = (uint32_t) residency_n_reservations(r);
        status->reserved_bytes = residency_reserved_bytes(r);
        status->n_loads = r->n_loads;
        status->n_unloads = r->n_evictions;
        status->n_loads_stopped = r->n_aborts;
        status->n_unloads_stuck = r->n_stuck;
        status->n_quarantines = r->n_quarantined;
    }
}

static int encode_status(const struct frontends *f, bool with_times, uint64_t now_usec,
                         struct buf *out)
{
    struct status_rows rows = {.with_times = with_times, .now_usec = now_usec};
    char why[PRESSURE_TEXT_MAX];
    struct rpc_status status = {
        .uptime_usec = with_times ? usec_since(now_usec, f->started_at_usec) : 0,
        .config_generation = f->config_generation,
        .is_draining = f->is_draining,
        .n_connections = (uint32_t) f->n_conns,
        .n_queued = (uint32_t) f->admission->n_queued,
        .n_running = (uint32_t) (registry_count(f->registry, CALL_STARTING) +
                                 registry_count(f->registry, CALL_STREAMING)),
        .n_tickets = (uint32_t) f->admission->n_granted,
        .n_completed = f->stats->n_completed,
        .n_failed = f->stats->n_failed,
        .n_cancelled = f->stats->n_cancelled,
        .n_refused = f->stats->n_refused,
        .n_spilled_level = f->stats->n_spilled[SPILL_LEVEL],
        .n_spilled_wait = f->stats->n_spilled[SPILL_PREDICTED_WAIT],
        .n_spilled_room = f->stats->n_spilled[SPILL_NO_ROOM],
    };
    struct rpc_status_load *load = calloc(1, sizeof *load);
    int r = load ? 0 : -ENOMEM;

    arena_init(&rows.arena, ROWS_MAX_BYTES);
    r = r < 0 ? r : list_deployments(&rows, f->router);
    if (r == 0) {
        add_memory(f->pressure, with_times, why, &status);
        rpc_status_load_add(f, with_times, now_usec, load, &status);
        add_models(f->router->residency, &status);
        status.deployments = rows.items;
        status.n_deployments = rows.n;
        r = rpc_encode_status(&status, out);
    }
    arena_done(&rows.arena);
    free(load);
    return r;
}

int rpc_info_encode_status(const struct frontends *f, uint64_t now_usec, struct buf *out)
{
    return encode_status(f, true, now_usec, out);
}

int rpc_info_encode_comparable(const struct frontends *f, uint64_t now_usec, struct buf *out)
{
    return encode_status(f, false, now_usec, out);
}

void rpc_info_answer(struct conn *c, uint32_t id, enum rpc_method method, uint64_t now_usec)
{
    const struct frontends *f = c->frontends;
    struct buf out;
    int r;

    if (method == METHOD_LIST_MODELS && f->router->residency) {
        residency_want_facts(f->router->residency);
        registry_want_run(f->registry);
    }
    buf_init(&out, RPC_INFO_MAX_BYTES);
    r = method == METHOD_GET_INFO      ? encode_info(f, c->high_bytes, &out)
        : method == METHOD_LIST_MODELS ? encode_models(f, now_usec, &out)
                                       : rpc_info_encode_status(f, now_usec, &out);
    if (r < 0) {
        rpc_put_code(c, id, ERRCODE_OUT_OF_MEMORY);
    } else {
        rpc_put_payload(c, id, buf_str(&out));
    }
    buf_done(&out);
}
