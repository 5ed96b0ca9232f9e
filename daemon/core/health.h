#pragma once
/*
 * A circuit breaker, one for each deployment: a model server that lets call after call run into a
 * time-out is left alone for a while.
 *
 *   CLOSED ──HEALTH_FAILURES time-outs in a row──► OPEN ──its time is up, a call comes──► HALF_OPEN
 *     ▲                                             ▲                                       │
 *     │                                             └────── the probe times out too ────────┤
 *     └───────────────────── anything that shows that the server works ─────────────────────┘
 *
 *   CLOSED     calls are let through
 *   OPEN       none is, until open_until_usec
 *   HALF_OPEN  one is, the probe; a probe that proves nothing (cancelled, say) makes room for another
 *
 * What counts is ERRCODE_UPSTREAM_TIMEOUT and ERRCODE_UPSTREAM_STALLED, and nothing else: such a
 * call has held a slot and kept its caller for minutes. A refused connection does NOT count: it
 * costs nothing, and trying again with each call shows at once when the server is back.
 *
 * A pure state machine: the clock is the caller's, and nothing is logged here.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "proto/errcode.h"

/*
 * One time-out is a long prompt, two are bad luck. The first pause is longer than a runner that
 * crashed takes to restart; the last one is what clients still take for a Retry-After (node drops
 * longer ones).
 */
#define HEALTH_FAILURES      3
#define HEALTH_OPEN_MIN_USEC (5 * UINT64_C(1000000))
#define HEALTH_OPEN_MAX_USEC (60 * UINT64_C(1000000))

#define HEALTH_TEXT_BYTES 96

enum health_state { HEALTH_CLOSED, HEALTH_OPEN, HEALTH_HALF_OPEN };

/* Embedded in what it watches. All zero is a breaker that never saw a call. */
struct health {
    enum health_state state;
    bool is_probing;          /* HALF_OPEN: the probe is out; a second one must wait */
    unsigned n_failures;      /* CLOSED: in a row; else those that opened it */
    unsigned n_probes_failed; /* since it was CLOSED */
    unsigned n_good;          /* calls that ended well */
    unsigned epoch;           /* how often it left CLOSED: what calls of before say is old news */
    uint64_t open_usec;       /* how long it was OPEN last; 0 since an answer came to its end */
    uint64_t open_until_usec; /* OPEN */
    uint64_t opened_at_usec;  /* when it left CLOSED */
};

/* What a breaker remembers of a call that it let through. Embedded in the call's ticket. */
struct health_run {
    unsigned epoch;
    unsigned n_forgiven; /* failures that the beginning of its answer has wiped out */
    unsigned n_good;     /* health.n_good at that moment */
    bool is_probe, has_begun;
};

enum health_news { HEALTH_NO_NEWS, HEALTH_HAS_OPENED, HEALTH_HAS_CLOSED };

/* What the end of a call says of the model server. has_begun: content of its answer had come. */
enum health_verdict { HEALTH_SAYS_NOTHING, HEALTH_SAYS_IT_WORKS, HEALTH_SAYS_IT_HANGS };
enum health_verdict health_judge(enum errcode outcome, bool has_begun);

/* Something was done about the server: where the breaker is OPEN, the next call is the probe. */
void health_try_now(struct health *h, uint64_t now_usec);

/* Would a call be let through now? */
bool health_can_take(const struct health *h, uint64_t now_usec);

/*
 * A call is let through (health_can_take() said so). Exactly one health_leave() follows, with what
 * is returned here.
 */
struct health_run health_take(struct health *h, uint64_t now_usec);

/* The first content of its answer came. */
enum health_news health_began(struct health *h, struct health_run *run);

/* How it ended: ERRCODE_NONE, or why it failed. At most once, before health_leave(). */
enum health_news health_ended(struct health *h, const struct health_run *run, enum errcode outcome,
                              uint64_t now_usec);

/* It is over. A probe that has proved nothing makes room for another one. */
void health_leave(struct health *h, const struct health_run *run);

/*
 * When a call that is turned away now may come back: whole seconds, at least one. 0: it would be
 * let through.
 */
uint64_t health_retry_after(const struct health *h, uint64_t now_usec);

/*
 * Why calls are turned away, for people: "breaker open for 4 s after 3 time-outs", without the
 * seconds unless with_times. NULL while a call would be let through.
 */
const char *health_describe(const struct health *h, bool with_times, uint64_t now_usec,
                            char ret_text[HEALTH_TEXT_BYTES]);

const char *health_state_name(enum health_state state);
