#pragma once
/*
 * What a configuration says about choosing, retrying and falling back: the words of router_settings,
 * kept by the router. Filled while a plan is built; read by who picks and by who runs a call.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/str.h"
#include "core/cooldown.h"
#include "core/fail_cause.h"
#include "core/spill.h"

/* Which of the deployments that could serve a call now serves it. */
enum routing_strategy {
    ROUTING_SHUFFLE, /* simple-shuffle: at random, by weight */
    ROUTING_LEAST_BUSY,
    ROUTING_LATENCY, /* the quickest of late, to its first word */
};

/* Which list of fallbacks an end of an attempt leads to. */
enum fallback_kind {
    FALLBACK_GENERAL,
    FALLBACK_CONTEXT,        /* context_window_fallbacks: the prompt does not fit */
    FALLBACK_CONTENT_POLICY, /* content_policy_fallbacks */
    _FALLBACK_MAX,
};

#define ROUTING_MAX_FALLBACKS 5 /* LiteLLM's max_fallbacks */

#define ROUTER_DEFAULT_TAG "default" /* of the deployments for calls without tags */
#define ROUTER_ANY_GROUP   "*"       /* a list of fallbacks for those that have none */

/* The names to fall back to from one. */
struct router_fallbacks {
    char *group;    /* owned; ROUTER_ANY_GROUP: any */
    char **targets; /* owned, with its strings */
    size_t n_targets;
};

struct router_group_retries {
    char *group; /* owned */
    struct fail_policy retries;
};

struct router_policy {
    enum routing_strategy strategy;
    bool has_tag_filter; /* enable_tag_filtering */
    bool tags_match_any; /* one common tag is enough; else a deployment needs all of a call's */
    bool checks_context; /* enable_pre_call_checks */
    struct cooldown_rules cooldown;

    unsigned max_retries;
    uint64_t retry_after_usec; /* least wait before a retry */
    struct fail_policy retries;
    struct router_group_retries *group_retries; /* owned; each in the place of retries */
    size_t n_group_retries;

    struct router_fallbacks *fallbacks[_FALLBACK_MAX]; /* owned; in the order of the file */
    size_t n_fallbacks[_FALLBACK_MAX];
    unsigned max_fallbacks;
    struct spill_rules spill;
};

/* Nothing is said: no retries, no fallbacks, no pauses, at random. */
void router_policy_init(struct router_policy *policy);
void router_policy_done(struct router_policy *policy);

/* Strings are copied. 0 or -ENOMEM. */
int router_policy_add_fallbacks(struct router_policy *policy, enum fallback_kind kind,
                                const char *group, char *const *targets, size_t n_targets) MUST_USE;
int router_policy_add_retries(struct router_policy *policy, const char *group,
                              const struct fail_policy *retries) MUST_USE;

/* The list of a kind that is made for exactly that group, or NULL. */
const struct router_fallbacks *router_policy_fallbacks(const struct router_policy *policy,
                                                       enum fallback_kind kind, struct str group);

/* The retries that are made for exactly that group, or NULL. */
const struct fail_policy *router_policy_retries(const struct router_policy *policy,
                                                struct str group);
