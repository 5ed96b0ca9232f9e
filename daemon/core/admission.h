#pragma once
/*
 * Who runs next, who waits, and who is told to come back.
 *
 * One queue, in front of all model servers, that never lets them hold more than their slots. A call
 * goes through a gate, in this order; the first thing that speaks against it answers:
 *
 *   1. the door      a drain, a group that nobody serves, or none of which would take the call
 *                    however long it waited (router_refuses()), memory pressure     503, 422
 *   2. its caller    what sluice.callers lets it have waiting                        429 client_queue_full
 *   3. the wait      what it would wait, and what it is ready to: predicted_wait.h   503 predicted_wait
 *   4. room          of the queue, by class and in all; in bytes                     503 queue_full
 *                    a lower class makes room, then whoever has most waiting         503 displaced
 *
 * A refusal costs microseconds and a served call seconds, so the no comes early, and says when to
 * come back (retry_after.h). What waits is granted slots in this order:
 *
 *   class     interactive, batch, background; but batch gets a tenth of the slots' time while it
 *             waits, and who waits for a minute (batch) or five (background) gets a turn for that
 *   caller    by the slot time that it had (fair_queue.h), in other classes too, where somebody
 *             waited in this one meanwhile
 *   arrival   within a caller
 *
 * and only where its group has a free slot (router_pick()), so that a busy model stops nobody else.
 * From memory level 3 on those who wait and cannot be served are put out (admission_shed()).
 *
 * A background call without a first byte gives its slot back to an interactive one that has waited
 * for two seconds (admission_preempt()).
 *
 * A ticket is embedded in the object that it pays for (struct call) and says what that object
 * holds: a place in the queue or a slot. Releasing is idempotent; a registry that shuts down
 * asserts that all tickets are home.
 *
 * Nothing here allocates. Every decision looks at each queued ticket and each caller at most a few
 * times, and asks the router once for each model; n_steps and n_asked count that, for the test that
 * bounds it.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "core/caller_table.h"
#include "core/fair_queue.h"
#include "core/pressure.h"
#include "core/retry_after.h"
#include "core/router.h"
#include "proto/errcode.h"

enum ticket_state {
    TICKET_HOME,    /* holds nothing */
    TICKET_QUEUED,  /* in the queue of its caller */
    TICKET_GRANTED, /* a slot of deployment */
    TICKET_OUSTED,  /* put out of the queue: holds nothing, and waits for admission_ousted() */
};

struct ticket {
    enum ticket_state state;
    struct list link;               /* admission.queued | .granted | .ousted */
    struct fair_item item;          /* TICKET_QUEUED */
    struct caller_entry *caller;    /* TICKET_QUEUED, TICKET_GRANTED: borrowed from the table */
    struct model_group *group;      /* borrowed from the router; renewed at reload */
    struct deployment *deployment;  /* TICKET_GRANTED: whose slot it holds */
    struct health_run run;          /* TICKET_GRANTED: what its breaker let through */
    const struct router_wish *wish; /* borrowed while queued; set by its owner, who may change it */
    enum call_class class;
    size_t bytes;   /* of the request: charged while queued */
    uint64_t place; /* order of arrival; kept for good, 0: never was in the queue */
    uint64_t queued_at_usec;
    uint64_t not_before_usec;  /* it pauses until then: TICKET_QUEUED all the same */
    uint64_t deadline_at_usec; /* by when it must have left the queue */
    uint64_t expected_usec;    /* QUEUED: how long it will hold a slot, as far as is known */
    uint64_t age_usec; /* QUEUED: for how long it was wanted before it came; see retry_after.h */
    uint64_t charged_usec;       /* GRANTED: what its caller was charged for it so far */
    bool is_charged[_CLASS_MAX]; /* GRANTED: in which of its caller's lanes */
    uint64_t granted_at_usec;
    uint64_t content_at_usec; /* GRANTED: of its first content; 0: none yet */
    enum errcode ousted_code; /* TICKET_OUSTED */
    bool is_due;              /* GRANTED: went before classes above, as its own was owed that */
    bool is_noted;            /* GRANTED: admission_note_end() was called */
    bool is_cold;       /* GRANTED: its model was not loaded: the time to do so is no service */
    bool was_preempted; /* once is enough */
    bool is_named;      /* QUEUED: of a wildcard: its wish says which model, */
    uint32_t kind_hash; /* and where its kind is looked for first */
    bool is_away;       /* its wish says that it leaves the device */
    bool
        is_elsewhere; /* that, or nobody on this device serves its group: memory is nothing to it */
    uint32_t told_position; /* last position that was announced; 0: none */
};

#define ADMISSION_KINDS 64

/*
 * Queued calls that get the same answer, as they ask for the same and wish nothing of their own; and
 * what one pass over the queue has found out about them.
 */
struct admission_kind {
    uint64_t pass; /* admission.n_passes; another: it is free */
    const struct model_group *group;
    struct str name;                /* which model of a wildcard, or absent; borrowed from a wish */
    bool is_passed_over;            /* router_pick() has nobody for them, */
    const struct router_wish *wish; /* of which this is the most urgent; may be NULL */
    bool is_served;                 /* router_refuses() has nothing against them */
};

/* What a call asks for. */
struct admission_ask {
    struct caller_name caller;
    enum call_class class;         /* its caller's ceiling may lower it */
    size_t bytes;                  /* of the request */
    uint64_t own_deadline_at_usec; /* or USEC_NEVER */
    uint64_t max_wait_usec;        /* expected, and */
    uint64_t max_stay_usec;        /* in truth: as of struct request; 0: not said */
    unsigned n_retries;            /* how often its client has tried before, by its own word */
};

struct admission_params {
    size_t max_queued;                   /* tickets */
    size_t max_queued_class[_CLASS_MAX]; /* of each class; 0: max_queued */
    size_t max_queued_caller;            /* of one caller; 0: max_queued */
    size_t max_queued_bytes;             /* of request bodies */
    uint64_t max_wait_usec[_CLASS_MAX];  /* the longest stay in the queue */
    uint64_t patience_usec[_CLASS_MAX];  /* see admission.c; 0: max_wait_usec */
    size_t max_granted;                  /* slots in use of all deployments together; 0: no limit */
};

struct admission {
    struct admission_params params;
    struct router *router;     /* borrowed */
    struct pressure *pressure; /* borrowed; NULL: no gate */
    struct caller_table callers;
    struct fair_queue fair;
    struct retry_after retry;
    struct class_floor floor; /* where one call runs at a time, whatever its group: max_granted 1 */
    struct list queued;       /* ticket.link, in order of arrival */
    struct list granted;      /* ticket.link */
    struct list ousted;       /* ticket.link */
    uint64_t last_place;
    size_t n_queued, queued_bytes;
    size_t n_granted;
    size_t n_granted_background; /* of them */
    uint64_t n_changes;          /* of the queue: nobody's position is another while it stays */
    bool is_draining;            /* refuses all */
    uint64_t looked_at_usec; /* when admission_next() looked last: what was due by then is done */
    /* which caller came last, and when another one did: who is alone may have every slot */
    const struct caller_entry *last_caller;
    uint64_t last_caller_at_usec, other_caller_at_usec;
    uint64_t expires_at_usec;  /* no deadline in the queue is earlier */
    uint64_t overruns_at_usec; /* when running calls are looked at that take longer than expected */
    uint64_t shed_again_at_usec; /* no other class is put out for memory before */
    uint64_t n_passes;           /* of admission_next() */
    uint64_t n_ranked;           /* n_changes at the last admission_rank() */
    uint64_t n_steps;            /* ever taken in search of a decision */
    uint64_t n_asked;            /* of them: the router, which looks at every model for it */
    struct admission_kind kinds[ADMISSION_KINDS];
};

/* What became of a ticket. code ERRCODE_NONE: fine. */
struct verdict {
    enum errcode code;
    uint64_t retry_after_usec;
    bool is_last;     /* its client need not come back: it would be too late, or of no use */
    bool is_by_group; /* no deployment of its group takes it: router_refuses() says more of that */
};

void admission_init(struct admission *a, const struct admission_params *params,
                    struct router *router, struct pressure *pressure);
void admission_set_params(struct admission *a, const struct admission_params *params);
void admission_done(struct admission *a); /* asserts that every ticket is home */

/* Puts a home ticket into the queue, or says why not. May oust others. */
struct verdict admission_enqueue(struct admission *a, struct ticket *t, struct model_group *group,
                                 const struct admission_ask *ask, uint64_t now_usec);

/*
 * Puts a home ticket into the queue again, for the same group or another, where its first arrival
 * belongs, and for another of the longest stays. One that had a place or a slot needs no room: it has
 * made it, so the queue is never longer than max_queued and all slots. One that was refused goes
 * through the gate.
 */
struct verdict admission_requeue(struct admission *a, struct ticket *t, struct model_group *group,
                                 const struct admission_ask *ask, uint64_t not_before_usec,
                                 uint64_t now_usec);

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
 * What the memory level puts out of the queue now: admission_ousted() follows. How many; 0: nobody, or
 * not yet (admission_next_deadline() says when).
 */
size_t admission_shed(struct admission *a, uint64_t now_usec);

/*
 * A ticket that had to make room for another, or was put out for memory, already home; NULL when there is none. Call until
 * NULL.
 */
struct ticket *admission_ousted(struct admission *a, uint64_t now_usec,
                                struct verdict *ret_verdict);

/*
 * A granted background ticket whose slot an interactive one needs; NULL when there is none. Its
 * owner stops the work and releases or requeues it before the next call. After admission_next()
 * said NULL. Call until NULL.
 */
struct ticket *admission_preempt(struct admission *a, uint64_t now_usec);

/*
 * A ticket that no deployment of its group will take, however long it waits, already home; NULL when
 * there is none. After admission_next() said NULL. Call until NULL.
 */
struct ticket *admission_refuse(struct admission *a, uint64_t now_usec,
                                struct router_refusal *ret_refusal);

/*
 * The earliest deadline in the queue, end of a pause, moment at which a deployment takes calls
 * again, or at which a slot may be taken back; or USEC_NEVER.
 */
uint64_t admission_next_deadline(const struct admission *a);

/* What is told to who loses its slot to memory pressure: when it may come back. */
uint64_t admission_pressure_retry(struct admission *a, enum call_class class, uint64_t now_usec);

/* A granted ticket's first content came. */
void admission_note_content(struct admission *a, struct ticket *t, uint64_t now_usec);

/*
 * A granted ticket's call ended: ERRCODE_NONE, or why it failed. Before admission_release(), which
 * learns nothing from a ticket of which this was not said.
 */
void admission_note_end(struct admission *a, struct ticket *t, enum errcode code,
                        uint64_t now_usec);

/* A reload has brought another group in the place of its own, or none (then release it). */
void admission_reroute(struct admission *a, struct ticket *t, struct model_group *group);

/* Brings a ticket home from wherever it is. */
void admission_release(struct admission *a, struct ticket *t, uint64_t now_usec);

/* What the gate thinks of a call that would ask now. */
struct admission_outlook {
    enum errcode code;         /* ERRCODE_NONE: it comes in; else what it is refused with */
    enum call_class class;     /* its own, or the highest that its caller may have */
    uint64_t wait_usec;        /* predicted; 0: none, or nothing is known */
    uint64_t limit_usec;       /* the longest wait that new calls are let in for */
    uint64_t service_usec;     /* how long it will hold a slot; 0: not known */
    enum pressure_level level; /* of memory, as the gate sees it */
    bool has_slot;             /* one is free for it: it runs at once */
    bool would_displace;       /* somebody leaves the queue for it */
};

/*
 * The gate's answer to a call without asking it: nobody is refused, promised or put out, and no
 * entry for the caller is made. wish may be NULL.
 */
void admission_explain(struct admission *a, const struct model_group *group,
                       const struct router_wish *wish, const struct admission_ask *ask,
                       uint64_t now_usec, struct admission_outlook *ret);

/* What a call that asks now would wait for a slot, in the way in which the gate sees it. */
uint64_t admission_predict(struct admission *a, const struct model_group *group,
                           const struct caller_name *caller, enum call_class class,
                           uint64_t now_usec);

/*
 * Tells everybody in the queue its position, in about the order in which slots will be given; those
 * only whose position has changed; visit notes in told_position what it told. visit must not change the queue.
 */
typedef void (*ticket_visit_fn)(void *ctx, struct ticket *t, uint32_t position);
void admission_rank(struct admission *a, ticket_visit_fn visit, void *ctx);
