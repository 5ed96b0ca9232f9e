/*
 * ollama_watch: when an Ollama server is asked about itself, and what its answers change. The
 * transfers are this file's: it stands in for transfer.c, and answers or lets time pass.
 */
#include "upstream/ollama_watch.h"

#include <errno.h>
#include <systemd/sd-event.h>

#include "base/clock.h"
#include "support.h"
#include "upstream/server_state.h"
#include "upstream/transfer.h"

#define SEC    USEC_PER_SEC
#define MINUTE (60 * SEC)
#define NOW    (1000 * SEC)
#define IDLE   "{\"models\":[]}"
#define HAS_UM "{\"models\":[{\"name\":\"um:latest\",\"size\":7}]}"

/* ---------------------------------------------------------------- transfers that nobody makes */

struct transfer {
    struct transfer_callbacks callbacks;
    void *ctx;
    bool is_version;
};

static struct transfer *g_list, *g_version; /* under way, or NULL */
static unsigned g_n_asked;
static bool g_refuses;

int transfer_start(struct curl_loop *loop, const struct transfer_spec *spec,
                   const struct transfer_callbacks *callbacks, void *ctx, struct transfer **ret)
{
    bool is_version = strstr(spec->url, "/api/version") != NULL;
    struct transfer *t = g_refuses ? NULL : malloc(sizeof *t);

    if (!t) {
        return -ENOMEM;
    }
    ck_assert(is_version || strcmp(spec->url, "http://h:1/api/ps") == 0);
    ck_assert(spec->is_local == false && spec->connect_usec == 5);
    *t = (struct transfer) {*callbacks, ctx, is_version};
    *(is_version ? &g_version : &g_list) = t;
    g_n_asked++;
    *ret = t;
    return 0;
}

struct transfer *transfer_cancel(struct transfer *t)
{
    if (t) {
        *(t->is_version ? &g_version : &g_list) = NULL;
        free(t);
    }
    return NULL;
}

/* The end of a transfer, with an answer or without. */
static void end(struct transfer *t, int status, const char *body, enum transfer_result result)
{
    struct transfer gone;

    ck_assert_ptr_nonnull(t);
    gone = *t;
    if (status) {
        gone.callbacks.on_head(gone.ctx, &(struct transfer_head) {.status = status});
        if (gone.callbacks.on_bytes(gone.ctx, str_from(body)) == TRANSFER_STOP) {
            result = TRANSFER_STOPPED;
        }
    }
    (void) transfer_cancel(t);
    gone.callbacks.on_done(gone.ctx, result, "why");
}

static void answer(struct transfer *t, const char *body)
{
    end(t, 200, body, TRANSFER_COMPLETE);
}

/* ---------------------------------------------------------------- around */

static struct upstreams g_up;
static struct server_state *g_server;
static struct ollama_watch *g_watch;
static struct server_access g_access;
static const struct ollama_watch_terms terms = {&g_access, 5};
static unsigned g_n_renewals;
static char g_told[200];

static void on_renewed(void *ctx, const struct renewal_report *r)
{
    g_n_renewals++;
    (void) snprintf(g_told, sizeof g_told, "%s: %s, was %s", r->server, r->version,
                    r->version_before);
}

static void setup(void)
{
    g_up = (struct upstreams) {.hooks = {.on_renewed = on_renewed}};
    list_init(&g_up.servers);
    g_n_asked = g_n_renewals = 0;
    g_refuses = false;
    g_watch = NULL;
    ck_assert_int_ge(sd_event_new(&g_up.event), 0);
    ck_assert_int_eq(server_state_ref(&g_up, "http://h:1", &g_server), 0);
    ck_assert_int_eq(ollama_watch_new(&g_up, g_server, &g_watch), 0);
}

static void teardown(void)
{
    g_watch = ollama_watch_free(g_watch);
    ck_assert(!g_list && !g_version);
    server_state_unref(g_server);
    g_up.event = sd_event_unref(g_up.event);
}

static bool has_um(uint64_t now_usec)
{
    return ollama_resident_find(ollama_watch_resident(g_watch), "um", server_state_epoch(g_server),
                                now_usec) != NULL;
}

static void go_away(uint64_t now_usec)
{
    server_state_failed(g_server, ERRCODE_UPSTREAM_UNREACHABLE, "refused", now_usec);
}

/* ---------------------------------------------------------------- the list */

START_TEST(a_list_is_asked_for_where_it_is_old)
{
    ollama_watch_look(g_watch, &terms, NOW);
    ollama_watch_look(g_watch, &terms, NOW); /* on its way */
    ck_assert_uint_eq(g_n_asked, 1);
    ck_assert(!has_um(NOW));
    answer(g_list, HAS_UM);
    ck_assert(has_um(NOW));
    ollama_watch_look(g_watch, &terms, NOW + 30 * SEC - 1);
    ck_assert_uint_eq(g_n_asked, 1);
    ollama_watch_look(g_watch, &terms, NOW + 30 * SEC);
    ck_assert_uint_eq(g_n_asked, 2);
    ck_assert(has_um(NOW + 30 * SEC)); /* what was known is used until then */
    answer(g_list, IDLE);
    ck_assert(!has_um(NOW + 30 * SEC));
}
END_TEST

START_TEST(a_load_changes_the_list_for_who_looks)
{
    ollama_watch_loaded(g_watch, &terms, NOW);
    ck_assert_uint_eq(g_n_asked, 0);
    ollama_watch_look(g_watch, &terms, NOW);
    ollama_watch_loaded(g_watch, &terms, NOW + 1); /* the answer on its way is too early */
    ck_assert_uint_eq(g_n_asked, 2);
    answer(g_list, HAS_UM);
    ollama_watch_loaded(g_watch, &terms, NOW + 2);
    ck_assert_uint_eq(g_n_asked, 3);
}
END_TEST

START_TEST(an_answer_that_may_not_know_is_asked_for_again)
{
    ollama_watch_look(g_watch, &terms, NOW);
    ollama_resident_doubt(ollama_watch_resident(g_watch), "um", NOW + 1);
    answer(g_list, HAS_UM);
    ck_assert(!has_um(NOW + 2));
    ollama_watch_look(g_watch, &terms, NOW + 2);
    ck_assert_uint_eq(g_n_asked, 2);
    answer(g_list, HAS_UM); /* somebody else has loaded it */
    ck_assert(has_um(NOW + 2));
}
END_TEST

START_TEST(who_does_not_say_keeps_what_was_known)
{
    static char huge[300 * 1024];
    uint64_t now = NOW;

    memset(huge, 'x', sizeof huge - 1);
    ollama_watch_look(g_watch, &terms, now);
    answer(g_list, HAS_UM);
    for (int i = 0; i < 6; i++) {
        now += 30 * SEC;
        ollama_watch_look(g_watch, &terms, now);
        switch (i) {
        case 0:
            end(g_list, 0, NULL, TRANSFER_REFUSED);
            break;
        case 1:
            end(g_list, 200, "{\"models\":[", TRANSFER_CUT);
            break;
        case 2:
            end(g_list, 500, "{\"error\":\"no\"}", TRANSFER_COMPLETE);
            break;
        case 3:
            answer(g_list, "<html>");
            break;
        case 4:
            answer(g_list, huge);
            break;
        case 5:
            answer(g_list, "");
            break;
        }
        ck_assert(has_um(now));
        ck_assert(!server_state_is_down(g_server));
        ollama_watch_look(g_watch, &terms, now + 1); /* not at once again */
        ck_assert_ptr_null(g_list);
    }
}
END_TEST

START_TEST(another_process_has_another_list)
{
    ollama_watch_look(g_watch, &terms, NOW);
    answer(g_list, HAS_UM);
    go_away(NOW + 1);
    ck_assert(!has_um(NOW + 1));
    ollama_watch_look(g_watch, &terms, NOW + 1); /* down: the next call finds out */
    ollama_watch_contact(g_watch, &terms, NOW + 1);
    ck_assert_uint_eq(g_n_asked, 1);
    server_state_answered(g_server, NOW + 2);
    ollama_watch_look(g_watch, &terms, NOW + 2);
    ck_assert_uint_eq(g_n_asked, 2);
    server_state_renew(g_server); /* and once more, while it was asked */
    answer(g_list, HAS_UM);
    ck_assert(!has_um(NOW + 2));
    ollama_watch_look(g_watch, &terms, NOW + 2);
    answer(g_list, HAS_UM);
    ck_assert(has_um(NOW + 2));
}
END_TEST

/* ---------------------------------------------------------------- the version */

static void say(const char *version, uint64_t now_usec)
{
    char body[100];

    ollama_watch_contact(g_watch, &terms, now_usec);
    (void) snprintf(body, sizeof body, "{\"version\":\"%s\"}", version);
    answer(g_version, body);
}

START_TEST(a_version_is_asked_for_once)
{
    ck_assert_str_eq(ollama_watch_version(g_watch), "");
    ollama_watch_contact(g_watch, &terms, NOW);
    ollama_watch_contact(g_watch, &terms, NOW);
    ck_assert_uint_eq(g_n_asked, 1);
    answer(g_version, "{\"version\":\"0.34.3\"}");
    ck_assert_str_eq(ollama_watch_version(g_watch), "0.34.3");
    ollama_watch_contact(g_watch, &terms, NOW + 10 * MINUTE - 1);
    ck_assert_uint_eq(g_n_asked, 1);
    say("0.34.3", NOW + 10 * MINUTE);
    ck_assert_uint_eq(g_n_renewals, 0);
    ck_assert_uint_eq(server_state_epoch(g_server), 0);
}
END_TEST

START_TEST(another_version_is_another_process)
{
    say("0.34.3", NOW);
    ollama_watch_look(g_watch, &terms, NOW);
    answer(g_list, HAS_UM);
    say("0.35.0", NOW + 10 * MINUTE);
    ck_assert_uint_eq(server_state_epoch(g_server), 1);
    ck_assert(!has_um(NOW));
    ck_assert_str_eq(g_told, "http://h:1: 0.35.0, was 0.34.3");
    ck_assert_str_eq(ollama_watch_version(g_watch), "0.35.0");
    ollama_watch_contact(g_watch, &terms, NOW + 10 * MINUTE + 1);
    ck_assert_ptr_null(g_version); /* known, of this process */
    say("0.35.0", NOW + 20 * MINUTE);
    ck_assert_uint_eq(g_n_renewals, 1);
}
END_TEST

START_TEST(after_a_break_it_is_asked_for_at_once)
{
    say("0.34.3", NOW);
    server_state_renew(g_server);
    say("0.34.3", NOW + 1);
    ck_assert_uint_eq(server_state_epoch(g_server), 1); /* not once more */
    ck_assert_str_eq(g_told, "http://h:1: 0.34.3, was 0.34.3");
    go_away(NOW + 2);
    go_away(NOW + 3);
    server_state_answered(g_server, NOW + 4);
    say("0.34.4", NOW + 4);
    ck_assert_uint_eq(server_state_epoch(g_server), 3);
    ck_assert_str_eq(g_told, "http://h:1: 0.34.4, was 0.34.3");
    ck_assert_uint_eq(g_n_renewals, 2);
    ollama_watch_contact(g_watch, &terms, NOW + 5);
    ck_assert_ptr_null(g_version);
}
END_TEST

START_TEST(who_was_away_before_it_was_known_is_no_news)
{
    go_away(NOW);
    server_state_answered(g_server, NOW + 1);
    say("0.34.3", NOW + 1);
    ck_assert_uint_eq(g_n_renewals, 0);
}
END_TEST

START_TEST(a_server_without_a_version)
{
    ollama_watch_contact(g_watch, &terms, NOW);
    end(g_version, 404, "404 page not found", TRANSFER_COMPLETE);
    ollama_watch_contact(g_watch, &terms, NOW + 30 * SEC - 1);
    ck_assert_uint_eq(g_n_asked, 1);
    ollama_watch_contact(g_watch, &terms, NOW + 30 * SEC);
    answer(g_version, "{\"version\":\"\\u001b[2J\"}");
    ck_assert_str_eq(ollama_watch_version(g_watch), "");
    ollama_watch_contact(g_watch, &terms, NOW + 10 * MINUTE);
    ck_assert_uint_eq(g_n_asked, 2); /* it will not learn it soon */
    say("0.34.3", NOW + 11 * MINUTE);
    ollama_watch_contact(g_watch, &terms, NOW + 22 * MINUTE);
    answer(g_version, "garbage");
    ck_assert_str_eq(ollama_watch_version(g_watch), "0.34.3");
    ck_assert_uint_eq(g_n_renewals, 0);
}
END_TEST

/* ---------------------------------------------------------------- limits */

START_TEST(a_server_that_hangs)
{
    uint64_t past = clock_now_usec() - 20 * SEC; /* the time limit is over before it begins */

    ollama_watch_look(g_watch, &terms, past);
    ollama_watch_contact(g_watch, &terms, past);
    ck_assert(g_list && g_version);
    while (g_list || g_version) {
        ck_assert_int_ge(sd_event_run(g_up.event, 5 * SEC), 0);
    }
    ck_assert(!server_state_is_down(g_server));
    ollama_watch_look(g_watch, &terms, past + 30 * SEC);
    answer(g_list, HAS_UM);
    ck_assert(has_um(past + 30 * SEC));
}
END_TEST

START_TEST(without_memory_for_a_question_the_next_one_tries)
{
    g_refuses = true;
    ollama_watch_look(g_watch, &terms, NOW);
    ollama_watch_contact(g_watch, &terms, NOW);
    g_refuses = false;
    ollama_watch_look(g_watch, &terms, NOW);
    say("0.34.3", NOW);
    answer(g_list, HAS_UM);
    ck_assert(has_um(NOW));
}
END_TEST

/* What an answer says is known, or else what was known before. */
static void once(void)
{
    struct ollama_watch *outer = TAKE(g_watch);

    if (ollama_watch_new(&g_up, g_server, &g_watch) == 0) {
        ollama_watch_look(g_watch, &terms, NOW);
        ollama_watch_contact(g_watch, &terms, NOW);
        if (g_list) {
            answer(g_list, HAS_UM);
        }
        if (g_version) {
            answer(g_version, "{\"version\":\"0.34.3\"}");
        }
        ck_assert(has_um(NOW) || allocation_failed());
        ck_assert(ollama_watch_version(g_watch)[0] || allocation_failed());
        ollama_watch_free(g_watch);
    }
    g_watch = outer;
}

START_TEST(every_allocation_failed_once)
{
    for_each_failed_allocation(once);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_list_is_asked_for_where_it_is_old);
    tcase_add_test(tc, a_load_changes_the_list_for_who_looks);
    tcase_add_test(tc, an_answer_that_may_not_know_is_asked_for_again);
    tcase_add_test(tc, who_does_not_say_keeps_what_was_known);
    tcase_add_test(tc, another_process_has_another_list);
    tcase_add_test(tc, a_version_is_asked_for_once);
    tcase_add_test(tc, another_version_is_another_process);
    tcase_add_test(tc, after_a_break_it_is_asked_for_at_once);
    tcase_add_test(tc, who_was_away_before_it_was_known_is_no_news);
    tcase_add_test(tc, a_server_without_a_version);
    tcase_add_test(tc, a_server_that_hangs);
    tcase_add_test(tc, without_memory_for_a_question_the_next_one_tries);
    tcase_add_test(tc, every_allocation_failed_once);
}

TEST_MAIN("ollama_watch", add_tests)
