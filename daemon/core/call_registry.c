/*
 * All calls: what is due is done here, once per wake-up.
 *
 * registry_run() takes all decisions; the others below move calls between its runs. The states are
 * call.c's, the ways of a call call_attempt.c's.
 *
 * Must not: know sockets, protocols, providers, or read a clock.
 */
#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "core/call_internal.h"
#include "core/prompt_size.h"

void registry_init(struct call_registry *reg, struct admission *admission, struct router *router,
                   struct stats *stats, const struct call_hooks *hooks)
{
    *reg = (struct call_registry) {.admission = admission,
                                   .router = router,
                                   .stats = stats,
                                   .hooks = *hooks,
                                   .random = UINT32_C(2463534242)};
    list_init(&reg->fresh);
    list_init(&reg->waiting);
    list_init(&reg->running);
    list_init(&reg->ending);
    list_init(&reg->dead);
    retry_budgets_init(&reg->budgets, 0);
    pressure_relief_init(&reg->relief);
}

static void drop_all(struct list *l, struct admission *admission)
{
    list_for_each_safe (pos, l) {
        struct call *call = CONTAINER_OF(pos, struct call, link);

        call_stop_job(call);
        admission_release(admission, &call->ticket, 0);
        quota_settle(call->registry->quota, &call->charge, 0, 0);
        call_free(call);
    }
}

void registry_done(struct call_registry *reg)
{
    drop_all(&reg->fresh, reg->admission);
    drop_all(&reg->waiting, reg->admission);
    drop_all(&reg->running, reg->admission);
    drop_all(&reg->ending, reg->admission);
    drop_all(&reg->dead, reg->admission);
    assert(reg->n_calls == 0);
    router_reap(reg->router); /* what a reload retired may have served the last of them */
}

static void grant(struct call_registry *reg, uint64_t now_usec)
{
    struct ticket *t;

    while ((t = admission_next(reg->admission, now_usec))) {
        call_start(CONTAINER_OF(t, struct call, ticket), now_usec);
    }
}

/* Both numbers, as no server was asked. */
static const char *describe_context(const struct call *call, const struct model_group *group,
                                    char text[ROUTER_REFUSAL_BYTES])
{
    uint64_t most = 0;

    for (size_t i = 0; i < group->n_deployments; i++) {
        uint64_t n = group->deployments[i]->terms->max_input_tokens;

        most = n > most ? n : most;
    }
    (void) snprintf(text, ROUTER_REFUSAL_BYTES,
                    "the prompt has %llu tokens%s, and the model takes %llu",
                    (unsigned long long) call->wish.prompt_tokens,
                    prompt_size_precision(call->request), (unsigned long long) most);
    return text;
}

static struct str describe(const struct call *call, const struct model_group *group,
                           const struct router_refusal *why, uint64_t now_usec,
                           char text[ROUTER_REFUSAL_BYTES])
{
    return str_from(
        why->code == ERRCODE_CONTEXT_LENGTH
            ? describe_context(call, group, text)
            : router_refusal_describe(call->registry->router, group, why, now_usec, text));
}

struct call_failure call_failure_of(const struct call *call, const struct model_group *group,
                                    const struct verdict *v, uint64_t now_usec,
                                    char text[ROUTER_REFUSAL_BYTES])
{
    struct call_failure f = {
        .code = v->code, .retry_after_usec = v->retry_after_usec, .is_last = v->is_last};
    struct router_refusal why;

    if (v->is_by_group &&
        router_refuses(call->registry->router, group, &call->wish, now_usec, &why)) {
        f.text = describe(call, group, &why, now_usec, text);
    }
    return f;
}

/* Instead of a slot for each of them, which the next call would hold until it failed as well. */
static void refuse(struct call_registry *reg, uint64_t now_usec)
{
    struct router_refusal refusal;
    struct ticket *t;

    while ((t = admission_refuse(reg->admission, now_usec, &refusal))) {
        struct call *call = CONTAINER_OF(t, struct call, ticket);
        char text[ROUTER_REFUSAL_BYTES];
        struct call_failure f = {.code = refusal.code,
                                 .retry_after_usec = refusal.retry_after_usec,
                                 .is_last = refusal.is_long};

        f.text = describe(call, t->group, &refusal, now_usec, text);
        call_group_refused(call, &f, now_usec);
    }
}

static void turn_away(struct ticket *t, const struct verdict *v, uint64_t now_usec)
{
    struct call_failure f = {
        .code = v->code, .retry_after_usec = v->retry_after_usec, .is_last = v->is_last};

    if (v->code == ERRCODE_MEMORY_PRESSURE) {
        f.text = STR_LIT("memory ran short while the call waited for a slot");
    }
    call_group_refused(CONTAINER_OF(t, struct call, ticket), &f, now_usec);
}

/* Whose time in the queue was up by then. */
static void expire_waiting(struct call_registry *reg, uint64_t until_usec, uint64_t now_usec)
{
    struct verdict v;
    struct ticket *t;

    while ((t = admission_expire(reg->admission, until_usec, &v))) {
        turn_away(t, &v, now_usec);
    }
}

/* They, and who had to make room in it. */
static void empty_queue(struct call_registry *reg, uint64_t now_usec)
{
    struct verdict v;
    struct ticket *t;

    while ((t = admission_ousted(reg->admission, now_usec, &v))) {
        turn_away(t, &v, now_usec);
    }
    expire_waiting(reg, now_usec, now_usec);
}

/* Slots that calls of higher classes need go to them in the next round. */
static void preempt(struct call_registry *reg, uint64_t now_usec)
{
    struct ticket *t;

    while ((t = admission_preempt(reg->admission, now_usec))) {
        call_preempted(CONTAINER_OF(t, struct call, ticket), now_usec);
        reg->has_requeued = true;
    }
}

static void expire_running(struct call_registry *reg, uint64_t now_usec)
{
    list_for_each_safe (l, &reg->running) {
        struct call *call = CONTAINER_OF(l, struct call, link);

        if (call->cancel_at_usec <= now_usec) {
            call_cancel(call, ERRCODE_DEADLINE_EXCEEDED, now_usec);
        }
    }
}

/* At most one of them each time: pressure_relief.h. */
static void relieve(struct call_registry *reg, uint64_t now_usec)
{
    struct admission *a = reg->admission;
    enum pressure_level level = a->pressure ? pressure_level_for_calls(a->pressure) : PRESSURE_L0;
    struct ticket *t =
        pressure_relief_next(&reg->relief, a, reg->router->residency, level, now_usec);

    if (t) {
        call_relieve(CONTAINER_OF(t, struct call, ticket), now_usec);
    }
}

static void tell_position(void *ctx, struct ticket *t, uint32_t position)
{
    const uint64_t *now_usec = ctx;
    struct call *call = CONTAINER_OF(t, struct call, ticket);
    struct event ev = {
        .type = EVENT_QUEUED, .at_usec = *now_usec, .queued = {.position = position}};

    t->told_position = position;
    if (call->sink) {
        (void) event_grammar_step(&call->grammar, &ev);
        (void) event_sink_deliver(call->sink, &ev); /* nothing to pause yet */
    }
}

static void tell_end(struct call *call, uint64_t now_usec)
{
    struct event_sink *sink = TAKE(call->sink);
    struct event ev = {
        .type = EVENT_FAILED,
        .at_usec = now_usec,
        .failed = {.code = call->outcome,
                   .message = call->text[0] ? str_from(call->text) : STR_NONE,
                   .param = call->param[0] ? str_from(call->param) : STR_NONE,
                   .retry_after_usec = call->retry_after_usec,
                   .is_last = call->is_last},
    };

    if (sink) {
        assert(call->outcome != ERRCODE_NONE); /* END is passed on when it comes */
        (void) event_sink_deliver(sink, &ev);
    }
    stats_count(call->registry->stats, call->outcome, call->granted_at_usec != 0);
    call->registry->stats->n_completed_class[call->ticket.class] += call->outcome == ERRCODE_NONE;
    call->registry->stats->tokens_in += call->usage.tokens_in;
    call->registry->stats->tokens_out += call->usage.tokens_out;
    call->registry->hooks.on_ended(call->registry->hooks.ctx, call);
    call_set_state(call, CALL_DEAD);
}

static bool has_work(const struct call_registry *reg)
{
    return reg->has_requeued || !list_is_empty(&reg->fresh) || !list_is_empty(&reg->ending);
}

void registry_run(struct call_registry *reg, uint64_t now_usec)
{
    struct list *l;

    assert(!reg->is_running);
    reg->is_running = true;
    expire_running(reg, now_usec);
    relieve(reg, now_usec);
    /* first, as who comes now must not find the queue full of them; the last moment counts */
    expire_waiting(reg, usec_since(now_usec, 1), now_usec);
    call_spill_waiting(reg, now_usec);
    (void) admission_shed(reg->admission, now_usec); /* told below */
    do {
        reg->has_requeued = false;
        while ((l = list_first(&reg->fresh))) {
            call_admit(CONTAINER_OF(l, struct call, link), now_usec);
        }
        grant(reg, now_usec);
        refuse(reg, now_usec);
        preempt(reg, now_usec);
        empty_queue(reg, now_usec);
        while ((l = list_first(&reg->ending))) {
            tell_end(CONTAINER_OF(l, struct call, link), now_usec);
        }
    } while (has_work(reg));
    admission_rank(reg->admission, tell_position, &now_usec);
    while ((l = list_first(&reg->dead))) {
        call_free(CONTAINER_OF(l, struct call, link));
    }
    router_reap(reg->router);
    reg->is_running = false;
}

uint64_t registry_next_deadline(const struct call_registry *reg)
{
    uint64_t earliest = admission_next_deadline(reg->admission);

    if (reg->relief.look_at_usec < earliest) {
        earliest = reg->relief.look_at_usec;
    }

    list_for_each (l, &reg->running) {
        const struct call *call = CONTAINER_OF(l, struct call, link);

        earliest = call->cancel_at_usec < earliest ? call->cancel_at_usec : earliest;
    }
    return earliest;
}

static struct call *find_on(const struct list *list, struct str id, bool any_uid, uid_t uid)
{
    list_for_each (l, list) {
        struct call *call = CONTAINER_OF(l, struct call, link);
        const struct caller *caller = &call->request->caller;

        if (str_is(id, call->request->id) && (any_uid || (caller->has_uid && caller->uid == uid))) {
            return call;
        }
    }
    return NULL;
}

struct call *registry_find(struct call_registry *reg, struct str id, bool any_uid, uid_t uid)
{
    struct call *call = find_on(&reg->running, id, any_uid, uid);

    call = call ? call : find_on(&reg->waiting, id, any_uid, uid);
    return call ? call : find_on(&reg->fresh, id, any_uid, uid);
}

/* What a reload has made local_only holds those calls too that came before. */
static void bind_anew(struct call *call)
{
    const struct model_group *group = router_resolve(call->registry->router, call->asked);

    if (group) {
        call_bind(call, group);
    }
}

/* After a reload the name that it waits for may lead nowhere. */
static void reroute(struct call *call, uint64_t now_usec)
{
    struct model_group *group = router_resolve(call->registry->router, call->asked);

    admission_reroute(call->registry->admission, &call->ticket, group);
    bind_anew(call);
    if (group && model_group_is_servable(group)) {
        return;
    }
    call_leave_slot(call, NULL, now_usec);
    if (call->outcome != ERRCODE_NONE) {
        call_end_as_remembered(call, now_usec); /* there was an attempt, which failed */
    } else if (!group) {
        call_end_unknown_model(call, now_usec);
    } else {
        call_end(call, &(struct call_failure) {.code = ERRCODE_MISCONFIGURED}, now_usec);
    }
}

void registry_reroute(struct call_registry *reg, uint64_t now_usec)
{
    list_for_each_safe (l, &reg->waiting) {
        reroute(CONTAINER_OF(l, struct call, link), now_usec);
    }
    list_for_each (l, &reg->running) {
        struct call *call = CONTAINER_OF(l, struct call, link);

        /* the deployment holds on by itself */
        admission_reroute(reg->admission, &call->ticket, NULL);
        bind_anew(call);
    }
    call_want_run(reg);
}

void registry_want_run(struct call_registry *reg)
{
    call_want_run(reg);
}

void registry_cancel_waiting(struct call_registry *reg, enum errcode code, uint64_t now_usec)
{
    list_for_each_safe (l, &reg->waiting) {
        call_cancel(CONTAINER_OF(l, struct call, link), code, now_usec);
    }
}

void registry_cancel_all(struct call_registry *reg, enum errcode code, uint64_t now_usec)
{
    struct list *const all[] = {&reg->fresh, &reg->waiting, &reg->running};

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        list_for_each_safe (l, all[i]) {
            call_cancel(CONTAINER_OF(l, struct call, link), code, now_usec);
        }
    }
}

size_t registry_count(const struct call_registry *reg, enum call_state state)
{
    const struct list *const lists[] = {&reg->fresh, &reg->waiting, &reg->running, &reg->ending,
                                        &reg->dead};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        list_for_each (l, lists[i]) {
            n += CONTAINER_OF(l, struct call, link)->state == state;
        }
    }
    return n;
}
