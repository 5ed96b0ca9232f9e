/*
 * See http_job.h: the life of one request at a model server.
 *
 *   LOADING ──► SENT ──► READING ──► (over)
 *                │          │
 *                └──► ERROR_BODY (status other than 200: collected, then mapped)
 *                           └──► TRAILING (the answer is told; the connection finishes its last
 *                                bytes)
 *
 *   LOADING   waits for ollama_loader; nothing of this request is on the wire
 *   SENT      the request is out, no head yet: limit first_byte
 *   READING   a head with 200 came: limit gap between bytes (suspended while paused: then the
 *             reader has its own limit)
 *
 * Owns the job: its body, its decoder, its transfer, one timer. A job is over for core with its
 * terminal event; what is left of it (TRAILING) ends by itself within TRAILING_USEC. Nothing is
 * freed inside a transfer's on_bytes: the job notes what is to happen and on_done or the timer does
 * it.
 *
 * Must not: know a dialect's words, retry, choose deployments.
 */
#include "upstream/http_job.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "upstream/http_backend.h"
#include "upstream/ollama_loader.h"
#include "upstream/server_address.h"
#include "upstream/server_state.h"
#include "upstream/transfer.h"

/* an encoded request: the 32 MiB body limit and the growth of escaping */
#define BODY_MAX_BYTES       (96 * 1024 * 1024)
#define ERROR_BODY_MAX_BYTES (16 * 1024)
#define TRAILING_USEC        (1 * USEC_PER_SEC)

enum job_state { JOB_LOADING, JOB_SENT, JOB_READING, JOB_ERROR_BODY, JOB_TRAILING };

struct backend_job {
    struct list link; /* backend.jobs */
    enum job_state state;
    struct http_backend *backend;  /* borrowed: outlives its jobs */
    const struct request *request; /* borrowed; dead in JOB_TRAILING */
    struct event_sink *sink;       /* borrowed; NULL in JOB_TRAILING */
    char *model; /* owned: the upstream's name, where it is not the backend's; or NULL */
    struct load_waiter waiter;
    struct buf body;
    struct transfer *transfer;
    sd_event_source *timer;
    void *decoder;
    bool is_sse;
    bool is_paused;
    int status;
    uint64_t retry_after_usec;
    struct buf error_body;
    uint64_t started_at_usec, last_byte_at_usec;
    uint64_t total_usec, first_byte_usec; /* the order's, else the backend's; total 0: no limit */
    bool has_problem; /* found while decoding: told when the transfer has stopped */
    bool is_broken;   /* the transfer failed while it was resumed: the timer ends the job */
    struct problem problem;
};

static struct backend_job *job_free(struct backend_job *job)
{
    load_waiter_leave(&job->waiter);
    transfer_cancel(job->transfer);
    sd_event_source_disable_unref(job->timer);
    if (job->decoder) {
        job->backend->dialect->decoder_free(job->decoder);
    }
    buf_done(&job->body);
    buf_done(&job->error_body);
    list_remove(&job->link);
    free(job->model);
    free(job);
    return NULL;
}

static const char *model_of(const struct backend_job *job)
{
    return job->model ? job->model : job->backend->model;
}

/* What came of it is news of the model, for who loads it. */
static void tell_loader(struct backend_job *job, bool answered, uint64_t now_usec)
{
    if (job->backend->loader) {
        ollama_loader_saw(job->backend->loader, model_of(job), answered, now_usec);
    }
}

static void tell_failure(struct backend_job *job, const struct problem *p,
                         uint64_t retry_after_usec)
{
    struct event_sink *sink = TAKE(job->sink);
    struct event ev = {
        .type = EVENT_FAILED,
        .at_usec = clock_now_usec(),
        .failed = {.code = p->code,
                   .message = p->text[0] ? str_from(p->text) : STR_NONE,
                   .param = p->param[0] ? str_from(p->param) : STR_NONE,
                   .retry_after_usec = retry_after_usec},
    };

    (void) event_sink_deliver(sink, &ev);
}

/* Ends the job with a failure; from the loop only. */
static void job_fail(struct backend_job *job, const struct problem *p, uint64_t retry_after_usec)
{
    if (p->code != ERRCODE_CONTEXT_LENGTH && p->code != ERRCODE_UPSTREAM_REJECTED) {
        tell_loader(job, false, clock_now_usec());
    }
    tell_failure(job, p, retry_after_usec);
    job_free(job);
}

static void job_fail_with(struct backend_job *job, enum errcode code, const char *what)
{
    struct problem p = {.code = code};

    (void) snprintf(p.text, sizeof p.text, "%s (%s): %s", errcode_info(code)->text,
                    job->backend->id, what);
    job_fail(job, &p, 0);
}

/* The server, not this request: nobody is there, or nobody answers. */
static void job_fail_server(struct backend_job *job, enum errcode code, const char *what)
{
    server_state_failed(job->backend->server, code, what, clock_now_usec());
    job_fail_with(job, code, what);
}

static uint64_t time_limit(const struct backend_job *job)
{
    const struct http_backend *b = job->backend;
    uint64_t limit = USEC_NEVER;

    switch (job->state) {
    case JOB_LOADING:
        break; /* the loader has its own */
    case JOB_SENT:
        limit = usec_add(job->last_byte_at_usec, job->first_byte_usec);
        break;
    case JOB_READING:
    case JOB_ERROR_BODY:
        limit = job->is_paused ? USEC_NEVER : usec_add(job->last_byte_at_usec, b->gap_usec);
        break;
    case JOB_TRAILING:
        return usec_add(job->last_byte_at_usec, TRAILING_USEC);
    }

    uint64_t total =
        job->total_usec > 0 ? usec_add(job->started_at_usec, job->total_usec) : USEC_NEVER;

    return limit < total ? limit : total;
}

/* The timer is armed when a limit begins and looks again when it fires: not once per chunk. */
static void arm_timer(struct backend_job *job)
{
    (void) sd_event_source_set_time(job->timer, time_limit(job));
    (void) sd_event_source_set_enabled(job->timer, SD_EVENT_ONESHOT);
}

static void job_time_out(struct backend_job *job)
{
    if (job->total_usec > 0 &&
        clock_now_usec() >= usec_add(job->started_at_usec, job->total_usec)) {
        job_fail_with(job, ERRCODE_UPSTREAM_TIMEOUT, "no whole answer within its timeout");
    } else if (job->state == JOB_READING || job->state == JOB_ERROR_BODY) {
        job_fail_with(job, ERRCODE_UPSTREAM_STALLED, "no byte within the gap limit");
    } else {
        job_fail_server(job, ERRCODE_UPSTREAM_TIMEOUT, "no answer within the first-byte limit");
    }
}

static bool is_sse(struct str content_type)
{
    return content_type.len >= 17 &&
           str_is_nocase((struct str) {content_type.ptr, 17}, "text/event-stream");
}

static void on_head(void *ctx, const struct transfer_head *head)
{
    struct backend_job *job = ctx;

    job->status = head->status;
    job->retry_after_usec = head->retry_after_usec;
    job->is_sse = is_sse(head->content_type);
    job->state = head->status == 200 ? JOB_READING : JOB_ERROR_BODY;
    job->last_byte_at_usec = clock_now_usec();
    server_state_answered(job->backend->server, job->last_byte_at_usec);
    arm_timer(job);
}

/*
 * The terminal event is out: the request and the sink are core's again. The rest of the answer may
 * still arrive.
 */
static void become_trailing(struct backend_job *job)
{
    job->state = JOB_TRAILING;
    job->sink = NULL;
    job->request = NULL;
    job->is_paused = false;
    tell_loader(job, true, job->last_byte_at_usec);
    arm_timer(job);
}

static enum transfer_answer read_bytes(struct backend_job *job, struct str bytes)
{
    const struct http_dialect *d = job->backend->dialect;
    bool full = false;
    int r = d->decoder_feed(job->decoder, bytes, job->is_sse, job->last_byte_at_usec, &full,
                            &job->problem);

    if (r < 0) {
        job->has_problem = true;
        if (r != -EBADMSG) {
            job->problem = (struct problem) {.code = ERRCODE_OUT_OF_MEMORY};
        }
        return TRANSFER_STOP;
    }
    if (d->decoder_is_over(job->decoder)) {
        become_trailing(job);
        return TRANSFER_ROOM;
    }
    return job->is_paused ? TRANSFER_FULL : TRANSFER_ROOM;
}

static enum transfer_answer on_bytes(void *ctx, struct str bytes)
{
    struct backend_job *job = ctx;
    size_t room;

    job->last_byte_at_usec = clock_now_usec();
    switch (job->state) {
    case JOB_LOADING:
    case JOB_SENT:
        assert(0);
        break;
    case JOB_READING:
        return read_bytes(job, bytes);
    case JOB_ERROR_BODY:
        room = buf_room(&job->error_body);
        if (buf_append(&job->error_body, bytes.ptr, bytes.len < room ? bytes.len : room) < 0) {
            buf_clear(&job->error_body); /* the status alone must do */
        }
        return buf_room(&job->error_body) > 0 ? TRANSFER_ROOM : TRANSFER_STOP;
    case JOB_TRAILING:
        break;
    }
    return TRANSFER_ROOM;
}

static void fail_with_status(struct backend_job *job)
{
    struct problem p = {.code = ERRCODE_UPSTREAM_ERROR};

    job->backend->dialect->map_error(job->status, buf_str(&job->error_body), &p);
    job_fail(job, &p, job->retry_after_usec);
}

static void end_of_answer(struct backend_job *job)
{
    struct problem p = {.code = ERRCODE_UPSTREAM_CUT};
    uint64_t now = clock_now_usec();
    int r = job->backend->dialect->decoder_end(job->decoder, now, &p);

    if (r < 0) {
        job_fail(job, &p, 0);
        return;
    }
    tell_loader(job, true, now);
    job_free(job); /* the decoder has told the end */
}

static void on_done(void *ctx, enum transfer_result result, const char *text)
{
    struct backend_job *job = ctx;

    job->transfer = NULL;
    if (result == TRANSFER_CUT) {
        server_state_renew(job->backend->server); /* as a server that is stopped does */
    }
    if (job->state == JOB_TRAILING) {
        job_free(job);
        return;
    }
    if (job->has_problem) {
        job_fail(job, &job->problem, 0);
        return;
    }
    switch (result) {
    case TRANSFER_COMPLETE:
        if (job->state == JOB_ERROR_BODY) {
            fail_with_status(job);
        } else {
            end_of_answer(job);
        }
        break;
    case TRANSFER_STOPPED:
    case TRANSFER_CUT:
        if (job->state == JOB_ERROR_BODY) {
            fail_with_status(job); /* the status came, the text is cut */
        } else {
            job_fail_with(job, ERRCODE_UPSTREAM_CUT, text);
        }
        break;
    case TRANSFER_REFUSED:
        job_fail_server(job, ERRCODE_UPSTREAM_UNREACHABLE, text);
        break;
    case TRANSFER_UNTRUSTED:
        job_fail_server(job, ERRCODE_UPSTREAM_UNTRUSTED, text);
        break;
    case TRANSFER_CONNECT_TIMEOUT:
        job_fail_server(job, ERRCODE_UPSTREAM_TIMEOUT, text);
        break;
    case TRANSFER_GARBAGE:
        job_fail_with(job, ERRCODE_UPSTREAM_GARBAGE, text);
        break;
    }
}

static int on_timer(sd_event_source *s, uint64_t usec, void *ctx)
{
    struct backend_job *job = ctx;

    if (job->is_broken) {
        job->transfer = transfer_cancel(job->transfer);
        on_done(job, TRANSFER_STOPPED, "what was held back cannot be read");
    } else if (clock_now_usec() < time_limit(job)) {
        arm_timer(job);
    } else if (job->state == JOB_TRAILING) {
        job_free(job);
    } else {
        job_time_out(job);
    }
    return 0;
}

static int send_request(struct backend_job *job, uint64_t now_usec)
{
    static const struct transfer_callbacks callbacks = {on_head, on_bytes, on_done};
    struct http_backend *b = job->backend;
    const struct server_address *address = server_state_address(b->server);
    char *url = server_address_url(address, b->dialect->path(job->request->kind));
    struct transfer_spec spec = {
        .url = url,
        .unix_path = address->unix_path,
        .access = &b->access,
        .body = buf_str(&job->body),
        .accept = b->dialect->accept,
        .is_local = address->is_local,
        .connect_usec = b->connect_usec,
    };
    int r = url ? transfer_start(b->up->curl, &spec, &callbacks, job, &job->transfer) : -ENOMEM;

    free(url);
    if (r < 0) {
        return r;
    }
    job->state = JOB_SENT;
    job->last_byte_at_usec = now_usec;
    arm_timer(job);
    return 0;
}

static void on_loaded(struct load_waiter *w, const struct problem *problem,
                      uint64_t retry_after_usec)
{
    struct backend_job *job = CONTAINER_OF(w, struct backend_job, waiter);

    if (problem) {
        tell_failure(job, problem, retry_after_usec);
        job_free(job);
    } else if (send_request(job, clock_now_usec()) < 0) {
        job_fail(job, &(struct problem) {.code = ERRCODE_OUT_OF_MEMORY}, 0);
    }
}

/* 1: loaded already; 0: the job waits; -errno. */
static int want_model(struct backend_job *job, uint64_t now_usec)
{
    struct http_backend *b = job->backend;
    struct buf own;
    int r = 0;

    if (!b->loader) {
        return 1;
    }
    buf_init(&own, HTTP_LOAD_BODY_MAX_BYTES);
    if (job->model) {
        r = b->dialect->encode_load(b, job->model, &own);
    }

    struct load_spec spec = {
        .model = model_of(job),
        .path = b->dialect->load_path(job->request->kind),
        .access = &b->access,
        .body = job->model ? buf_str(&own) : buf_str(&b->load_body),
        .connect_usec = b->connect_usec,
        .answer_usec = b->first_byte_usec,
    };

    r = r < 0 ? r : ollama_loader_want(b->loader, &spec, &job->waiter, now_usec);
    buf_done(&own);
    return r;
}

static int job_new(struct http_backend *b, const struct backend_order *order,
                   struct event_sink *sink, uint64_t now_usec, struct backend_job **ret)
{
    struct backend_job *job = calloc(1, sizeof *job);
    int r;

    if (!job) {
        return -ENOMEM;
    }
    *job = (struct backend_job) {
        .state = JOB_LOADING,
        .backend = b,
        .request = order->request,
        .sink = sink,
        .waiter = {.on_loaded = on_loaded},
        .started_at_usec = now_usec,
        .last_byte_at_usec = now_usec,
        .total_usec = order->total_usec > 0 ? order->total_usec : b->total_usec,
        .first_byte_usec = order->first_byte_usec > 0 ? order->first_byte_usec : b->first_byte_usec,
    };
    list_append(&b->jobs, &job->link);
    list_init(&job->waiter.link);
    buf_init(&job->body, BODY_MAX_BYTES);
    buf_init(&job->error_body, ERROR_BODY_MAX_BYTES);
    job->model = order->model ? strdup(order->model) : NULL;
    job->decoder = b->dialect->decoder_new(order->request, sink);
    r = job->decoder && !(order->model && !job->model)
            ? sd_event_add_time(b->up->event, &job->timer, CLOCK_MONOTONIC, USEC_NEVER, 1, on_timer,
                                job)
            : -ENOMEM;
    if (r < 0) {
        job_free(job);
        return r;
    }
    arm_timer(job);
    *ret = job;
    return 0;
}

int http_job_start(struct backend *backend, const struct backend_order *order,
                   struct event_sink *sink, uint64_t now_usec, struct backend_job **ret_job)
{
    struct http_backend *b = CONTAINER_OF(backend, struct http_backend, backend);
    struct problem p = {.code = ERRCODE_INVALID_REQUEST};
    struct backend_job *job;
    int r;

    r = job_new(b, order, sink, now_usec, &job);
    if (r < 0) {
        return r;
    }
    r = b->dialect->encode(b, order, &job->body, &p);
    if (r == -EBADMSG) {
        tell_failure(job, &p, 0);
        job_free(job);
        *ret_job = NULL;
        return 0;
    }
    if (r == 0) {
        json_cut_apply(&b->cut, &job->body);
        r = want_model(job, now_usec);
    }
    if (r == 1) {
        r = send_request(job, now_usec);
    }
    if (r < 0) {
        job_free(job);
        return r;
    }
    *ret_job = job;
    return 0;
}

void http_job_pause(struct backend_job *job)
{
    job->is_paused = true;
}

void http_job_resume(struct backend_job *job, uint64_t now_usec)
{
    if (!job->is_paused) {
        return;
    }
    job->is_paused = false;
    job->last_byte_at_usec = now_usec;
    arm_timer(job);
    if (job->transfer && !transfer_resume(job->transfer)) {
        job->is_broken = true;
        (void) sd_event_source_set_time(job->timer, 0);
        (void) sd_event_source_set_enabled(job->timer, SD_EVENT_ONESHOT);
    }
}

void http_job_cancel(struct backend_job *job)
{
    job_free(job);
}

void http_jobs_end(struct list *jobs)
{
    list_for_each_safe (l, jobs) {
        struct backend_job *job = CONTAINER_OF(l, struct backend_job, link);

        assert(job->state == JOB_TRAILING);
        job_free(job);
    }
}
