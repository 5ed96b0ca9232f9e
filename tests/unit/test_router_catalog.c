/* Names of a wildcard's models, from those of its servers. */
#include "core/router_catalog.h"

#include <stdio.h>
#include <string.h>

#include "support.h"

struct server {
    struct backend backend;
    const char *names[4];
};

static void server_free(struct backend *b)
{
    free(CONTAINER_OF(b, struct server, backend));
}

static void list_models(struct backend *b, uint64_t now_usec, model_visit_fn visit, void *ctx)
{
    struct server *s = CONTAINER_OF(b, struct server, backend);

    for (size_t i = 0; i < ARRAY_LEN(s->names) && s->names[i]; i++) {
        visit(ctx, str_from(s->names[i]));
    }
}

static const struct backend_ops listing = {.free = server_free, .list_models = list_models};
static const struct backend_ops silent = {.free = server_free};

static struct router g_router;
static struct router_plan g_plan;
static struct buf g_seen;

static void setup(void)
{
    router_init(&g_router);
    buf_init(&g_seen, 4096);
}

static void teardown(void)
{
    router_done(&g_router);
    buf_done(&g_seen);
}

static struct server *add(const char *group, const char *model, const struct backend_ops *ops)
{
    static unsigned n;
    char id[16];
    struct server *s = calloc(1, sizeof *s);
    const struct deployment_spec spec = {.id = id,
                                         .fingerprint = id,
                                         .provider = "test",
                                         .upstream_model = model,
                                         .api_base = "http://x",
                                         .slots = 1};

    ck_assert_ptr_nonnull(s);
    s->backend.ops = ops;
    (void) snprintf(id, sizeof id, "d%u", n++);

    struct deployment *d = deployment_new(&spec, &s->backend);

    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(router_plan_add(&g_plan, group, d), 0);
    return s;
}

static void see(void *ctx, struct str name)
{
    ck_assert_int_eq(buf_printf(&g_seen, "%.*s,", STR_ARG(name)), 0);
}

static const char *seen(const char *name)
{
    struct model_group *g = router_resolve(&g_router, str_from(name));

    ck_assert_ptr_nonnull(g);
    buf_clear(&g_seen);
    router_each_model(&g_router, g, 1, see, NULL);
    return g_seen.len > 0 ? buf_z(&g_seen) : "";
}

START_TEST(public_names)
{
    struct server *s = add("local/*:x", "lla*3", &listing);

    s->names[0] = "llama3";
    s->names[1] = "lla3"; /* nothing would be left of it */
    s->names[2] = "qwen3";
    s->names[3] = "llama";
    router_commit(&g_router, &g_plan);
    ck_assert_str_eq(seen("local/ma:x"), "local/ma:x,");
}
END_TEST

START_TEST(each_once_and_not_those_of_others)
{
    struct server *one = add("o/*", "*", &listing), *two = add("o/*", "*", &listing);

    (void) add("o/*", "*", &silent);
    (void) add("o/own", "y", &silent);
    (void) add("o/qwen*", "*", &silent);
    one->names[0] = "a";
    one->names[1] = "own";
    two->names[0] = "a";
    two->names[1] = "b";
    two->names[2] = "qwen:7b"; /* another wildcard would have it */
    router_commit(&g_router, &g_plan);
    ck_assert_str_eq(seen("o/x"), "o/a,o/b,");
}
END_TEST

START_TEST(what_has_no_way_back)
{
    struct server *many = add("*/*", "*", &listing), *none = add("f-*", "fixed", &listing);
    struct server *longer = add("l-*", "*", &listing);
    static char name[ROUTER_MODEL_BYTES];

    many->names[0] = none->names[0] = "a";
    memset(name, 'n', sizeof name - 2);
    longer->names[0] = name;
    router_commit(&g_router, &g_plan);
    ck_assert_str_eq(seen("x/y"), "");
    ck_assert_str_eq(seen("f-x"), "");
    ck_assert_str_eq(seen("l-x"), "");
}
END_TEST

static void see_listed(void *ctx, const struct router_listed *one)
{
    ck_assert_ptr_nonnull(one->group);
    see(ctx, one->name);
}

/* What lists show: no pattern, no hidden name, and every model once. */
START_TEST(all_names_in_one_list)
{
    struct server *s = add("o/*", "*", &listing);

    (void) add("w/*", "*", &silent);
    (void) add("o/own", "y", &silent);
    s->names[0] = "a";
    s->names[1] = "own";
    ck_assert_int_eq(router_plan_alias(&g_plan, "short", "o/own", false), 0);
    ck_assert_int_eq(router_plan_alias(&g_plan, "hidden", "o/own", true), 0);
    ck_assert_int_eq(router_plan_alias(&g_plan, "b", "o/b", false), 0);
    router_commit(&g_router, &g_plan);
    router_each_listed(&g_router, 1, see_listed, NULL);
    ck_assert_str_eq(buf_z(&g_seen), "o/a,o/own,short,b,");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, public_names);
    tcase_add_test(tc, each_once_and_not_those_of_others);
    tcase_add_test(tc, what_has_no_way_back);
    tcase_add_test(tc, all_names_in_one_list);
}

TEST_MAIN("router_catalog", add_tests)
