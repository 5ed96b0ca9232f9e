/*
 * The ways of a call: which group it waits for, the attempt that begins, and what follows when one
 * fails before its first word.
 *
 * attempts.c decides; here is looked up what it asks for, and done what it says. Between two
 * attempts a call holds nothing but its place in the queue, which is that of its arrival. What it
 * would end with is remembered while it goes on: the last failure of the group that was asked for,
 * since what a fallback says is about a model that nobody asked for.
 *
 * Must not: know sockets, protocols, providers, or read a clock.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/call_internal.h"
#include "core/fallback.h"
#include "core/prompt_size.h"

#define N_SUGGESTIONS 3

/* ---------------------------------------------------------------- into the queue */

#define UNKNOWN_MODEL_BYTES (N_SUGGESTIONS * (NAME_SHOWN_MAX + 8) + NAME_SHOWN_MAX + 128)

static void describe_unknown(const struct router *r, struct str model,
                             char ret_text[UNKNOWN_MODEL_BYTES])
{
    const char *names[N_SUGGESTIONS];
    size_t n = router_suggest(r, model, names, N_SUGGESTIONS);
    struct str asked = str_clip(model, NAME_SHOWN_MAX);
    int len = snprintf(ret_text, UNKNOWN_MODEL_BYTES, "the model \"%.*s\" does not exist",
                       STR_ARG(asked));

    for (size_t i = 0; i < n && len > 0 && len < UNKNOWN_MODEL_BYTES; i++) {
        struct str known = str_clip(str_from(names[i]), NAME_SHOWN_MAX);

        len += snprintf(ret_text + len, (size_t) (UNKNOWN_MODEL_BYTES - len), "%s\"%.*s\"",
                        i == 0 ? "; known: " : ", ", STR_ARG(known));
    }
}

void call_end_unknown_model(struct call *call, uint64_t now_usec)
{
    const struct router *r = call->registry->router;
    const struct model_group *group = router_group_of_id(r, call->request->model);
    struct str asked = str_clip(call->request->model, NAME_SHOWN_MAX);
    char text[UNKNOWN_MODEL_BYTES];

    if (group) {
        (void) snprintf(text, sizeof text,
                        "\"%.*s\" is a deployment for all models \"%.*s\": ask for one by its name",
                        STR_ARG(asked), STR_ARG(str_clip(str_from(group->name), NAME_SHOWN_MAX)));
    } else {
        describe_unknown(r, call->request->model, text);
    }
    call_end(call,
             &(struct call_failure) {.code = ERRCODE_MODEL_NOT_FOUND,
                                     .text = str_from(text),
                                     .param = STR_LIT("model")},
             now_usec);
}

void call_bind(struct call *call, const struct model_group *group)
{
    if (router_keeps_local(call->registry->router, group, &call->wish)) {
        call->wish.is_local_only = true;
    }
}

/* What of the call's wish follows from the group that was asked for, and from the settings. */
static void complete_wish(struct call *call, const struct model_group *group)
{
    if (call->registry->router->policy.checks_context) {
        call->wish.prompt_tokens = prompt_size_min_tokens(call->request);
    }
    call_bind(call, group);
}

/* Charges the caller. False: he may not, and the call has ended. */
static bool charge(struct call *call, uint64_t now_usec)
{
    struct quota *quota = call->registry->quota;
    struct quota_refusal why;

    if (!quota || quota_take(quota, &call->charge, call->request, now_usec, &why) == ERRCODE_NONE) {
        return true;
    }
    call_end(call,
             &(struct call_failure) {.code = why.code,
                                     .text = why.text[0] ? str_from(why.text) : STR_NONE,
                                     .retry_after_usec = why.retry_after_usec},
             now_usec);
    return false;
}

struct admission_ask call_ask(const struct call *call)
{
    const struct request *req = call->request;

    return (struct admission_ask) {
        .caller = caller_name_of(&call->registry->admission->callers, &req->caller),
        .class = req->class,
        .bytes = req->total_bytes,
        .own_deadline_at_usec = call->deadline_at_usec,
        .max_wait_usec = req->max_wait_usec,
        .max_stay_usec = req->max_stay_usec,
        .n_retries = req->n_client_retries,
    };
}

void call_admit(struct call *call, uint64_t now_usec)
{
    struct call_registry *reg = call->registry;
    struct model_group *group = router_resolve(reg->router, call->request->model);

    if (!group && reg->unusable) {
        call_end(
            call,
            &(struct call_failure) {.code = ERRCODE_MISCONFIGURED, .text = str_from(reg->unusable)},
            now_usec);
        return;
    }
    if (!group) {
        call_end_unknown_model(call, now_usec);
        return;
    }
    if (!charge(call, now_usec)) {
        return;
    }
    complete_wish(call, group);
    if (call_spill(call, ERRCODE_NONE, now_usec)) {
        return;
    }

    struct admission_ask ask = call_ask(call);
    struct verdict v = admission_enqueue(reg->admission, &call->ticket, group, &ask, now_usec);

    if (v.code != ERRCODE_NONE) {
        char text[ROUTER_REFUSAL_BYTES];
        struct call_failure f = call_failure_of(call, group, &v, now_usec, text);

        call_group_refused(call, &f, now_usec);
        return;
    }
    call_set_state(call, CALL_WAITING);
}

/* ---------------------------------------------------------------- an attempt */

/* What a wildcard's deployment is to ask its server for; kept with the request. 0 or -ENOMEM. */
static int name_model(struct call *call)
{
    char text[ROUTER_MODEL_BYTES];
    const char *model = router_upstream_model(call->registry->router, call->ticket.group,
                                              call->ticket.deployment, call->asked, text);

    call->upstream_model = model ? arena_copy(&call->request->arena, str_from(model)).ptr : NULL;
    return model && !call->upstream_model ? -ENOMEM : 0;
}

static void tell_started(struct call *call, uint64_t now_usec)
{
    const struct ticket *t = &call->ticket;
    struct event ev = {
        .type = EVENT_STARTED,
        .at_usec = now_usec,
        .started = {.model = str_from(t->group->name),
                    .deployment = str_from(t->deployment->id),
                    .n_retries = call->attempts.n_retries,
                    .n_fallbacks = call->attempts.n_fallbacks,
                    .spilled = call->wish.is_away ? spill_reason_name(call->spilled) : NULL},
    };

    (void) event_grammar_step(&call->grammar, &ev);
    call_forward(call, &ev);
}

/*
 * What is left of the request's own timeout, which the deployment's gives way to. Never 0, which
 * would be none: who gets a slot in its last moment is told by the backend.
 */
static uint64_t total_left(const struct call *call, uint64_t now_usec)
{
    uint64_t total_usec = call->request->routing.total_usec;
    uint64_t used_usec = usec_since(now_usec, call->arrived_at_usec);

    return total_usec > used_usec ? total_usec - used_usec : total_usec > 0;
}

static int start_job(struct call *call, uint64_t now_usec)
{
    struct backend_job *job = NULL;
    struct backend_order order = {.request = call->request,
                                  .total_usec = total_left(call, now_usec),
                                  .first_byte_usec = call->request->routing.first_byte_usec};
    unsigned n = call->attempts.n;
    int r = name_model(call);

    order.model = call->upstream_model;
    if (r == 0) {
        r = call->backend->ops->start(call->backend, &order, &call->inlet, now_usec, &job);
    }
    if (r < 0 || !job) {
        return r;
    }
    assert(call->attempts.n == n && !call_has_ended(call));
    call->job = job;
    if (call->is_full) {
        call->backend->ops->pause(job);
    }
    return 0;
}

void call_start(struct call *call, uint64_t now_usec)
{
    struct deployment *d = call->ticket.deployment;
    int r;

    if (call->granted_at_usec == 0) {
        struct stats *stats = call->registry->stats;

        call->granted_at_usec = now_usec;
        stats->n_granted[call->ticket.class]++;
        stats->waited_usec[call->ticket.class] += usec_since(now_usec, call->arrived_at_usec);
    }
    call->attempt_at_usec = now_usec;
    call->attempts.n++;
    call->backend = d->backend;
    str_copy(str_from(d->id), call->deployment_id, sizeof call->deployment_id);
    str_copy(str_from(d->provider), call->provider, sizeof call->provider);
    call_set_state(call, CALL_STARTING);
    tell_started(call, now_usec);
    r = start_job(call, now_usec);
    if (r < 0) {
        call_end(
            call,
            &(struct call_failure) {.code = r == -ENOMEM ? ERRCODE_OUT_OF_MEMORY : ERRCODE_INTERNAL,
                                    .retry_after_usec = RETRY_AFTER_MIN_USEC},
            now_usec);
    }
}

/* ---------------------------------------------------------------- other ways */

/* The next model to ask, or absent. */
static struct str next_way(const struct call *call, enum fallback_kind kind, uint64_t now_usec)
{
    struct str asked[1 + CALL_MAX_FALLBACKS] = {call->request->model};
    unsigned n = call->attempts.n_fallbacks;
    const struct fallback_call c = {
        .wish = &call->wish, .routing = &call->request->routing, .asked = asked, .n_asked = 1 + n};

    for (unsigned i = 0; i < n; i++) {
        asked[1 + i] = str_from(call->fallbacks[i]);
    }
    return fallback_find(call->registry->router, &c, kind, now_usec);
}

bool call_is_filtered(struct call *call, const struct event *end)
{
    for (size_t i = 0; i < end->end.n_choices; i++) {
        if (end->end.reasons[i] != FINISH_CONTENT_FILTER) {
            return false;
        }
    }
    return end->end.n_choices > 0 && call->sink &&
           next_way(call, FALLBACK_CONTENT_POLICY, end->at_usec).ptr;
}

/* ---------------------------------------------------------------- after a failure */

static bool has_digit(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] >= '0' && s.ptr[i] <= '9') {
            return true;
        }
    }
    return false;
}

static void end_remembered(struct call *call, enum errcode last, uint64_t now_usec)
{
    size_t n = strlen(call->text);

    const char *text = n == 0 ? errcode_info(call->outcome)->text : "";
    const char *code = errcode_info(last)->openai_code;

    if (call->wish.is_away) {
        (void) snprintf(call->text + n, sizeof call->text - n,
                        "%s; another machine was asked instead (%s): %s", text,
                        spill_reason_name(call->spilled), code);
    } else if (call->attempts.n_fallbacks > 0) {
        (void) snprintf(call->text + n, sizeof call->text - n, "%s; %u fallback%s did not help: %s",
                        text, call->attempts.n_fallbacks, call->attempts.n_fallbacks > 1 ? "s" : "",
                        code);
    }
    call_end_as_remembered(call, now_usec);
}

struct verdict call_wait_again(struct call *call, struct model_group *group,
                               const struct admission_ask *ask, uint64_t at_usec, uint64_t now_usec)
{
    struct call_registry *reg = call->registry;
    struct verdict v =
        admission_requeue(reg->admission, &call->ticket, group, ask, at_usec, now_usec);

    if (v.code != ERRCODE_NONE) {
        return v;
    }
    call->grammar = (struct event_grammar) {0};
    call->usage = (struct usage) {0};
    call->owes_usage = false;
    call_set_state(call, CALL_WAITING);
    reg->has_requeued = true;
    call_want_run(reg);
    return v;
}

/* Into the queue again. false: sluice takes nobody in now. */
static bool wait_again(struct call *call, struct model_group *group, uint64_t at_usec,
                       uint64_t now_usec)
{
    struct admission_ask ask = call_ask(call);

    return call_wait_again(call, group, &ask, at_usec, now_usec).code == ERRCODE_NONE;
}

/* Counted when it is certain: while sluice takes nobody in, as in a drain, nothing follows. */
static bool fall_back(struct call *call, struct str name, uint64_t now_usec)
{
    struct model_group *group = router_resolve(call->registry->router, name);
    char *copy = malloc(name.len + 1);

    if (!copy || !wait_again(call, group, now_usec, now_usec)) {
        free(copy);
        return false;
    }
    memcpy(copy, name.ptr, name.len);
    copy[name.len] = '\0';
    call->asked = str_from(copy);
    call->fallbacks[call->attempts.n_fallbacks++] = copy;
    call->attempts.n_in_level = 0;
    call->wish.name = call->asked;
    call->wish.n_tried = 0;
    call_bind(call, group);
    call->registry->stats->n_fallbacks++;
    return true;
}

static struct retry_budget *budget_of(const struct call *call, uint64_t now_usec)
{
    return retry_budgets_of(&call->registry->budgets, &call->request->caller, now_usec);
}

static bool retry(struct call *call, struct model_group *group, const struct attempt_decision *d,
                  uint64_t now_usec)
{
    if (!wait_again(call, group, d->at_usec, now_usec)) {
        return false;
    }
    call->attempts.n_retries++;
    call->attempts.n_in_level = d->changes_level ? 0 : call->attempts.n_in_level + 1;
    call->registry->stats->n_retries++;
    if (d->is_same) {
        retry_budget_take(budget_of(call, now_usec));
    }
    return true;
}

/* Does a policy have a number for just this cause? */
static bool is_named(const struct router_policy *policy, struct str group, enum fail_cause cause)
{
    const struct fail_policy *own = router_policy_retries(policy, group);

    if (cause == _FAIL_CAUSE_MAX) {
        return false;
    }
    if (own && own->by_cause[cause] != FAIL_POLICY_UNSET) {
        return own->by_cause[cause] > 0;
    }
    return policy->retries.by_cause[cause] > 0;
}

static struct attempt_rules rules_for(const struct call *call, const struct model_group *group,
                                      const struct deployment *d, enum errcode code)
{
    const struct router *router = call->registry->router;
    const struct request_routing *routing = &call->request->routing;
    enum fail_cause cause = fail_cause_of(code);

    return (struct attempt_rules) {
        .of_request = !routing->has_retries                         ? FAIL_POLICY_UNSET
                      : routing->max_retries > ATTEMPTS_MAX_RETRIES ? ATTEMPTS_MAX_RETRIES
                                                                    : (int) routing->max_retries,
        .of_config = cause == _FAIL_CAUSE_MAX ? 0 : router_retries(router, call->asked, d, cause),
        .is_named = group && is_named(&router->policy, str_from(group->name), cause),
        .least_pause_usec = router->policy.retry_after_usec,
    };
}

static uint32_t chance(struct call_registry *reg)
{
    /* xorshift32 (Marsaglia, 2003): spreads pauses, and keeps no secret */
    reg->random ^= reg->random << 13;
    reg->random ^= reg->random >> 17;
    reg->random ^= reg->random << 5;
    return reg->random;
}

/* As router_look_ahead() says it. */
static uint32_t order_of(const struct deployment *d)
{
    return d->terms->order > 0 ? d->terms->order : DEPLOYMENT_ORDER_LAST;
}

/* What the group has to offer after d failed the call. */
static void look_ahead(const struct call *call, const struct model_group *group,
                       const struct deployment *d, uint64_t now_usec, struct attempt_field *field)
{
    struct router_outlook next;

    if (!router_look_ahead(call->registry->router, group, &call->wish, now_usec, &next)) {
        return;
    }
    field->has_untried = !next.is_tried;
    field->has_next_level = !next.is_tried && next.order != order_of(d);
    field->has_again = next.is_tried;
}

static void note_try(struct call *call, const struct deployment *d, bool is_last)
{
    assert(call->wish.n_tried < CALL_MAX_TRIED);
    call->tried[call->wish.n_tried++] =
        (struct router_try) {.serial = d->serial, .is_last = is_last};
}

/*
 * May the same one be asked again? From memory level 2 on not on this device, where a failure is often
 * memory's doing and each attempt takes more of it; another deployment or a fallback may still serve.
 */
static bool may_repeat(const struct call *call, const struct deployment *d, uint64_t now_usec)
{
    const struct admission *a = call->registry->admission;
    bool is_short = a->pressure && pressure_level_for_calls(a->pressure) >= PRESSURE_L2;

    return !(is_short && d && d->is_local) &&
           retry_budget_can_take(budget_of(call, now_usec), now_usec);
}

/* d: where it failed, or NULL: its group refused it. The ticket is home. */
static void go_on(struct call *call, const struct call_failure *f, const struct deployment *d,
                  uint64_t now_usec)
{
    struct call_registry *reg = call->registry;
    struct model_group *group = router_resolve(reg->router, call->asked);
    bool is_away = call->wish.is_away;
    struct str other =
        is_away ? STR_NONE : next_way(call, attempts_fallback_kind(f->code), now_usec);
    struct attempt_failure failure = {
        .code = f->code, .retry_after_usec = f->retry_after_usec, .was_asked = d != NULL};
    struct attempt_field field = {.has_fallback = is_away || other.ptr};
    struct attempt_rules rules = rules_for(call, group, d, f->code);
    bool goes_on = false;

    if (d) {
        note_try(call, d, attempts_bars(&rules, &failure));
    }
    if (group && d) {
        look_ahead(call, group, d, now_usec, &field);
    }

    struct attempt_decision decision =
        attempts_decide(&call->attempts, &rules, &failure, &field, may_repeat(call, d, now_usec),
                        call->deadline_at_usec, chance(reg), now_usec);

    switch (decision.next) {
    case ATTEMPT_RETRY:
        goes_on = group && retry(call, group, &decision, now_usec);
        break;
    case ATTEMPT_FALL_BACK:
        goes_on = is_away ? call_come_home(call, now_usec) : fall_back(call, other, now_usec);
        break;
    case ATTEMPT_END:
        break;
    }
    if (!goes_on) {
        end_remembered(call, f->code, now_usec);
    }
}

/*
 * A server that finds a prompt too long and gives no number (Ollama, of embeddings): those that are
 * known. text keeps what *f then says.
 */
static void add_numbers(const struct call *call, const struct deployment *d,
                        char text[CALL_TEXT_MAX], struct call_failure *f)
{
    uint64_t most = d->terms->max_input_tokens, n = prompt_size_min_tokens(call->request);
    struct str said = f->text.len > 0 ? f->text : str_from(errcode_info(f->code)->text);
    int len;

    if (f->code != ERRCODE_CONTEXT_LENGTH || most == 0 || has_digit(f->text)) {
        return;
    }
    said = str_clip(said, CALL_TEXT_MAX / 2);
    len = snprintf(text, CALL_TEXT_MAX, "%.*s: the model takes %llu tokens at most", STR_ARG(said),
                   (unsigned long long) most);
    if (n > 0) {
        (void) snprintf(text + len, CALL_TEXT_MAX - (size_t) len, ", and the prompt has %llu%s",
                        (unsigned long long) n, prompt_size_precision(call->request));
    }
    f->text = str_from(text);
}

/* Is it where its client wanted it? */
static bool is_first_choice(const struct call *call)
{
    return call->asked.ptr == call->request->model.ptr && !call->wish.is_away;
}

void call_attempt_failed(struct call *call, const struct call_failure *f, uint64_t now_usec)
{
    const struct deployment *d = call->ticket.deployment;
    struct call_failure told = *f;
    char text[CALL_TEXT_MAX];

    add_numbers(call, d, text, &told);
    call_leave_slot(call, f, now_usec);
    if (is_first_choice(call) || call->outcome == ERRCODE_NONE) {
        call_remember(call, &told);
    }
    if (call->sink) {
        go_on(call, f, d, now_usec);
    } else {
        call_end_as_remembered(call, now_usec);
    }
}

void call_preempted(struct call *call, uint64_t now_usec)
{
    const struct call_failure f = {.code = ERRCODE_PREEMPTED,
                                   .retry_after_usec = RETRY_AFTER_MIN_USEC};
    struct model_group *group = router_resolve(call->registry->router, call->asked);

    call_stop_job(call);
    call_leave_slot(call, &f, now_usec);
    if (!group || !wait_again(call, group, now_usec, now_usec)) {
        call_remember(call, &f);
        call_end_as_remembered(call, now_usec);
    }
}

void call_group_refused(struct call *call, const struct call_failure *f, uint64_t now_usec)
{
    struct call_failure told = *f;
    char text[CALL_TEXT_MAX];

    if (call_spill(call, f->code, now_usec)) {
        return;
    }
    if (call->outcome == ERRCODE_NONE) { /* else a model server has said something more exact */
        call_say_why_it_stayed(call, &told, text, now_usec);
        call_remember(call, &told);
    }
    go_on(call, f, NULL, now_usec);
}
