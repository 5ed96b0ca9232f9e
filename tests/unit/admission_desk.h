#pragma once
/*
 * The queue and the slots behind it, without calls, for the tests of admission.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/admission.h"
#include "support.h"

#define SEC   USEC_PER_SEC
#define START (1000 * SEC)

/* A router with the groups "a" and "b", "far" of another machine, and "off" that nobody serves. */
struct desk {
    struct router router;
    struct pressure pressure;
    struct admission admission;
};

static inline void backend_free(struct backend *b)
{
    free(b);
}

static const struct backend_ops ops = {.free = backend_free};

static inline void add_group_at(struct router_plan *plan, const char *name, unsigned slots,
                                bool is_local)
{
    struct backend *b = calloc(1, sizeof *b);

    ck_assert_ptr_nonnull(b);
    b->ops = &ops;

    struct deployment *d = deployment_new(&(struct deployment_spec) {.id = name,
                                                                     .fingerprint = name,
                                                                     .provider = "mock",
                                                                     .upstream_model = name,
                                                                     .slots = slots,
                                                                     .is_local = is_local},
                                          b);

    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(router_plan_add(plan, name, d), 0);
}

static inline void add_group(struct router_plan *plan, const char *name, unsigned slots)
{
    add_group_at(plan, name, slots, true);
}

static inline void desk_init(struct desk *k, unsigned slots, size_t max_queued)
{
    struct admission_params params = {.max_queued = max_queued,
                                      .max_queued_bytes = 1000,
                                      .max_wait_usec = {15 * SEC, 120 * SEC, 600 * SEC}};
    struct router_plan plan = {0};
    struct deployment *off = deployment_new(&(struct deployment_spec) {.id = "off",
                                                                       .fingerprint = "off",
                                                                       .provider = "mock",
                                                                       .off_reason = "because",
                                                                       .slots = 1},
                                            NULL);

    router_init(&k->router);
    add_group(&plan, "a", slots);
    add_group(&plan, "b", slots);
    add_group_at(&plan, "far", slots, false);
    ck_assert_int_eq(router_plan_add(&plan, "off", off), 0);
    router_commit(&k->router, &plan);
    pressure_init(&k->pressure);
    admission_init(&k->admission, &params, &k->router, &k->pressure);
}

static inline void desk_done(struct desk *k)
{
    admission_done(&k->admission);
    router_done(&k->router);
}

static inline struct verdict enqueue_as(struct desk *k, struct ticket *t, const char *group,
                                        enum call_class class, size_t bytes,
                                        uint64_t own_deadline_at_usec)
{
    struct admission_ask ask = {
        .class = class, .bytes = bytes, .own_deadline_at_usec = own_deadline_at_usec};

    return admission_enqueue(&k->admission, t, router_resolve(&k->router, str_from(group)), &ask,
                             START);
}

static inline struct verdict enqueue(struct desk *k, struct ticket *t, const char *group,
                                     size_t bytes)
{
    return enqueue_as(k, t, group, CLASS_INTERACTIVE, bytes, USEC_NEVER);
}

static inline void let_in(struct desk *k, struct ticket *t, const char *group)
{
    ck_assert_int_eq(enqueue(k, t, group, 100).code, ERRCODE_NONE);
    ck_assert_int_eq(t->state, TICKET_QUEUED);
}

/* A call of "a" that takes so long and ends well: from then on that is what is expected of others. */
static inline void serve_one(struct desk *k, uint64_t usec)
{
    struct ticket t = {0};

    let_in(k, &t, "a");
    ck_assert_ptr_eq(admission_next(&k->admission, START - usec), &t);
    admission_note_end(&k->admission, &t, ERRCODE_NONE, START);
    admission_release(&k->admission, &t, START);
}
