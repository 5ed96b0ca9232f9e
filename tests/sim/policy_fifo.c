/*
 * Two rivals: a queue of 512 in order of arrival, beyond it a 503 without a Retry-After.
 *
 *   fifo    does not notice when a client leaves: what it asked for is served all the same
 *   limits  throws it out of the queue, or stops it
 *
 * Owns the attempts in the queue and at work.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "tests/sim/policy.h"

#define MAX_QUEUED 512

struct place {
    struct list link; /* fifo.queue | .running */
    struct server_job job;
    struct attempt *attempt; /* owned */
    struct fifo *fifo;
};

struct fifo {
    struct policy policy;
    const struct setting *setting;
    struct model_server server;
    struct list queue, running; /* place.link */
    size_t n_queued, n_running;
    bool sees_leave;
};

static struct fifo *fifo_of(struct policy *p)
{
    return CONTAINER_OF(p, struct fifo, policy);
}

static void free_place(struct place *place)
{
    list_remove(&place->link);
    free(place->attempt);
    free(place);
}

static void on_first(struct server_job *job)
{
    struct place *place = CONTAINER_OF(job, struct place, job);

    if (place->attempt->intent) {
        attempt_begun(place->attempt);
    }
}

static void serve(struct fifo *f);

static void on_end(struct server_job *job)
{
    struct place *place = CONTAINER_OF(job, struct place, job);
    struct fifo *f = place->fifo;

    if (place->attempt->intent) {
        attempt_done(place->attempt);
    }
    free_place(place);
    f->n_running--;
    serve(f);
}

static void serve(struct fifo *f)
{
    while (f->n_running < f->server.n_slots && !list_is_empty(&f->queue)) {
        struct place *place = CONTAINER_OF(list_first(&f->queue), struct place, link);

        list_remove(&place->link);
        list_append(&f->running, &place->link);
        f->n_queued--;
        f->n_running++;
        if (place->attempt->intent) {
            attempt_granted(place->attempt);
        }
        place->job.on_first = on_first;
        place->job.on_end = on_end;
        server_job_start(&f->server, &place->job, 0, f->setting->prefill_usec,
                         f->setting->token_usec, place->attempt->n_tokens);
    }
}

static void submit(struct policy *p, struct attempt *a)
{
    struct fifo *f = fifo_of(p);
    struct place *place = calloc(1, sizeof *place);

    if (!place) {
        perror("fifo");
        abort();
    }
    if (f->n_queued >= MAX_QUEUED) {
        attempt_refused(a, &(struct refusal) {.code = ERRCODE_QUEUE_FULL});
        free(a);
        free(place);
        return;
    }
    place->attempt = a;
    place->fifo = f;
    list_append(&f->queue, &place->link);
    f->n_queued++;
    serve(f);
}

static struct place *find(struct list *l, const struct attempt *a)
{
    list_for_each (pos, l) {
        struct place *place = CONTAINER_OF(pos, struct place, link);

        if (place->attempt == a) {
            return place;
        }
    }
    return NULL;
}

static void leave(struct policy *p, struct attempt *a)
{
    struct fifo *f = fifo_of(p);
    struct place *place = f->sees_leave ? find(&f->queue, a) : NULL;

    if (!f->sees_leave) {
        return;
    }
    if (place) {
        f->n_queued--;
    } else {
        place = find(&f->running, a);
        server_job_stop(&place->job);
        f->n_running--;
    }
    free_place(place);
    serve(f);
}

static struct model_server *server(struct policy *p)
{
    return &fifo_of(p)->server;
}

static void drop_all(struct list *l)
{
    list_for_each_safe (pos, l) {
        free_place(CONTAINER_OF(pos, struct place, link));
    }
}

static void fifo_free(struct policy *p)
{
    struct fifo *f = fifo_of(p);

    drop_all(&f->queue);
    list_for_each (l, &f->running) {
        server_job_stop(&CONTAINER_OF(l, struct place, link)->job);
    }
    drop_all(&f->running);
    free(f);
}

struct policy *fifo_new(const struct setting *setting, struct event_heap *heap, bool sees_leave)
{
    static const struct policy_ops fifo = {
        .name = "fifo", .submit = submit, .leave = leave, .server = server, .free = fifo_free};
    static const struct policy_ops limits = {
        .name = "limits", .submit = submit, .leave = leave, .server = server, .free = fifo_free};
    struct fifo *f = calloc(1, sizeof *f);

    if (!f) {
        perror("fifo");
        abort();
    }
    f->policy.ops = sees_leave ? &limits : &fifo;
    f->setting = setting;
    f->sees_leave = sees_leave;
    model_server_init(&f->server, heap, 1);
    list_init(&f->queue);
    list_init(&f->running);
    return &f->policy;
}

struct policy *policy_new(const char *name, const struct setting *setting, struct event_heap *heap)
{
    if (strcmp(name, "sluice") == 0) {
        return sluice_new(setting, heap);
    }
    if (strcmp(name, "fifo") == 0 || strcmp(name, "limits") == 0) {
        return fifo_new(setting, heap, strcmp(name, "limits") == 0);
    }
    return NULL;
}
