/*
 * Calls that leave the device: they go, and come back when nobody else has served them.
 *
 * A call leaves at most once, and before its first attempt; from then on wish.is_away keeps it from all
 * deployments of this device. It goes into the queue of its target, which is no other than that of all
 * calls there. Fails it there, retries in the group that it went to come first; then it comes home,
 * through the gate like one that has just come, if it is not older than the longest stay in the queue;
 * other fallbacks are those of a call that failed at home. A call that came home stays.
 *
 * Where spill.h's rule is off all of this is one look at two numbers.
 *
 * Must not: know sockets, protocols, providers, or read a clock.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/call_internal.h"
#include "core/spill_target.h"

static bool may_leave(const struct call *call)
{
    return call->spilled == SPILL_NONE && call->attempts.n == 0 && call->attempts.n_fallbacks == 0;
}

static const struct spill_rules *rules_of(const struct call *call)
{
    return &call->registry->router->policy.spill;
}

/* ask: what *ret points to. */
static bool describe(const struct call *call, struct admission_ask *ask, struct spill_call *ret)
{
    const struct model_group *group = router_resolve(call->registry->router, call->asked);

    if (!group) {
        return false;
    }
    *ask = call_ask(call);
    *ret = (struct spill_call) {.group = group,
                                .asked = call->asked,
                                .wish = &call->wish,
                                .ask = ask,
                                .routing = &call->request->routing};
    return true;
}

/* ---------------------------------------------------------------- away */

/* From wherever it is: its ticket comes home first. */
static struct verdict enter(struct call *call, struct model_group *group, uint64_t now_usec)
{
    struct call_registry *reg = call->registry;
    struct admission_ask ask = call_ask(call);
    struct verdict v;

    if (call->state != CALL_NEW) {
        admission_release(reg->admission, &call->ticket, now_usec);
        return call_wait_again(call, group, &ask, now_usec, now_usec);
    }
    v = admission_enqueue(reg->admission, &call->ticket, group, &ask, now_usec);
    if (v.code == ERRCODE_NONE) {
        call_set_state(call, CALL_WAITING);
    }
    return v;
}

/* The name that it goes to, if that is another than the one that was asked for: a fallback's. */
static void take_name(struct call *call, char *name)
{
    if (name) {
        call->asked = str_from(name);
        call->fallbacks[call->attempts.n_fallbacks++] = name;
        call->registry->stats->n_fallbacks++;
    }
}

static bool leave(struct call *call, struct str name, enum spill_reason reason, uint64_t now_usec)
{
    const struct router_wish at_home = call->wish;
    struct model_group *group = router_resolve(call->registry->router, name);
    bool is_same = name.ptr == call->asked.ptr;
    char *copy = is_same ? NULL : strndup(name.ptr, name.len);
    struct verdict v;

    if (!is_same && !copy) {
        return false;
    }
    call->wish.is_away = true;
    call->wish.name = is_same ? call->wish.name : str_from(copy);
    v = enter(call, group, now_usec);
    if (v.code != ERRCODE_NONE) {
        call->wish = at_home;
        free(copy);
        return false;
    }
    take_name(call, copy);
    call->spilled = reason;
    call->registry->stats->n_spilled[reason]++;
    return true;
}

bool call_spill(struct call *call, enum errcode refusal, uint64_t now_usec)
{
    struct admission *a = call->registry->admission;
    struct admission_ask ask;
    struct spill_call c;
    enum spill_reason reason;
    struct str name;

    if (!spill_is_on(rules_of(call)) || !may_leave(call) || !describe(call, &ask, &c)) {
        return false;
    }
    reason = spill_look(a, &c, refusal, now_usec);
    name = reason == SPILL_NONE ? STR_NONE : spill_find(a, &c, false, now_usec);
    return name.ptr && leave(call, name, reason, now_usec);
}

static void spill_queued(struct call *call, uint64_t now_usec)
{
    struct admission *a = call->registry->admission;
    struct admission_ask ask;
    struct spill_call c;
    struct str name;

    if (!may_leave(call) || !describe(call, &ask, &c) ||
        spill_look(a, &c, ERRCODE_NONE, now_usec) != SPILL_LEVEL) {
        return;
    }
    name = spill_find(a, &c, true, now_usec);
    if (name.ptr && !leave(call, name, SPILL_LEVEL, now_usec) &&
        call->ticket.state == TICKET_HOME) {
        /* only the door could: a drain, after which nobody waits anyway */
        call_end(call, &(struct call_failure) {.code = ERRCODE_DRAINING}, now_usec);
    }
}

void call_spill_waiting(struct call_registry *reg, uint64_t now_usec)
{
    const struct pressure *p = reg->admission->pressure;

    if (!p || !spill_is_by_level(&reg->router->policy.spill, p->level)) {
        return;
    }
    list_for_each_safe (l, &reg->waiting) {
        spill_queued(CONTAINER_OF(l, struct call, link), now_usec);
    }
}

/* ---------------------------------------------------------------- and back */

/* How long it may still wait; 0: it has been under way for as long as it may wait at all. */
static uint64_t patience_left(const struct call *call, uint64_t now_usec)
{
    const struct admission_params *params = &call->registry->admission->params;
    uint64_t most = params->max_wait_usec[call->ticket.class];
    uint64_t own = call->request->max_wait_usec;

    return usec_since(usec_add(call->arrived_at_usec, own > 0 && own < most ? own : most),
                      now_usec);
}

bool call_come_home(struct call *call, uint64_t now_usec)
{
    const struct router_wish elsewhere = call->wish;
    struct model_group *group = router_resolve(call->registry->router, call->request->model);
    struct admission_ask ask = call_ask(call);
    char text[ROUTER_REFUSAL_BYTES];
    struct call_failure f;
    struct verdict v;

    assert(call->wish.is_away && call->ticket.state == TICKET_HOME);
    ask.max_wait_usec = patience_left(call, now_usec);
    if (!group || ask.max_wait_usec == 0) {
        return false;
    }
    call->wish.is_away = false;
    call->wish.name = call->request->model;
    call->ticket.place = 0; /* through the gate: calls that fail elsewhere come home together */
    v = call_wait_again(call, group, &ask, now_usec, now_usec);
    f = call_failure_of(call, group, &v, now_usec, text);
    if (v.code != ERRCODE_NONE && !v.is_by_group) {
        call->wish = elsewhere;
        call_remember(call, &f);
        return false;
    }
    call->asked = call->request->model;
    call->attempts.n_in_level = 0;
    call_bind(call, group);
    call_remember(call, NULL); /* what counts is what becomes of it here */
    if (v.is_by_group) {
        call_group_refused(call, &f, now_usec); /* it has other fallbacks, perhaps */
    }
    return true;
}

/* ---------------------------------------------------------------- neither */

void call_say_why_it_stayed(const struct call *call, struct call_failure *f,
                            char text[CALL_TEXT_MAX], uint64_t now_usec)
{
    struct str said = f->text.len > 0 ? f->text : str_from(errcode_info(f->code)->text);
    struct admission_ask ask;
    struct spill_call c;

    if (!spill_is_on(rules_of(call)) || !may_leave(call) || !describe(call, &ask, &c) ||
        spill_look(call->registry->admission, &c, f->code, now_usec) == SPILL_NONE) {
        return;
    }
    said = str_clip(said, CALL_TEXT_MAX - 64);
    (void) snprintf(text, CALL_TEXT_MAX, "%.*s; %s", STR_ARG(said),
                    call->wish.is_local_only ? "the call must not leave this device"
                                             : "no other machine takes it now");
    f->text = str_from(text);
}
