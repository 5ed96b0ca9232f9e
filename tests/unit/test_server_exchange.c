/*
 * server_exchange: what is sent, what is told of the answer, and when nothing is. The transfer is this
 * file's: it stands in for transfer.c, and answers in pieces or lets time pass.
 */
#include "upstream/server_exchange.h"

#include <errno.h>

#include "base/clock.h"
#include "support.h"

#define MAX_BYTES 10

/* ---------------------------------------------------------------- a transfer that nobody makes */

struct transfer {
    struct transfer_callbacks callbacks;
    void *ctx;
};

static struct transfer *g_transfer; /* under way, or NULL */
static char g_url[100], g_body[100];
static bool g_is_post, g_is_local;

int transfer_start(struct curl_loop *loop, const struct transfer_spec *spec,
                   const struct transfer_callbacks *callbacks, void *ctx, struct transfer **ret)
{
    struct transfer *t = malloc(sizeof *t);

    ck_assert(!g_transfer && spec->connect_usec == 5);
    ck_assert_str_eq(spec->accept, "application/json");
    if (!t) {
        return -ENOMEM;
    }
    *t = (struct transfer) {*callbacks, ctx};
    (void) snprintf(g_url, sizeof g_url, "%s %s", spec->unix_path ? spec->unix_path : "-",
                    spec->url);
    g_is_post = spec->body.ptr != NULL;
    g_is_local = spec->is_local;
    *ret = g_transfer = t;
    return 0;
}

struct transfer *transfer_cancel(struct transfer *t)
{
    ck_assert(!t || t == g_transfer);
    free(t);
    g_transfer = t ? NULL : g_transfer;
    return NULL;
}

static void head(int status)
{
    g_transfer->callbacks.on_head(g_transfer->ctx, &(struct transfer_head) {.status = status});
}

static enum transfer_answer bytes(const char *text)
{
    return g_transfer->callbacks.on_bytes(g_transfer->ctx, str_from(text));
}

static void finish(enum transfer_result result)
{
    struct transfer gone = *g_transfer;

    transfer_cancel(g_transfer);
    gone.callbacks.on_done(gone.ctx, result, "broken");
}

/* ---------------------------------------------------------------- who asks */

static struct upstreams g_up;
static struct server_state *g_server;
static struct server_exchange g_exchange;
static struct server_request g_request;
static unsigned g_n_told;
static int g_status;
static enum transfer_result g_result;
static char g_why[100];
static bool g_goes_on, g_leaves;

static void on_end(struct server_exchange *x, const struct server_answer *answer)
{
    ck_assert_ptr_eq(x, &g_exchange);
    ck_assert(!server_exchange_is_asked(x));
    g_n_told++;
    g_status = answer->status;
    g_result = answer->result;
    str_copy(answer->body, g_body, sizeof g_body);
    (void) snprintf(g_why, sizeof g_why, "%s", answer->why);
    if (g_goes_on) {
        g_goes_on = false;
        ck_assert_int_eq(server_exchange_start(x, &g_request), 0);
        ck_assert_str_is(answer->body, g_body); /* not the next one's */
    } else if (g_leaves) {
        server_exchange_done(x);
    }
}

static void setup(void)
{
    g_up = (struct upstreams) {0};
    list_init(&g_up.servers);
    g_request =
        (struct server_request) {.path = "/api/ps", .connect_usec = 5, .ends_at_usec = USEC_NEVER};
    g_n_told = 0;
    g_goes_on = g_leaves = false;
    ck_assert_int_ge(sd_event_new(&g_up.event), 0);
    ck_assert_int_eq(server_state_ref(&g_up, "http://h:1", &g_server), 0);
    server_exchange_init(&g_exchange, &g_up, g_server, MAX_BYTES, on_end);
}

static void teardown(void)
{
    server_exchange_done(&g_exchange);
    server_exchange_done(&g_exchange); /* of a zeroed one: nothing */
    ck_assert_ptr_null(g_transfer);
    server_state_unref(g_server);
    ck_assert(list_is_empty(&g_up.servers));
    g_up.event = sd_event_unref(g_up.event);
}

static void start(void)
{
    ck_assert_int_eq(server_exchange_start(&g_exchange, &g_request), 0);
    ck_assert(server_exchange_is_asked(&g_exchange));
}

static void ck_told(enum transfer_result result, int status, const char *body)
{
    ck_assert_uint_eq(g_n_told, 1);
    ck_assert_int_eq(g_result, result);
    ck_assert_int_eq(g_status, status);
    ck_assert_str_eq(g_body, body);
}

/* ---------------------------------------------------------------- answers */

START_TEST(an_answer_in_pieces_is_told_whole)
{
    start();
    ck_assert_str_eq(g_url, "- http://h:1/api/ps");
    ck_assert(!g_is_post && !g_is_local);
    head(404);
    ck_assert_int_eq(bytes("01234"), TRANSFER_ROOM);
    ck_assert_int_eq(bytes("56789"), TRANSFER_ROOM); /* as much as there may be */
    ck_assert_uint_eq(g_n_told, 0);
    finish(TRANSFER_COMPLETE);
    ck_told(TRANSFER_COMPLETE, 404, "0123456789");
}
END_TEST

START_TEST(a_post_to_a_unix_socket)
{
    struct server_state *local;

    server_exchange_done(&g_exchange);
    ck_assert_int_eq(server_state_ref(&g_up, "unix:/run/o.sock", &local), 0);
    server_exchange_init(&g_exchange, &g_up, local, MAX_BYTES, on_end);
    server_state_unref(local); /* the exchange has it */
    g_request.body = STR_LIT("{}");
    start();
    ck_assert_str_eq(g_url, "/run/o.sock http://localhost/api/ps");
    ck_assert(g_is_post && g_is_local);
}
END_TEST

START_TEST(an_answer_that_is_too_long)
{
    start();
    head(200);
    ck_assert_int_eq(bytes("0123456789"), TRANSFER_ROOM);
    ck_assert_int_eq(bytes("+"), TRANSFER_STOP);
    finish(TRANSFER_STOPPED);
    ck_told(TRANSFER_STOPPED, 200, "0123456789");
}
END_TEST

START_TEST(what_is_dropped_has_the_same_limit)
{
    g_request.drops_body = true;
    start();
    head(200);
    ck_assert_int_eq(bytes("0123456789"), TRANSFER_ROOM);
    ck_assert_int_eq(bytes("+"), TRANSFER_STOP);
    finish(TRANSFER_STOPPED);
    ck_told(TRANSFER_STOPPED, 200, "");
}
END_TEST

START_TEST(no_answer)
{
    static const enum transfer_result results[] = {
        TRANSFER_REFUSED, TRANSFER_UNTRUSTED, TRANSFER_CONNECT_TIMEOUT,
        TRANSFER_CUT,     TRANSFER_GARBAGE,
    };

    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        g_n_told = 0;
        start();
        finish(results[i]);
        ck_told(results[i], 0, "");
        ck_assert_str_eq(g_why, "broken");
    }
}
END_TEST

START_TEST(an_answer_that_is_cut)
{
    start();
    head(200);
    (void) bytes("{");
    finish(TRANSFER_CUT);
    ck_told(TRANSFER_CUT, 200, "{");
}
END_TEST

/* ---------------------------------------------------------------- ends */

START_TEST(the_time_limit)
{
    g_request.ends_at_usec = clock_now_usec(); /* over before it begins */
    for (unsigned i = 0; i < 2; i++) {         /* its timer is used again */
        g_n_told = 0;
        start();
        while (g_n_told == 0) {
            ck_assert_int_ge(sd_event_run(g_up.event, 5 * USEC_PER_SEC), 0);
        }
        ck_told(TRANSFER_CUT, 0, "");
        ck_assert_str_eq(g_why, "it took too long");
        ck_assert_ptr_null(g_transfer);
    }
}
END_TEST

START_TEST(no_time_limit_is_left_behind)
{
    g_request.ends_at_usec = clock_now_usec();
    start();
    head(200);
    finish(TRANSFER_COMPLETE);
    g_request.ends_at_usec = USEC_NEVER;
    start();
    ck_assert_int_ge(sd_event_run(g_up.event, 0), 0);
    ck_assert_uint_eq(g_n_told, 1);
    ck_assert(server_exchange_is_asked(&g_exchange));
}
END_TEST

START_TEST(stopped_by_who_asked)
{
    ck_assert_int_eq(server_exchange_stop(&g_exchange), 0); /* idle */
    start();
    ck_assert_int_eq(server_exchange_stop(&g_exchange), 0);
    start();
    head(200);
    (void) bytes("old");
    ck_assert_int_eq(server_exchange_stop(&g_exchange), 200);
    ck_assert_int_eq(server_exchange_stop(&g_exchange), 0);
    ck_assert_uint_eq(g_n_told, 0);
    start();
    finish(TRANSFER_COMPLETE);
    ck_told(TRANSFER_COMPLETE, 0, ""); /* nothing of the one before */
}
END_TEST

START_TEST(one_after_the_other)
{
    g_goes_on = true;
    start();
    head(200);
    (void) bytes("one");
    finish(TRANSFER_COMPLETE);
    ck_told(TRANSFER_COMPLETE, 200, "one");
    ck_assert(server_exchange_is_asked(&g_exchange));
    (void) bytes("two");
    g_leaves = true; /* and takes the exchange along */
    finish(TRANSFER_COMPLETE);
    ck_assert_uint_eq(g_n_told, 2);
    ck_assert_str_eq(g_body, "two");
}
END_TEST

static void once(void)
{
    int r;

    server_exchange_init(&g_exchange, &g_up, g_server, MAX_BYTES, on_end);
    g_n_told = 0;
    g_request.ends_at_usec = USEC_NEVER - 1;
    r = server_exchange_start(&g_exchange, &g_request);
    if (r == 0) {
        finish(bytes("[]") == TRANSFER_STOP ? TRANSFER_STOPPED : TRANSFER_COMPLETE);
        ck_assert_uint_eq(g_n_told, 1);
        ck_assert(g_result == TRANSFER_COMPLETE || allocation_failed());
    } else {
        ck_assert_int_eq(r, -ENOMEM);
        ck_assert(g_n_told == 0 && !server_exchange_is_asked(&g_exchange));
    }
    server_exchange_done(&g_exchange);
}

START_TEST(every_allocation_failed_once)
{
    server_exchange_done(&g_exchange);
    for_each_failed_allocation(once);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_answer_in_pieces_is_told_whole);
    tcase_add_test(tc, a_post_to_a_unix_socket);
    tcase_add_test(tc, an_answer_that_is_too_long);
    tcase_add_test(tc, what_is_dropped_has_the_same_limit);
    tcase_add_test(tc, no_answer);
    tcase_add_test(tc, an_answer_that_is_cut);
    tcase_add_test(tc, the_time_limit);
    tcase_add_test(tc, no_time_limit_is_left_behind);
    tcase_add_test(tc, stopped_by_who_asked);
    tcase_add_test(tc, one_after_the_other);
    tcase_add_test(tc, every_allocation_failed_once);
}

TEST_MAIN("server_exchange", add_tests)
