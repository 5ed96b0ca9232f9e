#pragma once
/*
 * A deployment: one model at one upstream, with a number of slots, and all that is known of how it
 * fares. The router owns it, and its backend through it.
 *
 * What it is made of never changes: with another address or another key it is another deployment. The
 * terms on which it serves its group may change at a reload, and what is known of it stays.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "core/cooldown.h"
#include "core/gcra.h"
#include "core/hang_guard.h"
#include "core/health.h"
#include "core/latency.h"
#include "core/ports.h"
#include "core/service_time.h"
#include "core/slot_limit.h"

#define DEPLOYMENT_ORDER_LAST UINT32_MAX

/* On which terms it serves its group. */
struct deployment_terms {
    uint32_t order;      /* the lowest first; 0: none given, which is behind all that have one */
    double weight;       /* of simple-shuffle, where any of the group has one */
    uint64_t rpm, tpm;   /* 0: none */
    bool enforces_rates; /* rpm and tpm are limits, not only weights */
    const char *const *tags;
    size_t n_tags;
    bool is_local_only;        /* calls that it could serve never leave the device */
    bool is_hidden;            /* not listed */
    int max_retries;           /* FAIL_POLICY_UNSET: as the router */
    uint64_t cooldown_usec;    /* USEC_NEVER: as the router; 0: never cooled */
    uint64_t max_input_tokens; /* 0: not known */
};

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
    const struct deployment_terms *terms;   /* never NULL */
    struct deployment_terms *own_terms;     /* owned: what terms points to, or NULL */
    struct deployment_terms *planned_terms; /* owned: of a plan that is not committed, or NULL */
    unsigned slots;
    unsigned in_use;
    unsigned n_low;             /* of them, by classes below interactive; told by admission */
    uint64_t last_used_at_usec; /* when a slot was given back; 0: never */
    struct health health;       /* its breaker; told by who holds its slots */
    struct hang_evidence hangs; /* told by the composition, as the next two */
    const char *held_why;       /* static; why it is out of rotation, or NULL */
    uint64_t held_until_usec;   /* with held_why */
    struct cooldown cooldown;
    struct latency latency;
    struct service_time service; /* told by admission, as the next one */
    struct slot_limit limit;
    struct gcra rpm, tpm; /* without a rate unless terms.enforces_rates */
    bool is_local;        /* what is sent to it stays on this device */
    bool is_alone;        /* no other deployment serves its group */
    bool is_planned;      /* mark of router_commit(): part of the new plan */
};

/* What a deployment is made of. Strings are copied; all but the first three may be NULL. */
struct deployment_spec {
    const char *id, *fingerprint, *provider;
    const char *upstream_model, *prefix, *api_base;
    const char *off_reason;
    unsigned slots;
    bool is_local;
};

/*
 * A new deployment, on no list yet, with terms of no consequence. Takes over backend (NULL with an
 * off_reason). NULL: out of memory, backend untouched.
 */
struct deployment *deployment_new(const struct deployment_spec *spec, struct backend *backend);
struct deployment *deployment_free(struct deployment *d); /* accepts NULL, returns NULL */

/* Its terms once the plan that it is part of is committed. Copied. 0 or -ENOMEM. */
int deployment_plan_terms(struct deployment *d, const struct deployment_terms *terms) MUST_USE;
/* The planned terms hold from now on; without any, the old ones. */
void deployment_adopt_terms(struct deployment *d);

/* How many of its slots are used at that level of memory pressure: 1 to slots. */
unsigned deployment_slots(const struct deployment *d, enum pressure_level level);

/* Since its last call ended; 0: there was none, or it is in use. */
uint64_t deployment_idle_usec(const struct deployment *d, uint64_t now_usec);

/*
 * Does its server hold the model, as far as is known? model: what router_upstream_model() answered;
 * NULL: its own name.
 */
bool deployment_is_loaded(const struct deployment *d, const char *model, uint64_t now_usec);

/* A choice that deployment_is_loaded() decides is near: as backend_ops.look. */
void deployment_look(struct deployment *d, uint64_t now_usec);

/* What its server calls its version; "": not known. Borrowed until the next turn of the loop. */
const char *deployment_server_version(const struct deployment *d);

/* Did its server not answer when it was asked last? */
bool deployment_is_down(const struct deployment *d);

/* What the last check of its server in the background showed; false: there was none. */
bool deployment_checked(const struct deployment *d, struct backend_check *ret);

/* Has that check failed, and nothing been heard of the server since? Others go before it. */
bool deployment_is_doubted(const struct deployment *d);

/* Why it takes no call now although it is not off. */
enum deployment_pause {
    PAUSE_NONE,
    PAUSE_HELD, /* something is being done about its server, which hangs */
    PAUSE_BREAKER,
    PAUSE_COOLDOWN,
    PAUSE_RATE, /* its rpm or tpm are used up */
};

/* Takes no calls before until_usec or deployment_release(). why: for people, static. */
void deployment_hold(struct deployment *d, const char *why, uint64_t until_usec);
/* Is not held any more. What its breaker says holds on. */
void deployment_release(struct deployment *d);

/* *ret_usec (may be NULL): when it may be asked again; with PAUSE_NONE unset. */
enum deployment_pause deployment_paused_by(const struct deployment *d, uint64_t now_usec,
                                           uint64_t *ret_usec);

/* The first moment after after_usec at which a pause of it ends by itself, or USEC_NEVER. */
uint64_t deployment_resumes_at(const struct deployment *d, uint64_t after_usec);

#define DEPLOYMENT_TEXT_BYTES 128

/*
 * Why it takes no calls now, for people: "breaker open for 4 s after 3 time-outs", "cooling down for
 * 5 s after a rate limit"; without the seconds unless with_times. NULL while it takes calls. Of what is
 * off, off_reason tells.
 */
const char *deployment_describe_pause(const struct deployment *d, bool with_times,
                                      uint64_t now_usec, char ret_text[DEPLOYMENT_TEXT_BYTES]);
