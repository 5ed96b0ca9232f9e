#pragma once
/*
 * A call: one request on its way through sluice, and the registry of all of them.
 *
 *                ┌──────────┐
 *                ▼          │
 *   NEW ──► WAITING ──► STARTING ──► STREAMING ──► ENDING ──► DEAD
 *    │         │            │                        ▲
 *    └─────────┴────────────┴────────────────────────┘
 *
 *   NEW        submitted in this wake-up, not looked at yet       registry.fresh
 *   WAITING    holds a place in the queue                         registry.waiting
 *   STARTING   holds a slot; no content from upstream yet; back   registry.running
 *              to WAITING when this attempt fails and another
 *              may follow (core/attempts.h)
 *   STREAMING  content has arrived                                registry.running
 *   ENDING     the outcome is known; not told yet                 registry.ending
 *   DEAD       told, slot home; freed at the end of the turn      registry.dead
 *
 * What a client of such a call sees: one answer of one attempt, or one error.
 *
 * The registry owns calls; a call owns its request. The sink is borrowed until the terminal event
 * was delivered or call_detach() was called. All decisions are taken in registry_run(), which the
 * composition calls at the end of a wake-up when on_work asked for it: so no sink is called, and no
 * object dies, inside somebody else's callback (events from backends excepted, see ports.h).
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "core/admission.h"
#include "core/attempts.h"
#include "core/ports.h"
#include "core/pressure_relief.h"
#include "core/quota.h"
#include "core/router.h"
#include "core/stats.h"

enum call_state { CALL_NEW, CALL_WAITING, CALL_STARTING, CALL_STREAMING, CALL_ENDING, CALL_DEAD };

#define CALL_TEXT_MAX  256 /* of an error message that is kept for the sink */
#define CALL_PARAM_MAX 64  /* of the name of what is wrong in the request */

#define CALL_MAX_TRIED     ATTEMPTS_MAX
#define CALL_MAX_FALLBACKS REQUEST_MAX_FALLBACKS

struct call {
    enum call_state state;
    struct list link; /* the registry list of its state */
    struct call_registry *registry;
    struct request *request; /* owned */
    struct event_sink *sink; /* borrowed; NULL once detached or told the end */
    struct event_sink inlet; /* what the backend delivers to */
    struct ticket ticket;
    struct quota_charge charge;              /* of its caller's account; home from ENDING on */
    struct router_wish wish;                 /* what the ticket points to */
    struct router_try tried[CALL_MAX_TRIED]; /* wish.tried */
    struct attempts attempts;
    struct str asked; /* whose group serves it now: the request's model, or the last fallback */
    char *fallbacks[CALL_MAX_FALLBACKS]; /* owned: attempts.n_fallbacks names */
    enum spill_reason spilled;  /* why it has left the device, where it may be back: wish.is_away */
    struct backend *backend;    /* of the deployment that serves it */
    const char *upstream_model; /* in the request's arena; backend_order.model */
    struct backend_job *job;    /* NULL: not started, or over */
    struct event_grammar grammar;
    bool is_full;    /* the sink said FULL and has not been drained: orthogonal to the state */
    bool owes_usage; /* STARTING: usage came, which the sink is told with the end */

    uint64_t arrived_at_usec, granted_at_usec, first_token_at_usec, ended_at_usec;
    uint64_t attempt_at_usec;  /* when the last attempt got its slot; granted_at_usec: the first */
    uint64_t cancel_at_usec;   /* by its deadline_usec: ended wherever it is. USEC_NEVER: none */
    uint64_t deadline_at_usec; /* that, or the end of its own timeout: nothing begins after it */

    /* the outcome, known from ENDING on; before that the failure that it would end with */
    enum errcode outcome; /* ERRCODE_NONE: completed */
    uint64_t retry_after_usec;
    bool
        is_last; /* of the outcome: the client need not try again by itself. No state: a word to it */
    char text[CALL_TEXT_MAX], param[CALL_PARAM_MAX];
    char deployment_id[64]; /* copies: the deployment may be gone when the record is written */
    char provider[16];
    struct usage usage;
};

struct call_hooks {
    void *ctx;
    void (*on_work)(void *ctx); /* registry_run() is wanted at the end of this wake-up */
    /* once per call, before it dies: the log record */
    void (*on_ended)(void *ctx, const struct call *call);
    /*
     * An attempt of the call is over at ticket.deployment, whose slot it still holds. code: what that
     * says of its server, as the breaker was told. Nothing may be started or ended in it. May be NULL.
     */
    void (*on_attempt)(void *ctx, const struct call *call, enum errcode code, uint64_t now_usec);
    /* the breaker of d has opened or closed; from anywhere, d is borrowed. May be NULL */
    void (*on_breaker)(void *ctx, const struct deployment *d, enum health_news news,
                       uint64_t now_usec);
};

struct call_registry {
    struct list fresh, waiting, running, ending, dead; /* call.link */
    size_t n_calls;
    struct admission *admission; /* borrowed */
    struct router *router;       /* borrowed */
    struct stats *stats;         /* borrowed */
    struct quota *quota;         /* borrowed; set after registry_init(); NULL: nobody has limits */
    struct retry_budgets budgets;
    struct pressure_relief relief;
    uint32_t random; /* state of the generator of jitter; never 0 */
    struct call_hooks hooks;
    const char *unusable; /* borrowed; why no model can be served at all, or NULL */
    bool is_running;      /* inside registry_run(): work that appears is done in the same run */
    bool has_requeued;    /* in this run: somebody waits who may run at once */
};

void registry_init(struct call_registry *reg, struct admission *admission, struct router *router,
                   struct stats *stats, const struct call_hooks *hooks);
/* cancels and frees what is left, without telling anybody */
void registry_done(struct call_registry *reg);

/* Takes over req in any case. 0, or -ENOMEM: the sink will hear nothing. */
int call_submit(struct call_registry *reg, struct request *req, struct event_sink *sink,
                uint64_t now_usec, struct call **ret_call) MUST_USE;

/*
 * The client left: nobody listens any more, the work stops now. The handle is dead afterwards.
 * Never from within deliver().
 */
void call_detach(struct call *call, uint64_t now_usec);

/*
 * Ends the call with code, which the sink is told. Idempotent; without effect on a call that has
 * ended. Never from within deliver().
 */
void call_cancel(struct call *call, enum errcode code, uint64_t now_usec);

/* The sink has room again after it said FULL. */
void call_resume(struct call *call, uint64_t now_usec);

/* The live call with this id; NULL when there is none. any_uid: whoever it belongs to. */
struct call *registry_find(struct call_registry *reg, struct str id, bool any_uid, uid_t uid);

/* Does everything that is due: admits, expires, starts, tells ends, reaps. */
void registry_run(struct call_registry *reg, uint64_t now_usec);

/* When registry_run() must be called at the latest, or USEC_NEVER. */
uint64_t registry_next_deadline(const struct call_registry *reg);

/*
 * After router_commit(): waiting calls follow their model name to its new group, or end with
 * MODEL_NOT_FOUND or MISCONFIGURED.
 */
void registry_reroute(struct call_registry *reg, uint64_t now_usec);

/* Asks for a run at the end of this wake-up, for what is decided with each. */
void registry_want_run(struct call_registry *reg);

/* Ends those that hold no slot yet (a drain begins). */
void registry_cancel_waiting(struct call_registry *reg, enum errcode code, uint64_t now_usec);

/* Ends all calls with code (the drain time is over). */
void registry_cancel_all(struct call_registry *reg, enum errcode code, uint64_t now_usec);

size_t registry_count(const struct call_registry *reg, enum call_state state);

const char *call_state_name(enum call_state state);
