/*
 * See server_guard.h.
 *
 * What hangs is noted where attempts and unloads end, inside somebody's callback; all that is done
 * about it is done in the turn. While answers of a model are being written it does not hang, whatever
 * waits beside them: then the evidence lies until the next piece of it.
 *
 * Of a wildcard's deployment one model hangs, and the others do not: its evidence is that model's, its
 * breaker, which their answers keep closed, is not asked, and while the one is unloaded, calls to the
 * others go on.
 *
 * One server_guard for each server that ever hung or has a unit: found by its api_base, so that it
 * outlives reloads, with one timer, one unload and one restart at most. While the unit is restarted
 * all deployments of its server are held, or calls would be sent into the closing door; calls that
 * other models are answering get HANG_DRAIN_USEC to end, those that wait are cut and go the way of
 * failed attempts (core/attempts.h).
 *
 * Must not: decide (core/hang_guard.c does), or do anything to a server of which neither calls nor
 * unloads have shown that it hangs.
 */
#include "server_guard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log_fields.h"
#include "base/num.h"
#include "messages.h"
#include "unit_restart.h"
#include "upstream/ollama_unload.h"

#define WHY_UNLOADING  "it hangs, and is being unloaded"
#define WHY_RESTARTING "its server hangs, and is being restarted"

struct server_guard {
    struct list link;            /* server_guards.guards */
    struct server_guards *owner; /* borrowed */
    struct hang_guard state;
    char *api_base, *unit;          /* owned; unit NULL: none */
    char *next_unit;                /* owned; with has_next_unit, NULL: none */
    bool has_next_unit;             /* a reload said so while the old one was being restarted */
    char id[64];                    /* of the deployment that hung */
    uint32_t serial;                /* the same */
    char model[ROUTER_MODEL_BYTES]; /* that it was asked for; "": its own */
    bool is_renewed;                /* another process serves now: nothing is known of it */
    unsigned n_cut;
    uint64_t restart_began_at_usec;
    struct unload_sink unloaded;
    struct unload_job *unload;
    struct unit_restart *restart;
    sd_event_source *timer; /* on while state.until_usec is ahead */
};

static void act(struct server_guard *s, enum hang_step step, uint64_t now_usec);

/* ---------------------------------------------------------------- deployments of a server */

static bool is_of(const struct server_guard *s, const struct deployment *d)
{
    return strcmp(d->api_base, s->api_base) == 0;
}

static struct deployment *hung_one(const struct server_guard *s)
{
    list_for_each (l, &s->owner->router->deployments) {
        struct deployment *d = CONTAINER_OF(l, struct deployment, link);

        if (d->serial == s->serial) {
            return d;
        }
    }
    return NULL; /* a reload took it away */
}

static bool is_wildcard(const struct deployment *d)
{
    return strchr(d->upstream_model, '*') != NULL;
}

static const char *name_of(const struct deployment *d, const char *model)
{
    return model ? model : d->upstream_model;
}

/* What hung at d, as its server calls it. */
static const char *hung_model(const struct server_guard *s, const struct deployment *d)
{
    return name_of(d, s->model[0] ? s->model : NULL);
}

/* Does the call run at d, asking for that model (or, is_other, for another)? */
static bool is_at(const struct call *call, const struct deployment *d, const char *model,
                  bool is_other)
{
    return call->ticket.deployment == d &&
           (strcmp(name_of(d, call->upstream_model), model) != 0) == is_other;
}

/* Calls at d to other models than the one that hangs there. */
static unsigned n_for_others(const struct server_guard *s, const struct deployment *d)
{
    unsigned n = 0;

    list_for_each (l, &s->owner->registry->running) {
        n += is_at(CONTAINER_OF(l, struct call, link), d, hung_model(s, d), true);
    }
    return n;
}

/* Slots in use; but: what is hung there is not counted. */
static unsigned n_in_use(const struct server_guard *s, const struct deployment *but)
{
    const struct router *router = s->owner->router;
    const struct list *const lists[] = {&router->deployments, &router->retired};
    unsigned n = but ? n_for_others(s, but) : 0;

    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        list_for_each (l, lists[i]) {
            const struct deployment *d = CONTAINER_OF(l, struct deployment, link);

            n += d != but && is_of(s, d) ? d->in_use : 0;
        }
    }
    return n;
}

static void hold_all(struct server_guard *s)
{
    list_for_each (l, &s->owner->router->deployments) {
        struct deployment *d = CONTAINER_OF(l, struct deployment, link);

        if (is_of(s, d)) {
            deployment_hold(d, WHY_RESTARTING, s->state.until_usec);
        }
    }
}

/* Calls may come again: those to a new process at once, the others when the breaker lets them. */
static void release_all(struct server_guard *s, uint64_t now_usec)
{
    list_for_each (l, &s->owner->router->deployments) {
        struct deployment *d = CONTAINER_OF(l, struct deployment, link);

        if (!is_of(s, d)) {
            continue;
        }
        hang_evidence_doubt(&d->hangs);
        if (s->is_renewed) {
            d->hangs = (struct hang_evidence) {0};
            health_try_now(&d->health, now_usec);
        }
        deployment_release(d);
    }
    s->is_renewed = false;
}

/* ---------------------------------------------------------------- records */

static void write_hung(const struct server_guard *s, const struct deployment *d)
{
    const char *model = hung_model(s, d);
    unsigned n = hang_evidence_n(&d->hangs, model);
    bool never_goes = hang_evidence_is_of_unloads(&d->hangs, model);
    struct log_fields f;

    log_fields_init(&f);
    log_fields_add(&f, "SLUICE_DEPLOYMENT", str_from(d->id));
    log_fields_add(&f, "SLUICE_SERVER", str_from(d->api_base));
    log_fields_add(&f, "SLUICE_MODEL", str_from(model));
    log_fields_add_number(&f, "SLUICE_FAILURES", n);
    if (never_goes) {
        message_write(MESSAGE_UPSTREAM_HUNG, LOG_LEVEL_WARNING, NULL, &f,
                      "deployment \"%.64s\" hangs: %s said yes to unloading \"%.64s\", and did not "
                      "do it, again and again",
                      d->id, d->api_base, model);
        return;
    }
    message_write(
        MESSAGE_UPSTREAM_HUNG, LOG_LEVEL_WARNING, NULL, &f,
        "deployment \"%.64s\" hangs: %s was silent on %u calls in a row; \"%.64s\" is out of "
        "rotation while it is unloaded",
        d->id, d->api_base, n, model);
}

/* why NULL: it was. */
static void write_restart(const struct server_guard *s, const char *why, uint64_t now_usec)
{
    uint64_t took_usec = s->restart ? usec_since(now_usec, s->restart_began_at_usec) : 0;
    uint64_t again_usec = usec_since(s->state.restart_at_usec, now_usec);
    struct log_fields f;

    log_fields_init(&f);
    log_fields_add(&f, "SLUICE_UNIT", str_from(s->unit));
    log_fields_add(&f, "SLUICE_SERVER", str_from(s->api_base));
    log_fields_add(&f, "SLUICE_DEPLOYMENT", str_from(s->id));
    log_fields_add_number(&f, "SLUICE_CALLS_CUT", why ? 0 : s->n_cut);
    log_fields_add_number(&f, "SLUICE_RESTARTS", s->state.n_restarts);
    log_fields_add_number(&f, "SLUICE_RESTART_USEC", took_usec);
    log_fields_add_number(&f, "SLUICE_NOT_BEFORE_USEC", again_usec);
    if (!why) {
        message_write(
            MESSAGE_UNIT_RESTARTED, LOG_LEVEL_WARNING, NULL, &f,
            "%s was restarted, as deployment \"%s\" hung; calls cut: %u; not again within "
            "%llu s",
            s->unit, s->id, s->n_cut, (unsigned long long) (again_usec / USEC_PER_SEC));
        return;
    }
    log_fields_add(&f, "SLUICE_REASON", str_from(why));
    message_write(MESSAGE_UNIT_NOT_RESTARTED, LOG_LEVEL_WARNING, NULL, &f,
                  "%s was not restarted, although deployment \"%s\" hangs: %s", s->unit, s->id,
                  why);
}

/* ---------------------------------------------------------------- what is done */

static bool is_restarting(const struct server_guard *s)
{
    return s->state.state == HANG_DRAINING || s->state.state == HANG_RESTARTING;
}

/* What the configuration says by now; nobody asks about the unit before any more. */
static void adopt_unit(struct server_guard *s)
{
    if (s->has_next_unit && !is_restarting(s)) {
        free(s->unit);
        s->unit = TAKE(s->next_unit);
        s->has_next_unit = false;
        s->state.can_restart = s->unit != NULL;
    }
}

/* State and timer go together; calls may find a deployment now, or none any more. */
static void settle(struct server_guard *s)
{
    uint64_t at = s->state.until_usec;
    bool is_on = s->state.state != HANG_WATCHING;

    adopt_unit(s);
    (void) sd_event_source_set_time(s->timer, is_on ? at : USEC_NEVER);
    (void) sd_event_source_set_enabled(s->timer, is_on ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
    s->owner->on_work(s->owner->ctx);
}

static void on_unloaded(struct unload_sink *sink, const struct unload_result *result)
{
    struct server_guard *s = CONTAINER_OF(sink, struct server_guard, unloaded);
    uint64_t now = clock_now_usec();
    /* what was not there to be unloaded is not what hangs */
    bool is_gone = result->code == ERRCODE_NONE && result->was_loaded;

    s->unload = NULL;
    act(s, hang_guard_unloaded(&s->state, is_gone, now), now);
}

/* Calls to other models of d go on; those to this one wait in residency's way while it is unloaded. */
static bool waits_by_itself(const struct server_guard *s, const struct deployment *d)
{
    return is_wildcard(d) && s->owner->residency->residency.params.is_on;
}

static void unload(struct server_guard *s, uint64_t now_usec)
{
    struct deployment *d = hung_one(s);
    int r = -EOPNOTSUPP;

    /* of a server elsewhere others may hold more than is known here */
    if (d && d->is_local && d->backend && d->backend->memory) {
        write_hung(s, d);
        if (!waits_by_itself(s, d)) {
            deployment_hold(d, WHY_UNLOADING, s->state.until_usec);
        }
        r = residency_driver_unload(s->owner->residency, d, s->model[0] ? s->model : NULL,
                                    &s->unloaded, &s->unload);
    }
    if (r < 0) {
        act(s, hang_guard_unloaded(&s->state, false, now_usec), now_usec);
    }
}

static void on_restarted(void *ctx, const char *error)
{
    struct server_guard *s = ctx;
    uint64_t now = clock_now_usec();

    write_restart(s, error, now);
    s->restart = NULL;
    s->is_renewed = !error;
    act(s, hang_guard_restarted(&s->state, !error), now);
}

static void restart(struct server_guard *s, uint64_t now_usec)
{
    int r;

    s->n_cut = n_in_use(s, NULL);
    s->restart_began_at_usec = now_usec;
    hold_all(s); /* for as long as this state may last */
    r = unit_restart_start(s->owner->event, s->unit, on_restarted, s, &s->restart);
    if (r < 0) {
        char why[128];

        (void) snprintf(why, sizeof why, UNIT_RESTART_NO_BUS "%s", strerror(-r));
        write_restart(s, why, now_usec);
        act(s, hang_guard_restarted(&s->state, false), now_usec);
    }
}

static void act(struct server_guard *s, enum hang_step step, uint64_t now_usec)
{
    switch (step) {
    case HANG_NOTHING:
        return;
    case HANG_UNLOAD:
        unload(s, now_usec);
        break;
    case HANG_DRAIN:
        hold_all(s);
        s->owner->has_news = true; /* there may be nobody to wait for */
        break;
    case HANG_RESTART:
        restart(s, now_usec);
        break;
    case HANG_TOO_SOON:
        write_restart(s, "it was restarted lately", now_usec);
        release_all(s, now_usec);
        break;
    case HANG_RELEASE:
        release_all(s, now_usec);
        break;
    }
    settle(s);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
    struct server_guard *s = ctx;
    uint64_t now = clock_now_usec();

    if (s->unload) {
        s->unload->cancel(s->unload);
        s->unload = NULL;
    }
    if (s->restart) {
        write_restart(s, "the service manager did not say in time that it is done", now);
        s->restart = unit_restart_cancel(s->restart);
    }
    act(s, hang_guard_expired(&s->state, now), now);
    return 0;
}

/* ---------------------------------------------------------------- guards */

static struct server_guard *guard_free(struct server_guard *s)
{
    if (!s) {
        return NULL;
    }
    list_remove(&s->link);
    if (s->unload) {
        s->unload->cancel(s->unload);
    }
    unit_restart_cancel(s->restart);
    sd_event_source_disable_unref(s->timer);
    free(s->api_base);
    free(s->unit);
    free(s->next_unit);
    free(s);
    return NULL;
}

static struct server_guard *guard_find(const struct server_guards *g, const char *api_base)
{
    list_for_each (l, &g->guards) {
        struct server_guard *s = CONTAINER_OF(l, struct server_guard, link);

        if (strcmp(s->api_base, api_base) == 0) {
            return s;
        }
    }
    return NULL;
}

/* The guard of a server, made where there is none. NULL: out of memory. */
static struct server_guard *guard_of(struct server_guards *g, const char *api_base)
{
    struct server_guard *s = guard_find(g, api_base);
    int r;

    if (s) {
        return s;
    }
    s = calloc(1, sizeof *s);
    if (!s) {
        return NULL;
    }
    *s = (struct server_guard) {
        .owner = g, .api_base = strdup(api_base), .unloaded = {.on_unloaded = on_unloaded}};
    list_init(&s->link);
    r = s->api_base ? sd_event_add_time(g->event, &s->timer, CLOCK_MONOTONIC, USEC_NEVER,
                                        USEC_PER_MSEC, on_timer, s)
                    : -ENOMEM;
    if (r >= 0) {
        r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
    }
    if (r < 0) {
        return guard_free(s);
    }
    list_append(&g->guards, &s->link);
    return s;
}

void server_guards_init(struct server_guards *g, sd_event *event, struct router *router,
                        struct call_registry *registry, struct residency_driver *residency,
                        void (*on_work)(void *ctx), void *ctx)
{
    *g = (struct server_guards) {.event = event,
                                 .router = router,
                                 .registry = registry,
                                 .residency = residency,
                                 .on_work = on_work,
                                 .ctx = ctx};
    list_init(&g->guards);
}

void server_guards_done(struct server_guards *g)
{
    if (!g->event) {
        return;
    }
    list_for_each_safe (l, &g->guards) {
        guard_free(CONTAINER_OF(l, struct server_guard, link));
    }
}

/* A restart that is under way keeps its unit, and the next one has this. */
static int set_unit(struct server_guard *s, const char *unit)
{
    char *copy = unit ? strdup(unit) : NULL;

    if (unit && !copy) {
        return -ENOMEM;
    }
    free(s->next_unit);
    s->next_unit = copy;
    s->has_next_unit = true;
    adopt_unit(s);
    return 0;
}

static const char *unit_of(const char *api_base, const struct server_unit *units, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(units[i].api_base, api_base) == 0) {
            return units[i].unit;
        }
    }
    return NULL;
}

int server_guards_set_units(struct server_guards *g, const struct server_unit *units, size_t n)
{
    int r = 0;

    for (size_t i = 0; i < n; i++) {
        r = guard_of(g, units[i].api_base) ? r : -ENOMEM;
    }
    list_for_each (l, &g->guards) {
        struct server_guard *s = CONTAINER_OF(l, struct server_guard, link);
        int failed = set_unit(s, unit_of(s->api_base, units, n));

        r = failed < 0 ? failed : r;
    }
    return r;
}

/* ---------------------------------------------------------------- evidence */

/* A number that no other call has: two cannot be at one place at one time. Never 0. */
static uint64_t number_of(const struct call *call)
{
    uint64_t z = call->arrived_at_usec ^ (uint64_t) (uintptr_t) call << 20;

    return z > 0 ? z : 1;
}

/* There is evidence enough of that model (NULL: its own). */
static void suspect(struct server_guards *g, struct deployment *d, const char *model)
{
    struct server_guard *s = guard_of(g, d->api_base);

    if (s && s->state.state == HANG_WATCHING) {
        s->serial = d->serial;
        str_copy(str_from(d->id), s->id, sizeof s->id);
        str_copy(str_from(model ? model : ""), s->model, sizeof s->model);
        g->has_news = true;
        g->on_work(g->ctx);
    }
}

void server_guards_attempt(struct server_guards *g, const struct call *call, enum errcode code,
                           uint64_t now_usec)
{
    struct deployment *d = call->ticket.deployment;
    const char *model = name_of(d, call->upstream_model);
    struct server_guard *s;

    switch (health_judge(code, call->state == CALL_STREAMING)) {
    case HEALTH_SAYS_NOTHING:
        break;
    case HEALTH_SAYS_IT_HANGS:
        if (hang_evidence_add_call(&d->hangs, model, number_of(call))) {
            suspect(g, d, call->upstream_model);
        }
        break;
    case HEALTH_SAYS_IT_WORKS:
        hang_evidence_clear(&d->hangs, model);
        s = guard_find(g, d->api_base);
        if (s && s->serial == d->serial && strcmp(hung_model(s, d), model) == 0) {
            act(s, hang_guard_answered(&s->state), now_usec);
        }
        break;
    }
}

/* A wildcard's may be any, so it is one only where no deployment is for this model alone. */
static bool is_for(const struct deployment *d, const char *server, const char *model,
                   bool by_wildcard)
{
    return strcmp(d->api_base, server) == 0 &&
           (by_wildcard ? is_wildcard(d) : strcmp(d->upstream_model, model) == 0);
}

/* To how many deployments it was noted. */
static unsigned note_unload(struct server_guards *g, const struct unload_news *news,
                            bool by_wildcard, uint64_t now_usec)
{
    unsigned n = 0;

    list_for_each (l, &g->router->deployments) {
        struct deployment *d = CONTAINER_OF(l, struct deployment, link);

        if (!is_for(d, news->server, news->model, by_wildcard)) {
            continue;
        }
        n++;
        if (news->is_gone) {
            hang_evidence_unloaded(&d->hangs, news->model);
        } else if (hang_evidence_add_unload(&d->hangs, news->model, now_usec)) {
            suspect(g, d, news->model);
        }
    }
    return n;
}

void server_guards_unloaded(struct server_guards *g, const struct unload_news *news,
                            uint64_t now_usec)
{
    if (note_unload(g, news, false, now_usec) == 0) {
        (void) note_unload(g, news, true, now_usec);
    }
}

static bool is_answering(const struct server_guard *s, const struct deployment *d)
{
    list_for_each (l, &s->owner->registry->running) {
        const struct call *call = CONTAINER_OF(l, struct call, link);

        if (call->state == CALL_STREAMING && is_at(call, d, hung_model(s, d), false)) {
            return true;
        }
    }
    return false;
}

/* Of a server elsewhere others may hold more than is known here. */
static bool never_goes(const struct server_guard *s, const struct deployment *d)
{
    return d->is_local && hang_evidence_is_of_unloads(&d->hangs, hung_model(s, d));
}

/* Is it shown that it hangs? Only calls open a breaker. */
static bool is_hanging(const struct server_guard *s, const struct deployment *d)
{
    bool is_shown = d->health.state != HEALTH_CLOSED || is_wildcard(d) || never_goes(s, d);

    return is_shown && hang_evidence_is_enough(&d->hangs, hung_model(s, d)) && !is_answering(s, d);
}

static void begin(struct server_guard *s, const struct deployment *d, uint64_t now_usec)
{
    if (never_goes(s, d)) {
        write_hung(s, d);
        act(s, hang_guard_stuck(&s->state, now_usec), now_usec);
    } else {
        act(s, hang_guard_hung(&s->state, now_usec), now_usec);
    }
}

static void look(struct server_guard *s, uint64_t now_usec)
{
    const struct deployment *d = hung_one(s);

    switch (s->state.state) {
    case HANG_WATCHING:
        if (d && is_hanging(s, d)) {
            begin(s, d, now_usec);
        }
        break;
    case HANG_DRAINING:
        if (n_in_use(s, d) == 0) {
            act(s, hang_guard_drained(&s->state, now_usec), now_usec);
        }
        break;
    case HANG_UNLOADING:
    case HANG_RESTARTING:
        break;
    }
}

void server_guards_turn(struct server_guards *g, uint64_t now_usec)
{
    bool had_news = g->has_news;

    g->has_news = false;
    list_for_each (l, &g->guards) {
        struct server_guard *s = CONTAINER_OF(l, struct server_guard, link);

        if (had_news || s->state.state == HANG_DRAINING) {
            look(s, now_usec);
        }
    }
}
