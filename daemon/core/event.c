/*
 * Events: names and the grammar checker that call.c runs over everything that backends deliver.
 */
#include "core/event.h"

#include <assert.h>
#include <errno.h>

struct str event_failed_text(const struct event *ev)
{
    assert(ev->type == EVENT_FAILED);
    return ev->failed.message.ptr ? ev->failed.message
                                  : str_from(errcode_info(ev->failed.code)->text);
}

const char *finish_reason_name(enum finish_reason reason)
{
    switch (reason) {
    case FINISH_STOP:
        return "stop";
    case FINISH_LENGTH:
        return "length";
    case FINISH_TOOL_CALLS:
        return "tool_calls";
    case FINISH_CONTENT_FILTER:
        return "content_filter";
    }
    assert(0);
    return "?";
}

/* How far a call has come; an event may lead to its own stage or a later one. */
enum { STAGE_WAITING, STAGE_CONTENT, STAGE_USAGE, STAGE_OVER };

static int stage_of(enum event_type type)
{
    switch (type) {
    case EVENT_QUEUED:
    case EVENT_STARTED:
        return STAGE_WAITING;
    case EVENT_TEXT:
    case EVENT_TOOL_CALL:
    case EVENT_EMBEDDING:
    case EVENT_RESULT:
        return STAGE_CONTENT;
    case EVENT_USAGE:
        return STAGE_USAGE;
    case EVENT_END:
    case EVENT_FAILED:
        return STAGE_OVER;
    }
    return STAGE_OVER;
}

int event_grammar_step(struct event_grammar *g, const struct event *ev)
{
    int stage = stage_of(ev->type);
    bool repeats = stage == STAGE_WAITING || stage == STAGE_CONTENT;

    if (g->stage == STAGE_OVER || stage < g->stage || (stage == g->stage && !repeats)) {
        return -EPROTO;
    }
    g->stage = stage;
    return 0;
}
