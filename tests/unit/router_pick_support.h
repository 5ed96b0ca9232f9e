#pragma once
/* What the tests of router_pick() share: one router, the group "m", picks at one moment. */
#include "router_support.h"

#define NOW (1000 * SEC)

static struct router g_router;
static struct router_plan g_plan;

#define TERMS(...) ((struct deployment_terms) {__VA_ARGS__})

/* What a test says of a deployment; where it says nothing of pauses, the router's hold. */
static inline void set_terms(struct deployment *d, struct deployment_terms terms)
{
    terms.max_retries = FAIL_POLICY_UNSET;
    terms.cooldown_usec = terms.cooldown_usec ? terms.cooldown_usec : USEC_NEVER;
    plan_terms(d, terms);
}

static inline void begin(void)
{
    router_init(&g_router);
    g_router.random = 42;
    g_plan = (struct router_plan) {0};
    router_policy_init(&g_plan.policy);
    g_plan.policy.cooldown.cooldown_usec = 5 * SEC;
}

static inline struct deployment *with(const char *id, unsigned slots, struct deployment_terms terms)
{
    struct deployment *d = add(&g_plan, "m", id, slots);

    set_terms(d, terms);
    return d;
}

static inline struct model_group *commit(void)
{
    router_commit(&g_router, &g_plan);
    return router_resolve(&g_router, str_from("m"));
}

static inline struct deployment *pick(const struct router_wish *wish)
{
    return router_pick(&g_router, router_resolve(&g_router, str_from("m")), wish, NOW);
}

/* Picks, and gives the slot back at once. */
static inline struct deployment *look(const struct router_wish *wish)
{
    struct deployment *d = pick(wish);

    if (d) {
        router_release(&g_router, d, NOW);
    }
    return d;
}

static inline enum errcode refused(const struct router_wish *wish, struct router_refusal *ret)
{
    struct router_refusal refusal;

    ret = ret ? ret : &refusal;
    return router_refuses(&g_router, router_resolve(&g_router, str_from("m")), wish, NOW, ret)
               ? ret->code
               : ERRCODE_NONE;
}
