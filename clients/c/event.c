/*
 * What the current event of a call says. Getters of another event's values answer with nothing (0,
 * "", no bytes), so that a program that asks the wrong one reads no stale memory.
 */
#include "call.h"

#include <string.h>

#include "macros.h"
#include "sluice.pb-c.h"

/* The current event as a message, or NULL when it is not of this type. */
static const Sluice__V1__Event *current(const sluice_call *call, int type)
{
    return call->event == type ? (const Sluice__V1__Event *) call->reply : NULL;
}

static const char *bytes_of(const ProtobufCBinaryData *bytes, size_t *ret_n)
{
    *ret_n = bytes ? bytes->len : 0;
    return bytes && bytes->len > 0 ? (const char *) bytes->data : "";
}

static const char *text_of(const char *z, size_t *ret_n)
{
    *ret_n = z ? strlen(z) : 0;
    return z ? z : "";
}

EXPORT uint32_t sluice_call_queue_position(const sluice_call *call)
{
    const Sluice__V1__Event *ev = current(call, SLUICE_EVENT_QUEUED);

    return ev ? ev->queued->position : 0;
}

EXPORT const char *sluice_call_model(const sluice_call *call)
{
    return call->started ? ((const Sluice__V1__Event *) call->started)->started->model : "";
}

EXPORT const char *sluice_call_deployment(const sluice_call *call)
{
    return call->started ? ((const Sluice__V1__Event *) call->started)->started->deployment : "";
}

EXPORT const char *sluice_call_text(const sluice_call *call, size_t *ret_n_bytes)
{
    const Sluice__V1__Event *ev = current(call, SLUICE_EVENT_TEXT);

    return bytes_of(ev ? &ev->text->text : NULL, ret_n_bytes);
}

EXPORT int sluice_call_channel(const sluice_call *call)
{
    const Sluice__V1__Event *ev = current(call, SLUICE_EVENT_TEXT);

    return ev ? (int) ev->text->channel : SLUICE_CHANNEL_ANSWER;
}

EXPORT const char *sluice_call_logprobs_json(const sluice_call *call, size_t *ret_n_bytes)
{
    const Sluice__V1__Event *ev = current(call, SLUICE_EVENT_TEXT);

    return text_of(ev ? ev->text->logprobs_json : NULL, ret_n_bytes);
}

EXPORT uint32_t sluice_call_choice(const sluice_call *call)
{
    const Sluice__V1__Event *text = current(call, SLUICE_EVENT_TEXT);
    const Sluice__V1__Event *tool = current(call, SLUICE_EVENT_TOOL_CALL);

    return text ? text->text->choice : tool ? tool->tool_call->choice : 0;
}

EXPORT uint32_t sluice_call_tool_index(const sluice_call *call)
{
    const Sluice__V1__Event *ev = current(call, SLUICE_EVENT_TOOL_CALL);

    return ev ? ev->tool_call->index : 0;
}

EXPORT const char *sluice_call_tool_id(const sluice_call *call)
{
    const Sluice__V1__Event *ev = current(call, SLUICE_EVENT_TOOL_CALL);

    return ev ? ev->tool_call->id : "";
}

EXPORT const char *sluice_call_tool_name(const sluice_call *call)
{
    const Sluice__V1__Event *ev = current(call, SLUICE_EVENT_TOOL_CALL);

    return ev ? ev->tool_call->name : "";
}

EXPORT const char *sluice_call_tool_arguments(const sluice_call *call, size_t *ret_n_bytes)
{
    const Sluice__V1__Event *ev = current(call, SLUICE_EVENT_TOOL_CALL);

    return text_of(ev ? ev->tool_call->arguments_json : NULL, ret_n_bytes);
}

EXPORT uint32_t sluice_call_embedding_index(const sluice_call *call)
{
    const Sluice__V1__Event *ev = current(call, SLUICE_EVENT_EMBEDDING);

    return ev ? ev->embedding->index : 0;
}

EXPORT const float *sluice_call_embedding(const sluice_call *call, size_t *ret_n_values)
{
    static const float nothing[1];
    const Sluice__V1__Event *ev = current(call, SLUICE_EVENT_EMBEDDING);

    *ret_n_values = ev ? ev->embedding->n_values : 0;
    return *ret_n_values > 0 ? ev->embedding->values : nothing;
}

EXPORT uint32_t sluice_call_result_index(const sluice_call *call)
{
    const Sluice__V1__Event *ev = current(call, SLUICE_EVENT_RESULT);

    return ev ? ev->result->index : 0;
}

EXPORT double sluice_call_result_score(const sluice_call *call)
{
    const Sluice__V1__Event *ev = current(call, SLUICE_EVENT_RESULT);

    return ev ? ev->result->score : 0;
}

EXPORT const char *sluice_call_result_json(const sluice_call *call, size_t *ret_n_bytes)
{
    const Sluice__V1__Event *ev = current(call, SLUICE_EVENT_RESULT);

    return text_of(ev ? ev->result->json : NULL, ret_n_bytes);
}

static const Sluice__V1__Done *done(const sluice_call *call)
{
    const Sluice__V1__Event *ev = current(call, SLUICE_EVENT_DONE);

    return ev ? ev->done : NULL;
}

EXPORT size_t sluice_call_n_choices(const sluice_call *call)
{
    return done(call) ? done(call)->n_finish_reasons : 0;
}

EXPORT int sluice_call_finish_reason(const sluice_call *call, size_t choice)
{
    return choice < sluice_call_n_choices(call) ? (int) done(call)->finish_reasons[choice]
                                                : SLUICE_FINISH_UNKNOWN;
}

EXPORT const char *sluice_finish_reason_name(int reason)
{
    switch ((enum sluice_finish) reason) {
    case SLUICE_FINISH_STOP:
        return "stop";
    case SLUICE_FINISH_LENGTH:
        return "length";
    case SLUICE_FINISH_TOOL_CALLS:
        return "tool_calls";
    case SLUICE_FINISH_CONTENT_FILTER:
        return "content_filter";
    case SLUICE_FINISH_UNKNOWN:
        break;
    }
    return "unknown";
}

static const Sluice__V1__Usage *usage(const sluice_call *call)
{
    return done(call) ? done(call)->usage : NULL;
}

EXPORT int sluice_call_has_usage(const sluice_call *call)
{
    return usage(call) != NULL;
}

EXPORT uint64_t sluice_call_input_tokens(const sluice_call *call)
{
    return usage(call) ? usage(call)->input_tokens : 0;
}

EXPORT uint64_t sluice_call_cached_input_tokens(const sluice_call *call)
{
    return usage(call) ? usage(call)->cached_input_tokens : 0;
}

EXPORT uint64_t sluice_call_output_tokens(const sluice_call *call)
{
    return usage(call) ? usage(call)->output_tokens : 0;
}

EXPORT uint64_t sluice_call_reasoning_output_tokens(const sluice_call *call)
{
    return usage(call) ? usage(call)->reasoning_output_tokens : 0;
}

static const Sluice__V1__Timings *timings(const sluice_call *call)
{
    return done(call) ? done(call)->timings : NULL;
}

EXPORT uint64_t sluice_call_queue_usec(const sluice_call *call)
{
    return timings(call) ? timings(call)->queue_usec : 0;
}

EXPORT uint64_t sluice_call_first_token_usec(const sluice_call *call)
{
    return timings(call) ? timings(call)->first_token_usec : 0;
}

EXPORT uint64_t sluice_call_total_usec(const sluice_call *call)
{
    return timings(call) ? timings(call)->total_usec : 0;
}
