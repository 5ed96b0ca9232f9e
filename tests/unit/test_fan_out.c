/*
 * Several answers out of a backend that makes one: numbering, seeds, usage, pauses, failures. The
 * inner backend is a script that tells what the test says, within start() or later.
 */
#include "upstream/fan_out.h"

#include <errno.h>
#include <stdio.h>

#include "support.h"

#define MAX_STARTS 16

enum script {
    SCRIPT_WAIT,   /* a job that says nothing until the test makes it */
    SCRIPT_ANSWER, /* everything within start() */
    SCRIPT_FAIL,   /* FAILED within start() */
    SCRIPT_REFUSE, /* start() returns -ENOMEM */
};

struct backend_job {
    struct event_sink *sink;
    const struct request *request;
    bool is_paused;
};

static struct inner {
    struct backend backend;
    enum script scripts[MAX_STARTS];
    struct backend_job job; /* one at a time: that is the point */
    bool is_running;
    unsigned n_starts, n_cancels, n_frees;
    struct {
        char prompt[32], id[REQUEST_ID_MAX + 1];
        bool has_seed;
        int64_t seed;
        uint64_t total_usec;
    } asked[MAX_STARTS];
} g_inner;

static sd_event *g_event;
static struct upstreams g_up;
static struct backend *g_backend;
static struct recording_sink g_sink;
static struct request *g_req;
static struct backend_job *g_job;
static struct str g_prompts[] = {STR_LIT("one"), STR_LIT("two")};

static void tell_text(struct event_sink *sink, const char *text)
{
    struct event ev = {.type = EVENT_TEXT, .text = {.bytes = str_from(text)}};

    (void) event_sink_deliver(sink, &ev);
}

static void tell_end(struct event_sink *sink, enum finish_reason reason)
{
    struct event usage = {
        .type = EVENT_USAGE,
        .usage = {.tokens_in = 10, .tokens_cached = 4, .tokens_out = 3, .tokens_reasoning = 2}};
    struct event end = {.type = EVENT_END, .end = {.reasons = &reason, .n_choices = 1}};

    (void) event_sink_deliver(sink, &usage);
    (void) event_sink_deliver(sink, &end);
}

static int inner_start(struct backend *b, const struct backend_order *order,
                       struct event_sink *sink, uint64_t now_usec, struct backend_job **ret_job)
{
    const struct request *req = order->request;
    struct event failed = {.type = EVENT_FAILED,
                           .failed = {.code = ERRCODE_UPSTREAM_CUT, .message = STR_LIT("cut")}};
    unsigned i = g_inner.n_starts++;

    ck_assert(!g_inner.is_running && i < MAX_STARTS);
    ck_assert_uint_eq(req->sampling.n_choices, 1);
    (void) snprintf(g_inner.asked[i].prompt, sizeof g_inner.asked[i].prompt, "%.*s",
                    STR_ARG(req->prompt));
    (void) snprintf(g_inner.asked[i].id, sizeof g_inner.asked[i].id, "%s", req->id);
    g_inner.asked[i].has_seed = req->sampling.set & SAMPLING_SEED;
    g_inner.asked[i].seed = req->sampling.seed;
    g_inner.asked[i].total_usec = order->total_usec;
    *ret_job = NULL;
    switch (g_inner.scripts[i]) {
    case SCRIPT_WAIT:
        g_inner.job = (struct backend_job) {.sink = sink, .request = req};
        g_inner.is_running = true;
        *ret_job = &g_inner.job;
        break;
    case SCRIPT_ANSWER:
        tell_text(sink, "word");
        tell_end(sink, FINISH_STOP);
        break;
    case SCRIPT_FAIL:
        (void) event_sink_deliver(sink, &failed);
        break;
    case SCRIPT_REFUSE:
        return -ENOMEM;
    }
    return 0;
}

static void inner_pause(struct backend_job *job)
{
    job->is_paused = true;
}

static void inner_resume(struct backend_job *job, uint64_t now_usec)
{
    job->is_paused = false;
}

static void inner_cancel(struct backend_job *job)
{
    ck_assert(g_inner.is_running);
    g_inner.is_running = false;
    g_inner.n_cancels++;
}

static void inner_free(struct backend *b)
{
    ck_assert(!g_inner.is_running);
    g_inner.n_frees++;
}

static const struct backend_ops inner_ops = {
    .start = inner_start,
    .pause = inner_pause,
    .resume = inner_resume,
    .cancel = inner_cancel,
    .free = inner_free,
};

/* The inner job at work ends so. */
static void end_inner(enum finish_reason reason)
{
    struct event_sink *sink = g_inner.job.sink;

    ck_assert(g_inner.is_running);
    g_inner.is_running = false;
    tell_end(sink, reason);
}

static void fail_inner(void)
{
    struct event failed = {.type = EVENT_FAILED, .failed = {.code = ERRCODE_UPSTREAM_STALLED}};
    struct event_sink *sink = g_inner.job.sink;

    g_inner.is_running = false;
    (void) event_sink_deliver(sink, &failed);
}

/* What the loop has to do, until it has nothing more. */
static void turn(void)
{
    while (sd_event_run(g_event, 0) > 0) {
    }
}

static void make(const struct provider_params *params)
{
    ck_assert_int_eq(fan_out_new(&g_up, &g_inner.backend, params, &g_backend), 0);
}

static void setup(void)
{
    struct provider_params params = {.id = "d"};

    g_inner = (struct inner) {.backend = {.ops = &inner_ops}};
    ck_assert_int_eq(sd_event_new(&g_event), 0);
    g_up = (struct upstreams) {.event = g_event};
    recording_sink_init(&g_sink);
    g_req = request_new(REQUEST_COMPLETE, 4096);
    ck_assert_ptr_nonnull(g_req);
    g_req->prompt = g_prompts[0];
    (void) snprintf(g_req->id, sizeof g_req->id, "id");
    g_job = NULL;
    make(&params);
}

static void teardown(void)
{
    g_backend->ops->free(g_backend);
    ck_assert_uint_eq(g_inner.n_frees, 1);
    request_free(g_req);
    recording_sink_done(&g_sink);
    g_event = sd_event_unref(g_event);
}

static int start(void)
{
    struct backend_order order = {.request = g_req};

    return g_backend->ops->start(g_backend, &order, &g_sink.sink, 0, &g_job);
}

static void ask(uint32_t n_choices, size_t n_prompts)
{
    g_req->sampling.n_choices = n_choices;
    g_req->prompts = n_prompts > 1 ? g_prompts : NULL;
    g_req->n_prompts = n_prompts > 1 ? n_prompts : 0;
}

/* ---- */

START_TEST(one_answer_passes_through)
{
    ck_assert_int_eq(start(), 0);
    ck_assert_ptr_nonnull(g_job);
    tell_text(g_inner.job.sink, "hi");
    g_backend->ops->pause(g_job);
    ck_assert(g_inner.job.is_paused);
    g_backend->ops->resume(g_job, 1);
    ck_assert(!g_inner.job.is_paused);
    end_inner(FINISH_LENGTH);
    ck_assert_str_eq(g_inner.asked[0].id, "id");
    ck_assert_str_eq(recording_sink_text(&g_sink), "TEXT 0 answer hi\n"
                                                   "USAGE 10 4 3 2\n"
                                                   "END length\n");
}
END_TEST

START_TEST(answers_come_in_turn)
{
    ask(2, 2);
    ck_assert_int_eq(start(), 0);
    for (unsigned i = 0; i < 4; i++) {
        char word[8];

        ck_assert_uint_eq(g_inner.n_starts, i + 1);
        (void) snprintf(word, sizeof word, "w%u", i);
        tell_text(g_inner.job.sink, word);
        end_inner(i == 1 ? FINISH_LENGTH : FINISH_STOP);
        ck_assert_uint_eq(g_inner.n_starts, i + 1); /* not from within deliver() */
        turn();
    }
    ck_assert_str_eq(g_inner.asked[1].prompt, "one");
    ck_assert_str_eq(g_inner.asked[2].prompt, "two");
    ck_assert_str_eq(g_inner.asked[3].id, "id-3");
    /* each prompt counts once: 2 of 10 */
    ck_assert_str_eq(recording_sink_text(&g_sink), "TEXT 0 answer w0\n"
                                                   "TEXT 1 answer w1\n"
                                                   "TEXT 2 answer w2\n"
                                                   "TEXT 3 answer w3\n"
                                                   "USAGE 20 8 12 8\n"
                                                   "END stop length stop stop\n");
}
END_TEST

START_TEST(all_of_it_within_start)
{
    for (unsigned i = 0; i < 3; i++) {
        g_inner.scripts[i] = SCRIPT_ANSWER;
    }
    ask(3, 1);
    ck_assert_int_eq(start(), 0);
    ck_assert_ptr_nonnull(g_job);
    turn();
    ck_assert(g_sink.is_over);
    ck_assert_uint_eq(g_inner.n_starts, 3);
    ask(1, 1);
    recording_sink_done(&g_sink);
    recording_sink_init(&g_sink);
    g_inner.scripts[3] = SCRIPT_ANSWER;
    ck_assert_int_eq(start(), 0);
    ck_assert_ptr_null(g_job); /* over before start() returned */
    ck_assert(g_sink.is_over);
}
END_TEST

START_TEST(seeds_differ)
{
    ask(3, 2);
    g_req->sampling.set = SAMPLING_SEED;
    g_req->sampling.seed = INT64_MAX;
    ck_assert_int_eq(start(), 0);
    for (unsigned i = 0; i < 6; i++) {
        end_inner(FINISH_STOP);
        turn();
        ck_assert(g_inner.asked[i].has_seed);
    }
    ck_assert_int_eq(g_inner.asked[0].seed, INT64_MAX);
    ck_assert_int_eq(g_inner.asked[1].seed, INT64_MIN);
    ck_assert_int_eq(g_inner.asked[2].seed, INT64_MIN + 1);
    ck_assert_int_eq(g_inner.asked[3].seed, INT64_MAX); /* the next prompt */
}
END_TEST

START_TEST(the_deployments_seed)
{
    struct kv options = {0};
    struct provider_params params = {.id = "d", .options = &options};

    ck_assert_int_eq(kv_set(&options, STR_LIT("seed"), STR_LIT("7")), 0);
    g_backend->ops->free(g_backend);
    g_inner.n_frees = 0;
    make(&params);
    kv_done(&options);
    ask(2, 1);
    ck_assert_int_eq(start(), 0);
    end_inner(FINISH_STOP);
    turn();
    end_inner(FINISH_STOP);
    ck_assert(!g_inner.asked[0].has_seed); /* the codec knows it */
    ck_assert(g_inner.asked[1].has_seed && g_inner.asked[1].seed == 8);
}
END_TEST

START_TEST(without_a_seed_there_is_none)
{
    ask(2, 1);
    ck_assert_int_eq(start(), 0);
    end_inner(FINISH_STOP);
    turn();
    end_inner(FINISH_STOP);
    ck_assert(!g_inner.asked[1].has_seed);
}
END_TEST

START_TEST(a_failure_is_that_of_all)
{
    ask(3, 1);
    ck_assert_int_eq(start(), 0);
    tell_text(g_inner.job.sink, "a");
    end_inner(FINISH_STOP);
    turn();
    fail_inner();
    turn();
    ck_assert_uint_eq(g_inner.n_starts, 2);
    ck_assert_int_eq(g_sink.code, ERRCODE_UPSTREAM_STALLED);
}
END_TEST

START_TEST(failures_within_start)
{
    ask(3, 1);
    g_inner.scripts[0] = SCRIPT_FAIL;
    ck_assert_int_eq(start(), 0);
    ck_assert_ptr_null(g_job);
    ck_assert_int_eq(g_sink.code, ERRCODE_UPSTREAM_CUT);

    recording_sink_done(&g_sink);
    recording_sink_init(&g_sink);
    g_inner.scripts[1] = SCRIPT_ANSWER;
    g_inner.scripts[2] = SCRIPT_FAIL;
    ck_assert_int_eq(start(), 0);
    turn();
    ck_assert_int_eq(g_sink.code, ERRCODE_UPSTREAM_CUT);

    recording_sink_done(&g_sink);
    recording_sink_init(&g_sink);
    g_inner.scripts[3] = SCRIPT_REFUSE;
    ck_assert_int_eq(start(), -ENOMEM);
    ck_assert_uint_eq(g_sink.n_events, 0);

    g_inner.scripts[4] = SCRIPT_ANSWER;
    g_inner.scripts[5] = SCRIPT_REFUSE;
    ck_assert_int_eq(start(), 0);
    turn();
    ck_assert_int_eq(g_sink.code, ERRCODE_OUT_OF_MEMORY);
}
END_TEST

START_TEST(nothing_is_started_while_paused)
{
    ask(2, 1);
    ck_assert_int_eq(start(), 0);
    g_backend->ops->pause(g_job);
    end_inner(FINISH_STOP); /* what had been read already */
    turn();
    ck_assert_uint_eq(g_inner.n_starts, 1);
    g_backend->ops->resume(g_job, 1);
    turn();
    ck_assert_uint_eq(g_inner.n_starts, 2);
    end_inner(FINISH_STOP);
    ck_assert(g_sink.is_over);
}
END_TEST

START_TEST(a_pause_between_two)
{
    ask(2, 1);
    ck_assert_int_eq(start(), 0);
    end_inner(FINISH_STOP);
    g_backend->ops->pause(g_job); /* the next one was to be started already */
    turn();
    ck_assert_uint_eq(g_inner.n_starts, 1);
    g_backend->ops->resume(g_job, 1);
    turn();
    end_inner(FINISH_STOP);
}
END_TEST

START_TEST(cancelled_while_one_is_at_work)
{
    ask(2, 1);
    ck_assert_int_eq(start(), 0);
    g_backend->ops->cancel(g_job);
    turn();
    ck_assert_uint_eq(g_inner.n_cancels, 1);
    ck_assert_uint_eq(g_sink.n_events, 0);
}
END_TEST

START_TEST(cancelled_between_two)
{
    ask(2, 1);
    ck_assert_int_eq(start(), 0);
    end_inner(FINISH_STOP);
    g_backend->ops->cancel(g_job);
    turn();
    ck_assert_uint_eq(g_inner.n_starts, 1);
    ck_assert_uint_eq(g_inner.n_cancels, 0);
    ck_assert_uint_eq(g_sink.n_events, 0);
}
END_TEST

/* The limit is for the whole answer: the second one gets what the first left. */
START_TEST(a_time_limit_is_shared)
{
    struct backend_order order = {.request = g_req, .total_usec = UINT64_MAX};

    ask(2, 1);
    ck_assert_int_eq(g_backend->ops->start(g_backend, &order, &g_sink.sink, 5, &g_job), 0);
    end_inner(FINISH_STOP);
    turn();
    ck_assert(g_inner.asked[0].total_usec == UINT64_MAX);
    ck_assert(g_inner.asked[1].total_usec < UINT64_MAX && g_inner.asked[1].total_usec > 0);
    end_inner(FINISH_STOP);

    recording_sink_done(&g_sink);
    recording_sink_init(&g_sink);
    order.total_usec = 1; /* long over when the second one is to be started */
    ck_assert_int_eq(g_backend->ops->start(g_backend, &order, &g_sink.sink, 5, &g_job), 0);
    end_inner(FINISH_STOP);
    turn();
    ck_assert_int_eq(g_sink.code, ERRCODE_UPSTREAM_TIMEOUT);
    ck_assert_uint_eq(g_inner.n_starts, 3);
}
END_TEST

static void once(void)
{
    for (unsigned i = 0; i < 2; i++) {
        g_inner.scripts[i] = SCRIPT_ANSWER;
    }
    g_inner.n_starts = 0;
    recording_sink_done(&g_sink);
    recording_sink_init(&g_sink);
    if (start() == 0) {
        turn();
        ck_assert(g_sink.is_over);
    }
}

START_TEST(every_allocation_failed_once)
{
    ask(2, 1);
    for_each_failed_allocation(once);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, one_answer_passes_through);
    tcase_add_test(tc, answers_come_in_turn);
    tcase_add_test(tc, all_of_it_within_start);
    tcase_add_test(tc, seeds_differ);
    tcase_add_test(tc, the_deployments_seed);
    tcase_add_test(tc, without_a_seed_there_is_none);
    tcase_add_test(tc, a_failure_is_that_of_all);
    tcase_add_test(tc, failures_within_start);
    tcase_add_test(tc, nothing_is_started_while_paused);
    tcase_add_test(tc, a_pause_between_two);
    tcase_add_test(tc, cancelled_while_one_is_at_work);
    tcase_add_test(tc, cancelled_between_two);
    tcase_add_test(tc, a_time_limit_is_shared);
    tcase_add_test(tc, every_allocation_failed_once);
}

TEST_MAIN("fan_out", add_tests)
