/*
 * A model server's slots in virtual time.
 *
 * Invariant: a job at work has one event set: the end of its reading, or of its answer.
 *
 * Must not: know clients or policies.
 */
#include "tests/sim/model_server.h"

#include <assert.h>

#include "base/clock.h"
#include "base/macros.h"

void model_server_init(struct model_server *s, struct event_heap *heap, unsigned n_slots)
{
    assert(n_slots >= 1 && n_slots <= SERVER_MAX_SLOTS);
    *s = (struct model_server) {.heap = heap, .n_slots = n_slots};
}

/* The free one that has been so for longest. */
static unsigned take_slot(struct model_server *s)
{
    unsigned best = SERVER_MAX_SLOTS;

    for (unsigned i = 0; i < s->n_slots; i++) {
        if (!s->is_taken[i] &&
            (best == SERVER_MAX_SLOTS || s->busy_until_usec[i] < s->busy_until_usec[best])) {
            best = i;
        }
    }
    assert(best < s->n_slots);
    s->is_taken[best] = true;
    return best;
}

static void leave(struct server_job *job)
{
    struct model_server *s = job->server;
    uint64_t now = s->heap->now_usec;

    event_heap_drop(s->heap, &job->event);
    s->is_taken[job->slot] = false;
    if (now >= s->count_from_usec) {
        uint64_t written = job->is_reading ? 0 : usec_since(now, job->read_at_usec);

        s->n_tokens += written / job->token_usec;
        s->slot_usec += now - job->began_at_usec;
    }
}

static void on_event(struct sim_event *e)
{
    struct server_job *job = CONTAINER_OF(e, struct server_job, event);

    if (job->is_reading) {
        job->is_reading = false;
        event_heap_set(job->server->heap, e, job->read_at_usec + job->n_tokens * job->token_usec);
        job->on_first(job);
    } else {
        leave(job);
        job->on_end(job);
    }
}

void server_job_start(struct model_server *s, struct server_job *job, uint64_t delay_usec,
                      uint64_t prefill_usec, uint64_t token_usec, uint64_t n_tokens)
{
    uint64_t now = s->heap->now_usec, free_at;

    job->server = s;
    job->slot = take_slot(s);
    free_at = s->busy_until_usec[job->slot];
    job->is_reading = true;
    job->began_at_usec = now;
    job->read_at_usec = (free_at > now ? free_at : now) + delay_usec + prefill_usec;
    job->token_usec = token_usec;
    job->n_tokens = n_tokens;
    job->event.fire = on_event;
    event_heap_set(s->heap, &job->event, job->read_at_usec);
}

void server_job_stop(struct server_job *job)
{
    if (job->is_reading) {
        job->server->busy_until_usec[job->slot] = job->read_at_usec;
    }
    leave(job);
}
