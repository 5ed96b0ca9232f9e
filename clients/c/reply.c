/*
 * Replies of the calls that answer once, and the states of a watch. One table says where each field of sluice.h lies in which
 * message, so that a new field is a row here and a constant there, and the library's interface
 * stays as it is.
 */
#include <stddef.h>

#include "call.h"
#include "macros.h"
#include "sluice.pb-c.h"

enum part { PART_TOP, PART_LIMITS, PART_ROW, PART_CLASS, PART_CALLER };
enum form { FORM_U32, FORM_U64, FORM_BOOL, FORM_TEXT };

static const struct place {
    enum sluice_field field;
    enum request_kind kind;
    enum part part;
    enum form form;
    size_t offset;
} places[] = {
#define INFO(m)       offsetof(Sluice__V1__GetInfoResponse, m)
#define LIMIT(m)      offsetof(Sluice__V1__Limits, m)
#define MODEL(m)      offsetof(Sluice__V1__Model, m)
#define STATUS(m)     offsetof(Sluice__V1__StatusResponse, m)
#define DEPLOYMENT(m) offsetof(Sluice__V1__DeploymentStatus, m)
#define CLASS(m)      offsetof(Sluice__V1__ClassStatus, m)
#define CALLER(m)     offsetof(Sluice__V1__CallerStatus, m)
    {SLUICE_FIELD_VERSION, REQUEST_INFO, PART_TOP, FORM_TEXT, INFO(version)},
    {SLUICE_FIELD_API_LEVEL, REQUEST_INFO, PART_TOP, FORM_U32, INFO(api_level)},
    {SLUICE_FIELD_MAX_FRAME_BYTES, REQUEST_INFO, PART_LIMITS, FORM_U64, LIMIT(frame_bytes)},
    {SLUICE_FIELD_MAX_CALLS, REQUEST_INFO, PART_LIMITS, FORM_U32, LIMIT(calls_per_connection)},
    {SLUICE_FIELD_MAX_MESSAGES, REQUEST_INFO, PART_LIMITS, FORM_U32, LIMIT(messages)},
    {SLUICE_FIELD_MAX_INPUTS, REQUEST_INFO, PART_LIMITS, FORM_U32, LIMIT(inputs)},
    {SLUICE_FIELD_HIGH_WATER_BYTES, REQUEST_INFO, PART_LIMITS, FORM_U64,
     LIMIT(output_high_water_bytes)},
    {SLUICE_FIELD_STALLED_READER_USEC, REQUEST_INFO, PART_LIMITS, FORM_U64,
     LIMIT(stalled_reader_usec)},
    {SLUICE_FIELD_FEATURE, REQUEST_INFO, PART_ROW, FORM_TEXT, 0},

    {SLUICE_FIELD_FOUND, REQUEST_CANCEL, PART_TOP, FORM_BOOL,
     offsetof(Sluice__V1__CancelResponse, found)},

    {SLUICE_FIELD_CONFIG_GENERATION, REQUEST_RELOAD, PART_TOP, FORM_U64,
     offsetof(Sluice__V1__ReloadResponse, config_generation)},
    {SLUICE_FIELD_MODELS, REQUEST_RELOAD, PART_TOP, FORM_U32,
     offsetof(Sluice__V1__ReloadResponse, models)},
    {SLUICE_FIELD_CALLS_RUNNING, REQUEST_DRAIN, PART_TOP, FORM_U32,
     offsetof(Sluice__V1__DrainResponse, calls_running)},
    {SLUICE_FIELD_UNLOADED, REQUEST_UNLOAD, PART_TOP, FORM_U32,
     offsetof(Sluice__V1__UnloadResponse, unloaded)},
    {SLUICE_FIELD_UNCHANGED, REQUEST_UNLOAD, PART_TOP, FORM_U32,
     offsetof(Sluice__V1__UnloadResponse, unchanged)},

    {SLUICE_FIELD_WAS_THERE, REQUEST_LOAD, PART_TOP, FORM_BOOL,
     offsetof(Sluice__V1__LoadResponse, was_there)},
    {SLUICE_FIELD_LOAD_USEC, REQUEST_LOAD, PART_TOP, FORM_U64,
     offsetof(Sluice__V1__LoadResponse, load_usec)},
    {SLUICE_FIELD_NEED_BYTES, REQUEST_LOAD, PART_TOP, FORM_U64,
     offsetof(Sluice__V1__LoadResponse, need_bytes)},

    {SLUICE_FIELD_TEXT, REQUEST_EXPLAIN, PART_TOP, FORM_TEXT,
     offsetof(Sluice__V1__ExplainResponse, text)},
    {SLUICE_FIELD_VERDICT, REQUEST_EXPLAIN, PART_TOP, FORM_TEXT,
     offsetof(Sluice__V1__ExplainResponse, verdict)},
    {SLUICE_FIELD_CODE, REQUEST_EXPLAIN, PART_TOP, FORM_TEXT,
     offsetof(Sluice__V1__ExplainResponse, code)},
    {SLUICE_FIELD_WAIT_USEC, REQUEST_EXPLAIN, PART_TOP, FORM_U64,
     offsetof(Sluice__V1__ExplainResponse, wait_usec)},
    {SLUICE_FIELD_POSITION, REQUEST_EXPLAIN, PART_TOP, FORM_U32,
     offsetof(Sluice__V1__ExplainResponse, position)},

    {SLUICE_FIELD_MODEL, REQUEST_MODELS, PART_ROW, FORM_TEXT, MODEL(name)},
    {SLUICE_FIELD_PROVIDER, REQUEST_MODELS, PART_ROW, FORM_TEXT, MODEL(provider)},
    {SLUICE_FIELD_DEPLOYMENTS, REQUEST_MODELS, PART_ROW, FORM_U32, MODEL(deployments)},
    {SLUICE_FIELD_AVAILABLE_DEPLOYMENTS, REQUEST_MODELS, PART_ROW, FORM_U32,
     MODEL(available_deployments)},
    {SLUICE_FIELD_MEMORY_STATE, REQUEST_MODELS, PART_ROW, FORM_TEXT, MODEL(memory_state)},
    {SLUICE_FIELD_NEED_BYTES, REQUEST_MODELS, PART_ROW, FORM_U64, MODEL(need_bytes)},
    {SLUICE_FIELD_NEED_SOURCE, REQUEST_MODELS, PART_ROW, FORM_TEXT, MODEL(need_source)},
    {SLUICE_FIELD_FITS, REQUEST_MODELS, PART_ROW, FORM_TEXT, MODEL(fits)},
    {SLUICE_FIELD_FILE_BYTES, REQUEST_MODELS, PART_ROW, FORM_U64, MODEL(file_bytes)},
    {SLUICE_FIELD_HELD_BYTES, REQUEST_MODELS, PART_ROW, FORM_U64, MODEL(held_bytes)},
    {SLUICE_FIELD_UPSTREAM_MODEL, REQUEST_MODELS, PART_ROW, FORM_TEXT, MODEL(upstream_model)},
    {SLUICE_FIELD_API_BASE, REQUEST_MODELS, PART_ROW, FORM_TEXT, MODEL(api_base)},

    {SLUICE_FIELD_MODEL, REQUEST_STATUS, PART_ROW, FORM_TEXT, DEPLOYMENT(model)},
    {SLUICE_FIELD_PROVIDER, REQUEST_STATUS, PART_ROW, FORM_TEXT, DEPLOYMENT(provider)},
    {SLUICE_FIELD_DEPLOYMENT, REQUEST_STATUS, PART_ROW, FORM_TEXT, DEPLOYMENT(id)},
    {SLUICE_FIELD_SLOTS, REQUEST_STATUS, PART_ROW, FORM_U32, DEPLOYMENT(slots)},
    {SLUICE_FIELD_SLOTS_IN_USE, REQUEST_STATUS, PART_ROW, FORM_U32, DEPLOYMENT(slots_in_use)},
    {SLUICE_FIELD_AVAILABLE, REQUEST_STATUS, PART_ROW, FORM_BOOL, DEPLOYMENT(available)},
    {SLUICE_FIELD_UNAVAILABLE_REASON, REQUEST_STATUS, PART_ROW, FORM_TEXT,
     DEPLOYMENT(unavailable_reason)},
    {SLUICE_FIELD_UPSTREAM_MODEL, REQUEST_STATUS, PART_ROW, FORM_TEXT, DEPLOYMENT(upstream_model)},
    {SLUICE_FIELD_API_BASE, REQUEST_STATUS, PART_ROW, FORM_TEXT, DEPLOYMENT(api_base)},
    {SLUICE_FIELD_LOADED, REQUEST_STATUS, PART_ROW, FORM_BOOL, DEPLOYMENT(loaded)},
    {SLUICE_FIELD_IDLE_USEC, REQUEST_STATUS, PART_ROW, FORM_U64, DEPLOYMENT(idle_usec)},
    {SLUICE_FIELD_SERVER_VERSION, REQUEST_STATUS, PART_ROW, FORM_TEXT, DEPLOYMENT(server_version)},
    {SLUICE_FIELD_ORDER, REQUEST_STATUS, PART_ROW, FORM_U32, DEPLOYMENT(order)},
    {SLUICE_FIELD_WEIGHT_PERMILLE, REQUEST_STATUS, PART_ROW, FORM_U64, DEPLOYMENT(weight_permille)},
    {SLUICE_FIELD_TAGS, REQUEST_STATUS, PART_ROW, FORM_TEXT, DEPLOYMENT(tags)},
    {SLUICE_FIELD_LOCAL_ONLY, REQUEST_STATUS, PART_ROW, FORM_BOOL, DEPLOYMENT(local_only)},
    {SLUICE_FIELD_PAUSED_USEC, REQUEST_STATUS, PART_ROW, FORM_U64, DEPLOYMENT(paused_usec)},
    {SLUICE_FIELD_ALIASES, REQUEST_STATUS, PART_ROW, FORM_TEXT, DEPLOYMENT(aliases)},
    {SLUICE_FIELD_MEMORY_STATE, REQUEST_STATUS, PART_ROW, FORM_TEXT, DEPLOYMENT(memory_state)},
    {SLUICE_FIELD_NEED_BYTES, REQUEST_STATUS, PART_ROW, FORM_U64, DEPLOYMENT(need_bytes)},
    {SLUICE_FIELD_NEED_SOURCE, REQUEST_STATUS, PART_ROW, FORM_TEXT, DEPLOYMENT(need_source)},
    {SLUICE_FIELD_FITS, REQUEST_STATUS, PART_ROW, FORM_TEXT, DEPLOYMENT(fits)},
    {SLUICE_FIELD_FILE_BYTES, REQUEST_STATUS, PART_ROW, FORM_U64, DEPLOYMENT(file_bytes)},
    {SLUICE_FIELD_HELD_BYTES, REQUEST_STATUS, PART_ROW, FORM_U64, DEPLOYMENT(held_bytes)},

    {SLUICE_FIELD_VERSION, REQUEST_STATUS, PART_TOP, FORM_TEXT, STATUS(version)},
    {SLUICE_FIELD_UPTIME_USEC, REQUEST_STATUS, PART_TOP, FORM_U64, STATUS(uptime_usec)},
    {SLUICE_FIELD_PRESSURE_LEVEL, REQUEST_STATUS, PART_TOP, FORM_U32, STATUS(pressure_level)},
    {SLUICE_FIELD_PRESSURE_SOURCE, REQUEST_STATUS, PART_TOP, FORM_TEXT, STATUS(pressure_source)},
    {SLUICE_FIELD_PRESSURE_SOME_PERMILLE, REQUEST_STATUS, PART_TOP, FORM_U64,
     STATUS(pressure_some_permille)},
    {SLUICE_FIELD_PRESSURE_FULL_PERMILLE, REQUEST_STATUS, PART_TOP, FORM_U64,
     STATUS(pressure_full_permille)},
    {SLUICE_FIELD_PRESSURE_REASON, REQUEST_STATUS, PART_TOP, FORM_TEXT, STATUS(pressure_reason)},
    {SLUICE_FIELD_HEADROOM_BYTES, REQUEST_STATUS, PART_TOP, FORM_U64, STATUS(headroom_bytes)},
    {SLUICE_FIELD_MEMORY_BYTES, REQUEST_STATUS, PART_TOP, FORM_U64, STATUS(memory_bytes)},
    {SLUICE_FIELD_DRAINING, REQUEST_STATUS, PART_TOP, FORM_BOOL, STATUS(draining)},
    {SLUICE_FIELD_CONFIG_GENERATION, REQUEST_STATUS, PART_TOP, FORM_U64, STATUS(config_generation)},
    {SLUICE_FIELD_CONNECTIONS, REQUEST_STATUS, PART_TOP, FORM_U32, STATUS(connections)},
    {SLUICE_FIELD_CALLS_QUEUED, REQUEST_STATUS, PART_TOP, FORM_U32, STATUS(calls_queued)},
    {SLUICE_FIELD_CALLS_RUNNING, REQUEST_STATUS, PART_TOP, FORM_U32, STATUS(calls_running)},
    {SLUICE_FIELD_CALLS_COMPLETED, REQUEST_STATUS, PART_TOP, FORM_U64, STATUS(calls_completed)},
    {SLUICE_FIELD_CALLS_FAILED, REQUEST_STATUS, PART_TOP, FORM_U64, STATUS(calls_failed)},
    {SLUICE_FIELD_CALLS_CANCELLED, REQUEST_STATUS, PART_TOP, FORM_U64, STATUS(calls_cancelled)},
    {SLUICE_FIELD_CALLS_REFUSED, REQUEST_STATUS, PART_TOP, FORM_U64, STATUS(calls_refused)},
    {SLUICE_FIELD_TICKETS, REQUEST_STATUS, PART_TOP, FORM_U32, STATUS(tickets)},
    {SLUICE_FIELD_TOKENS_IN, REQUEST_STATUS, PART_TOP, FORM_U64, STATUS(tokens_in)},
    {SLUICE_FIELD_TOKENS_OUT, REQUEST_STATUS, PART_TOP, FORM_U64, STATUS(tokens_out)},
    {SLUICE_FIELD_PIECES_OUT, REQUEST_STATUS, PART_TOP, FORM_U64, STATUS(pieces_out)},
    {SLUICE_FIELD_RESERVATIONS, REQUEST_STATUS, PART_TOP, FORM_U32, STATUS(reservations)},
    {SLUICE_FIELD_RESERVED_BYTES, REQUEST_STATUS, PART_TOP, FORM_U64, STATUS(reserved_bytes)},
    {SLUICE_FIELD_MODEL_LOADS, REQUEST_STATUS, PART_TOP, FORM_U64, STATUS(model_loads)},
    {SLUICE_FIELD_MODEL_UNLOADS, REQUEST_STATUS, PART_TOP, FORM_U64, STATUS(model_unloads)},
    {SLUICE_FIELD_LOADS_STOPPED, REQUEST_STATUS, PART_TOP, FORM_U64, STATUS(loads_stopped)},
    {SLUICE_FIELD_UNLOADS_STUCK, REQUEST_STATUS, PART_TOP, FORM_U64, STATUS(unloads_stuck)},
    {SLUICE_FIELD_QUARANTINES, REQUEST_STATUS, PART_TOP, FORM_U64, STATUS(quarantines)},
    {SLUICE_FIELD_CALLS_SPILLED_LEVEL, REQUEST_STATUS, PART_TOP, FORM_U64,
     STATUS(calls_spilled_level)},
    {SLUICE_FIELD_CALLS_SPILLED_WAIT, REQUEST_STATUS, PART_TOP, FORM_U64,
     STATUS(calls_spilled_wait)},
    {SLUICE_FIELD_CALLS_SPILLED_ROOM, REQUEST_STATUS, PART_TOP, FORM_U64,
     STATUS(calls_spilled_room)},

    {SLUICE_FIELD_NAME, REQUEST_STATUS, PART_CLASS, FORM_TEXT, CLASS(name)},
    {SLUICE_FIELD_ROW_QUEUED, REQUEST_STATUS, PART_CLASS, FORM_U32, CLASS(calls_queued)},
    {SLUICE_FIELD_ROW_RUNNING, REQUEST_STATUS, PART_CLASS, FORM_U32, CLASS(calls_running)},
    {SLUICE_FIELD_OLDEST_USEC, REQUEST_STATUS, PART_CLASS, FORM_U64, CLASS(oldest_usec)},
    {SLUICE_FIELD_NAME, REQUEST_STATUS, PART_CALLER, FORM_TEXT, CALLER(name)},
    {SLUICE_FIELD_ROW_QUEUED, REQUEST_STATUS, PART_CALLER, FORM_U32, CALLER(calls_queued)},
    {SLUICE_FIELD_ROW_RUNNING, REQUEST_STATUS, PART_CALLER, FORM_U32, CALLER(calls_running)},
    {SLUICE_FIELD_WEIGHT, REQUEST_STATUS, PART_CALLER, FORM_U32, CALLER(weight)},
    {SLUICE_FIELD_IDLE_USEC, REQUEST_STATUS, PART_CALLER, FORM_U64, CALLER(idle_usec)},
#undef INFO
#undef LIMIT
#undef MODEL
#undef STATUS
#undef DEPLOYMENT
#undef CLASS
#undef CALLER
};

/* Is the current event one with fields? */
static bool has_fields(const sluice_call *call)
{
    return call->event == SLUICE_EVENT_REPLY || call->event == SLUICE_EVENT_STATUS;
}

/* The part whose rows are read now. */
static enum part row_part(const sluice_call *call)
{
    return call->rows == SLUICE_ROWS_CLASSES   ? PART_CLASS
           : call->rows == SLUICE_ROWS_CALLERS ? PART_CALLER
                                               : PART_ROW;
}

static bool is_of_row(const sluice_call *call, enum part part, bool is_row)
{
    return is_row ? part == row_part(call) : part == PART_TOP || part == PART_LIMITS;
}

static const struct place *find_place(const sluice_call *call, int field, bool is_row)
{
    enum request_kind kind = call->kind == REQUEST_WATCH ? REQUEST_STATUS : call->kind;

    if (!has_fields(call)) {
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        const struct place *p = &places[i];

        if ((int) p->field == field && p->kind == kind && is_of_row(call, p->part, is_row)) {
            return p;
        }
    }
    return NULL;
}

/* Features are rows that are strings, not messages. */
static const void *row_base(const sluice_call *call, size_t row)
{
    if (row >= sluice_call_n_rows(call)) {
        return NULL;
    }
    if (call->kind == REQUEST_INFO) {
        return &((const Sluice__V1__GetInfoResponse *) call->reply)->features[row];
    }
    if (call->kind == REQUEST_MODELS) {
        return ((const Sluice__V1__ListModelsResponse *) call->reply)->models[row];
    }

    const Sluice__V1__StatusResponse *status = (const Sluice__V1__StatusResponse *) call->reply;

    switch (row_part(call)) {
    case PART_CLASS:
        return status->classes[row];
    case PART_CALLER:
        return status->callers[row];
    case PART_TOP:
    case PART_LIMITS:
    case PART_ROW:
        break;
    }
    return status->deployments[row];
}

static const void *top_base(const sluice_call *call, const struct place *p)
{
    if (p->part == PART_LIMITS) {
        return ((const Sluice__V1__GetInfoResponse *) call->reply)->limits; /* may be absent */
    }
    return call->reply;
}

static uint64_t number_at(const struct place *p, const void *base)
{
    if (!p || !base) {
        return 0;
    }

    const void *at = (const char *) base + p->offset;

    switch (p->form) {
    case FORM_U32:
        return *(const uint32_t *) at;
    case FORM_U64:
        return *(const uint64_t *) at;
    case FORM_BOOL:
        return *(const protobuf_c_boolean *) at != 0;
    case FORM_TEXT:
        break;
    }
    return 0;
}

static const char *text_at(const struct place *p, const void *base)
{
    if (!p || !base || p->form != FORM_TEXT) {
        return "";
    }
    return *(char *const *) (const void *) ((const char *) base + p->offset);
}

EXPORT uint64_t sluice_call_reply_number(const sluice_call *call, int field)
{
    const struct place *p = find_place(call, field, false);

    return number_at(p, p ? top_base(call, p) : NULL);
}

EXPORT const char *sluice_call_reply_text(const sluice_call *call, int field)
{
    const struct place *p = find_place(call, field, false);

    return text_at(p, p ? top_base(call, p) : NULL);
}

EXPORT void sluice_call_select_rows(sluice_call *call, int rows)
{
    call->rows = rows;
}

static size_t n_status_rows(const sluice_call *call)
{
    const Sluice__V1__StatusResponse *status = (const Sluice__V1__StatusResponse *) call->reply;
    enum part part = row_part(call);

    return part == PART_CLASS    ? status->n_classes
           : part == PART_CALLER ? status->n_callers
                                 : status->n_deployments;
}

EXPORT size_t sluice_call_n_rows(const sluice_call *call)
{
    bool is_status = call->kind == REQUEST_STATUS || call->kind == REQUEST_WATCH;

    if (!has_fields(call) || (!is_status && row_part(call) != PART_ROW)) {
        return 0;
    }
    switch (call->kind) {
    case REQUEST_INFO:
        return ((const Sluice__V1__GetInfoResponse *) call->reply)->n_features;
    case REQUEST_MODELS:
        return ((const Sluice__V1__ListModelsResponse *) call->reply)->n_models;
    case REQUEST_STATUS:
    case REQUEST_WATCH:
        return n_status_rows(call);
    case REQUEST_CHAT:
    case REQUEST_COMPLETE:
    case REQUEST_EMBED:
    case REQUEST_RERANK:
    case REQUEST_CLASSIFY:
    case REQUEST_CANCEL:
    case REQUEST_RELOAD:
    case REQUEST_DRAIN:
    case REQUEST_UNLOAD:
    case REQUEST_LOAD:
    case REQUEST_EXPLAIN:
    case _REQUEST_KIND_MAX:
        break;
    }
    return 0;
}

EXPORT uint64_t sluice_call_row_number(const sluice_call *call, size_t row, int field)
{
    const struct place *p = find_place(call, field, true);

    return number_at(p, p ? row_base(call, row) : NULL);
}

EXPORT const char *sluice_call_row_text(const sluice_call *call, size_t row, int field)
{
    const struct place *p = find_place(call, field, true);

    return text_at(p, p ? row_base(call, row) : NULL);
}

EXPORT const void *sluice_call_descriptor_set(const sluice_call *call, size_t *ret_n_bytes)
{
    *ret_n_bytes = 0;
    if (call->event != SLUICE_EVENT_REPLY || call->kind != REQUEST_INFO) {
        return "";
    }

    const Sluice__V1__GetInfoResponse *info = (const Sluice__V1__GetInfoResponse *) call->reply;

    *ret_n_bytes = info->file_descriptor_set.len;
    return info->file_descriptor_set.len > 0 ? (const void *) info->file_descriptor_set.data : "";
}
