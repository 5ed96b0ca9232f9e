#pragma once
/*
 * How a call finds another way when one fails: the words of LiteLLM's router_settings as plain
 * values. The configuration fills them, the router keeps a copy, core/call asks.
 *
 * Nothing here acts. Names of groups are text and may name no group (yet): who follows one looks.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "proto/errcode.h"

/* Which of the deployments that could serve a call now serves it. */
enum routing_strategy {
    ROUTING_SHUFFLE, /* simple-shuffle: at random, by weight */
    ROUTING_LEAST_BUSY,
    ROUTING_LATENCY, /* the quickest of late, to its first word */
};

/*
 * Why an attempt failed, in the groups that LiteLLM's retry_policy and allowed_fails_policy name
 * (litellm/types/router.py: RetryPolicy, AllowedFailsPolicy).
 */
enum fail_cause {
    FAIL_AUTHENTICATION, /* AuthenticationError */
    FAIL_TIMEOUT,        /* TimeoutError */
    FAIL_RATE_LIMIT,     /* RateLimitError */
    FAIL_CONTENT_POLICY, /* ContentPolicyViolationError */
    FAIL_BAD_REQUEST,    /* BadRequestError; a prompt that does not fit included */
    FAIL_NOT_FOUND,      /* NotFoundError */
    FAIL_SERVER,         /* InternalServerError: what the model server did wrong; no connection */
    FAIL_UNAVAILABLE,    /* ServiceUnavailableError: overloaded */
    _FAIL_CAUSE_MAX,
};

/*
 * The cause behind an error. _FAIL_CAUSE_MAX: none that says anything about the model server, as
 * sluice or the caller ended the attempt.
 */
enum fail_cause fail_cause_of(enum errcode code);

#define ROUTING_UNSET (-1)

/* A number for each cause; ROUTING_UNSET: the file says none. */
struct routing_policy {
    int by_cause[_FAIL_CAUSE_MAX];
    int otherwise; /* DefaultRetries */
};

/* What the policy says of a cause: its own number, else the one for all; or ROUTING_UNSET. */
int routing_policy_get(const struct routing_policy *policy, enum fail_cause cause);

/* Which list of fallbacks an end of an attempt leads to. */
enum fallback_kind {
    FALLBACK_GENERAL,
    FALLBACK_CONTEXT,        /* context_window_fallbacks: the prompt does not fit */
    FALLBACK_CONTENT_POLICY, /* content_policy_fallbacks */
    _FALLBACK_MAX,
};

#define ROUTING_MAX_FALLBACKS 5 /* LiteLLM's max_fallbacks */
