#pragma once
/*
 * Admission with its tables full: 64 callers and 256 calls in the queue, one that runs. For what a
 * decision costs: counted by tests/unit/test_admission_cost.c, timed by tests/bench/decisions.c.
 *
 *   plain      one group, nobody watches memory
 *   few        4 groups, each a model of one server of this device, which holds one at a time
 *   models     the same with 16
 *   wildcard   one group for all names, and calls for 16 of them
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/admission.h"
#include "core/residency.h"

#define HALL_START  (1000 * USEC_PER_SEC)
#define HALL_QUEUED 256
#define HALL_MODELS 16
#define HALL_LOADED "model-0:1b" /* the one that is in memory */
#define HALL_MIB    (UINT64_C(1) << 20)

enum hall_kind { HALL_PLAIN, HALL_OF_FEW, HALL_OF_MODELS, HALL_WILDCARD, _HALL_MAX };

struct hall {
    enum hall_kind kind;
    struct router router;
    struct admission admission;
    struct pressure pressure;
    struct footprints footprints;
    struct residency residency;
    struct router_wish wishes[HALL_QUEUED + 1]; /* the last: of runs */
    char names[HALL_MODELS][16];
    struct ticket runs, tickets[HALL_QUEUED];
};

static inline void hall_free_backend(struct backend *b)
{
    free(b);
}

static inline bool hall_is_trusted(const struct backend *b, const char *model, uint64_t now_usec)
{
    (void) b;
    (void) now_usec;
    return strcmp(model, HALL_LOADED) == 0;
}

static const struct backend_ops hall_ops = {.free = hall_free_backend};
static const struct memory_ops hall_memory_ops = {.is_trusted = hall_is_trusted};

static inline void hall_plan(struct hall *h, struct router_plan *plan, const char *group,
                             const char *model)
{
    struct backend *b = calloc(1, sizeof *b);
    struct deployment_spec spec = {.id = group,
                                   .fingerprint = group,
                                   .provider = "ollama",
                                   .upstream_model = model,
                                   .api_base = "http://127.0.0.1:11434",
                                   .slots = 1,
                                   .is_local = true};
    struct deployment *d;
    int r;

    assert(b);
    b->ops = &hall_ops;
    b->memory = h->kind == HALL_PLAIN ? NULL : &hall_memory_ops;
    d = deployment_new(&spec, b);
    assert(d);
    r = router_plan_add(plan, group, d);
    assert(r == 0);
    (void) r;
}

static inline unsigned hall_n_models(const struct hall *h)
{
    return h->kind == HALL_PLAIN ? 1 : h->kind == HALL_OF_FEW ? 4 : HALL_MODELS;
}

static inline struct model_group *hall_group(struct hall *h, unsigned i)
{
    return &h->router.groups[i % h->router.n_groups];
}

/* Which call a ticket was in hall_init(): who asked, and for what. */
static inline unsigned hall_number(const struct hall *h, const struct ticket *t)
{
    return t == &h->runs ? 0 : (unsigned) (t - h->tickets);
}

/* Any number of calls: i says who asks, and for what. */
static inline struct verdict hall_enter(struct hall *h, struct ticket *t, unsigned i,
                                        enum call_class class, uint64_t now_usec)
{
    struct router_wish *wish =
        &h->wishes[t >= h->tickets && t < h->tickets + HALL_QUEUED ? t - h->tickets : HALL_QUEUED];
    struct admission_ask ask = {.caller = {.kind = CALLER_UID, .uid = i % CALLER_MAX},
                                .class = class,
                                .own_deadline_at_usec = USEC_NEVER};

    *wish = (struct router_wish) {
        .name = str_from(h->names[i % hall_n_models(h)]), .class = class, .since_usec = now_usec};
    t->wish = wish;
    return admission_enqueue(&h->admission, t, hall_group(h, i), &ask, now_usec);
}

/* Each model needs 800 of 2000 MiB, and the first is there. */
static inline void hall_fill_memory(struct hall *h)
{
    static const struct residency_params params = {
        .is_on = true, .max_wait_usec = {3600 * USEC_PER_SEC, 3600 * USEC_PER_SEC, 0}};
    static const struct residency_memory memory = {.total_bytes = 2000 * HALL_MIB,
                                                   .available_bytes = 700 * HALL_MIB};
    static const struct footprint_facts facts = {.told_bytes = 800 * HALL_MIB};

    footprints_init(&h->footprints);
    residency_init(&h->residency, &params, &h->router, &h->footprints);
    residency_set_memory(&h->residency, &memory, 1, HALL_START);
    for (unsigned i = 0; i < hall_n_models(h); i++) {
        struct residency_model *m = residency_of(&h->residency, hall_group(h, i)->deployments[0],
                                                 h->kind == HALL_WILDCARD ? h->names[i] : NULL);

        assert(m);
        residency_told(m, str_from(h->names[i]), 4096, 1, &facts, false);
        residency_looked(&h->residency, m, i == 0, 800 * HALL_MIB, false, HALL_START);
    }
    h->router.residency = &h->residency;
}

static inline void hall_open(struct hall *h)
{
    struct admission_params params = {
        .max_queued = HALL_QUEUED,
        .max_queued_bytes = 1000,
        .max_wait_usec = {3600 * USEC_PER_SEC, 3600 * USEC_PER_SEC, 3600 * USEC_PER_SEC}};
    struct router_plan plan = {0};

    router_init(&h->router);
    for (unsigned i = 0; i < HALL_MODELS; i++) {
        (void) snprintf(h->names[i], sizeof h->names[i], "model-%u:1b", i);
    }
    for (unsigned i = 0; i < (h->kind == HALL_WILDCARD ? 1 : hall_n_models(h)); i++) {
        const char *name = h->kind == HALL_WILDCARD ? "*" : h->names[i];

        hall_plan(h, &plan, name, name);
    }
    router_commit(&h->router, &plan);
    pressure_init(&h->pressure);
    admission_init(&h->admission, &params, &h->router, &h->pressure);
    if (h->kind != HALL_PLAIN) {
        hall_fill_memory(h);
    }
}

/* What registry_run() asks, and in its order; who gets a slot, or NULL. */
static inline struct ticket *hall_run(struct hall *h, uint64_t now_usec)
{
    struct router_refusal refusal;
    struct ticket *granted, *t;
    struct verdict v;

    if (h->router.residency) {
        residency_begin_run(&h->residency);
    }
    (void) admission_shed(&h->admission, now_usec);
    granted = admission_next(&h->admission, now_usec);
    while (granted && (t = admission_next(&h->admission, now_usec))) {
        assert(!t);
    }
    t = admission_refuse(&h->admission, now_usec, &refusal);
    assert(!t);
    t = admission_preempt(&h->admission, now_usec);
    assert(!t);
    (void) admission_ousted(&h->admission, now_usec, &v);
    t = admission_expire(&h->admission, now_usec, &v);
    assert(!t);
    (void) t;
    (void) admission_next_deadline(&h->admission);
    if (h->router.residency) {
        residency_end_run(&h->residency, now_usec);
    }
    return granted;
}

/* One runs, all others wait, of 64 callers in all classes. */
static inline void hall_init(struct hall *h, enum hall_kind kind)
{
    struct verdict v;
    struct ticket *t;

    memset(h, 0, sizeof *h);
    h->kind = kind;
    hall_open(h);
    for (int i = 0; i < 2; i++) { /* the first ends: what such calls take is known then */
        v = hall_enter(h, &h->runs, 0, CLASS_INTERACTIVE, HALL_START);
        assert(v.code == ERRCODE_NONE);
        t = admission_next(&h->admission, HALL_START - (i == 0 ? 5 * USEC_PER_SEC : 0));
        assert(t == &h->runs);
        if (i == 0) {
            admission_note_end(&h->admission, t, ERRCODE_NONE, HALL_START);
            admission_release(&h->admission, t, HALL_START);
        }
    }
    for (unsigned i = 0; i < HALL_QUEUED; i++) {
        v = hall_enter(h, &h->tickets[i], i, (enum call_class)(i / 86), HALL_START);
        assert(v.code == ERRCODE_NONE);
    }
    (void) v;
    (void) t;
    assert(h->admission.n_queued == HALL_QUEUED);
}

static inline void hall_done(struct hall *h)
{
    struct verdict v;

    for (unsigned i = 0; i < HALL_QUEUED; i++) {
        admission_release(&h->admission, &h->tickets[i], HALL_START);
    }
    admission_release(&h->admission, &h->runs, HALL_START);
    while (admission_ousted(&h->admission, HALL_START, &v)) {
    }
    admission_done(&h->admission);
    if (h->router.residency) {
        residency_done(&h->residency);
    }
    router_done(&h->router);
}
