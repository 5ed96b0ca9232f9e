#pragma once
/*
 * What is done about a model server that hangs: when there is evidence enough, what comes first,
 * and how often its unit may be restarted.
 *
 *   WATCHING ──calls hang──► UNLOADING ──the model is gone──► (WATCHING: calls try it again)
 *      │ it hung again since,   │
 *      │ or never goes          │ it does not go
 *      ▼                        ▼
 *   DRAINING ──others are done, or DRAIN_USEC──► RESTARTING ──done, refused or RESTART_USEC──► WATCHING
 *
 * Without a unit that may be restarted, or before the next restart is due, it goes back to WATCHING
 * where DRAINING stands, and the breaker (core/health.h) alone goes on.
 *
 * The evidence is of one model of one deployment, so of one runner: HANG_CALLS different calls in a row
 * on which the server was silent for as long as the configuration lets it, or unloads that it
 * accepted and never carried out, without an answer to its end in between. Most deployments have one
 * model; a wildcard has as many as are asked for, and what one of them answers absolves no other. What
 * clients chose to wait is none (call.c leaves it out), and neither absolves what the server says of
 * itself: Ollama's /api/version answers while its runner hangs.
 *
 * Where nobody calls the model, unloads alone are enough: HANG_UNLOADS in a row, over
 * HANG_UNLOADS_USEC. So long, as a model is not unloaded either while a client that sluice does not
 * know of is being answered, and no server says so; after each such answer it would go.
 *
 * A pure state machine: the clock is the caller's, nothing is logged, and what is to be done is
 * answered, not done.
 */
#include <stdbool.h>
#include <stdint.h>

/* As many as open the breaker (HEALTH_FAILURES), and of different calls. */
#define HANG_CALLS 3
/*
 * The next one follows after 30 s (core/residency.c), while something needs the room, and takes 8 s.
 * An answer of two minutes is a long one even on a small device. After a pause of more than
 * HANG_UNLOADS_PAUSE_USEC nobody knows what was in between: that is not in a row.
 */
#define HANG_UNLOADS            3
#define HANG_UNLOADS_USEC       (120 * UINT64_C(1000000))
#define HANG_UNLOADS_PAUSE_USEC (120 * UINT64_C(1000000))
/* For upstream/ollama_unload.c, which takes 8 s at most, and a little. */
#define HANG_UNLOAD_USEC (10 * UINT64_C(1000000))
/* How long answers that other models of the server are writing hold up its restart. */
#define HANG_DRAIN_USEC (10 * UINT64_C(1000000))
/* systemd gives a unit 90 s to stop before it kills it, and as long to start. */
#define HANG_RESTART_USEC (190 * UINT64_C(1000000))
/*
 * Between two restarts. Each that follows within twice the pause before it doubles it: what three
 * restarts did not cure a fourth will not, and each costs all who use the server its loaded models.
 */
#define HANG_RESTART_EVERY_MIN_USEC (300 * UINT64_C(1000000))
#define HANG_RESTART_EVERY_MAX_USEC (14400 * UINT64_C(1000000))

/* Models of one deployment that are suspected at the same time; the one accused longest ago goes. */
#define HANG_SUSPECTS 4

struct hang_suspect {
    uint64_t model;             /* a number made of its name; 0: nobody */
    uint64_t calls[HANG_CALLS]; /* which they were */
    unsigned n_calls, n_unloads;
    uint64_t unloads_since_usec, unload_at_usec; /* with n_unloads: the first and the last one */
};

/* Of a deployment. Embedded in it; all zero: none. */
struct hang_evidence {
    struct hang_suspect suspects[HANG_SUSPECTS]; /* the one accused last comes first */
};

/*
 * model: as its server calls it; names that differ are different models. call: not 0, and another
 * number for each call. true: that is enough.
 */
bool hang_evidence_add_call(struct hang_evidence *e, const char *model, uint64_t call);
bool hang_evidence_add_unload(struct hang_evidence *e, const char *model, uint64_t now_usec);
bool hang_evidence_is_enough(const struct hang_evidence *e, const char *model);
/* Would it be without any call? */
bool hang_evidence_is_of_unloads(const struct hang_evidence *e, const char *model);
unsigned hang_evidence_n(const struct hang_evidence *e, const char *model); /* witnesses */
/* It answered. */
void hang_evidence_clear(struct hang_evidence *e, const char *model);
/* It was unloaded, or is gone by itself. */
void hang_evidence_unloaded(struct hang_evidence *e, const char *model);
/*
 * Something was done that may have helped: one more call is enough to show that it did not. Unloads
 * are counted anew.
 */
void hang_evidence_doubt(struct hang_evidence *e);

enum hang_state { HANG_WATCHING, HANG_UNLOADING, HANG_DRAINING, HANG_RESTARTING };

/* What the caller is to do now. */
enum hang_step {
    HANG_NOTHING,
    HANG_UNLOAD,   /* no calls for the model; hang_guard_unloaded() follows */
    HANG_DRAIN,    /* no calls for any deployment of the server; hang_guard_drained() follows */
    HANG_RESTART,  /* hang_guard_restarted() follows */
    HANG_RELEASE,  /* calls may come again */
    HANG_TOO_SOON, /* the same, as the unit was restarted lately: until restart_at_usec */
};

/* Of a model server. All zero but can_restart: nothing happened yet. */
struct hang_guard {
    enum hang_state state;
    bool can_restart;            /* its unit is named */
    bool was_unloaded;           /* that was tried since its last answer, and it hung again */
    unsigned n_restarts;         /* asked for */
    uint64_t until_usec;         /* of the state, but for WATCHING: hang_guard_expired() then */
    uint64_t restarted_at_usec;  /* the last one; with n_restarts > 0 */
    uint64_t restart_every_usec; /* with n_restarts > 0 */
    uint64_t restart_at_usec;    /* not before; 0: any time */
};

/* A model of it has evidence enough, and nobody is being answered by that. */
enum hang_step hang_guard_hung(struct hang_guard *g, uint64_t now_usec);

/* The same, by unloads alone: there is nothing to be tried but the restart. */
enum hang_step hang_guard_stuck(struct hang_guard *g, uint64_t now_usec);

/* UNLOADING only: is the model gone from the server? */
enum hang_step hang_guard_unloaded(struct hang_guard *g, bool is_gone, uint64_t now_usec);

/* DRAINING only: nobody else is being answered any more. */
enum hang_step hang_guard_drained(struct hang_guard *g, uint64_t now_usec);

/* RESTARTING only: it was, or will not be. */
enum hang_step hang_guard_restarted(struct hang_guard *g, bool is_done);

/* The model that hung answered a call to its end. */
enum hang_step hang_guard_answered(struct hang_guard *g);

/* until_usec has come. */
enum hang_step hang_guard_expired(struct hang_guard *g, uint64_t now_usec);

const char *hang_state_name(enum hang_state state);
