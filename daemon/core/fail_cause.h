#pragma once
/*
 * Why an attempt failed, in the groups that LiteLLM's retry_policy and allowed_fails_policy name
 * (litellm/types/router.py: RetryPolicy, AllowedFailsPolicy), and such a policy: a number for each.
 */
#include "proto/errcode.h"

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

#define FAIL_POLICY_UNSET (-1)

/* A number for each cause; FAIL_POLICY_UNSET: the file says none. */
struct fail_policy {
    int by_cause[_FAIL_CAUSE_MAX];
    int otherwise; /* DefaultRetries */
};

/* A policy that says nothing. */
void fail_policy_unset(struct fail_policy *policy);

/* What the policy says of a cause: its own number, else the one for all; or FAIL_POLICY_UNSET. */
int fail_policy_get(const struct fail_policy *policy, enum fail_cause cause);
