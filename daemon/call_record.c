/*
 * See call_record.h. The field names are part of the interface (docs/ARCHITECTURE.md): log tools
 * and `sluicectl log` rely on them.
 */
#include "call_record.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"

#define NUMBER_MAX     24
#define NAME_SHOWN_MAX 100 /* bytes of the model name in the message; the field has all */

struct record {
    struct log_field fields[LOG_MAX_FIELDS];
    char numbers[LOG_MAX_FIELDS][NUMBER_MAX];
    size_t n;
};

static void add(struct record *r, const char *name, struct str value)
{
    r->fields[r->n++] = (struct log_field) {name, value};
}

static void add_number(struct record *r, const char *name, uint64_t value)
{
    char *text = r->numbers[r->n];
    int n = snprintf(text, NUMBER_MAX, "%llu", (unsigned long long) value);

    add(r, name, (struct str) {text, (size_t) n});
}

static void add_caller(struct record *r, const struct caller *caller)
{
    if (caller->has_uid) {
        add_number(r, "SLUICE_UID", caller->uid);
        add_number(r, "SLUICE_PID", (uint64_t) caller->pid);
    }
    add(r, "SLUICE_FRONTEND", str_from(caller->frontend));
}

static void add_times(struct record *r, const struct call *call)
{
    uint64_t until = call->granted_at_usec != 0 ? call->granted_at_usec : call->ended_at_usec;

    add_number(r, "SLUICE_QUEUE_USEC", usec_since(until, call->arrived_at_usec));
    if (call->first_token_at_usec != 0) {
        add_number(r, "SLUICE_TTFT_USEC",
                   usec_since(call->first_token_at_usec, call->arrived_at_usec));
    }
    add_number(r, "SLUICE_TOTAL_USEC", usec_since(call->ended_at_usec, call->arrived_at_usec));
}

static const char *outcome_of(const struct call *call)
{
    return call->outcome == ERRCODE_NONE ? "completed" : errcode_info(call->outcome)->openai_code;
}

void call_record_write(const struct call *call)
{
    const struct request *req = call->request;
    struct str model = str_clip(req->model, NAME_SHOWN_MAX);
    struct record r = {.n = 0};
    char message[256];
    int n;

    if (!log_is_enabled(LOG_LEVEL_INFO)) {
        return;
    }
    add(&r, "SLUICE_REQUEST_ID", str_from(req->id));
    add(&r, "SLUICE_KIND", str_from(request_kind_name(req->kind)));
    add(&r, "SLUICE_MODEL", req->model);
    if (call->deployment_id[0]) {
        add(&r, "SLUICE_DEPLOYMENT", str_from(call->deployment_id));
        add(&r, "SLUICE_PROVIDER", str_from(call->provider));
    }
    add(&r, "SLUICE_CLASS", str_from(call_class_name(req->class)));
    add_caller(&r, &req->caller);
    add(&r, "SLUICE_OUTCOME", str_from(outcome_of(call)));
    add_times(&r, call);
    add_number(&r, "SLUICE_BYTES_IN", req->total_bytes);
    add_number(&r, "SLUICE_TOKENS_IN", call->usage.tokens_in);
    add_number(&r, "SLUICE_TOKENS_OUT", call->usage.tokens_out);
    n = snprintf(message, sizeof message, "%s %.*s: %s", request_kind_name(req->kind),
                 STR_ARG(model), outcome_of(call));
    log_record(LOG_LEVEL_INFO,
               call->outcome == ERRCODE_NONE ? NULL : errcode_info(call->outcome)->message_id,
               (struct str) {message, (size_t) n}, r.fields, r.n);
}
