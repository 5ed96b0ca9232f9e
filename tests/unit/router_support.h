#pragma once
/* What the tests of the router share: backends that do nothing, and deployments made of them. */
#include <stdlib.h>

#include "base/clock.h"
#include "core/router.h"
#include "support.h"

#define SEC USEC_PER_SEC

static unsigned g_routed_freed;

static inline void router_backend_free(struct backend *b)
{
    g_routed_freed++;
    free(b);
}

static const struct backend_ops router_ops = {.free = router_backend_free};

static inline struct backend *router_backend(void)
{
    struct backend *b = calloc(1, sizeof *b);

    if (b) {
        b->ops = &router_ops;
    }
    return b;
}

/* A deployment of a group, with its id as fingerprint. */
static inline struct deployment *add(struct router_plan *plan, const char *group, const char *id,
                                     unsigned slots)
{
    struct deployment *d = deployment_new(
        &(struct deployment_spec) {.id = id, .fingerprint = id, .provider = "mock", .slots = slots},
        router_backend());

    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(router_plan_add(plan, group, d), 0);
    return d;
}

/* One that is switched off. */
static inline struct deployment *add_off(struct router_plan *plan, const char *group,
                                         const char *id)
{
    struct deployment *d = deployment_new(
        &(struct deployment_spec) {
            .id = id, .fingerprint = id, .provider = "openai", .off_reason = "no key", .slots = 1},
        NULL);

    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(router_plan_add(plan, group, d), 0);
    return d;
}

static inline void plan_terms(struct deployment *d, struct deployment_terms terms)
{
    ck_assert_int_eq(deployment_plan_terms(d, &terms), 0);
}

/* So that the breaker is open until then. */
static inline void open_until(struct deployment *d, uint64_t until_usec)
{
    d->health =
        (struct health) {.state = HEALTH_OPEN, .n_failures = 3, .open_until_usec = until_usec};
}
