#pragma once
/*
 * What the tests of residency share: a device of 2000 MiB with one server and three models, under a
 * clock of the test's own. Nothing happens by itself: the test says what the server did.
 */
#include <stdio.h>

#include "core/residency.h"
#include "router_support.h"

#define MIB  (UINT64_C(1) << 20)
#define MSEC USEC_PER_MSEC

static struct router g_router;
static struct footprints g_footprints;
static struct residency g_r;
static uint64_t g_now;
static bool g_is_trusted;

static inline bool is_trusted(const struct backend *b, const char *model, uint64_t now_usec)
{
    return g_is_trusted;
}

static const struct memory_ops memory_ops = {.is_trusted = is_trusted};
static const struct backend_ops ollama_ops = {.free = router_backend_free};

static const struct residency_params params = {
    .is_on = true,
    .max_wait_usec = {15 * SEC, 120 * SEC, 600 * SEC},
};

/* Models of one server on this device: the group "a" serves "ua", with two slots. */
static inline void plan_models_at(const char *api_base, const char *const *names, size_t n)
{
    struct router_plan plan = {0};

    for (size_t i = 0; i < n; i++) {
        char upstream[8];
        struct backend *b = router_backend();

        (void) snprintf(upstream, sizeof upstream, "u%s", names[i]);
        ck_assert_ptr_nonnull(b);
        b->ops = &ollama_ops;
        b->memory = &memory_ops;

        struct deployment *d = deployment_new(&(struct deployment_spec) {.id = names[i],
                                                                         .fingerprint = names[i],
                                                                         .provider = "ollama",
                                                                         .upstream_model = upstream,
                                                                         .api_base = api_base,
                                                                         .slots = 2,
                                                                         .is_local = true},
                                              b);

        ck_assert_ptr_nonnull(d);
        ck_assert_int_eq(router_plan_add(&plan, names[i], d), 0);
    }
    router_commit(&g_router, &plan);
}

static inline void plan_models(const char *const *names, size_t n)
{
    plan_models_at("here", names, n);
}

static inline struct deployment *deployment(const char *name)
{
    return router_resolve(&g_router, str_from(name))->deployments[0];
}

static inline struct residency_model *model(const char *name)
{
    return residency_of(&g_r, deployment(name), NULL);
}

static inline void set_memory(uint64_t total_mib, uint64_t available_mib)
{
    residency_set_memory(&g_r,
                         &(struct residency_memory) {.total_bytes = total_mib * MIB,
                                                     .available_bytes = available_mib * MIB},
                         1, g_now);
}

static inline void told(const char *name, uint64_t needs_mib)
{
    residency_told(model(name), STR_NONE, 4096, 1,
                   &(struct footprint_facts) {.told_bytes = needs_mib * MIB}, false);
}

static inline void setup(void)
{
    static const char *const names[] = {"a", "b", "c"};

    g_now = 1000 * SEC;
    g_is_trusted = false;
    router_init(&g_router);
    footprints_init(&g_footprints);
    residency_init(&g_r, &params, &g_router, &g_footprints);
    plan_models(names, ARRAY_LEN(names));
    g_router.residency = &g_r;
    set_memory(2000, 1600); /* R_soft 240, R_hard 160, R_crit 96 */
    told("a", 800);
    told("b", 900);
    told("c", 100);
}

static inline void teardown(void)
{
    ck_assert_uint_eq(residency_n_reservations(&g_r), 0);
    ck_assert_uint_eq(residency_reserved_bytes(&g_r), 0);
    residency_done(&g_r);
    router_done(&g_router);
}

static inline struct deployment *pick(const char *name, enum call_class class, uint64_t since_usec)
{
    const struct router_wish wish = {
        .name = str_from(name), .class = class, .since_usec = since_usec};

    struct model_group *g = router_resolve(&g_router, str_from(name));
    bool would = router_would_pick(&g_router, g, &wish, g_now);
    struct deployment *d = router_pick(&g_router, g, &wish, g_now);

    /* what explanations say is what happens, but for models that were not told of (lately) */
    ck_assert(d ? would : !would || !model(name)->is_told);
    if (!d) {
        router_want(&g_router, g, &wish, g_now);
    }
    return d;
}

/* A call that is served if it may be, else waits as of now. */
static inline struct deployment *call(const char *name)
{
    struct deployment *d;

    residency_begin_run(&g_r);
    d = pick(name, CLASS_INTERACTIVE, g_now);
    residency_end_run(&g_r, g_now);
    return d;
}

/* One run in which these calls wait. */
static inline void wait_for(const char *name, enum call_class class, uint64_t since_usec)
{
    residency_begin_run(&g_r);
    ck_assert_ptr_null(pick(name, class, since_usec));
    residency_end_run(&g_r, g_now);
}

static inline void release(struct deployment *d)
{
    router_release(&g_router, d, g_now);
    residency_begin_run(&g_r);
    residency_end_run(&g_r, g_now);
}

static inline void loaded(const char *name, uint64_t took_usec)
{
    residency_load_began(&g_r, model(name), g_now);
    g_now += took_usec;
    ck_assert(!residency_load_ended(&g_r, model(name), RESIDENCY_LOAD_OK, g_now));
}

/* Loaded by a call that has ended. */
static inline void load(const char *name, uint64_t took_usec)
{
    struct deployment *d = call(name);

    ck_assert_ptr_nonnull(d);
    loaded(name, took_usec);
    release(d);
}

static inline bool next(struct residency_action *ret)
{
    return residency_next(&g_r, g_now, ret);
}

static inline void assert_next(enum residency_verb verb, enum residency_reason reason,
                               const char *name)
{
    struct residency_action action;

    ck_assert(next(&action));
    ck_assert_int_eq(action.verb, verb);
    ck_assert_int_eq(action.reason, reason);
    ck_assert_ptr_eq(action.model, model(name));
}

static inline void assert_nothing(void)
{
    struct residency_action action;

    ck_assert(!next(&action));
}

static inline void assert_state(const char *name, enum residency_state state)
{
    ck_assert_str_eq(residency_state_name(model(name)->state), residency_state_name(state));
}

static inline enum errcode refusal(const char *name)
{
    return residency_refusal(&g_r, deployment(name), NULL, g_now).code;
}
