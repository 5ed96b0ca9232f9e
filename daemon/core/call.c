/*
 * Calls: the state machine, and the registry that drives it.
 *
 * One function changes a call's state, checks the transition against the table and moves the call
 * to the list of its new state. One function, registry_run(), takes all decisions, once per
 * wake-up. Events from backends pass through in between; they never free anything.
 *
 * Invariants: a call's ticket is home in NEW, ENDING and DEAD; its job is NULL outside STARTING and
 * STREAMING; its sink hears exactly one terminal event unless it was detached; a call is freed at
 * the end of a registry_run() and nowhere else.
 *
 * Must not: know sockets, protocols, providers, or read a clock.
 */
#include "core/call.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define N_SUGGESTIONS  3
#define NAME_SHOWN_MAX 80 /* bytes of a model name in an error message */

static const char *const state_names[] = {
    [CALL_NEW] = "NEW",           [CALL_WAITING] = "WAITING",
    [CALL_STARTING] = "STARTING", [CALL_STREAMING] = "STREAMING",
    [CALL_ENDING] = "ENDING",     [CALL_DEAD] = "DEAD",
};

/* Which states may follow: bit i of transitions[s] allows s -> i. */
static const unsigned transitions[] = {
    [CALL_NEW] = 1u << CALL_WAITING | 1u << CALL_ENDING,
    [CALL_WAITING] = 1u << CALL_STARTING | 1u << CALL_ENDING,
    [CALL_STARTING] = 1u << CALL_STREAMING | 1u << CALL_ENDING,
    [CALL_STREAMING] = 1u << CALL_ENDING,
    [CALL_ENDING] = 1u << CALL_DEAD,
    [CALL_DEAD] = 0,
};

const char *call_state_name(enum call_state state)
{
    return state_names[state];
}

static struct list *list_of(struct call_registry *reg, enum call_state state)
{
    switch (state) {
    case CALL_NEW:
        return &reg->fresh;
    case CALL_WAITING:
        return &reg->waiting;
    case CALL_STARTING:
    case CALL_STREAMING:
        return &reg->running;
    case CALL_ENDING:
        return &reg->ending;
    case CALL_DEAD:
        return &reg->dead;
    }
    assert(0);
    return NULL;
}

static void want_run(struct call_registry *reg)
{
    if (!reg->is_running) {
        reg->hooks.on_work(reg->hooks.ctx);
    }
}

static void call_set_state(struct call *call, enum call_state to)
{
    assert(transitions[call->state] & (1u << to));
    call->state = to;
    list_remove(&call->link);
    list_append(list_of(call->registry, to), &call->link);
    if (to == CALL_ENDING || to == CALL_DEAD) {
        want_run(call->registry);
    }
}

static void tell_health(struct call *call, enum health_news news, uint64_t now_usec)
{
    const struct call_hooks *hooks = &call->registry->hooks;

    if (news == HEALTH_NO_NEWS) {
        return;
    }
    want_run(call->registry); /* somebody may wait who can run now, or need not wait any more */
    if (hooks->on_breaker) {
        hooks->on_breaker(hooks->ctx, call->ticket.deployment, news, now_usec);
    }
}

/*
 * What a call has cost its key: as the model server counted; as was guessed where it did not, though
 * an answer came; else nothing.
 */
static uint64_t tokens_used(const struct call *call)
{
    uint64_t counted = (uint64_t) call->usage.tokens_in + call->usage.tokens_out;

    return counted > 0 ? counted : call->first_token_at_usec != 0 ? call->charge.n_tokens : 0;
}

/*
 * The outcome is known: everything that the call holds goes home, the sink is told in
 * registry_run(). The job must be over or cancelled.
 */
static void call_end(struct call *call, enum errcode code, struct str text,
                     uint64_t retry_after_usec, uint64_t now_usec)
{
    struct ticket *t = &call->ticket;

    assert(!call->job);
    if (t->state == TICKET_GRANTED) {
        tell_health(call, health_ended(&t->deployment->health, &t->run, code, now_usec), now_usec);
        (void) router_note_end(call->registry->router, t->deployment, code, retry_after_usec,
                               now_usec);
        router_note_tokens(t->deployment, call->usage.tokens_in + call->usage.tokens_out, now_usec);
    }
    admission_release(call->registry->admission, &call->ticket, now_usec);
    quota_settle(call->registry->quota, &call->charge, tokens_used(call), now_usec);
    call->outcome = code;
    call->retry_after_usec = retry_after_usec;
    call->ended_at_usec = now_usec;
    text = str_clip(text, sizeof call->text - 1);
    (void) snprintf(call->text, sizeof call->text, "%.*s", STR_ARG(text));
    call_set_state(call, CALL_ENDING);
}

static void stop_job(struct call *call)
{
    struct backend_job *job = TAKE(call->job);

    if (job) {
        call->backend->ops->cancel(job);
    }
}

static bool has_ended(const struct call *call)
{
    return call->state == CALL_ENDING || call->state == CALL_DEAD;
}

void call_cancel(struct call *call, enum errcode code, uint64_t now_usec)
{
    if (has_ended(call)) {
        return;
    }
    stop_job(call);
    call_end(call, code, STR_NONE, errcode_info(code)->is_retryable ? RETRY_AFTER_MIN_USEC : 0,
             now_usec);
}

void call_detach(struct call *call, uint64_t now_usec)
{
    call->sink = NULL;
    call_cancel(call, ERRCODE_CANCELLED, now_usec);
}

void call_resume(struct call *call, uint64_t now_usec)
{
    if (!call->is_full) {
        return;
    }
    call->is_full = false;
    if (call->job) {
        call->backend->ops->resume(call->job, now_usec);
    }
}

static void forward(struct call *call, const struct event *ev)
{
    if (!call->sink || event_sink_deliver(call->sink, ev) == SINK_ROOM) {
        return;
    }
    call->is_full = true;
    if (call->job) {
        call->backend->ops->pause(call->job);
    }
}

static void first_content(struct call *call, uint64_t at_usec)
{
    struct ticket *t = &call->ticket;

    if (call->state == CALL_STARTING) {
        call->first_token_at_usec = at_usec;
        call_set_state(call, CALL_STREAMING);
        router_note_content(t->deployment, usec_since(at_usec, call->granted_at_usec), at_usec);
        tell_health(call, health_began(&t->deployment->health, &t->run), at_usec);
    }
}

/*
 * What the backend tells. The terminal event is not passed on from here: the job is over, the slot
 * goes home, and registry_run() tells the sink.
 */
static enum sink_answer on_event(struct event_sink *sink, const struct event *ev)
{
    struct call *call = CONTAINER_OF(sink, struct call, inlet);

    assert(call->state == CALL_STARTING || call->state == CALL_STREAMING);
    switch (ev->type) {
    case EVENT_QUEUED:
    case EVENT_STARTED:
        assert(0); /* core's own to tell */
        break;
    case EVENT_TEXT:
    case EVENT_TOOL_CALL:
    case EVENT_EMBEDDING:
    case EVENT_RESULT:
        first_content(call, ev->at_usec);
        forward(call, ev);
        break;
    case EVENT_USAGE:
        call->usage = ev->usage;
        forward(call, ev);
        break;
    case EVENT_END:
        call->job = NULL;
        forward(call, ev);
        call->sink = NULL;
        call_end(call, ERRCODE_NONE, STR_NONE, 0, ev->at_usec);
        return SINK_ROOM;
    case EVENT_FAILED:
        call->job = NULL;
        (void) snprintf(call->param, sizeof call->param, "%.*s", STR_ARG(ev->failed.param));
        call_end(call, ev->failed.code, ev->failed.message, ev->failed.retry_after_usec,
                 ev->at_usec);
        return SINK_ROOM;
    }
    return call->is_full ? SINK_FULL : SINK_ROOM;
}

#ifdef SLUICE_CHECK_GRAMMAR
static enum sink_answer on_checked_event(struct event_sink *sink, const struct event *ev)
{
    struct call *call = CONTAINER_OF(sink, struct call, inlet);

    assert(event_grammar_step(&call->grammar, ev) == 0);
    return on_event(sink, ev);
}
#else
#define on_checked_event on_event
#endif

void registry_init(struct call_registry *reg, struct admission *admission, struct router *router,
                   struct stats *stats, const struct call_hooks *hooks)
{
    *reg = (struct call_registry) {
        .admission = admission, .router = router, .stats = stats, .hooks = *hooks};
    list_init(&reg->fresh);
    list_init(&reg->waiting);
    list_init(&reg->running);
    list_init(&reg->ending);
    list_init(&reg->dead);
}

static void call_free(struct call *call)
{
    assert(call->ticket.state == TICKET_HOME && !call->charge.account && !call->job);
    list_remove(&call->link);
    call->registry->n_calls--;
    request_free(call->request);
    free(call);
}

static void drop_all(struct list *l, struct admission *admission)
{
    list_for_each_safe (pos, l) {
        struct call *call = CONTAINER_OF(pos, struct call, link);

        stop_job(call);
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

int call_submit(struct call_registry *reg, struct request *req, struct event_sink *sink,
                uint64_t now_usec, struct call **ret_call)
{
    struct call *call = calloc(1, sizeof *call);

    if (!call) {
        request_free(req);
        return -ENOMEM;
    }
    *call = (struct call) {
        .state = CALL_NEW,
        .registry = reg,
        .request = req,
        .sink = sink,
        .inlet = {.deliver = on_checked_event},
        .arrived_at_usec = now_usec,
        .deadline_at_usec =
            req->deadline_usec > 0 ? usec_add(now_usec, req->deadline_usec) : USEC_NEVER,
        .outcome = ERRCODE_NONE,
    };
    call->wish = (struct router_wish) {.tags = req->routing.tags,
                                       .n_tags = req->routing.n_tags,
                                       .is_local_only = req->routing.is_local_only};
    call->ticket.wish = &call->wish;
    list_init(&call->link);
    list_init(&call->ticket.link);
    list_append(&reg->fresh, &call->link);
    reg->n_calls++;
    *ret_call = call;
    want_run(reg);
    return 0;
}

static void end_unknown_model(struct call *call, uint64_t now_usec)
{
    const char *names[N_SUGGESTIONS];
    size_t n = router_suggest(call->registry->router, call->request->model, names, N_SUGGESTIONS);
    struct str asked = str_clip(call->request->model, NAME_SHOWN_MAX);
    char text[N_SUGGESTIONS * (NAME_SHOWN_MAX + 8) + NAME_SHOWN_MAX + 64];
    int len = snprintf(text, sizeof text, "the model \"%.*s\" does not exist", STR_ARG(asked));

    for (size_t i = 0; i < n && len > 0 && (size_t) len < sizeof text; i++) {
        struct str known = str_clip(str_from(names[i]), NAME_SHOWN_MAX);

        len += snprintf(text + len, sizeof text - (size_t) len, "%s\"%.*s\"",
                        i == 0 ? "; known: " : ", ", STR_ARG(known));
    }
    (void) snprintf(call->param, sizeof call->param, "model");
    call_end(call, ERRCODE_MODEL_NOT_FOUND, str_from(text), 0, now_usec);
}

static void end_refused(struct call *call, struct verdict v, uint64_t now_usec)
{
    call_end(call, v.code, STR_NONE, v.retry_after_usec, now_usec);
}

/* Charges the key that the call came with. False: it may not, and has ended. */
static bool charge(struct call *call, uint64_t now_usec)
{
    struct quota *quota = call->registry->quota;
    struct quota_refusal why;

    if (!quota || quota_take(quota, &call->charge, call->request, now_usec, &why) == ERRCODE_NONE) {
        return true;
    }
    call_end(call, why.code, why.text[0] ? str_from(why.text) : STR_NONE, why.retry_after_usec,
             now_usec);
    return false;
}

static void admit(struct call *call, uint64_t now_usec)
{
    struct call_registry *reg = call->registry;
    struct model_group *group = router_resolve(reg->router, call->request->model);

    if (!group && reg->unusable) {
        call_end(call, ERRCODE_MISCONFIGURED, str_from(reg->unusable), 0, now_usec);
        return;
    }
    if (!group) {
        end_unknown_model(call, now_usec);
        return;
    }
    if (!charge(call, now_usec)) {
        return;
    }

    struct verdict v =
        admission_enqueue(reg->admission, &call->ticket, group, call->request->class,
                          call->request->total_bytes, call->deadline_at_usec, now_usec);

    if (v.code != ERRCODE_NONE) {
        end_refused(call, v, now_usec);
        return;
    }
    call_set_state(call, CALL_WAITING);
}

/* What a wildcard's deployment is to ask its server for; kept with the request. 0 or -ENOMEM. */
static int name_model(struct call *call)
{
    char text[ROUTER_MODEL_BYTES];
    const char *model = router_upstream_model(call->registry->router, call->ticket.group,
                                              call->ticket.deployment, call->request->model, text);

    call->upstream_model = model ? arena_copy(&call->request->arena, str_from(model)).ptr : NULL;
    return model && !call->upstream_model ? -ENOMEM : 0;
}

static void start(struct call *call, uint64_t now_usec)
{
    struct deployment *d = call->ticket.deployment;
    struct event started = {
        .type = EVENT_STARTED,
        .at_usec = now_usec,
        .started = {.model = str_from(call->ticket.group->name), .deployment = str_from(d->id)},
    };
    int r;

    call->granted_at_usec = now_usec;
    call->backend = d->backend;
    (void) snprintf(call->deployment_id, sizeof call->deployment_id, "%s", d->id);
    (void) snprintf(call->provider, sizeof call->provider, "%s", d->provider);
    call_set_state(call, CALL_STARTING);
    (void) event_grammar_step(&call->grammar, &started);
    forward(call, &started);

    struct backend_job *job = NULL;
    struct backend_order order = {.request = call->request,
                                  .total_usec = call->request->routing.total_usec,
                                  .first_byte_usec = call->request->routing.first_byte_usec};

    r = name_model(call);
    order.model = call->upstream_model;
    if (r == 0) {
        r = call->backend->ops->start(call->backend, &order, &call->inlet, now_usec, &job);
    }
    if (r < 0) {
        call_end(call, r == -ENOMEM ? ERRCODE_OUT_OF_MEMORY : ERRCODE_INTERNAL, STR_NONE,
                 RETRY_AFTER_MIN_USEC, now_usec);
        return;
    }
    if (!has_ended(call)) {
        call->job = job;
        if (call->is_full) {
            call->backend->ops->pause(job);
        }
    }
}

static void grant(struct call_registry *reg, uint64_t now_usec)
{
    struct ticket *t;

    while ((t = admission_next(reg->admission, now_usec))) {
        start(CONTAINER_OF(t, struct call, ticket), now_usec);
    }
}

/* Instead of a slot for each of them, which the next call would hold until it failed as well. */
static void refuse(struct call_registry *reg, uint64_t now_usec)
{
    struct router_refusal refusal;
    struct ticket *t;

    while ((t = admission_refuse(reg->admission, now_usec, &refusal))) {
        char text[ROUTER_REFUSAL_BYTES];

        call_end(CONTAINER_OF(t, struct call, ticket), refusal.code,
                 str_from(router_refusal_describe(&refusal, now_usec, text)),
                 refusal.retry_after_usec, now_usec);
    }
}

static void expire_queued(struct call_registry *reg, uint64_t now_usec)
{
    struct verdict v;
    struct ticket *t;

    while ((t = admission_expire(reg->admission, now_usec, &v))) {
        end_refused(CONTAINER_OF(t, struct call, ticket), v, now_usec);
    }
}

static void expire_running(struct call_registry *reg, uint64_t now_usec)
{
    list_for_each_safe (l, &reg->running) {
        struct call *call = CONTAINER_OF(l, struct call, link);

        if (call->deadline_at_usec <= now_usec) {
            call_cancel(call, ERRCODE_DEADLINE_EXCEEDED, now_usec);
        }
    }
}

/* Tells waiting calls their position when it changed. */
static void announce(struct call_registry *reg, uint64_t now_usec)
{
    uint32_t position = 0;

    list_for_each (l, &reg->admission->queue) {
        struct ticket *t = CONTAINER_OF(l, struct ticket, link);
        struct call *call = CONTAINER_OF(t, struct call, ticket);

        position++;
        if (t->told_position == position || !call->sink) {
            continue;
        }
        t->told_position = position;

        struct event ev = {
            .type = EVENT_QUEUED, .at_usec = now_usec, .queued = {.position = position}};

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
                   .retry_after_usec = call->retry_after_usec},
    };

    if (sink) {
        assert(call->outcome != ERRCODE_NONE); /* END is passed on when it comes */
        (void) event_sink_deliver(sink, &ev);
    }
    stats_count(call->registry->stats, call->outcome, call->granted_at_usec != 0);
    call->registry->stats->tokens_in += call->usage.tokens_in;
    call->registry->stats->tokens_out += call->usage.tokens_out;
    call->registry->hooks.on_ended(call->registry->hooks.ctx, call);
    call_set_state(call, CALL_DEAD);
}

static bool has_work(const struct call_registry *reg)
{
    return !list_is_empty(&reg->fresh) || !list_is_empty(&reg->ending);
}

void registry_run(struct call_registry *reg, uint64_t now_usec)
{
    struct list *l;

    assert(!reg->is_running);
    reg->is_running = true;
    expire_running(reg, now_usec);
    do {
        while ((l = list_first(&reg->fresh))) {
            admit(CONTAINER_OF(l, struct call, link), now_usec);
        }
        grant(reg, now_usec);
        refuse(reg, now_usec);
        expire_queued(reg, now_usec);
        while ((l = list_first(&reg->ending))) {
            tell_end(CONTAINER_OF(l, struct call, link), now_usec);
        }
    } while (has_work(reg));
    announce(reg, now_usec);
    while ((l = list_first(&reg->dead))) {
        call_free(CONTAINER_OF(l, struct call, link));
    }
    router_reap(reg->router);
    reg->is_running = false;
}

uint64_t registry_next_deadline(const struct call_registry *reg)
{
    uint64_t earliest = admission_next_deadline(reg->admission);

    list_for_each (l, &reg->running) {
        const struct call *call = CONTAINER_OF(l, struct call, link);

        earliest = call->deadline_at_usec < earliest ? call->deadline_at_usec : earliest;
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

void registry_reroute(struct call_registry *reg, uint64_t now_usec)
{
    list_for_each_safe (l, &reg->waiting) {
        struct call *call = CONTAINER_OF(l, struct call, link);

        call->ticket.group = router_resolve(reg->router, call->request->model);
        if (!call->ticket.group) {
            end_unknown_model(call, now_usec);
        } else if (!model_group_is_servable(call->ticket.group)) {
            call_cancel(call, ERRCODE_MISCONFIGURED, now_usec);
        }
    }
    list_for_each (l, &reg->running) {
        /* the deployment holds on by itself */
        CONTAINER_OF(l, struct call, link)->ticket.group = NULL;
    }
    want_run(reg);
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
