/*
 * See rpc_explain.h. What is said comes from the functions that decide: the gate's own dry run
 * (admission_explain()), which asks the router why it refuses what would be in the queue, who is
 * asked instead (spill_find(), fallback_find()), what pauses a deployment, what memory has against
 * it. They are asked with the wish that such a call would have. So an explanation cannot say another
 * thing than what happens; only the moment is another, and what servers have not told yet: they are
 * asked, for the next one.
 *
 * Other callers are told of by class, never by name or request. What is left of a quota is told of
 * a call that was charged to it; of a model, the quota of who asks.
 */
#include "frontend/rpc_explain.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "core/attempts.h"
#include "core/fallback.h"
#include "core/residency.h"
#include "core/spill_target.h"
#include "frontend/frontend.h"
#include "frontend/rpc_output.h"
#include "wire/rpc_msg.h"

#define TEXT_MAX_BYTES (256 * 1024) /* 256 deployments, some 300 bytes each */

/* ---------------------------------------------------------------- words */

static int put_time(struct buf *out, uint64_t usec)
{
    return buf_printf(out, "%llu.%llu s", (unsigned long long) (usec / USEC_PER_SEC),
                      (unsigned long long) (usec % USEC_PER_SEC / 100000));
}

/* "2 interactive, 1 batch" of who waits; "nobody" */
static int put_queue(const struct admission *a, struct buf *out)
{
    const char *between = "";
    int r = 0;

    for (int c = 0; r == 0 && c < _CLASS_MAX; c++) {
        unsigned n = a->fair.n_items[c];

        if (n > 0) {
            r = buf_printf(out, "%s%u %s", between, n, call_class_name((enum call_class) c));
            between = ", ";
        }
    }
    return r < 0 || between[0] != '\0' ? r : buf_append_z(out, "nobody");
}

/* ---------------------------------------------------------------- a model */

/* ", 58 of 60 requests a minute left"; nothing where there is no limit */
static int put_rate(const struct gcra *rate, const char *what, uint64_t now_usec, struct buf *out)
{
    return rate->per_min == 0 ? 0
                              : buf_printf(out, ", %llu of %llu %s a minute left",
                                           (unsigned long long) gcra_left(rate, now_usec),
                                           (unsigned long long) rate->per_min, what);
}

/* What an operator has said of it that decides who may use it, and how much. */
static int put_terms(const struct deployment *d, uint64_t now_usec, struct buf *out)
{
    const struct deployment_terms *t = d->terms;
    int r = put_rate(&d->rpm, "requests", now_usec, out);

    r = r < 0 ? r : put_rate(&d->tpm, "tokens", now_usec, out);
    for (size_t i = 0; r == 0 && i < t->n_tags; i++) {
        r = buf_printf(out, "%s%s", i == 0 ? ", tagged " : " ", t->tags[i]);
    }
    return r < 0 || !t->is_local_only ? r : buf_append_z(out, ", keeps calls on the device");
}

/* Which deployments take such a call, while it is told. */
struct routing {
    struct conn *conn;
    const struct model_group *group;
    const struct router_wish *wish; /* with its name */
    uint64_t now_usec;
    struct router_outlook level; /* of those that take it; order 0: nobody does */
};

/*
 * What residency says of a load of its model: ", needs 612 MiB (computed), fits later". model: as
 * router_upstream_model() answers.
 */
static int put_need(const struct routing *w, const struct deployment *d, const char *model,
                    struct buf *out)
{
    struct residency *r = w->conn->frontends->router->residency;
    struct residency_view view;
    bool is_asked = r && residency_want_facts_of(r, d, model);

    if (is_asked) {
        registry_want_run(w->conn->frontends->registry);
    }
    if (!r || !residency_view(r, d, model, w->now_usec, &view)) {
        return 0;
    }
    if (view.need_bytes == 0) {
        return is_asked ? buf_append_z(out, ", what it needs is not known yet") : 0;
    }
    return buf_printf(out, ", needs %llu MiB (%s)%s%s",
                      (unsigned long long) (view.need_bytes >> 20), view.source,
                      view.fits[0] != '\0' ? ", fits " : "", view.fits);
}

/* Why it takes no such call now, as router_refuses() sees it; NULL: it does. */
static const char *why_left_out(const struct routing *w, const struct deployment *d,
                                const char *model, char text[RESIDENCY_TEXT_BYTES])
{
    static_assert((int) RESIDENCY_TEXT_BYTES >= (int) DEPLOYMENT_TEXT_BYTES, "room for both");
    const struct router *router = w->conn->frontends->router;
    const char *why =
        d->off_reason ? d->off_reason : deployment_describe_pause(d, true, w->now_usec, text);

    why = why ? why : router_bars(router, w->group, w->wish, d);
    return why || !router->residency
               ? why
               : residency_describe(router->residency, d, model, w->now_usec, text);
}

static int put_place(const struct routing *w, const struct deployment *d, const char *model,
                     struct buf *out)
{
    char text[RESIDENCY_TEXT_BYTES];
    const char *why = why_left_out(w, d, model, text);
    uint32_t own = d->terms->order > 0 ? d->terms->order : DEPLOYMENT_ORDER_LAST;
    struct backend_check check;

    if (why) {
        return buf_printf(out, "; left out: %s\n", why);
    }
    if (deployment_is_doubted(d) && !w->level.is_doubted && deployment_checked(d, &check)) {
        return buf_printf(out, "; stands by: %s\n", check.trouble);
    }
    return buf_append_z(out, own == w->level.order ? "; may take the call\n"
                                                   : "; stands by: a lower order serves\n");
}

static int put_deployment(const struct routing *w, const struct deployment *d, struct buf *out)
{
    const struct router *router = w->conn->frontends->router;
    char name[ROUTER_MODEL_BYTES];
    const char *model = router_upstream_model(router, w->group, d, w->wish->name, name);
    int r = buf_printf(out, "deployment %s: %u of %u slots in use, model %s", d->id, d->in_use,
                       d->slots,
                       deployment_is_loaded(d, model, w->now_usec) ? "in memory" : "not in memory");

    r = r < 0 ? r : put_need(w, d, model, out);
    r = r < 0 ? r : put_terms(d, w->now_usec, out);
    return r < 0 ? r : put_place(w, d, model, out);
}

static int put_routing(struct conn *c, const struct model_group *g, const struct router_wish *wish,
                       uint64_t now_usec, struct buf *out)
{
    struct routing w = {.conn = c, .group = g, .wish = wish, .now_usec = now_usec};
    bool is_served = router_look_ahead(c->frontends->router, g, wish, now_usec, &w.level);
    int r = is_served ? 0 : buf_append_z(out, "no deployment of it takes calls now\n");

    for (size_t i = 0; r == 0 && i < g->n_deployments; i++) {
        r = put_deployment(&w, g->deployments[i], out);
    }
    return r;
}

static int put_refusal(const struct admission_outlook *o, struct buf *out)
{
    int r = buf_printf(out, "it would be refused: %s (%s)\n", errcode_info(o->code)->text,
                       errcode_info(o->code)->openai_code);

    if (r == 0 && o->code == ERRCODE_PREDICTED_WAIT) {
        r = buf_append_z(out, "it would wait ");
        r = r < 0 ? r : put_time(out, o->wait_usec);
        r = r < 0 ? r : buf_append_z(out, ", and is let in for up to ");
        r = r < 0 ? r : put_time(out, o->limit_usec);
        r = r < 0 ? r : buf_append_char(out, '\n');
    }
    return r;
}

static int put_entry(const struct admission_outlook *o, struct buf *out)
{
    int r;

    if (o->code != ERRCODE_NONE) {
        return put_refusal(o, out);
    }
    if (o->has_slot) {
        return buf_append_z(out, "it would be admitted and get a slot at once\n");
    }
    if (o->wait_usec == 0) {
        return buf_append_z(out, "it would be queued; for how long is not known yet\n");
    }
    r = buf_append_z(out, "it would be queued, for about ");
    r = r < 0 ? r : put_time(out, o->wait_usec);
    r = r < 0 ? r : buf_append_z(out, " (let in for up to ");
    r = r < 0 ? r : put_time(out, o->limit_usec);
    return r < 0 ? r
                 : buf_append_z(out, o->would_displace
                                         ? "); the queue is full, and another would leave for it\n"
                                         : ")\n");
}

static int put_memory(const struct pressure *p, struct buf *out)
{
    char text[PRESSURE_TEXT_MAX];
    int r = buf_printf(out, "memory: L%d%s%s", (int) p->level, p->level > PRESSURE_L0 ? ", " : "",
                       p->level > PRESSURE_L0 ? pressure_describe_now(p, text) : "");

    if (r == 0 && p->headroom_bytes != UINT64_MAX) {
        r = buf_printf(out, ", headroom %llu MiB", (unsigned long long) (p->headroom_bytes >> 20));
    }
    return r < 0 ? r : buf_append_char(out, '\n');
}

/* "uid 1000, 59 of 60 requests a minute left, 1 of at most 3 calls at a time" */
static int put_quota(const struct quota_account *a, uint64_t now_usec, struct buf *out)
{
    char owner[CALLER_DESCRIPTION_BYTES];
    int r = buf_append_z(out, quota_account_describe(a, owner));

    r = r < 0 ? r : put_rate(&a->requests, "requests", now_usec, out);
    r = r < 0 ? r : put_rate(&a->tokens, "tokens", now_usec, out);
    return r < 0 || a->max_parallel == 0 ? r
                                         : buf_printf(out, ", %u of at most %u calls at a time",
                                                      a->n_charges, a->max_parallel);
}

/* What who asks has left, where he has limits: a call is charged before anything else is asked. */
static int explain_quota(const struct conn *c, uint64_t now_usec, struct rpc_explanation *e,
                         struct buf *out)
{
    const struct quota *quota = c->frontends->registry->quota;
    const struct quota_account *a = quota ? quota_find(quota, &c->caller) : NULL;
    struct quota_refusal why;
    int r;

    if (!a || !a->is_planned) {
        return 0;
    }
    if (quota_look(quota, &c->caller, 1, now_usec, &why) != ERRCODE_NONE) { /* the shortest */
        e->verdict = "refused";
        e->code = errcode_info(why.code)->openai_code;
        r = buf_printf(out, "but first of all it would be refused: %s\n", why.text);
        if (r < 0) {
            return r;
        }
    }
    r = put_quota(a, now_usec, out);
    return r < 0 ? r : buf_append_char(out, '\n');
}

/* A call that would come, and who says what becomes of it. All borrowed. */
struct question {
    const struct frontends *f;
    struct model_group *group;
    const struct router_wish
        *wish; /* as call_bind() completes it, with the name that is asked for */
    const struct admission_ask *ask;
    uint64_t now_usec;
};

/* Would it leave the device instead of what was said so far, and for where? */
static int explain_spill(const struct question *q, struct rpc_explanation *e, struct buf *out)
{
    struct admission *a = q->f->admission;
    const struct spill_call c = {
        .group = q->group, .asked = q->wish->name, .wish = q->wish, .ask = q->ask};
    enum spill_reason reason = spill_look(a, &c, ERRCODE_NONE, q->now_usec);
    struct str to;

    if (reason == SPILL_NONE) {
        return 0;
    }
    to = spill_find(a, &c, false, q->now_usec);
    if (!to.ptr) {
        return buf_printf(out, "it has reason to leave the device (%s), but %s\n",
                          spill_reason_name(reason),
                          q->wish->is_local_only ? "must not" : "nobody elsewhere takes it now");
    }
    e->verdict = "spilled";
    e->code = "";
    return buf_printf(out, "instead it would spill to %.*s on another machine, because of %s\n",
                      STR_ARG(to),
                      reason == SPILL_LEVEL            ? "the level of memory"
                      : reason == SPILL_PREDICTED_WAIT ? "the wait here"
                                                       : "too little room for the model");
}

/* What the call would be told, by the gate: it asks the router before all else. */
static void foresee(const struct question *q, struct admission_outlook *ret)
{
    const struct frontends *f = q->f;

    admission_explain(f->admission, q->group, q->wish, q->ask, q->now_usec, ret);
    ret->has_slot = ret->has_slot && router_would_pick(f->router, q->group, q->wish, q->now_usec);
}

/* The name to ask for where a group refuses a call with that code; absent: none. */
static struct str find_fallback(const struct question *q, enum errcode code)
{
    const struct attempt_failure failure = {.code = code};
    const struct fallback_call c = {.wish = q->wish, .asked = &q->wish->name, .n_asked = 1};

    return attempts_can_fall_back(&failure)
               ? fallback_find(q->f->router, &c, attempts_fallback_kind(code), q->now_usec)
               : STR_NONE;
}

/* Its own group refuses it with that code: would another take it? */
static int explain_fallback(const struct question *q, enum errcode code, struct rpc_explanation *e,
                            struct buf *out)
{
    struct router_wish wish = *q->wish;
    struct question instead = *q;
    struct admission_outlook o;
    int r;

    wish.name = find_fallback(q, code);
    if (!wish.name.ptr) {
        return 0;
    }
    instead.wish = &wish;
    instead.group = router_resolve(q->f->router, wish.name);
    foresee(&instead, &o);
    if (o.code == ERRCODE_NONE) {
        e->verdict = "fallback";
        e->code = "";
        e->wait_usec = o.wait_usec;
    }
    r = buf_printf(out, "then its fallback %.*s is asked: ", STR_ARG(wish.name));
    return r < 0 ? r : put_entry(&o, out);
}

/* What becomes of it, in the order in which it is decided. */
static int explain_entry(const struct question *q, const struct admission_outlook *o,
                         struct rpc_explanation *e, struct buf *out)
{
    int r = put_entry(o, out);

    e->verdict = o->code != ERRCODE_NONE ? "refused" : o->has_slot ? "admitted" : "queued";
    e->code = o->code != ERRCODE_NONE ? errcode_info(o->code)->openai_code : "";
    e->wait_usec = o->wait_usec;
    r = r < 0 ? r : explain_spill(q, e, out);
    return r < 0 || strcmp(e->verdict, "refused") != 0 ? r : explain_fallback(q, o->code, e, out);
}

static int explain_model(struct conn *c, struct model_group *g,
                         const struct rpc_explain_request *req, uint64_t now_usec,
                         struct rpc_explanation *e, struct buf *text)
{
    const struct frontends *f = c->frontends;
    const struct admission_ask ask = {
        .caller = caller_name_of(&f->admission->callers, &c->caller),
        .class = req->class,
        .own_deadline_at_usec = USEC_NEVER,
    };
    struct router_wish wish = {
        .name = str_from(req->model), .class = req->class, .since_usec = now_usec};
    const struct question q = {f, g, &wish, &ask, now_usec};
    struct admission_outlook o;
    int r;

    wish.is_local_only = router_keeps_local(f->router, g, &wish);
    foresee(&q, &o);
    r = buf_printf(text, "a call of class %s for %s now: ", call_class_name(o.class), g->name);
    r = r < 0 ? r : explain_entry(&q, &o, e, text);
    r = r < 0 ? r : explain_quota(c, now_usec, e, text);
    r = r < 0 || o.service_usec == 0 ? r
                                     : buf_append_z(text, "such a call holds a slot for about ");
    r = r < 0 || o.service_usec == 0 ? r : put_time(text, o.service_usec);
    r = r < 0 || o.service_usec == 0 ? r : buf_append_char(text, '\n');
    r = r < 0 ? r : buf_append_z(text, "waiting: ");
    r = r < 0 ? r : put_queue(f->admission, text);
    r = r < 0 ? r : buf_append_char(text, '\n');
    r = r < 0 ? r : put_memory(f->pressure, text);
    return r < 0 ? r : put_routing(c, g, &wish, now_usec, text);
}

/* ---------------------------------------------------------------- a call */

static const char *verdict_of(const struct call *call)
{
    switch (call->state) {
    case CALL_NEW:
    case CALL_WAITING:
        return "waiting";
    case CALL_STARTING:
    case CALL_STREAMING:
        return "running";
    case CALL_ENDING:
    case CALL_DEAD:
        break;
    }
    return "ending";
}

/* How many of each class go before it, as the order of turns is told: higher classes first. */
static int put_before(const struct admission *a, const struct ticket *t, struct buf *out)
{
    unsigned n_left = t->told_position > 0 ? t->told_position - 1 : 0;
    int r = buf_printf(out, "; %u before it", n_left);

    for (int c = 0; r == 0 && c <= (int) t->class && n_left > 0; c++) {
        unsigned n =
            c == (int) t->class || a->fair.n_items[c] > n_left ? n_left : a->fair.n_items[c];

        if (n > 0) {
            r = buf_printf(out, "%s%u %s", n_left + 1 == t->told_position ? ": " : ", ", n,
                           call_class_name((enum call_class) c));
            n_left -= n;
        }
    }
    return r;
}

/* What it wishes, and whom it is charged to: ", tags a !b, must not leave the device" */
static int put_wishes(const struct call *call, struct buf *out)
{
    const struct request_routing *w = &call->request->routing;
    int r = 0;

    for (size_t i = 0; r == 0 && i < w->n_tags; i++) {
        r = buf_printf(out, "%s%.*s", i == 0 ? ", tags " : " ", STR_ARG(w->tags[i]));
    }
    return r < 0 || !call->wish.is_local_only ? r
                                              : buf_append_z(out, ", must not leave the device");
}

static int explain_call(struct conn *c, const struct call *call, uint64_t now_usec,
                        struct rpc_explanation *e, struct buf *text)
{
    const struct frontends *f = c->frontends;
    const struct ticket *t = &call->ticket;
    bool is_waiting = call->state == CALL_WAITING;
    int r = buf_printf(text, "call %s: %s, came ", call->request->id, call_state_name(call->state));

    e->verdict = verdict_of(call);
    r = r < 0 ? r : put_time(text, usec_since(now_usec, call->arrived_at_usec));
    r = r < 0 ? r : buf_printf(text, " ago, class %s", call_class_name(t->class));
    r = r < 0 ? r : put_wishes(call, text);
    if (r == 0 && call->charge.account) {
        r = buf_append_char(text, '\n');
        r = r < 0 ? r : put_quota(call->charge.account, now_usec, text);
    }
    if (r == 0 && is_waiting) {
        e->position = t->told_position;
        e->wait_usec = usec_since(now_usec, t->queued_at_usec);
        r = buf_printf(text, "\nposition %u", (unsigned) t->told_position);
        r = r < 0 ? r : put_before(f->admission, t, text);
        r = r < 0 ? r : buf_append_z(text, "; leaves the queue in ");
        r = r < 0 ? r : put_time(text, usec_since(t->deadline_at_usec, now_usec));
        r = r < 0 ? r : buf_append_z(text, " at the latest");
    }
    if (r == 0 && call->spilled != SPILL_NONE) {
        r = buf_printf(text, "\nit was spilled to another machine (%s)%s",
                       spill_reason_name(call->spilled),
                       call->wish.is_away ? "" : ", and came back");
    }
    if (r == 0 && call->asked.ptr != call->request->model.ptr) {
        r = buf_printf(text, "\nits fallback %.*s is asked instead of %.*s", STR_ARG(call->asked),
                       STR_ARG(call->request->model));
    }
    if (r == 0 && call->granted_at_usec > 0) {
        r = buf_printf(text, "\non deployment %s, attempt %u, for ", call->deployment_id,
                       call->attempts.n);
        r = r < 0 ? r : put_time(text, usec_since(now_usec, call->attempt_at_usec));
        r = r < 0 ? r
                  : buf_append_z(text, call->first_token_at_usec > 0 ? "; its answer has begun"
                                                                     : "; no word yet");
    }
    r = r < 0 ? r : buf_append_char(text, '\n');
    return r < 0 || !is_waiting ? r : put_routing(c, t->group, &call->wish, now_usec, text);
}

/* ---------------------------------------------------------------- the method */

void rpc_explain_answer(struct conn *c, uint32_t id, const struct frame_request *frame,
                        uint64_t now_usec)
{
    struct frontends *f = c->frontends;
    struct problem p = {.code = ERRCODE_INVALID_REQUEST};
    struct rpc_explanation e = {.verdict = "", .code = ""};
    struct rpc_explain_request req;
    struct buf text, out;
    int r;

    if (rpc_decode_explain((struct str) {(const char *) frame->payload.ptr, frame->payload.len},
                           &req, &p) < 0) {
        rpc_put_problem(c, id, &p);
        return;
    }

    const struct call *call =
        registry_find(f->registry, str_from(req.id), c->caller.uid == 0, c->caller.uid);
    struct model_group *group = call ? NULL : router_resolve(f->router, str_from(req.model));

    if (!call && !group) {
        rpc_put_code(c, id, ERRCODE_MODEL_NOT_FOUND);
        return;
    }
    buf_init(&text, TEXT_MAX_BYTES);
    buf_init(&out, TEXT_MAX_BYTES + 1024);
    r = call ? explain_call(c, call, now_usec, &e, &text)
             : explain_model(c, group, &req, now_usec, &e, &text);
    e.text = buf_str(&text);
    r = r < 0 ? r : rpc_encode_explanation(&e, &out);
    if (r < 0) {
        rpc_put_code(c, id, ERRCODE_OUT_OF_MEMORY);
    } else {
        rpc_put_payload(c, id, buf_str(&out));
    }
    buf_done(&text);
    buf_done(&out);
}
