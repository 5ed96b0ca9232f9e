/*
 * Answers of the RPC, from the neutral model to protobuf, appended to a bounded buffer: size first,
 * then packed in place. A text delta, the one message of which there are thousands, costs no
 * allocation of its own.
 *
 * protobuf-c takes strings NUL-terminated and trusts them. Ours are borrowed slices of what a model
 * server or a client said, so they are copied into an arena on the way, and whatever is not UTF-8
 * becomes '?': one bad byte in a string field would make a Go or Python client refuse the whole
 * message. Text deltas are bytes and stay as they are.
 *
 * Messages are initialised by the generated functions and not by the generated macros, which cast
 * const away. Packing never writes through a pointer, so borrowed() may.
 */
#include "wire/rpc_msg.h"

#include <assert.h>
#include <errno.h>

#include "sluice.pb-c.h"
#include "sluice_fds.h"

#define RPC_API_LEVEL 4 /* of GetInfo: one more for each addition to sluice.v1 */
/* copies for one message: twice what the largest frame can carry */
#define MAX_SCRATCH_BYTES (8 << 20)

static const char *const features[] = {
    "chat",  "complete", "embed", "cancel", "status", "images",   "thinking", "tools",
    "watch", "reload",   "drain", "unload", "rerank", "classify", "explain",  "load"};

static char *borrowed(const char *z)
{
    return (char *) (uintptr_t) z;
}

static int pack(const ProtobufCMessage *m, struct buf *out)
{
    size_t n = protobuf_c_message_get_packed_size(m);

    if (n > buf_room(out)) {
        return -ENOBUFS;
    }

    char *to = buf_reserve(out, n);

    if (!to) {
        return -ENOMEM;
    }
    buf_commit(out, protobuf_c_message_pack(m, (uint8_t *) to));
    return 0;
}

/* ---- strings */

/*
 * Length of the character at the front of s, 0 where there is none that a protobuf string may hold
 * here.
 */
static size_t character_bytes(struct str s)
{
    for (size_t n = 1; n <= 4 && n <= s.len; n++) {
        if (s.ptr[0] != '\0' && str_is_utf8((struct str) {s.ptr, n})) {
            return n;
        }
    }
    return 0;
}

static void mend_text(char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t bytes = character_bytes((struct str) {text + i, n - i});

        if (bytes == 0) {
            text[i] = '?';
            bytes = 1;
        }
        i += bytes;
    }
}

/* s as protobuf-c wants it, in scratch; "" for an absent one. NULL: out of memory. */
static char *string_of(struct arena *scratch, struct str s)
{
    if (s.len == 0) {
        return borrowed("");
    }

    char *text = arena_alloc(scratch, s.len + 1);

    if (text) {
        memcpy(text, s.ptr, s.len);
        if (!str_is_utf8(s) || memchr(s.ptr, '\0', s.len)) {
            mend_text(text, s.len);
        }
    }
    return text;
}

/* ---- events */

static int pack_event(struct rpc_stream *s, Sluice__V1__Event *event, struct buf *out)
{
    int r;

    event->seq = s->seq + 1;
    r = pack(&event->base, out);
    if (r < 0) {
        return r;
    }
    s->seq++;
    return 0;
}

static int encode_queued(struct rpc_stream *s, const struct event *ev, struct buf *out)
{
    Sluice__V1__Event event;
    Sluice__V1__Queued m;

    sluice__v1__event__init(&event);
    sluice__v1__queued__init(&m);
    m.position = ev->queued.position;
    event.kind_case = SLUICE__V1__EVENT__KIND_QUEUED;
    event.queued = &m;
    return pack_event(s, &event, out);
}

static int encode_started(struct rpc_stream *s, const struct event *ev, const char *request_id,
                          struct arena *scratch, struct buf *out)
{
    Sluice__V1__Event event;
    Sluice__V1__Started m;

    sluice__v1__event__init(&event);
    sluice__v1__started__init(&m);
    m.request_id = borrowed(request_id);
    m.model = string_of(scratch, ev->started.model);
    m.deployment = string_of(scratch, ev->started.deployment);
    m.retries = ev->started.n_retries;
    m.fallbacks = ev->started.n_fallbacks;
    m.spilled = borrowed(ev->started.spilled ? ev->started.spilled : "");
    if (!m.model || !m.deployment) {
        return -ENOMEM;
    }
    event.kind_case = SLUICE__V1__EVENT__KIND_STARTED;
    event.started = &m;
    return pack_event(s, &event, out);
}

static Sluice__V1__Channel channel_of(enum event_channel channel)
{
    switch (channel) {
    case CHANNEL_ANSWER:
        return SLUICE__V1__CHANNEL__CHANNEL_ANSWER;
    case CHANNEL_THINKING:
        return SLUICE__V1__CHANNEL__CHANNEL_THINKING;
    case CHANNEL_REFUSAL:
        return SLUICE__V1__CHANNEL__CHANNEL_REFUSAL;
    }
    assert(0);
    return SLUICE__V1__CHANNEL__CHANNEL_ANSWER;
}

static int encode_text(struct rpc_stream *s, const struct event *ev, struct arena *scratch,
                       struct buf *out)
{
    Sluice__V1__Event event;
    Sluice__V1__TextDelta m;

    sluice__v1__event__init(&event);
    sluice__v1__text_delta__init(&m);
    m.text.data = (uint8_t *) borrowed(ev->text.bytes.ptr);
    m.text.len = ev->text.bytes.len;
    m.channel = channel_of(ev->text.channel);
    m.choice = ev->text.choice;
    m.logprobs_json = string_of(scratch, ev->text.logprobs);
    if (!m.logprobs_json) {
        return -ENOMEM;
    }
    event.kind_case = SLUICE__V1__EVENT__KIND_TEXT;
    event.text = &m;
    return pack_event(s, &event, out);
}

static int encode_tool_call(struct rpc_stream *s, const struct event *ev, struct arena *scratch,
                            struct buf *out)
{
    Sluice__V1__Event event;
    Sluice__V1__ToolCallDelta m;

    sluice__v1__event__init(&event);
    sluice__v1__tool_call_delta__init(&m);
    m.choice = ev->tool_call.choice;
    m.index = ev->tool_call.index;
    m.id = string_of(scratch, ev->tool_call.id);
    m.name = string_of(scratch, ev->tool_call.name);
    m.arguments_json = string_of(scratch, ev->tool_call.arguments);
    if (!m.id || !m.name || !m.arguments_json) {
        return -ENOMEM;
    }
    event.kind_case = SLUICE__V1__EVENT__KIND_TOOL_CALL;
    event.tool_call = &m;
    return pack_event(s, &event, out);
}

static int encode_embedding(struct rpc_stream *s, const struct event *ev, struct buf *out)
{
    Sluice__V1__Event event;
    Sluice__V1__Embedding m;

    sluice__v1__event__init(&event);
    sluice__v1__embedding__init(&m);
    m.index = ev->embedding.index;
    m.n_values = ev->embedding.n_values;
    m.values = (float *) (uintptr_t) ev->embedding.values;
    event.kind_case = SLUICE__V1__EVENT__KIND_EMBEDDING;
    event.embedding = &m;
    return pack_event(s, &event, out);
}

static int encode_result(struct rpc_stream *s, const struct event *ev, struct arena *scratch,
                         struct buf *out)
{
    Sluice__V1__Event event;
    Sluice__V1__Result m;

    sluice__v1__event__init(&event);
    sluice__v1__result__init(&m);
    m.index = ev->result.index;
    m.score = ev->result.score;
    m.json = string_of(scratch, ev->result.json);
    if (!m.json) {
        return -ENOMEM;
    }
    event.kind_case = SLUICE__V1__EVENT__KIND_RESULT;
    event.result = &m;
    return pack_event(s, &event, out);
}

static Sluice__V1__FinishReason finish_reason_of(enum finish_reason reason)
{
    switch (reason) {
    case FINISH_STOP:
        return SLUICE__V1__FINISH_REASON__FINISH_STOP;
    case FINISH_LENGTH:
        return SLUICE__V1__FINISH_REASON__FINISH_LENGTH;
    case FINISH_TOOL_CALLS:
        return SLUICE__V1__FINISH_REASON__FINISH_TOOL_CALLS;
    case FINISH_CONTENT_FILTER:
        return SLUICE__V1__FINISH_REASON__FINISH_CONTENT_FILTER;
    }
    assert(0);
    return SLUICE__V1__FINISH_REASON__FINISH_UNSPECIFIED;
}

static int encode_end(struct rpc_stream *s, const struct event *ev,
                      const struct rpc_timings *timings, struct arena *scratch, struct buf *out)
{
    Sluice__V1__Event event;
    Sluice__V1__Done m;
    Sluice__V1__Usage usage;
    Sluice__V1__Timings t;

    sluice__v1__event__init(&event);
    sluice__v1__done__init(&m);
    sluice__v1__usage__init(&usage);
    sluice__v1__timings__init(&t);
    m.finish_reasons = arena_array(scratch, ev->end.n_choices, sizeof *m.finish_reasons);
    if (!m.finish_reasons) {
        return -ENOMEM;
    }
    for (; m.n_finish_reasons < ev->end.n_choices; m.n_finish_reasons++) {
        m.finish_reasons[m.n_finish_reasons] =
            finish_reason_of(ev->end.reasons[m.n_finish_reasons]);
    }
    if (s->has_usage) {
        usage.input_tokens = s->usage.tokens_in;
        usage.cached_input_tokens = s->usage.tokens_cached;
        usage.output_tokens = s->usage.tokens_out;
        usage.reasoning_output_tokens = s->usage.tokens_reasoning;
        m.usage = &usage;
    }
    t.queue_usec = timings->queue_usec;
    t.first_token_usec = timings->first_token_usec;
    t.total_usec = timings->total_usec;
    m.timings = &t;
    event.kind_case = SLUICE__V1__EVENT__KIND_DONE;
    event.done = &m;
    return pack_event(s, &event, out);
}

int rpc_encode_event(struct rpc_stream *s, const struct event *ev, const char *request_id,
                     const struct rpc_timings *timings, struct buf *out)
{
    CLEANUP(arena_done) struct arena scratch;

    arena_init(&scratch, MAX_SCRATCH_BYTES);
    switch (ev->type) {
    case EVENT_QUEUED:
        return encode_queued(s, ev, out);
    case EVENT_STARTED:
        return encode_started(s, ev, request_id, &scratch, out);
    case EVENT_TEXT:
        return encode_text(s, ev, &scratch, out);
    case EVENT_TOOL_CALL:
        return encode_tool_call(s, ev, &scratch, out);
    case EVENT_EMBEDDING:
        return encode_embedding(s, ev, out);
    case EVENT_RESULT:
        return encode_result(s, ev, &scratch, out);
    case EVENT_USAGE:
        s->has_usage = true;
        s->usage = ev->usage;
        return 0;
    case EVENT_END:
        return encode_end(s, ev, timings, &scratch, out);
    case EVENT_FAILED:
        return 0;
    }
    assert(0);
    return -EINVAL;
}

/* ---- answers of unary calls, and errors */

int rpc_encode_error_detail(enum errcode code, uint64_t retry_after_usec, struct str param,
                            struct str request_id, struct buf *out)
{
    CLEANUP(arena_done) struct arena scratch;
    const struct errcode_info *info = errcode_info(code);
    Sluice__V1__ErrorDetail m;

    arena_init(&scratch, MAX_SCRATCH_BYTES);
    sluice__v1__error_detail__init(&m);
    m.code = borrowed(info->openai_code);
    m.http_status = (uint32_t) info->http_status;
    m.retry_after_usec = retry_after_usec;
    m.param = string_of(&scratch, param);
    m.request_id = string_of(&scratch, request_id);
    if (!m.param || !m.request_id) {
        return -ENOMEM;
    }
    return pack(&m.base, out);
}

int rpc_encode_info(const struct rpc_limits *limits, struct buf *out)
{
    Sluice__V1__GetInfoResponse m;
    Sluice__V1__Limits l;
    char *names[ARRAY_LEN(features)];

    sluice__v1__get_info_response__init(&m);
    sluice__v1__limits__init(&l);
    for (size_t i = 0; i < ARRAY_LEN(features); i++) {
        names[i] = borrowed(features[i]);
    }
    l.frame_bytes = limits->frame_bytes;
    l.calls_per_connection = limits->calls_per_connection;
    l.output_high_water_bytes = limits->output_high_water_bytes;
    l.stalled_reader_usec = limits->stalled_reader_usec;
    l.messages = REQUEST_MAX_MESSAGES;
    l.inputs = REQUEST_MAX_INPUTS;
    m.version = borrowed(SLUICE_VERSION);
    m.api_level = RPC_API_LEVEL;
    m.limits = &l;
    m.features = names;
    m.n_features = ARRAY_LEN(features);
    m.file_descriptor_set.data = (uint8_t *) (uintptr_t) sluice_fds;
    m.file_descriptor_set.len = sluice_fds_bytes;
    return pack(&m.base, out);
}

int rpc_encode_cancel_response(bool found, struct buf *out)
{
    Sluice__V1__CancelResponse m;

    sluice__v1__cancel_response__init(&m);
    m.found = found;
    return pack(&m.base, out);
}

int rpc_encode_reload_response(uint64_t config_generation, uint32_t n_models, struct buf *out)
{
    Sluice__V1__ReloadResponse m;

    sluice__v1__reload_response__init(&m);
    m.config_generation = config_generation;
    m.models = n_models;
    return pack(&m.base, out);
}

int rpc_encode_drain_response(uint32_t n_running, struct buf *out)
{
    Sluice__V1__DrainResponse m;

    sluice__v1__drain_response__init(&m);
    m.calls_running = n_running;
    return pack(&m.base, out);
}

int rpc_encode_unload_response(uint32_t n_unloaded, uint32_t n_unchanged, struct buf *out)
{
    Sluice__V1__UnloadResponse m;

    sluice__v1__unload_response__init(&m);
    m.unloaded = n_unloaded;
    m.unchanged = n_unchanged;
    return pack(&m.base, out);
}

int rpc_encode_load_response(bool was_there, uint64_t load_usec, uint64_t need_bytes,
                             struct buf *out)
{
    Sluice__V1__LoadResponse m;

    sluice__v1__load_response__init(&m);
    m.was_there = was_there;
    m.load_usec = load_usec;
    m.need_bytes = need_bytes;
    return pack(&m.base, out);
}

int rpc_encode_explanation(const struct rpc_explanation *e, struct buf *out)
{
    CLEANUP(arena_done) struct arena scratch;
    Sluice__V1__ExplainResponse m;

    arena_init(&scratch, MAX_SCRATCH_BYTES);
    sluice__v1__explain_response__init(&m);
    m.text = (char *) (uintptr_t) arena_copy(&scratch, e->text).ptr;
    if (!m.text) {
        return -ENOMEM;
    }
    m.verdict = borrowed(e->verdict);
    m.code = borrowed(e->code);
    m.wait_usec = e->wait_usec;
    m.position = e->position;
    return pack(&m.base, out);
}

static char *borrowed_or_empty(const char *text)
{
    return borrowed(text ? text : "");
}

static void fill_model(Sluice__V1__Model *to, const struct rpc_model *from)
{
    sluice__v1__model__init(to);
    to->name = borrowed(from->name);
    to->deployments = from->n_deployments;
    to->available_deployments = from->n_available;
    to->provider = borrowed(from->provider);
    to->memory_state = borrowed_or_empty(from->memory_state);
    to->need_source = borrowed_or_empty(from->need_source);
    to->fits = borrowed_or_empty(from->fits);
    to->upstream_model = borrowed_or_empty(from->upstream_model);
    to->api_base = borrowed_or_empty(from->api_base);
    to->need_bytes = from->need_bytes;
    to->file_bytes = from->file_bytes;
    to->held_bytes = from->held_bytes;
}

int rpc_encode_models(const struct rpc_model *models, size_t n_models, struct buf *out)
{
    CLEANUP(arena_done) struct arena scratch;
    Sluice__V1__ListModelsResponse m;

    arena_init(&scratch, MAX_SCRATCH_BYTES);
    sluice__v1__list_models_response__init(&m);

    Sluice__V1__Model *items = arena_array(&scratch, n_models, sizeof *items);

    m.models = arena_array(&scratch, n_models, sizeof *m.models);
    if (!items || !m.models) {
        return -ENOMEM;
    }
    for (; m.n_models < n_models; m.n_models++) {
        fill_model(&items[m.n_models], &models[m.n_models]);
        m.models[m.n_models] = &items[m.n_models];
    }
    return pack(&m.base, out);
}

static void fill_deployment(Sluice__V1__DeploymentStatus *to, const struct rpc_deployment *from)
{
    sluice__v1__deployment_status__init(to);
    to->model = borrowed(from->model);
    to->id = borrowed(from->id);
    to->provider = borrowed(from->provider);
    to->slots = from->slots;
    to->slots_in_use = from->in_use;
    to->available = !from->off_reason;
    to->unavailable_reason = borrowed(from->off_reason ? from->off_reason : "");
    to->upstream_model = borrowed(from->upstream_model);
    to->api_base = borrowed(from->api_base);
    to->server_version = borrowed(from->server_version);
    to->loaded = from->is_loaded;
    to->idle_usec = from->idle_usec;
    to->order = from->order;
    to->weight_permille = from->weight_permille;
    to->tags = borrowed(from->tags);
    to->local_only = from->is_local_only;
    to->paused_usec = from->paused_usec;
    to->aliases = borrowed(from->aliases);
    to->memory_state = borrowed(from->memory_state);
    to->need_source = borrowed(from->need_source);
    to->fits = borrowed(from->fits);
    to->need_bytes = from->need_bytes;
    to->file_bytes = from->file_bytes;
    to->held_bytes = from->held_bytes;
}

static int add_classes(Sluice__V1__StatusResponse *m, const struct rpc_status *status,
                       struct arena *scratch)
{
    Sluice__V1__ClassStatus *items = arena_array(scratch, status->n_classes + 1, sizeof *items);

    m->classes = arena_array(scratch, status->n_classes + 1, sizeof *m->classes);
    if (!items || !m->classes) {
        return -ENOMEM;
    }
    for (; m->n_classes < status->n_classes; m->n_classes++) {
        const struct rpc_class *from = &status->classes[m->n_classes];
        Sluice__V1__ClassStatus *to = &items[m->n_classes];

        sluice__v1__class_status__init(to);
        to->name = borrowed(from->name);
        to->calls_queued = from->n_queued;
        to->calls_running = from->n_running;
        to->oldest_usec = from->oldest_usec;
        m->classes[m->n_classes] = to;
    }
    return 0;
}

static int add_callers(Sluice__V1__StatusResponse *m, const struct rpc_status *status,
                       struct arena *scratch)
{
    Sluice__V1__CallerStatus *items = arena_array(scratch, status->n_callers + 1, sizeof *items);

    m->callers = arena_array(scratch, status->n_callers + 1, sizeof *m->callers);
    if (!items || !m->callers) {
        return -ENOMEM;
    }
    for (; m->n_callers < status->n_callers; m->n_callers++) {
        const struct rpc_caller *from = &status->callers[m->n_callers];
        Sluice__V1__CallerStatus *to = &items[m->n_callers];

        sluice__v1__caller_status__init(to);
        to->name = borrowed(from->name);
        to->calls_queued = from->n_queued;
        to->calls_running = from->n_running;
        to->weight = from->weight;
        to->idle_usec = from->idle_usec;
        m->callers[m->n_callers] = to;
    }
    return 0;
}

int rpc_encode_status(const struct rpc_status *status, struct buf *out)
{
    CLEANUP(arena_done) struct arena scratch;
    Sluice__V1__StatusResponse m;
    size_t n = status->n_deployments;

    arena_init(&scratch, MAX_SCRATCH_BYTES);
    sluice__v1__status_response__init(&m);

    Sluice__V1__DeploymentStatus *items = arena_array(&scratch, n, sizeof *items);

    m.deployments = arena_array(&scratch, n, sizeof *m.deployments);
    if (!items || !m.deployments) {
        return -ENOMEM;
    }
    for (; m.n_deployments < n; m.n_deployments++) {
        fill_deployment(&items[m.n_deployments], &status->deployments[m.n_deployments]);
        m.deployments[m.n_deployments] = &items[m.n_deployments];
    }
    m.version = borrowed(SLUICE_VERSION);
    m.uptime_usec = status->uptime_usec;
    m.pressure_level = status->pressure_level;
    m.pressure_source = borrowed(status->pressure_source);
    m.draining = status->is_draining;
    m.config_generation = status->config_generation;
    m.connections = status->n_connections;
    m.calls_queued = status->n_queued;
    m.calls_running = status->n_running;
    m.calls_completed = status->n_completed;
    m.calls_failed = status->n_failed;
    m.calls_cancelled = status->n_cancelled;
    m.calls_refused = status->n_refused;
    m.tickets = status->n_tickets;
    m.pressure_some_permille = status->some_permille;
    m.pressure_full_permille = status->full_permille;
    m.pressure_reason = borrowed(status->pressure_reason ? status->pressure_reason : "");
    m.headroom_bytes = status->headroom_bytes;
    m.memory_bytes = status->memory_bytes;
    m.reservations = status->n_reservations;
    m.reserved_bytes = status->reserved_bytes;
    m.model_loads = status->n_loads;
    m.model_unloads = status->n_unloads;
    m.loads_stopped = status->n_loads_stopped;
    m.unloads_stuck = status->n_unloads_stuck;
    m.quarantines = status->n_quarantines;
    m.calls_spilled_level = status->n_spilled_level;
    m.calls_spilled_wait = status->n_spilled_wait;
    m.calls_spilled_room = status->n_spilled_room;
    m.tokens_in = status->tokens_in;
    m.tokens_out = status->tokens_out;
    m.pieces_out = status->pieces_out;
    if (add_classes(&m, status, &scratch) < 0 || add_callers(&m, status, &scratch) < 0) {
        return -ENOMEM;
    }
    return pack(&m.base, out);
}
