/*
 * The life of a call: its states, what a backend tells, how it ends.
 *
 * One function changes a call's state, checks the transition against the table and moves the call
 * to the list of its new state. Events from backends pass through here, between two runs of the
 * registry (call_registry.c); they never free anything. What an attempt leads to when it fails
 * before its first word is decided in call_attempt.c.
 *
 * Invariants: a call's ticket is home in NEW, ENDING and DEAD; its job is NULL outside STARTING and
 * STREAMING; its sink hears exactly one terminal event unless it was detached, and content of one
 * attempt only; a call is freed at the end of a registry_run() and nowhere else.
 *
 * Must not: know sockets, protocols, providers, or read a clock.
 */
#include "core/call.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "core/call_internal.h"

static const char *const state_names[] = {
    [CALL_NEW] = "NEW",           [CALL_WAITING] = "WAITING",
    [CALL_STARTING] = "STARTING", [CALL_STREAMING] = "STREAMING",
    [CALL_ENDING] = "ENDING",     [CALL_DEAD] = "DEAD",
};

/* Which states may follow: bit i of transitions[s] allows s -> i. */
static const unsigned transitions[] = {
    [CALL_NEW] = 1u << CALL_WAITING | 1u << CALL_ENDING,
    [CALL_WAITING] = 1u << CALL_WAITING | 1u << CALL_STARTING | 1u << CALL_ENDING,
    [CALL_STARTING] = 1u << CALL_WAITING | 1u << CALL_STREAMING | 1u << CALL_ENDING,
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

void call_want_run(struct call_registry *reg)
{
    if (!reg->is_running) {
        reg->hooks.on_work(reg->hooks.ctx);
    }
}

void call_set_state(struct call *call, enum call_state to)
{
    assert(transitions[call->state] & (1u << to));
    call->state = to;
    list_remove(&call->link);
    list_append(list_of(call->registry, to), &call->link);
    if (to == CALL_ENDING || to == CALL_DEAD) {
        call_want_run(call->registry);
    }
}

static void tell_health(struct call *call, enum health_news news, uint64_t now_usec)
{
    const struct call_hooks *hooks = &call->registry->hooks;

    if (news == HEALTH_NO_NEWS) {
        return;
    }
    /* somebody may wait who can run now, or need not wait any more */
    call_want_run(call->registry);
    if (hooks->on_breaker) {
        hooks->on_breaker(hooks->ctx, call->ticket.deployment, news, now_usec);
    }
}

/*
 * What an attempt says of its server. A time-out that the caller has asked for with a limit of its
 * own says nothing: else one client in a hurry would close a server for all.
 */
static enum errcode outcome_for_server(const struct call *call, const struct call_failure *f)
{
    const struct request_routing *routing = &call->request->routing;
    bool has_own_limit = routing->total_usec > 0 || routing->first_byte_usec > 0;

    if (!f) {
        return ERRCODE_NONE;
    }
    return f->code == ERRCODE_UPSTREAM_TIMEOUT && has_own_limit ? ERRCODE_DEADLINE_EXCEEDED
                                                                : f->code;
}

void call_leave_slot(struct call *call, const struct call_failure *f, uint64_t now_usec)
{
    struct ticket *t = &call->ticket;

    if (t->state == TICKET_GRANTED) {
        enum errcode code = outcome_for_server(call, f);

        if (call->registry->hooks.on_attempt) {
            call->registry->hooks.on_attempt(call->registry->hooks.ctx, call, code, now_usec);
        }
        tell_health(call, health_ended(&t->deployment->health, &t->run, code, now_usec), now_usec);
        (void) router_note_end(call->registry->router, t->deployment, code,
                               f ? f->retry_after_usec : 0, now_usec);
        router_note_tokens(t->deployment, call->usage.tokens_in + call->usage.tokens_out, now_usec);
        admission_note_end(call->registry->admission, t, code, now_usec);
    }
    admission_release(call->registry->admission, t, now_usec);
}

void call_remember(struct call *call, const struct call_failure *f)
{
    struct str text = f ? str_clip(f->text, sizeof call->text - 1) : STR_NONE;
    struct str param = f ? str_clip(f->param, sizeof call->param - 1) : STR_NONE;

    call->outcome = f ? f->code : ERRCODE_NONE;
    call->retry_after_usec = f ? f->retry_after_usec : 0;
    call->is_last = f && f->is_last;
    str_copy(text, call->text, sizeof call->text);
    str_copy(param, call->param, sizeof call->param);
}

/*
 * What a call has cost its caller: as the model server counted; as was guessed where it did not, though
 * an answer came; else nothing.
 */
static uint64_t tokens_used(const struct call *call)
{
    uint64_t counted = (uint64_t) call->usage.tokens_in + call->usage.tokens_out;

    return counted > 0 ? counted : call->first_token_at_usec != 0 ? call->charge.n_tokens : 0;
}

void call_end_as_remembered(struct call *call, uint64_t now_usec)
{
    assert(!call->job && call->ticket.state == TICKET_HOME);
    quota_settle(call->registry->quota, &call->charge, tokens_used(call), now_usec);
    call->ended_at_usec = now_usec;
    call_set_state(call, CALL_ENDING);
}

/*
 * The outcome is known: everything that the call holds goes home, the sink is told in
 * registry_run(). The job must be over or cancelled. f: NULL when it was answered.
 */
void call_end(struct call *call, const struct call_failure *f, uint64_t now_usec)
{
    call_leave_slot(call, f, now_usec);
    call_remember(call, f);
    call_end_as_remembered(call, now_usec);
}

void call_stop_job(struct call *call)
{
    struct backend_job *job = TAKE(call->job);

    if (job) {
        call->backend->ops->cancel(job);
    }
}

bool call_has_ended(const struct call *call)
{
    return call->state == CALL_ENDING || call->state == CALL_DEAD;
}

void call_cancel(struct call *call, enum errcode code, uint64_t now_usec)
{
    if (call_has_ended(call)) {
        return;
    }

    struct call_failure f = {.code = code};

    call_stop_job(call);
    f.retry_after_usec = errcode_info(code)->is_retryable ? RETRY_AFTER_MIN_USEC : 0;
    call_end(call, &f, now_usec);
}

/*
 * No other attempt follows, and it does not leave the device: that is for calls of which none was made
 * (call_spill.c), and memory is short for all groups.
 */
void call_relieve(struct call *call, uint64_t now_usec)
{
    const struct call_failure f = {
        .code = ERRCODE_MEMORY_PRESSURE,
        .text = STR_LIT("memory ran short: the call was stopped to free what its model takes"),
        .retry_after_usec =
            admission_pressure_retry(call->registry->admission, call->ticket.class, now_usec)};

    call_stop_job(call);
    call->registry->stats->n_relieved++;
    call_end(call, &f, now_usec);
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

void call_forward(struct call *call, const struct event *ev)
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
        router_note_content(t->deployment, usec_since(at_usec, call->attempt_at_usec), at_usec);
        admission_note_content(call->registry->admission, t, at_usec);
        tell_health(call, health_began(&t->deployment->health, &t->run), at_usec);
    }
}

/* The first content tells which deployment answers: from here on there is no other attempt. */
static void content(struct call *call, const struct event *ev)
{
    first_content(call, ev->at_usec);
    call_forward(call, ev);
}

/* Told with the end if no content came before it: an attempt may still fail and another follow. */
static void usage(struct call *call, const struct event *ev)
{
    call->usage = ev->usage;
    if (call->state == CALL_STREAMING) {
        call_forward(call, ev);
    } else {
        call->owes_usage = true;
    }
}

static void tell_usage(struct call *call, uint64_t at_usec)
{
    struct event ev = {.type = EVENT_USAGE, .at_usec = at_usec, .usage = call->usage};

    if (call->owes_usage) {
        call->owes_usage = false;
        call_forward(call, &ev);
    }
}

static void end(struct call *call, const struct event *ev)
{
    if (call->state == CALL_STARTING && call_is_filtered(call, ev)) {
        call_attempt_failed(call, &(struct call_failure) {.code = ERRCODE_CONTENT_FILTER},
                            ev->at_usec);
        return;
    }
    tell_usage(call, ev->at_usec);
    call_forward(call, ev);
    call->sink = NULL;
    call_end(call, NULL, ev->at_usec);
}

static void failed(struct call *call, const struct event *ev)
{
    struct call_failure f = {.code = ev->failed.code,
                             .text = ev->failed.message,
                             .param = ev->failed.param,
                             .retry_after_usec = ev->failed.retry_after_usec};

    if (call->state == CALL_STARTING) {
        call_attempt_failed(call, &f, ev->at_usec);
    } else {
        call_end(call, &f, ev->at_usec);
    }
}

/*
 * What the backend tells. A failure is not passed on from here: another attempt may follow; or the
 * slot goes home, and registry_run() tells the sink.
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
        call->registry->stats->n_pieces++;
        content(call, ev);
        break;
    case EVENT_TOOL_CALL:
    case EVENT_EMBEDDING:
    case EVENT_RESULT:
        content(call, ev);
        break;
    case EVENT_USAGE:
        usage(call, ev);
        break;
    case EVENT_END:
        call->job = NULL;
        end(call, ev);
        return SINK_ROOM;
    case EVENT_FAILED:
        call->job = NULL;
        failed(call, ev);
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

void call_free(struct call *call)
{
    assert(call->ticket.state == TICKET_HOME && !call->charge.account && !call->job);
    list_remove(&call->link);
    call->registry->n_calls--;
    for (unsigned i = 0; i < call->attempts.n_fallbacks; i++) {
        free(call->fallbacks[i]);
    }
    request_free(call->request);
    free(call);
}

static uint64_t end_of(uint64_t limit_usec, uint64_t now_usec)
{
    return limit_usec > 0 ? usec_add(now_usec, limit_usec) : USEC_NEVER;
}

static uint64_t deadline_of(const struct request *req, uint64_t now_usec)
{
    uint64_t by_deadline = end_of(req->deadline_usec, now_usec);
    uint64_t by_timeout = end_of(req->routing.total_usec, now_usec);

    return by_deadline < by_timeout ? by_deadline : by_timeout;
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
        .cancel_at_usec = end_of(req->deadline_usec, now_usec),
        .deadline_at_usec = deadline_of(req, now_usec),
        .outcome = ERRCODE_NONE,
    };
    call->asked = req->model;
    call->wish = (struct router_wish) {.name = req->model,
                                       .tried = call->tried,
                                       .tags = req->routing.tags,
                                       .n_tags = req->routing.n_tags,
                                       .is_local_only = req->routing.is_local_only,
                                       .class = req->class,
                                       .since_usec = now_usec};
    call->ticket.wish = &call->wish;
    list_init(&call->link);
    list_init(&call->ticket.link);
    list_init(&call->ticket.item.link);
    list_append(&reg->fresh, &call->link);
    reg->n_calls++;
    *ret_call = call;
    retry_budget_earn(retry_budgets_of(&reg->budgets, &req->caller, now_usec));
    call_want_run(reg);
    return 0;
}
