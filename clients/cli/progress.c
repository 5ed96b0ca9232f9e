/*
 * See progress.h. The seconds are counted because a model that has to be loaded first takes many,
 * and a line that stands still looks like a program that does. Nothing but the line is owned here;
 * events are only looked at.
 */
#include "progress.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "term.h"

#define TICK_USEC 1000000 /* between two looks at the clock */
#define LOAD_SEC  2       /* whoever works for longer may be loading; a guess, and worded as one */

static uint64_t now_usec(void)
{
    struct timespec ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail with this clock */
    return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

static void show(const struct progress *p)
{
    unsigned long long sec = (now_usec() - p->since_usec) / 1000000;
    char text[96], time[32] = "";

    if (sec > 0) {
        (void) snprintf(time, sizeof(time), ", %llu s", sec);
    }
    if (p->position > 0) {
        (void) snprintf(text, sizeof(text), "waiting for a slot, position %u%s", p->position, time);
    } else {
        (void) snprintf(text, sizeof(text), "working%s%s", sec > 0 ? time : " ...",
                        sec > LOAD_SEC ? ": the model may have to be loaded first" : "");
    }
    term_progress(text);
}

static void begin(struct progress *p, uint32_t position)
{
    if (p->is_wanted) {
        p->position = position;
        p->since_usec = now_usec();
        show(p);
    }
}

int progress_next(struct progress *p, sluice_call *call)
{
    int ev;

    while ((ev = p->since_usec > 0 ? session_next_within(call, TICK_USEC) : session_next(call)) ==
           -EAGAIN) {
        show(p);
    }
    if (ev == SLUICE_EVENT_QUEUED) {
        begin(p, sluice_call_queue_position(call));
    } else if (ev == SLUICE_EVENT_STARTED) {
        begin(p, 0);
    } else if (p->since_usec > 0) {
        p->since_usec = 0;
        term_progress(NULL);
    }
    return ev;
}
