#pragma once
/*
 * Names to deployments. A model group is a public name with its deployments; a deployment is one
 * model at one upstream, with a number of slots. router_resolve() (router_names.c) answers at
 * submit, router_pick() (router_pick.c) at the moment a slot is granted.
 *
 * A name with stars is a wildcard group: it serves every name that begins with what the pattern
 * says, and a call's name decides what its deployments ask their servers for
 * (router_upstream_model()). LiteLLM's rules: the pattern begins where the name begins, but need
 * not reach its end; a star takes as much as it can; the longest pattern that fits wins.
 *
 * The router owns groups, deployments and, through backend_ops.free, their backends. At a reload a
 * deployment whose fingerprint did not change is carried over with its slots in use; one that
 * vanished is retired and dies when its last call has released it.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "core/class_floor.h"
#include "core/deployment.h"
#include "core/router_policy.h"

struct residency;

/* The longest name that router_upstream_model() answers, with its NUL. */
#define ROUTER_MODEL_BYTES 1024

struct model_group {
    char *name;                      /* owned; with stars: a wildcard */
    struct deployment **deployments; /* array owned, items borrowed from the router */
    size_t n_deployments;
    size_t next; /* where the next tie is broken */
    /* admission's own; has_slot: as of one pass over the queue */
    struct class_floor floor;
    uint64_t looked_at_pass;
    bool has_slot;
    /* by router_commit() */
    bool is_single;      /* of router.singles: who asks by id wants it, whatever its tags */
    bool has_default;    /* a deployment is tagged "default" */
    bool has_local_only; /* a deployment is local_only: its calls stay on the device */
};

/* Another name for what a name leads to. */
struct router_alias {
    char *name;   /* owned */
    char *target; /* owned; of a group, or what a wildcard serves */
    bool is_hidden;
};

/* What a configuration asks for. Built by the composition, consumed by router_commit(). */
struct router_plan {
    struct model_group *groups; /* owned */
    size_t n_groups;
    struct model_group *singles; /* owned; see router */
    size_t n_singles;
    struct router_alias *aliases; /* owned */
    size_t n_aliases;
    struct router_policy policy;
};

struct router {
    struct model_group *groups; /* owned, in configuration order */
    size_t n_groups;
    struct model_group *singles; /* owned; one for each deployment, under its id */
    size_t n_singles;
    struct router_alias *aliases; /* owned */
    size_t n_aliases;
    struct router_policy policy;
    struct list deployments; /* deployment.link */
    struct list retired;     /* deployment.link */
    uint32_t last_serial;
    uint32_t n_gone; /* deployments that were freed: their servers may not be spoken to any more */
    enum pressure_level level; /* of memory, told by admission: deployments use fewer slots */
    uint64_t random; /* state of the generator; set by the composition, so that core stays pure */
    /*
     * The provider ("openai") that a name without one stands for ("gpt-4o"), static; NULL: none. Set
     * by the composition after router_init(), or NULL.
     */
    const char *(*provider_of)(struct str name);
    /*
     * Whose model is in memory, and may be loaded: asked before a deployment is given a call. Borrowed,
     * set as provider_of; NULL: nobody watches memory.
     */
    struct residency *residency;
    /* d cools down from now on; from anywhere, d is borrowed. Set as provider_of, or NULL. */
    void (*on_cooldown)(const struct deployment *d, uint64_t now_usec);
};

/* An attempt that failed. */
struct router_try {
    uint32_t serial; /* of its deployment */
    bool is_last;    /* which must not be asked again for this call */
};

/* What a call asks of the deployment that is to serve it. All zero: nothing. All borrowed. */
struct router_wish {
    struct str name; /* as asked for: what it means to a wildcard's deployments; or absent */
    const struct str *tags;
    size_t n_tags;
    const struct router_try *tried; /* in its group: where it was tried least comes first */
    size_t n_tried;
    bool is_local_only;     /* must not leave the device */
    bool is_away;           /* must leave it: it was spilled (call_spill.c) */
    uint64_t prompt_tokens; /* room that its prompt needs at least; 0: not known */
    enum call_class class;
    uint64_t since_usec; /* when the call arrived */
};

void router_init(struct router *r);
void router_done(struct router *r); /* no deployment may be in use */

/* A live deployment with this id and fingerprint, to be planned again; NULL when there is none. */
struct deployment *router_find(struct router *r, const char *id, const char *fingerprint);

/*
 * Adds d to the group of that name, making the group where needed. 0 or -ENOMEM (d is then still
 * the caller's).
 */
int router_plan_add(struct router_plan *plan, const char *group, struct deployment *d) MUST_USE;
/* name is another name for target. 0 or -ENOMEM. */
int router_plan_alias(struct router_plan *plan, const char *name, const char *target,
                      bool is_hidden) MUST_USE;
/* Frees an unused plan and those of its deployments that are on no list of a router. */
void router_plan_done(struct router_plan *plan);

/* Makes the plan the state of the router. Never fails. The plan is empty afterwards. */
void router_commit(struct router *r, struct router_plan *plan);

/*
 * The group that serves a name, or NULL: what its alias leads to, the group of that name, the
 * deployment with that id (a group of one), else the wildcard that fits best, also when the provider
 * that the name stands for is put before it ("gpt-4o": "openai/gpt-4o").
 */
struct model_group *router_resolve(struct router *r, struct str name);

/*
 * What d, of the group g that name was resolved to, calls the model: the text that the stars of g
 * took in the place of its own stars, one by one; the name as it came where g has more of them. NULL:
 * its own name (deployment.upstream_model), which its backend was made with. ret_text: where the
 * answer is put together.
 */
const char *router_upstream_model(const struct router *r, const struct model_group *g,
                                  const struct deployment *d, struct str name,
                                  char ret_text[ROUTER_MODEL_BYTES]);

/*
 * The group whose deployment has this id but no model of its own to be asked for (stars); NULL where
 * there is none. router_resolve() does not know such an id: it says nothing about a model.
 */
const struct model_group *router_group_of_id(const struct router *r, struct str id);

/* Is it one of those whose name has stars? */
bool model_group_is_wildcard(const struct model_group *g);

/*
 * The nearest known names, best first, for the message of MODEL_NOT_FOUND: at most max, returns how
 * many. Borrowed.
 */
size_t router_suggest(const struct router *r, struct str name, const char **ret_names, size_t max);

/* Does any deployment of the group have a backend at all? */
bool model_group_is_servable(const struct model_group *g);

/* Is any of its deployments on this device? */
bool model_group_has_local(const struct model_group *g);

/* Slots of the deployments that serve, together. */
unsigned model_group_slots(const struct model_group *g);

/*
 * A deployment of the group with a free slot that takes calls now and is what the call wishes (NULL:
 * it wishes nothing), or NULL. Takes the slot and one of its rpm, not the leave of the breaker.
 *
 * Those that the call has tried least come first, then those whose servers were not found dead by a
 * check; then the lowest order does. A lower order that is
 * busy is waited for: the next one serves where the lower ones cannot. Within an order the strategy
 * decides. Where it makes no difference, one whose server holds the model already is taken.
 */
struct deployment *router_pick(struct router *r, struct model_group *g,
                               const struct router_wish *wish, uint64_t now_usec);

/* Would it find one, once servers have told of their models? Changes nothing. */
bool router_would_pick(const struct router *r, const struct model_group *g,
                       const struct router_wish *wish, uint64_t now_usec);

/*
 * Such a call waits, as router_pick() had nobody for it: those that may take it are wanted in memory, be
 * they busy or not.
 */
void router_want(const struct router *r, const struct model_group *g,
                 const struct router_wish *wish, uint64_t now_usec);

/*
 * The server with that address (deployment.api_base) was away and answers again: its deployments take
 * calls as far as only that kept them from it. A breaker that is open lets the probe through.
 */
void router_server_is_back(struct router *r, const char *api_base, uint64_t now_usec);

/* Whom router_pick() would look for. */
struct router_outlook {
    uint32_t order;  /* of its level; as in the terms, or DEPLOYMENT_ORDER_LAST */
    bool is_tried;   /* all that take calls now were tried by this call */
    bool is_doubted; /* a check found the servers of that level dead (deployment_is_doubted()) */
};

/* false: nobody takes such a call now, or may. Else somebody does, or will when a slot is free. */
bool router_look_ahead(const struct router *r, const struct model_group *g,
                       const struct router_wish *wish, uint64_t now_usec,
                       struct router_outlook *ret);

/* Where router_pick() would look, and how much is free there. */
struct router_room {
    bool
        is_here; /* some of it is on this device: what the call would be given to, or would be if it could */
    unsigned n_free; /* slots */
};

struct router_room router_find_room(const struct router *r, const struct model_group *g,
                                    const struct router_wish *wish, uint64_t now_usec);

/* Why d is never given the call, whatever else it does, in a few words (static); NULL: it may be. */
const char *router_bars(const struct router *r, const struct model_group *g,
                        const struct router_wish *wish, const struct deployment *d);

/* Why no deployment of a group will take a call, however long it waits. */
struct router_refusal {
    enum errcode code;
    uint64_t retry_after_usec; /* within what clients take for one; 0: no use */
    bool is_long; /* a quarantine that outlasts what clients wait: they need not come back */
    const struct deployment *deployment; /* borrowed: the one that will take calls first, or NULL */
    struct str name;                     /* of the wish */
};

/*
 * false: a call can run, or will when a slot is free. Else why not: all pause (UPSTREAM_BREAKER,
 * NO_DEPLOYMENTS), none is what the call wishes (NO_MATCH, CONTEXT_LENGTH), all are off
 * (MISCONFIGURED).
 */
bool router_refuses(const struct router *r, const struct model_group *g,
                    const struct router_wish *wish, uint64_t now_usec, struct router_refusal *ret);

#define ROUTER_REFUSAL_BYTES 384
/* Its message for the caller; r and g are those that it came from. */
const char *router_refusal_describe(const struct router *r, const struct model_group *g,
                                    const struct router_refusal *refusal, uint64_t now_usec,
                                    char ret_text[ROUTER_REFUSAL_BYTES]);

/* The first moment after after_usec at which the answer of router_pick() may change by itself. */
uint64_t model_group_resumes_at(const struct model_group *g, uint64_t after_usec);

/*
 * Must such a call stay on the device, as it wishes so or a deployment that it could be given to is
 * local_only? Then also where it falls back to another group: with is_local_only in its wish.
 */
bool router_keeps_local(const struct router *r, const struct model_group *g,
                        const struct router_wish *wish);

/* ---------------------------------------------------------------- how calls fare */

/* The first content of an answer came so long after the slot was granted. */
void router_note_content(struct deployment *d, uint64_t took_usec, uint64_t now_usec);

/*
 * An attempt at d ended: ERRCODE_NONE, or why it failed; retry_after_usec is what its server asked for,
 * or 0. Not for what the caller's own limits ended. true: it cools down from now on, as on_cooldown
 * was told.
 */
bool router_note_end(const struct router *r, struct deployment *d, enum errcode code,
                     uint64_t retry_after_usec, uint64_t now_usec);

/* So many tokens were read and written for a call. */
void router_note_tokens(struct deployment *d, uint64_t n_tokens, uint64_t now_usec);

/* ---------------------------------------------------------------- other ways */

/*
 * The names to fall back to from what was asked for, best first; NULL: none. Of the lists of a kind
 * the one that is made for the name as asked, for what its alias stands for, for its group; else the
 * one for "*". Borrowed until the next router_commit().
 */
const struct router_fallbacks *router_fallbacks(const struct router *r, enum fallback_kind kind,
                                                struct str asked);

/*
 * How often a call may be tried again after such a failure: as the policy of its group says, else the
 * policy, else d (NULL: nobody), else the router.
 */
unsigned router_retries(const struct router *r, struct str asked, const struct deployment *d,
                        enum fail_cause cause);

/* ---------------------------------------------------------------- lists */

/* A name that clients may be shown. */
struct router_entry {
    const char *name;                /* borrowed */
    const struct model_group *group; /* borrowed */
    bool is_wildcard;                /* no model has this name: many have one like it */
};

/* The next after *i, which begins at 0; false: that was all. Groups, then aliases. */
bool router_next(const struct router *r, size_t *i, struct router_entry *ret);

/* Gives a slot back. May be called from deep within a backend's callback: frees nothing. */
void router_release(struct router *r, struct deployment *d, uint64_t now_usec);

/* Frees retired deployments that nobody uses any more. At the end of a wake-up. */
void router_reap(struct router *r);
