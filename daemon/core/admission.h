#pragma once
/*
 * Who runs next. Today: one bounded queue in order of arrival, a deadline for each waiting ticket,
 * slots per deployment. Classes, fairness, budgets and predicted waits belong here and change
 * nothing outside.
 *
 * A ticket is embedded in the object that it pays for (struct call) and says what that object
 * holds: a place in the queue or a slot. Releasing is idempotent; a registry that shuts down
 * asserts that all tickets are home.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "core/pressure.h"
#include "core/router.h"
#include "proto/errcode.h"

/*
 * Retry-After of every refusal lies in these bounds (clients ignore longer ones: openai-python
 * drops > 120 s, node > 60 s).
 */
#define RETRY_AFTER_MIN_USEC (1 * UINT64_C(1000000))
#define RETRY_AFTER_MAX_USEC (60 * UINT64_C(1000000))

enum ticket_state {
    TICKET_HOME,    /* holds nothing */
    TICKET_QUEUED,  /* admission.queue */
    TICKET_GRANTED, /* a slot of deployment */
};

struct ticket {
    enum ticket_state state;
    struct list link;               /* admission.queue */
    struct model_group *group;      /* borrowed from the router; renewed at reload */
    struct deployment *deployment;  /* TICKET_GRANTED: whose slot it holds */
    struct health_run run;          /* TICKET_GRANTED: what its breaker let through */
    const struct router_wish *wish; /* borrowed while queued; set by its owner, who may change it */
    enum call_class class;
    size_t bytes;   /* of the request: charged while queued */
    uint64_t place; /* what the queue is ordered by; kept for good, 0: never was in it */
    uint64_t queued_at_usec;
    uint64_t not_before_usec;  /* it pauses until then: TICKET_QUEUED all the same */
    uint64_t deadline_at_usec; /* by when it must have left the queue */
    uint32_t told_position;    /* last position that was announced; 0: none */
};

struct admission_params {
    size_t max_queued;                  /* tickets */
    size_t max_queued_bytes;            /* of request bodies */
    uint64_t max_wait_usec[_CLASS_MAX]; /* the longest stay in the queue */
    size_t max_granted;                 /* slots in use of all deployments together; 0: no limit */
};

struct admission {
    struct admission_params params;
    struct router *router;     /* borrowed */
    struct pressure *pressure; /* borrowed; NULL: no gate */
    struct list queue;         /* ticket.link, in order of arrival */
    uint64_t last_place;
    size_t n_queued, queued_bytes;
    size_t n_granted;
    bool is_draining; /* refuses all */
    /* moving average of the time between grants: what Retry-After is made of */
    uint64_t grant_gap_usec;
    uint64_t last_grant_at_usec;
    uint64_t looked_at_usec; /* when admission_next() looked last: what was due by then is done */
};

/* What became of a ticket. code ERRCODE_NONE: fine. */
struct verdict {
    enum errcode code;
    uint64_t retry_after_usec;
};

void admission_init(struct admission *a, const struct admission_params *params,
                    struct router *router, struct pressure *pressure);
void admission_set_params(struct admission *a, const struct admission_params *params);
void admission_done(struct admission *a); /* asserts that every ticket is home */

/*
 * Puts a home ticket into the queue, or says why not. own_deadline_usec: the caller's own,
 * absolute, or USEC_NEVER.
 */
struct verdict admission_enqueue(struct admission *a, struct ticket *t, struct model_group *group,
                                 enum call_class class, size_t bytes, uint64_t own_deadline_at_usec,
                                 uint64_t now_usec);

/* What a call whose attempt failed waits for. */
struct requeue_terms {
    enum call_class class;
    size_t bytes;
    uint64_t not_before_usec;
    uint64_t own_deadline_at_usec; /* or USEC_NEVER */
};

/*
 * Puts a home ticket that had a slot, or a place in the queue of another group, into the queue again:
 * where its first arrival belongs, and for another of the longest stays. It needs no room: whoever leaves
 * a slot or a place has made it, so the queue is never longer than max_queued and all slots.
 */
struct verdict admission_requeue(struct admission *a, struct ticket *t, struct model_group *group,
                                 const struct requeue_terms *terms, uint64_t now_usec);

/*
 * The next ticket that gets a slot now, already granted; NULL when nobody can run. Call until NULL.
 */
struct ticket *admission_next(struct admission *a, uint64_t now_usec);

/*
 * A ticket whose time in the queue is up, already home; NULL when there is none. Call until NULL.
 */
struct ticket *admission_expire(struct admission *a, uint64_t now_usec,
                                struct verdict *ret_verdict);

/*
 * A ticket that no deployment of its group will take, however long it waits, already home; NULL when
 * there is none. After admission_next() said NULL. Call until NULL.
 */
struct ticket *admission_refuse(struct admission *a, uint64_t now_usec,
                                struct router_refusal *ret_refusal);

/*
 * The earliest deadline in the queue, end of a pause, or moment at which a deployment takes calls
 * again; or USEC_NEVER.
 */
uint64_t admission_next_deadline(const struct admission *a);

/* Brings a ticket home from wherever it is. */
void admission_release(struct admission *a, struct ticket *t, uint64_t now_usec);
