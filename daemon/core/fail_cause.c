/*
 * See fail_cause.h. Owns nothing, decides nothing.
 *
 * The causes follow LiteLLM's classes of exceptions, as its exception_mapping_utils makes them from
 * what a server answers: 401 and 403, 408 and time-outs of its own, 429, a 400 that names the
 * content policy, any other 4xx, 404, any other 5xx with a connection that fails, 503.
 */
#include "core/fail_cause.h"

#include <assert.h>

enum fail_cause fail_cause_of(enum errcode code)
{
    /* with an offset of one, so that whatever is not named here is no cause */
    static const unsigned char causes[_ERRCODE_MAX] = {
        [ERRCODE_UPSTREAM_AUTH] = 1 + FAIL_AUTHENTICATION,
        [ERRCODE_UPSTREAM_TIMEOUT] = 1 + FAIL_TIMEOUT,
        [ERRCODE_UPSTREAM_STALLED] = 1 + FAIL_TIMEOUT,
        [ERRCODE_UPSTREAM_RATE_LIMITED] = 1 + FAIL_RATE_LIMIT,
        [ERRCODE_UPSTREAM_QUOTA] = 1 + FAIL_RATE_LIMIT,
        [ERRCODE_CONTENT_FILTER] = 1 + FAIL_CONTENT_POLICY,
        [ERRCODE_INVALID_REQUEST] = 1 + FAIL_BAD_REQUEST,
        [ERRCODE_UNSUPPORTED_PARAMETER] = 1 + FAIL_BAD_REQUEST,
        [ERRCODE_CONTEXT_LENGTH] = 1 + FAIL_BAD_REQUEST,
        [ERRCODE_PAYLOAD_TOO_LARGE] = 1 + FAIL_BAD_REQUEST,
        [ERRCODE_NOT_IMPLEMENTED] = 1 + FAIL_BAD_REQUEST,
        [ERRCODE_UPSTREAM_REJECTED] = 1 + FAIL_BAD_REQUEST,
        [ERRCODE_MODEL_NOT_FOUND] = 1 + FAIL_NOT_FOUND,
        [ERRCODE_UPSTREAM_UNREACHABLE] = 1 + FAIL_SERVER,
        [ERRCODE_UPSTREAM_UNTRUSTED] = 1 + FAIL_SERVER,
        [ERRCODE_UPSTREAM_CUT] = 1 + FAIL_SERVER,
        [ERRCODE_UPSTREAM_GARBAGE] = 1 + FAIL_SERVER,
        [ERRCODE_UPSTREAM_ERROR] = 1 + FAIL_SERVER,
        [ERRCODE_UPSTREAM_OVERLOADED] = 1 + FAIL_UNAVAILABLE,
        [ERRCODE_UPSTREAM_OUT_OF_MEMORY] = 1 + FAIL_UNAVAILABLE,
    };

    assert(code < _ERRCODE_MAX);
    if (code == ERRCODE_NONE || causes[code] == 0) {
        return _FAIL_CAUSE_MAX;
    }
    return (enum fail_cause)(causes[code] - 1);
}

void fail_policy_unset(struct fail_policy *policy)
{
    for (int i = 0; i < _FAIL_CAUSE_MAX; i++) {
        policy->by_cause[i] = FAIL_POLICY_UNSET;
    }
    policy->otherwise = FAIL_POLICY_UNSET;
}

int fail_policy_get(const struct fail_policy *policy, enum fail_cause cause)
{
    int own = cause < _FAIL_CAUSE_MAX ? policy->by_cause[cause] : FAIL_POLICY_UNSET;

    return own != FAIL_POLICY_UNSET ? own : policy->otherwise;
}
