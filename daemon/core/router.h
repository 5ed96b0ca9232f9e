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
#include "core/health.h"
#include "core/ports.h"

/* The longest name that router_upstream_model() answers, with its NUL. */
#define ROUTER_MODEL_BYTES 1024

struct deployment {
    struct list link;  /* router.deployments | router.retired */
    uint32_t serial;   /* never given twice; what a wish remembers of it */
    char *id;          /* owned */
    char *fingerprint; /* owned; equal text means "nothing changed" */
    char *provider;    /* owned; for people, as the next two */
    /* owned; the name at the model server, "" without; with stars: see router_upstream_model() */
    char *upstream_model;
    char *prefix;            /* owned; what the file has before that name: "ollama_chat/", or "" */
    char *api_base;          /* owned; without secrets; "" without a server */
    char *off_reason;        /* owned; why this deployment serves nobody, or NULL */
    struct backend *backend; /* owned; NULL when off */
    unsigned slots;
    unsigned in_use;
    uint64_t last_used_at_usec; /* when a slot was given back; 0: never */
    struct health health;       /* its breaker; told by who holds its slots */
    bool is_local;              /* what is sent to it stays on this device */
    bool is_planned;            /* mark of router_commit(): part of the new plan */
};

struct model_group {
    char *name;                      /* owned; with stars: a wildcard */
    struct deployment **deployments; /* array owned, items borrowed from the router */
    size_t n_deployments;
    size_t next; /* where the next tie is broken */
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
};

struct router {
    struct model_group *groups; /* owned, in configuration order */
    size_t n_groups;
    struct model_group *singles; /* owned; one for each deployment, under its id */
    size_t n_singles;
    struct router_alias *aliases; /* owned */
    size_t n_aliases;
    struct list deployments; /* deployment.link */
    struct list retired;     /* deployment.link */
    uint32_t last_serial;
    /*
     * The provider ("openai") that a name without one stands for ("gpt-4o"), static; NULL: none. Set
     * by the composition after router_init(), or NULL.
     */
    const char *(*provider_of)(struct str name);
};

/* What a call asks of the deployment that is to serve it. All zero: nothing. All borrowed. */
struct router_wish {
    const struct str *tags;
    size_t n_tags;
    const uint32_t *tried; /* deployment.serial of those that failed this call: the last choice */
    size_t n_tried;
    bool is_local_only;     /* must not leave the device */
    uint64_t prompt_tokens; /* room that its prompt needs at least; 0: not known */
};

void router_init(struct router *r);
void router_done(struct router *r); /* no deployment may be in use */

/* A live deployment with this id and fingerprint, to be planned again; NULL when there is none. */
struct deployment *router_find(struct router *r, const char *id, const char *fingerprint);

/* What a deployment is made of. Strings are copied; all but the first three may be NULL. */
struct deployment_spec {
    const char *id, *fingerprint, *provider;
    const char *upstream_model, *prefix, *api_base;
    const char *off_reason;
    unsigned slots;
    bool is_local;
};

/*
 * A new deployment, on no list yet. Takes over backend (NULL with an off_reason). NULL: out of
 * memory, backend untouched.
 */
struct deployment *deployment_new(const struct deployment_spec *spec, struct backend *backend);
struct deployment *deployment_free(struct deployment *d); /* accepts NULL, returns NULL */

/* Since its last call ended; 0: there was none, or it is in use. */
uint64_t deployment_idle_usec(const struct deployment *d, uint64_t now_usec);

/* Does its server hold the model, as far as is known? */
bool deployment_is_loaded(const struct deployment *d, uint64_t now_usec);

/* Did its server not answer when it was asked last? */
bool deployment_is_down(const struct deployment *d);

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

/* Is it one of those whose name has stars? */
bool model_group_is_wildcard(const struct model_group *g);

/*
 * The nearest known names, best first, for the message of MODEL_NOT_FOUND: at most max, returns how
 * many. Borrowed.
 */
size_t router_suggest(const struct router *r, struct str name, const char **ret_names, size_t max);

/* Does any deployment of the group have a backend at all? */
bool model_group_is_servable(const struct model_group *g);

/* Slots of the deployments that serve, together. */
unsigned model_group_slots(const struct model_group *g);

/*
 * A deployment of the group with a free slot that its breaker lets a call through to, and that is
 * what the call wishes (NULL: it wishes nothing), least busy first, ties in turn; NULL when there is
 * none. Takes the slot, not the leave of the breaker.
 */
struct deployment *router_pick(struct router *r, struct model_group *g,
                               const struct router_wish *wish, uint64_t now_usec);

/*
 * Where the breaker of each deployment that serves turns calls away: the deployment that will take
 * one first. Else NULL: a call can run, or will when a slot is free.
 */
const struct deployment *model_group_broken(const struct model_group *g, uint64_t now_usec);

/*
 * When the next breaker of the group that is open lets a call through to a free slot, or
 * USEC_NEVER.
 */
uint64_t model_group_opens_at(const struct model_group *g);

/* Gives a slot back. May be called from deep within a backend's callback: frees nothing. */
void router_release(struct router *r, struct deployment *d, uint64_t now_usec);

/* Frees retired deployments that nobody uses any more. At the end of a wake-up. */
void router_reap(struct router *r);
