/*
 * Options of a request: numbers and texts by name. What a request of one kind does not know is
 * refused at once, so that a typo or a wrong kind does not become an option that nobody heeds.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "macros.h"
#include "request_body.h"

#define SAMPLED (KIND(CHAT) | KIND(COMPLETE))
#define CALLED  (SAMPLED | KIND(EMBED) | KIND(RERANK) | KIND(CLASSIFY))
#define NAMED   (CALLED | KIND(WATCH))

static const struct int_rule {
    unsigned kinds;
    int64_t min, max;
} int_rules[] = {
    [SLUICE_INT_CLASS] = {CALLED, SLUICE_CLASS_INTERACTIVE, SLUICE_CLASS_BACKGROUND},
    [SLUICE_INT_DEADLINE_USEC] = {CALLED, 0, INT64_MAX},
    [SLUICE_INT_MAX_TOKENS] = {SAMPLED, 0, UINT32_MAX},
    [SLUICE_INT_SEED] = {SAMPLED, INT64_MIN, INT64_MAX},
    [SLUICE_INT_TOP_K] = {SAMPLED, 0, UINT32_MAX},
    [SLUICE_INT_LOGPROBS] = {SAMPLED, 0, 1},
    [SLUICE_INT_TOP_LOGPROBS] = {SAMPLED, 0, 20},
    [SLUICE_INT_DIMENSIONS] = {KIND(EMBED), 0, UINT32_MAX},
    [SLUICE_INT_TOP_N] = {KIND(RERANK), 0, INT32_MAX},
};

EXPORT int sluice_request_set_int(sluice_request *req, int what, int64_t value)
{
    Sluice__V1__Sampling *s = &req->sampling;

    if (what < SLUICE_INT_CLASS || (size_t) what >= ARRAY_LEN(int_rules) ||
        !request_is_kind(req, int_rules[what].kinds) || value < int_rules[what].min ||
        value > int_rules[what].max) {
        return -EINVAL;
    }
    switch ((enum sluice_int) what) {
    case SLUICE_INT_CLASS:
        req->class_of_service = value;
        break;
    case SLUICE_INT_DEADLINE_USEC:
        req->deadline_usec = value;
        break;
    case SLUICE_INT_MAX_TOKENS:
        s->max_tokens = (uint32_t) value;
        break;
    case SLUICE_INT_SEED:
        s->seed_opt_case = SLUICE__V1__SAMPLING__SEED_OPT_SEED;
        s->seed = value;
        break;
    case SLUICE_INT_TOP_K:
        s->top_k_opt_case = SLUICE__V1__SAMPLING__TOP_K_OPT_TOP_K;
        s->top_k = (uint32_t) value;
        break;
    case SLUICE_INT_LOGPROBS:
        s->logprobs = value != 0;
        break;
    case SLUICE_INT_TOP_LOGPROBS:
        s->top_logprobs = (uint32_t) value;
        break;
    case SLUICE_INT_DIMENSIONS:
        req->msg.embed.dimensions = (uint32_t) value;
        break;
    case SLUICE_INT_TOP_N:
        req->msg.rerank.top_n = (uint32_t) value;
        break;
    }
    return 0;
}

EXPORT int sluice_request_set_double(sluice_request *req, int what, double value)
{
    Sluice__V1__Sampling *s = &req->sampling;

    if (!request_is_kind(req, SAMPLED) || !isfinite(value)) {
        return -EINVAL;
    }
    switch ((enum sluice_double) what) {
    case SLUICE_DOUBLE_TEMPERATURE:
        s->temperature_opt_case = SLUICE__V1__SAMPLING__TEMPERATURE_OPT_TEMPERATURE;
        s->temperature = value;
        return 0;
    case SLUICE_DOUBLE_TOP_P:
        s->top_p_opt_case = SLUICE__V1__SAMPLING__TOP_P_OPT_TOP_P;
        s->top_p = value;
        return 0;
    case SLUICE_DOUBLE_MIN_P:
        s->min_p_opt_case = SLUICE__V1__SAMPLING__MIN_P_OPT_MIN_P;
        s->min_p = value;
        return 0;
    case SLUICE_DOUBLE_FREQUENCY_PENALTY:
        s->frequency_penalty_opt_case =
            SLUICE__V1__SAMPLING__FREQUENCY_PENALTY_OPT_FREQUENCY_PENALTY;
        s->frequency_penalty = value;
        return 0;
    case SLUICE_DOUBLE_PRESENCE_PENALTY:
        s->presence_penalty_opt_case = SLUICE__V1__SAMPLING__PRESENCE_PENALTY_OPT_PRESENCE_PENALTY;
        s->presence_penalty = value;
        return 0;
    }
    return -EINVAL;
}

static char **extra_slot(sluice_request *req)
{
    if (req->kind == REQUEST_RERANK) {
        return &req->msg.rerank.extra_json;
    }
    if (req->kind == REQUEST_CLASSIFY) {
        return &req->msg.classify.extra_json;
    }
    return request_is_kind(req, SAMPLED) ? &req->sampling.extra_json : NULL;
}

/* Where a text lives; NULL: not in this kind of request. */
static char **text_slot(sluice_request *req, int what)
{
    Sluice__V1__ChatRequest *chat = req->kind == REQUEST_CHAT ? &req->msg.chat : NULL;
    Sluice__V1__Message *m = request_last_message(req);

    switch ((enum sluice_text) what) {
    case SLUICE_TEXT_TOOLS_JSON:
        return chat ? &chat->tools_json : NULL;
    case SLUICE_TEXT_TOOL_CHOICE_JSON:
        return chat ? &chat->tool_choice_json : NULL;
    case SLUICE_TEXT_RESPONSE_FORMAT_JSON:
        return chat ? &chat->response_format_json : NULL;
    case SLUICE_TEXT_REASONING_EFFORT:
        return chat ? &chat->reasoning_effort : NULL;
    case SLUICE_TEXT_EXTRA_JSON:
        return extra_slot(req);
    case SLUICE_TEXT_SUFFIX:
        return req->kind == REQUEST_COMPLETE ? &req->msg.complete.suffix : NULL;
    case SLUICE_TEXT_MESSAGE_NAME:
        return m ? &m->name : NULL;
    case SLUICE_TEXT_MESSAGE_TOOL_CALL_ID:
        return m ? &m->tool_call_id : NULL;
    case SLUICE_TEXT_MESSAGE_THINKING:
        return m ? &m->thinking : NULL;
    case SLUICE_TEXT_REQUEST_ID:
        break; /* not of the message */
    }
    return NULL;
}

static int set_id(sluice_request *req, const char *text, size_t n)
{
    if (!request_is_kind(req, NAMED) || (n > 0 && !request_is_id(text, n))) {
        return -EINVAL;
    }
    if (n > 0) {
        memcpy(req->id, text, n);
    }
    req->id[n] = '\0';
    return 0;
}

EXPORT int sluice_request_set_text(sluice_request *req, int what, const char *text, size_t n_bytes)
{
    if (what == SLUICE_TEXT_REQUEST_ID) {
        return set_id(req, text, n_bytes);
    }

    char **slot = text_slot(req, what);

    return slot ? request_set_string(req, slot, text, n_bytes) : -EINVAL;
}
