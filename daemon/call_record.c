/*
 * See call_record.h. The field names are part of the interface (docs/ARCHITECTURE.md): log tools
 * and `sluicectl log` rely on them.
 */
#include "call_record.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log_fields.h"
#include "messages.h"

#define NAME_SHOWN_MAX 100 /* bytes of the model name in the message; the field has all */

static void add_caller(struct log_fields *f, const struct caller *caller)
{
    if (caller->has_uid) {
        log_fields_add_number(f, "SLUICE_UID", caller->uid);
        log_fields_add_number(f, "SLUICE_PID", (uint64_t) caller->pid);
    }
    if (caller->key_id[0]) {
        log_fields_add(f, "SLUICE_KEY_ID", str_from(caller->key_id));
    }
    log_fields_add(f, "SLUICE_FRONTEND", str_from(caller->frontend));
}

static void add_times(struct log_fields *f, const struct call *call)
{
    uint64_t until = call->granted_at_usec != 0 ? call->granted_at_usec : call->ended_at_usec;

    log_fields_add_number(f, "SLUICE_QUEUE_USEC", usec_since(until, call->arrived_at_usec));
    if (call->first_token_at_usec != 0) {
        log_fields_add_number(f, "SLUICE_TTFT_USEC",
                              usec_since(call->first_token_at_usec, call->arrived_at_usec));
    }
    log_fields_add_number(f, "SLUICE_TOTAL_USEC",
                          usec_since(call->ended_at_usec, call->arrived_at_usec));
}

static const char *outcome_of(const struct call *call)
{
    return call->outcome == ERRCODE_NONE ? "completed" : errcode_info(call->outcome)->openai_code;
}

/* The error's own, where it has one; SLUICE_EVENT is the same for all. */
static const char *message_id_of(const struct call *call)
{
    const char *id = call->outcome == ERRCODE_NONE ? "" : errcode_info(call->outcome)->message_id;

    return id[0] ? id : message_info(MESSAGE_CALL)->message_id;
}

void call_record_write(const struct call *call)
{
    const struct request *req = call->request;
    struct str model = str_clip(req->model, NAME_SHOWN_MAX);
    struct log_fields f;
    char message[256];
    int n;

    if (!log_is_enabled(LOG_LEVEL_INFO)) {
        return;
    }
    log_fields_init(&f);
    log_fields_add(&f, "SLUICE_EVENT", str_from(message_info(MESSAGE_CALL)->event));
    log_fields_add(&f, "SLUICE_REQUEST_ID", str_from(req->id));
    log_fields_add(&f, "SLUICE_KIND", str_from(request_kind_name(req->kind)));
    log_fields_add(&f, "SLUICE_MODEL", req->model);
    if (call->deployment_id[0]) {
        log_fields_add(&f, "SLUICE_DEPLOYMENT", str_from(call->deployment_id));
        log_fields_add(&f, "SLUICE_PROVIDER", str_from(call->provider));
    }
    log_fields_add(&f, "SLUICE_CLASS", str_from(call_class_name(req->class)));
    add_caller(&f, &req->caller);
    log_fields_add(&f, "SLUICE_OUTCOME", str_from(outcome_of(call)));
    add_times(&f, call);
    log_fields_add_number(&f, "SLUICE_ATTEMPTS", call->attempts.n);
    log_fields_add_number(&f, "SLUICE_FALLBACKS", call->attempts.n_fallbacks);
    if (call->spilled != SPILL_NONE) {
        log_fields_add(&f, "SLUICE_SPILLED", str_from(spill_reason_name(call->spilled)));
    }
    log_fields_add_number(&f, "SLUICE_BYTES_IN", req->total_bytes);
    log_fields_add_number(&f, "SLUICE_TOKENS_IN", call->usage.tokens_in);
    log_fields_add_number(&f, "SLUICE_TOKENS_OUT", call->usage.tokens_out);
    n = snprintf(message, sizeof message, "%s %.*s: %s", request_kind_name(req->kind),
                 STR_ARG(model), outcome_of(call));
    log_record(LOG_LEVEL_INFO, message_id_of(call), (struct str) {message, (size_t) n}, f.items,
               f.n);
}
