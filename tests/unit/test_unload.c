/* Unloading a model: who is asked, who is in the way, and what is counted. */
#include <errno.h>
#include <stdio.h>

#include "core/residency.h"
#include "core/unload.h"
#include "support.h"

/* A backend that answers an unload when told. */
struct server {
    struct backend backend;
    struct unload_job job;
    struct unload_sink *sink; /* NULL: not asked, or told */
    int result;               /* of unload() */
    unsigned n_asked;
    char model[32]; /* that was asked for; "": its own */
};

static unsigned g_n_done, g_n_cancelled;

static void server_free(struct backend *b)
{
    free(CONTAINER_OF(b, struct server, backend));
}

static void cancel(struct unload_job *job)
{
    struct server *s = CONTAINER_OF(job, struct server, job);

    ck_assert_ptr_nonnull(s->sink);
    s->sink = NULL;
    g_n_cancelled++;
}

static int ask(struct backend *b, const char *model, struct unload_sink *sink,
               struct unload_job **ret_job)
{
    struct server *s = CONTAINER_OF(b, struct server, backend);

    s->n_asked++;
    (void) snprintf(s->model, sizeof s->model, "%s", model ? model : "");
    if (s->result < 0) {
        return s->result;
    }
    s->job.cancel = cancel;
    s->sink = sink;
    *ret_job = &s->job;
    return 0;
}

static const struct backend_ops asking = {.free = server_free, .unload = ask};
static const struct backend_ops deaf = {.free = server_free};

static struct server *add_model(struct router_plan *plan, const char *group, const char *id,
                                const char *api_base, const char *upstream_model,
                                const struct backend_ops *ops)
{
    struct server *s = calloc(1, sizeof *s);
    const struct deployment_spec spec = {.id = id,
                                         .fingerprint = id,
                                         .provider = "test",
                                         .upstream_model = upstream_model,
                                         .api_base = api_base,
                                         .slots = 2};

    ck_assert_ptr_nonnull(s);
    s->backend.ops = ops;

    struct deployment *d = deployment_new(&spec, &s->backend);

    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(router_plan_add(plan, group, d), 0);
    return s;
}

static struct server *add(struct router_plan *plan, const char *group, const char *id,
                          const char *api_base, const struct backend_ops *ops)
{
    return add_model(plan, group, id, api_base, "um", ops);
}

static void tell(struct server *s, enum errcode code, bool was_loaded)
{
    struct unload_sink *sink = TAKE(s->sink);
    const struct unload_result result = {
        .code = code, .text = code == ERRCODE_NONE ? NULL : "why", .was_loaded = was_loaded};

    ck_assert_ptr_nonnull(sink);
    sink->on_unloaded(sink, &result);
}

static void on_done(struct unload *u)
{
    ck_assert_uint_eq(u->n_pending, 0);
    g_n_done++;
}

static struct router g_router;
static struct router_plan g_plan;

static void setup(void)
{
    g_n_done = g_n_cancelled = 0;
    router_init(&g_router);
}

static void teardown(void)
{
    router_done(&g_router);
}

/* Residency, which asks in its own way, and says what the test wants. */
static int g_watched;
static unsigned g_n_watched;

static int watched_unload(struct residency *r, const struct deployment *d, const char *name,
                          struct unload_sink *sink, struct unload_job **ret_job)
{
    g_n_watched++;
    return g_watched < 0 ? g_watched : d->backend->ops->unload(d->backend, name, sink, ret_job);
}

static enum errcode start(struct unload *u, const char *model)
{
    *u = (struct unload) {.on_done = on_done};
    return unload_start(u, &g_router, str_from(model));
}

START_TEST(each_says_what_became_of_it)
{
    struct server *one = add(&g_plan, "m", "one", "http://1", &asking);
    struct server *two = add(&g_plan, "m", "two", "http://2", &asking);
    struct unload u;

    (void) add(&g_plan, "m", "three", "http://3", &deaf);
    (void) add(&g_plan, "other", "four", "http://4", &asking);
    router_commit(&g_router, &g_plan);
    ck_assert_int_eq(start(&u, "m"), ERRCODE_NONE);
    ck_assert_uint_eq(u.n_pending, 2);
    tell(two, ERRCODE_NONE, false);
    ck_assert_uint_eq(g_n_done, 0);
    tell(one, ERRCODE_NONE, true);
    ck_assert_uint_eq(g_n_done, 1);
    ck_assert_int_eq(u.code, ERRCODE_NONE);
    ck_assert_uint_eq(u.n_unloaded, 1);
    ck_assert_uint_eq(u.n_unchanged, 2); /* not loaded, and no such request */
    unload_done(&u);
    ck_assert_uint_eq(g_n_cancelled, 0);
}
END_TEST

START_TEST(a_wildcards_model_by_its_name)
{
    struct server *any = add_model(&g_plan, "o/*", "any", "http://1", "*", &asking);
    struct server *own = add(&g_plan, "m", "own", "http://1", &asking);
    struct server *far = add(&g_plan, "far", "far", "http://2", &asking);
    struct model_group *group;
    struct deployment *d;
    struct unload u;

    router_commit(&g_router, &g_plan);
    ck_assert_int_eq(start(&u, "o/tiny:1b"), ERRCODE_NONE);
    ck_assert_str_eq(any->model, "tiny:1b");
    tell(any, ERRCODE_NONE, true);
    unload_done(&u);

    /* it may be using any model of its server */
    group = router_resolve(&g_router, STR_LIT("o/x"));
    d = group->deployments[0];
    d->in_use++;
    ck_assert_int_eq(start(&u, "m"), ERRCODE_MODEL_IN_USE);
    ck_assert_uint_eq(own->n_asked, 0);
    ck_assert_int_eq(start(&u, "far"), ERRCODE_NONE);
    tell(far, ERRCODE_NONE, true);
    ck_assert_str_eq(far->model, "");
    unload_done(&u);
    d->in_use--;
}
END_TEST

START_TEST(the_first_failure_is_told_when_all_have_spoken)
{
    struct server *one = add(&g_plan, "m", "one", "http://1", &asking);
    struct server *two = add(&g_plan, "m", "two", "http://2", &asking);
    struct server *three = add(&g_plan, "m", "three", "http://3", &asking);
    struct unload u;

    router_commit(&g_router, &g_plan);
    ck_assert_int_eq(start(&u, "m"), ERRCODE_NONE);
    tell(one, ERRCODE_UPSTREAM_TIMEOUT, false);
    tell(two, ERRCODE_UPSTREAM_CUT, false);
    ck_assert_uint_eq(g_n_done, 0);
    tell(three, ERRCODE_NONE, true);
    ck_assert_uint_eq(g_n_done, 1);
    ck_assert_int_eq(u.code, ERRCODE_UPSTREAM_TIMEOUT);
    ck_assert_str_eq(u.text, "why");
    ck_assert_uint_eq(u.n_unloaded, 1);
    unload_done(&u);
}
END_TEST

START_TEST(what_cannot_be_asked_is_over_at_once)
{
    struct server *one = add(&g_plan, "m", "one", "http://1", &asking);
    struct unload u;

    (void) add(&g_plan, "deaf", "two", "http://2", &deaf);
    router_commit(&g_router, &g_plan);
    ck_assert_int_eq(start(&u, "deaf"), ERRCODE_NONE);
    ck_assert_uint_eq(u.n_pending, 0);
    ck_assert_uint_eq(u.n_unchanged, 1);
    unload_done(&u);

    one->result = -EBUSY;
    ck_assert_int_eq(start(&u, "m"), ERRCODE_NONE);
    ck_assert_uint_eq(u.n_pending, 0);
    ck_assert_int_eq(u.code, ERRCODE_MODEL_IN_USE);
    unload_done(&u);

    one->result = -ENOMEM;
    ck_assert_int_eq(start(&u, "m"), ERRCODE_NONE);
    ck_assert_int_eq(u.code, ERRCODE_OUT_OF_MEMORY);
    unload_done(&u);
    ck_assert_uint_eq(g_n_done, 0); /* nobody waited */
}
END_TEST

START_TEST(unknown_models_are_refused)
{
    struct unload u;

    ck_assert_int_eq(start(&u, "nope"), ERRCODE_MODEL_NOT_FOUND);
    unload_done(&u);
}
END_TEST

START_TEST(a_model_in_use_stays_under_every_name)
{
    struct server *one = add(&g_plan, "m", "one", "http://1", &asking);
    struct server *same = add(&g_plan, "alias", "same", "http://1", &asking);
    struct server *other = add(&g_plan, "other", "other", "http://2", &asking);
    struct unload u;

    router_commit(&g_router, &g_plan);

    struct deployment *d =
        router_pick(&g_router, router_resolve(&g_router, str_from("m")), NULL, 1);

    ck_assert_int_eq(start(&u, "m"), ERRCODE_MODEL_IN_USE);
    unload_done(&u);
    ck_assert_int_eq(start(&u, "alias"), ERRCODE_MODEL_IN_USE);
    unload_done(&u);
    ck_assert_uint_eq(one->n_asked + same->n_asked, 0);

    ck_assert_int_eq(start(&u, "other"), ERRCODE_NONE); /* another server */
    tell(other, ERRCODE_NONE, true);
    unload_done(&u);

    router_release(&g_router, d, 1);
    ck_assert_int_eq(start(&u, "alias"), ERRCODE_NONE);
    tell(same, ERRCODE_NONE, true);
    unload_done(&u);
}
END_TEST

START_TEST(a_retired_deployment_in_use_counts)
{
    (void) add(&g_plan, "m", "old", "http://1", &asking);
    router_commit(&g_router, &g_plan);

    struct deployment *old =
        router_pick(&g_router, router_resolve(&g_router, str_from("m")), NULL, 1);
    struct server *fresh = add(&g_plan, "m", "new", "http://1", &asking);
    struct unload u;

    router_commit(&g_router, &g_plan);
    ck_assert_int_eq(start(&u, "m"), ERRCODE_MODEL_IN_USE);
    unload_done(&u);
    router_release(&g_router, old, 1);
    router_reap(&g_router);
    ck_assert_int_eq(start(&u, "m"), ERRCODE_NONE);
    tell(fresh, ERRCODE_NONE, true);
    unload_done(&u);
}
END_TEST

START_TEST(servers_without_an_address_are_not_one)
{
    struct unload u;

    (void) add(&g_plan, "m", "one", NULL, &deaf);
    (void) add(&g_plan, "n", "two", NULL, &deaf);
    router_commit(&g_router, &g_plan);

    struct deployment *d =
        router_pick(&g_router, router_resolve(&g_router, str_from("m")), NULL, 1);

    ck_assert_int_eq(start(&u, "n"), ERRCODE_NONE);
    unload_done(&u);
    router_release(&g_router, d, 1);
}
END_TEST

START_TEST(giving_up_cancels_what_is_open)
{
    struct server *one = add(&g_plan, "m", "one", "http://1", &asking);
    struct unload u;

    (void) add(&g_plan, "m", "two", "http://2", &asking);
    router_commit(&g_router, &g_plan);
    ck_assert_int_eq(start(&u, "m"), ERRCODE_NONE);
    tell(one, ERRCODE_NONE, true);
    unload_done(&u);
    ck_assert_uint_eq(g_n_cancelled, 1);
    ck_assert_uint_eq(g_n_done, 0);
}
END_TEST

/* Who watches what is in memory does it, if he knows the model; else its server is asked past him. */
START_TEST(by_way_of_residency)
{
    struct server *one = add(&g_plan, "m", "one", "http://1", &asking);
    struct residency watch = {.unload = watched_unload};
    struct unload u;

    router_commit(&g_router, &g_plan);
    g_router.residency = &watch;
    g_n_watched = 0;
    g_watched = 0;
    ck_assert_int_eq(start(&u, "m"), ERRCODE_NONE);
    ck_assert_uint_eq(g_n_watched, 1);
    tell(one, ERRCODE_NONE, true);
    ck_assert_uint_eq(u.n_unloaded, 1);
    unload_done(&u);

    g_watched = -EBUSY;
    ck_assert_int_eq(start(&u, "m"), ERRCODE_NONE);
    ck_assert_int_eq(u.code, ERRCODE_MODEL_IN_USE);
    ck_assert_uint_eq(one->n_asked, 1);
    unload_done(&u);

    g_watched = -EOPNOTSUPP;
    ck_assert_int_eq(start(&u, "m"), ERRCODE_NONE);
    ck_assert_uint_eq(one->n_asked, 2);
    tell(one, ERRCODE_NONE, true);
    unload_done(&u);
    ck_assert_uint_eq(g_n_watched, 3);
    g_router.residency = NULL;
}
END_TEST

static void unload_once(void)
{
    struct unload u;
    enum errcode code = start(&u, "m");

    ck_assert(code == ERRCODE_NONE || code == ERRCODE_OUT_OF_MEMORY);
    unload_done(&u);
}

START_TEST(survives_every_failed_allocation)
{
    (void) add(&g_plan, "m", "one", "http://1", &asking);
    router_commit(&g_router, &g_plan);
    for_each_failed_allocation(unload_once);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, each_says_what_became_of_it);
    tcase_add_test(tc, a_wildcards_model_by_its_name);
    tcase_add_test(tc, the_first_failure_is_told_when_all_have_spoken);
    tcase_add_test(tc, what_cannot_be_asked_is_over_at_once);
    tcase_add_test(tc, unknown_models_are_refused);
    tcase_add_test(tc, a_model_in_use_stays_under_every_name);
    tcase_add_test(tc, a_retired_deployment_in_use_counts);
    tcase_add_test(tc, servers_without_an_address_are_not_one);
    tcase_add_test(tc, giving_up_cancels_what_is_open);
    tcase_add_test(tc, by_way_of_residency);
    tcase_add_test(tc, survives_every_failed_allocation);
}

TEST_MAIN("unload", add_tests)
