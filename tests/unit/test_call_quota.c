/*
 * A call and the account of its caller: it is charged once, before it waits, and however it ends
 * the charge comes home with what was used. The account itself: test_quota.c.
 */
#include "call_cast.h"
#include "core/quota.h"

struct bank {
    struct world w;
    struct quota quota;
};

#define OWNER ((struct caller_name) {.kind = CALLER_KEY, .name = "k"})

static const struct quota_account *account_of(const struct quota *q)
{
    return quota_find(q, &(struct caller) {.key_id = "k"});
}

static void bank_init(struct bank *b, unsigned slots, size_t max_queued, struct quota_limit limit)
{
    limit.owner = OWNER;
    world_init(&b->w, slots, max_queued);
    quota_init(&b->quota, &b->w.admission.callers);
    ck_assert_int_eq(quota_set(&b->quota, &limit, 1, b->w.now), 0);
    b->w.registry.quota = &b->quota;
}

static void bank_done(struct bank *b)
{
    world_done(&b->w);
    ck_assert_uint_eq(account_of(&b->quota)->n_charges, 0);
    quota_done(&b->quota);
}

/* A request of key k for an answer of 50 tokens; its text counts nothing. */
static struct request *asked_by_key(const char *model)
{
    struct request *req = request(model, "r");

    (void) snprintf(req->caller.key_id, sizeof req->caller.key_id, "k");
    req->sampling.set = SAMPLING_MAX_TOKENS;
    req->sampling.max_tokens = 50;
    return req;
}

static unsigned n_charges(const struct bank *b)
{
    return account_of(&b->quota)->n_charges;
}

static uint64_t tokens_left(const struct bank *b)
{
    return gcra_left(&account_of(&b->quota)->tokens, b->w.now);
}

static uint64_t requests_left(const struct bank *b)
{
    return gcra_left(&account_of(&b->quota)->requests, b->w.now);
}

#define LIMITS ((struct quota_limit) {.rpm = 10, .tpm = 100, .max_parallel = 3})

/* Starts one call, lets `end` end it, and says how many tokens it has cost. */
static uint64_t cost_of(void (*end)(struct bank *b, struct call *call))
{
    struct bank b;
    struct recording_sink s;
    struct call *call;
    uint64_t left;

    bank_init(&b, 1, 8, LIMITS);
    call = submit(&b.w, asked_by_key("m"), &s);
    ck_assert_uint_eq(n_charges(&b), 0); /* nothing is decided before the run */
    run(&b.w);
    ck_assert_uint_eq(b.w.puppet->n_started, 1);
    ck_assert_uint_eq(n_charges(&b), 1);
    ck_assert_uint_eq(tokens_left(&b), 50);
    end(&b, call);
    run(&b.w);
    ck_assert_uint_eq(b.w.n_ended, 1);
    ck_assert_uint_eq(n_charges(&b), 0);
    ck_assert_uint_eq(requests_left(&b), 9);
    left = tokens_left(&b);
    recording_sink_done(&s);
    bank_done(&b);
    return 100 - left;
}

static void end_counted(struct bank *b, struct call *call)
{
    tell(b->w.puppet->jobs[0]->sink, EVENT_TEXT, b->w.now);
    tell(b->w.puppet->jobs[0]->sink, EVENT_USAGE, b->w.now); /* 3 and 5 */
    finish(&b->w, 0, EVENT_END);
}

static void end_uncounted(struct bank *b, struct call *call)
{
    tell(b->w.puppet->jobs[0]->sink, EVENT_TEXT, b->w.now);
    finish(&b->w, 0, EVENT_END);
}

static void fail_at_once(struct bank *b, struct call *call)
{
    finish(&b->w, 0, EVENT_FAILED);
}

static void fail_in_the_middle(struct bank *b, struct call *call)
{
    tell(b->w.puppet->jobs[0]->sink, EVENT_TEXT, b->w.now);
    finish(&b->w, 0, EVENT_FAILED);
}

static void cancel_before_words(struct bank *b, struct call *call)
{
    call_cancel(call, ERRCODE_CANCELLED, b->w.now);
}

static void leave_in_the_middle(struct bank *b, struct call *call)
{
    tell(b->w.puppet->jobs[0]->sink, EVENT_TEXT, b->w.now);
    call_detach(call, b->w.now);
}

START_TEST(what_calls_cost)
{
    ck_assert_uint_eq(cost_of(end_counted), 8);
    ck_assert_uint_eq(cost_of(end_uncounted), 50); /* the guess, as nobody knows better */
    ck_assert_uint_eq(cost_of(fail_at_once), 0);
    ck_assert_uint_eq(cost_of(fail_in_the_middle), 50);
    ck_assert_uint_eq(cost_of(cancel_before_words), 0);
    ck_assert_uint_eq(cost_of(leave_in_the_middle), 50);
}
END_TEST

START_TEST(refusals_are_told)
{
    struct bank b;
    struct recording_sink s[3];

    bank_init(&b, 4, 8, (struct quota_limit) {.rpm = 1});
    for (int i = 0; i < 2; i++) {
        submit(&b.w, asked_by_key("m"), &s[i]);
        run(&b.w);
    }
    submit(&b.w, request("m", "r"), &s[2]); /* without a key: no account */
    run(&b.w);
    ck_assert_uint_eq(b.w.puppet->n_started, 2);
    ck_assert_int_eq(s[1].code, ERRCODE_KEY_RATE_LIMITED);
    ck_assert_ptr_nonnull(strstr(recording_sink_text(&s[1]), "1 requests a minute"));
    ck_assert_uint_eq(b.w.stats.n_by_code[ERRCODE_KEY_RATE_LIMITED], 1);
    finish(&b.w, 0, EVENT_END);
    finish(&b.w, 1, EVENT_END);
    run(&b.w);
    for (int i = 0; i < 3; i++) {
        recording_sink_done(&s[i]);
    }
    bank_done(&b);
}
END_TEST

/* Those that wait, that the queue refuses, that expire there, and that ask for nothing known. */
START_TEST(calls_that_never_run)
{
    struct bank b;
    struct recording_sink s[5];
    struct call *waiting;

    bank_init(&b, 1, 2, (struct quota_limit) {.tpm = 1000});
    submit(&b.w, asked_by_key("m"), &s[0]);
    run(&b.w);
    submit(&b.w, asked_by_key("m"), &s[1]);
    waiting = submit(&b.w, asked_by_key("m"), &s[2]);
    run(&b.w);
    ck_assert_uint_eq(n_charges(&b), 3);
    ck_assert_uint_eq(tokens_left(&b), 850);
    submit(&b.w, asked_by_key("m"), &s[3]);
    submit(&b.w, asked_by_key("unknown"), &s[4]);
    run(&b.w);
    ck_assert_int_eq(s[3].code, ERRCODE_QUEUE_FULL);
    ck_assert_int_eq(s[4].code, ERRCODE_MODEL_NOT_FOUND);
    ck_assert_uint_eq(n_charges(&b), 3);
    ck_assert_uint_eq(tokens_left(&b), 850);
    call_detach(waiting, b.w.now);
    run(&b.w);
    ck_assert_uint_eq(n_charges(&b), 2);
    b.w.now += 16 * SEC;
    run(&b.w);
    ck_assert_int_eq(s[1].code, ERRCODE_QUEUE_TIMEOUT);
    ck_assert_uint_eq(n_charges(&b), 1);
    finish(&b.w, 0, EVENT_END);
    run(&b.w);
    for (int i = 0; i < 5; i++) {
        recording_sink_done(&s[i]);
    }
    bank_done(&b);
}
END_TEST

/* A daemon that ends with calls in every state: registry_done() brings all home. */
START_TEST(the_end_of_everything)
{
    struct bank b;
    struct recording_sink s[3];

    bank_init(&b, 1, 8, LIMITS);
    b.w.now += 1;
    submit(&b.w, asked_by_key("m"), &s[0]);
    submit(&b.w, asked_by_key("m"), &s[1]);
    run(&b.w);
    submit(&b.w, asked_by_key("m"), &s[2]); /* not looked at yet */
    ck_assert_uint_eq(n_charges(&b), 2);
    bank_done(&b);
    for (int i = 0; i < 3; i++) {
        recording_sink_done(&s[i]);
    }
}
END_TEST

START_TEST(a_key_that_goes_with_its_call_at_work)
{
    struct bank b;
    struct recording_sink s;

    bank_init(&b, 1, 8, LIMITS);
    submit(&b.w, asked_by_key("m"), &s);
    run(&b.w);
    ck_assert_int_eq(quota_set(&b.quota, NULL, 0, b.w.now), 0);
    tell(b.w.puppet->jobs[0]->sink, EVENT_TEXT, b.w.now);
    finish(&b.w, 0, EVENT_END);
    run(&b.w);
    ck_assert_int_eq(b.w.last_outcome, ERRCODE_NONE);
    ck_assert_ptr_null(account_of(&b.quota));
    recording_sink_done(&s);
    world_done(&b.w);
    quota_done(&b.quota);
}
END_TEST

/* What a second call of the key would hear now. */
static enum errcode second_call(struct cast *c)
{
    struct recording_sink s;
    enum errcode code;

    submit(&c->w, asked_by_key("m"), &s);
    run(&c->w);
    ck_assert(s.is_over);
    code = s.code;
    recording_sink_done(&s);
    return code;
}

enum way_out { ANSWERED, FAILED, CANCELLED, LEFT, DRAINED, REFUSED, _WAY_OUT_MAX };

static void go_out(struct cast *c, struct actor *a, enum way_out way)
{
    switch (way) {
    case ANSWERED:
        c->w.now += 2 * SEC;
        run(&c->w);
        act_answer(c, a);
        break;
    case FAILED:
        c->w.now += 2 * SEC;
        run(&c->w);
        act_fail(c, a, ERRCODE_UPSTREAM_REJECTED, 0);
        break;
    case CANCELLED:
        call_cancel(c->call, ERRCODE_CANCELLED, c->w.now);
        break;
    case LEFT:
        call_detach(c->call, c->w.now);
        break;
    case DRAINED:
        registry_cancel_waiting(&c->w.registry, ERRCODE_DRAINING, c->w.now);
        break;
    case REFUSED: /* its model is gone from the configuration */
        router_commit(&c->w.router, &(struct router_plan) {0});
        registry_reroute(&c->w.registry, c->w.now);
        break;
    case _WAY_OUT_MAX:
        break;
    }
    run(&c->w);
}

/* Retries, a pause and a fallback: one call all the time, and none afterwards. */
START_TEST(a_call_that_is_tried_again_is_one_call)
{
    static const struct quota_limit limit = {
        .owner = {.kind = CALLER_KEY, .name = "k"}, .rpm = 100, .max_parallel = 1};

    for (int way = 0; way < _WAY_OUT_MAX; way++) {
        struct quota quota;
        struct cast c;

        cast_init(&c);
        quota_init(&quota, &c.w.admission.callers);
        ck_assert_int_eq(quota_set(&quota, &limit, 1, c.w.now), 0);
        c.w.registry.quota = &quota;
        cast_fallback(&c, FALLBACK_GENERAL, "m", "n", NULL);

        struct actor *a = cast_add(&c, "a", (struct role) {.terms.order = 1});
        struct actor *b = cast_add(&c, "b", (struct role) {.terms.order = 2});
        struct actor *n = cast_add(&c, "n", (struct role) {.group = "n"});
        struct actor *const failing[] = {a, b, n};

        cast_open(&c);
        cast_ask(&c, asked_by_key("m"));
        for (size_t i = 0; i < ARRAY_LEN(failing); i++) {
            ck_assert_int_eq(second_call(&c), ERRCODE_KEY_RATE_LIMITED);
            ck_assert_uint_eq(account_of(&quota)->n_charges, 1);
            act_fail(&c, failing[i], ERRCODE_UPSTREAM_RATE_LIMITED, 2 * SEC);
        }
        ck_assert(!c.sink.is_over); /* it pauses, for n */
        ck_assert_uint_eq(c.w.admission.n_granted, 0);
        ck_assert_int_eq(second_call(&c), ERRCODE_KEY_RATE_LIMITED);
        go_out(&c, n, way);
        ck_assert_uint_eq(c.w.registry.n_calls, 0);
        ck_assert_uint_eq(account_of(&quota)->n_charges, 0);
        ck_assert_uint_ge(gcra_left(&account_of(&quota)->requests, c.w.now), 99);
        cast_done(&c);
        quota_done(&quota);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, what_calls_cost);
    tcase_add_test(tc, refusals_are_told);
    tcase_add_test(tc, calls_that_never_run);
    tcase_add_test(tc, the_end_of_everything);
    tcase_add_test(tc, a_key_that_goes_with_its_call_at_work);
    tcase_add_test(tc, a_call_that_is_tried_again_is_one_call);
}

TEST_MAIN("call_quota", add_tests)
