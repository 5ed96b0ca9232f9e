#pragma once
/*
 * One request at a model server that speaks HTTP: loads the model if needed, sends, decodes, and
 * watches the clock. What is sent and what came back is the dialect's; a job only runs it.
 *
 * start, pause, resume and cancel are members of backend_ops (core/ports.h has the contracts).
 * The backend is one of http_backend.h.
 */
#include <stdint.h>

#include "base/list.h"
#include "base/macros.h"
#include "core/ports.h"

int http_job_start(struct backend *backend, const struct backend_order *order,
                   struct event_sink *sink, uint64_t now_usec,
                   struct backend_job **ret_job) MUST_USE;
void http_job_pause(struct backend_job *job);
void http_job_resume(struct backend_job *job, uint64_t now_usec);
void http_job_cancel(struct backend_job *job);

/*
 * Ends what is left of http_backend.jobs: only jobs whose terminal event is out, whose connections
 * were finishing their last bytes.
 */
void http_jobs_end(struct list *jobs);
