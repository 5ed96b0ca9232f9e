/*
 * protobuf-c answers NULL or a message, and leaves much unchecked. Two guards stand around it.
 *
 * A scan of the wire format before it runs, for what cannot be seen afterwards:
 *   - strings: protobuf-c hands out NUL-terminated copies without their length and does not look at
 *     UTF-8. A NUL inside would silently cut a prompt, or make "model\0x" pass for "model"; on the
 *     wire the length is still known.
 *   - lists: it has no limit for the number of elements, and it copies unknown fields, each with an
 *     allocation of its own.
 *   - errors: the scan knows the field and its place in the list, "messages[2].text".
 * The scan is driven by the generated descriptors and a table of names and limits beside them. No
 * message of sluice.v1 refers to itself, so the recursion, here and in protobuf-c, is as deep as
 * the schema: three levels.
 *
 * An arena instead of malloc, with a budget: four times the payload and 64 KiB, and a fixed sum for
 * each list element up to REQUEST_MAX_MESSAGES, as two thousand short inputs are legal and cost
 * more in structs and protobuf-c's own notes than in bytes. Whatever wants more is a bomb: a frame
 * of 4 MiB full of empty sub-messages would cost 386 MB.
 *
 * Format: protobuf.dev, "Encoding". Groups (wire types 3 and 4) left the language before proto3:
 * refused, as protobuf-c does.
 */
#include "wire/rpc_msg_unpack.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/request.h"
#include "sluice.pb-c.h"
#include "wire/field.h"

#define UNPACK_FACTOR     4
#define UNPACK_BASE_BYTES (64 * 1024)
/*
 * Message 96, its pointer 8, protobuf-c's note of a field 40 (in doubling slabs), a first string 16
 */
#define UNPACK_ELEMENT_BYTES 256

#define SCAN_MAX_DEPTH  4  /* request, message, tool call, and one to grow */
#define SCAN_MAX_FIELDS 16 /* of one message that a caller may send: twelve today */
/* field numbers end at 2^29 - 1, and three bits are the wire type */
#define MAX_TAG UINT32_MAX

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/*
 * What the descriptors do not say: sluice.proto is compiled for size, which leaves their names
 * empty.
 */
struct field_rule {
    const char *name;
    uint32_t max; /* elements of a list; 0: no limit but that of the memory */
};

/* One row for each field, in the order of their numbers. */
static const struct field_rule options_rules[] = {
    {"request_id", 0}, {"deadline_usec", 0}, {"class", 0}};
static const struct field_rule sampling_rules[] = {
    {"temperature", 0},         {"top_p", 0},      {"seed", 0},     {"frequency_penalty", 0},
    {"presence_penalty", 0},    {"top_k", 0},      {"min_p", 0},    {"max_tokens", 0},
    {"stop", REQUEST_MAX_STOP}, {"extra_json", 0}, {"logprobs", 0}, {"top_logprobs", 0},
};
static const struct field_rule image_rules[] = {{"content", 0}, {"media_type", 0}, {"url", 0}};
static const struct field_rule tool_call_rules[] = {{"id", 0}, {"name", 0}, {"arguments_json", 0}};
static const struct field_rule message_rules[] = {
    {"role", 0},
    {"text", 0},
    {"images", RPC_MAX_IMAGES},
    {"tool_calls", RPC_MAX_TOOL_CALLS},
    {"tool_call_id", 0},
    {"name", 0},
    {"thinking", 0},
};
static const struct field_rule chat_rules[] = {
    {"options", 0},
    {"model", 0},
    {"messages", REQUEST_MAX_MESSAGES},
    {"sampling", 0},
    {"tools_json", 0},
    {"tool_choice_json", 0},
    {"response_format_json", 0},
    {"reasoning_effort", 0},
};
static const struct field_rule complete_rules[] = {
    {"options", 0}, {"model", 0}, {"prompt", 0}, {"suffix", 0}, {"sampling", 0}};
static const struct field_rule embed_rules[] = {
    {"options", 0}, {"model", 0}, {"inputs", REQUEST_MAX_INPUTS}, {"dimensions", 0}};
static const struct field_rule rerank_rules[] = {
    {"options", 0}, {"model", 0},      {"query", 0}, {"documents", REQUEST_MAX_INPUTS},
    {"top_n", 0},   {"extra_json", 0},
};
static const struct field_rule classify_rules[] = {
    {"options", 0}, {"model", 0}, {"inputs", REQUEST_MAX_INPUTS}, {"extra_json", 0}};
static const struct field_rule cancel_rules[] = {{"request_id", 0}};
static const struct field_rule watch_rules[] = {{"interval_usec", 0}, {"request_id", 0}};
static const struct field_rule unload_rules[] = {{"model", 0}};
static const struct field_rule load_rules[] = {{"model", 0}};
static const struct field_rule explain_rules[] = {{"model", 0}, {"request_id", 0}, {"class", 0}};

/* Every message that a caller may send. */
static const struct message_rule {
    const ProtobufCMessageDescriptor *message;
    const struct field_rule *fields;
    size_t n_fields;
} message_table[] = {
    {&sluice__v1__message__descriptor, message_rules, ARRAY_LEN(message_rules)},
    {&sluice__v1__tool_call__descriptor, tool_call_rules, ARRAY_LEN(tool_call_rules)},
    {&sluice__v1__image__descriptor, image_rules, ARRAY_LEN(image_rules)},
    {&sluice__v1__call_options__descriptor, options_rules, ARRAY_LEN(options_rules)},
    {&sluice__v1__sampling__descriptor, sampling_rules, ARRAY_LEN(sampling_rules)},
    {&sluice__v1__chat_request__descriptor, chat_rules, ARRAY_LEN(chat_rules)},
    {&sluice__v1__complete_request__descriptor, complete_rules, ARRAY_LEN(complete_rules)},
    {&sluice__v1__embed_request__descriptor, embed_rules, ARRAY_LEN(embed_rules)},
    {&sluice__v1__rerank_request__descriptor, rerank_rules, ARRAY_LEN(rerank_rules)},
    {&sluice__v1__classify_request__descriptor, classify_rules, ARRAY_LEN(classify_rules)},
    {&sluice__v1__cancel_request__descriptor, cancel_rules, ARRAY_LEN(cancel_rules)},
    {&sluice__v1__watch_request__descriptor, watch_rules, ARRAY_LEN(watch_rules)},
    {&sluice__v1__unload_request__descriptor, unload_rules, ARRAY_LEN(unload_rules)},
    {&sluice__v1__load_request__descriptor, load_rules, ARRAY_LEN(load_rules)},
    {&sluice__v1__explain_request__descriptor, explain_rules, ARRAY_LEN(explain_rules)},
    {&sluice__v1__reload_request__descriptor, NULL, 0},
    {&sluice__v1__drain_request__descriptor, NULL, 0},
};

struct scan {
    size_t n_elements;
    size_t n_unknown;
    unsigned depth;
    struct problem *problem; /* borrowed */
};

/* One field as it stands on the wire. */
struct wire_field {
    uint32_t number;
    enum wire_type type;
    struct str bytes; /* of WIRE_BYTES */
};

/* Up to ten bytes of seven bits, the lowest first. */
static bool eat_varint(struct str *s, uint64_t *ret_value)
{
    uint64_t v = 0;

    for (size_t i = 0; i < s->len && i < 10; i++) {
        uint8_t c = (uint8_t) s->ptr[i];

        v |= (uint64_t) (c & 0x7f) << (7 * i);
        if (c < 0x80) {
            s->ptr += i + 1;
            s->len -= i + 1;
            *ret_value = v;
            return true;
        }
    }
    return false;
}

static bool eat_bytes(struct str *s, uint64_t n, struct str *ret_bytes)
{
    if (n > s->len) {
        return false;
    }
    *ret_bytes = (struct str) {s->ptr, (size_t) n};
    s->ptr += n;
    s->len -= (size_t) n;
    return true;
}

static bool eat_field(struct str *s, struct wire_field *ret)
{
    struct str number;
    uint64_t tag, v;

    if (!eat_varint(s, &tag) || tag > MAX_TAG || tag >> 3 == 0) {
        return false;
    }
    ret->number = (uint32_t) tag >> 3;
    ret->type = (enum wire_type)(tag & 7);
    switch (ret->type) {
    case WIRE_VARINT:
        return eat_varint(s, &v);
    case WIRE_64:
        return eat_bytes(s, 8, &number);
    case WIRE_BYTES:
        return eat_varint(s, &v) && eat_bytes(s, v, &ret->bytes);
    case WIRE_32:
        return eat_bytes(s, 4, &number);
    }
    return false; /* groups, and what was never given a meaning */
}

static enum wire_type wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_BYTES;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_64;
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_32;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_BOOL:
        return WIRE_VARINT;
    }
    assert(0);
    return WIRE_VARINT;
}

/*
 * The rules of a message that a caller may send. Whoever adds a field to sluice.proto adds a row
 * above, or this says so in every test.
 */
static const struct field_rule *rules_of(const ProtobufCMessageDescriptor *message)
{
    for (size_t i = 0; i < ARRAY_LEN(message_table); i++) {
        if (message_table[i].message == message) {
            assert(message_table[i].n_fields == message->n_fields);
            return message_table[i].fields;
        }
    }
    assert(0);
    return NULL;
}

static int scan_string(const struct scan *s, const char *name, struct str bytes)
{
    if (bytes.len > 0 && memchr(bytes.ptr, '\0', bytes.len)) {
        return field_fail(s->problem, "", "'%s' contains a NUL character", name);
    }
    if (!str_is_utf8(bytes)) {
        return field_fail(s->problem, "", "'%s' is not valid UTF-8", name);
    }
    return 0;
}

static int scan_message(struct scan *s, const ProtobufCMessageDescriptor *message,
                        struct str bytes);

static int scan_value(struct scan *s, const ProtobufCFieldDescriptor *field, const char *name,
                      const struct wire_field *f)
{
    bool is_list = field->label == PROTOBUF_C_LABEL_REPEATED;

    /* a list of numbers may come packed into bytes */
    if (f->type != wire_type_of(field->type) && !(is_list && f->type == WIRE_BYTES)) {
        return field_fail(s->problem, "", "'%s' has the wrong wire type", name);
    }
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        return scan_string(s, name, f->bytes);
    }
    return field->type == PROTOBUF_C_TYPE_MESSAGE ? scan_message(s, field->descriptor, f->bytes)
                                                  : 0;
}

/* index: how often this field came before. */
static int scan_field(struct scan *s, const ProtobufCFieldDescriptor *field,
                      const struct field_rule *rule, const struct wire_field *f, uint32_t index)
{
    bool is_list = field->label == PROTOBUF_C_LABEL_REPEATED;
    int r;

    if (is_list || field->type == PROTOBUF_C_TYPE_MESSAGE) {
        s->n_elements++;
    }
    if (rule->max > 0 && index >= rule->max) {
        return field_fail(s->problem, rule->name, "'%s' may hold at most %u elements", rule->name,
                          rule->max);
    }
    r = scan_value(s, field, rule->name, f);
    if (is_list) {
        return field_within(r, s->problem, "%s[%u]", rule->name, index);
    }
    return field_within(r, s->problem, "%s", rule->name);
}

static int scan_message(struct scan *s, const ProtobufCMessageDescriptor *message, struct str bytes)
{
    const struct field_rule *rules = rules_of(message);
    uint32_t seen[SCAN_MAX_FIELDS] = {0};

    assert(message->n_fields <= SCAN_MAX_FIELDS && s->depth < SCAN_MAX_DEPTH);
    s->depth++;
    while (bytes.len > 0) {
        struct wire_field f = {0};

        if (!eat_field(&bytes, &f)) {
            return field_fail(s->problem, "", "the message is not well-formed protobuf");
        }

        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(message, f.number);

        if (!field && ++s->n_unknown > RPC_MAX_UNKNOWN_FIELDS) {
            return field_fail(s->problem, "", "the message has too many unknown fields");
        }
        if (field) {
            ptrdiff_t i = field - message->fields;
            int r = scan_field(s, field, &rules[i], &f, seen[i]++);

            if (r < 0) {
                return r;
            }
        }
    }
    s->depth--;
    return 0;
}

/* ---- protobuf-c */

#define ARENA_ALIGN_BYTES 16 /* what the arena may add to a request */

/* What protobuf-c allocates from. */
struct budget {
    struct arena *arena; /* borrowed */
    bool is_spent;
    bool is_out_of_memory;
};

static void *budget_alloc(void *ctx, size_t n)
{
    struct budget *b = ctx;
    size_t left_bytes = b->arena->max_bytes - b->arena->used_bytes;
    void *p = arena_alloc(b->arena, n);

    if (!p && n + ARENA_ALIGN_BYTES <= left_bytes) {
        b->is_out_of_memory = true;
    } else if (!p) {
        b->is_spent = true;
    }
    return p;
}

static void budget_free(void *ctx, void *p)
{
    (void) ctx; /* all at once, with the arena */
    (void) p;
}

static size_t budget_bytes(struct str payload, size_t n_elements)
{
    if (n_elements > REQUEST_MAX_MESSAGES) {
        n_elements = REQUEST_MAX_MESSAGES;
    }
    return UNPACK_FACTOR * payload.len + UNPACK_BASE_BYTES + UNPACK_ELEMENT_BYTES * n_elements;
}

int rpc_unpack(struct rpc_unpacked *u, const ProtobufCMessageDescriptor *type, struct str payload,
               struct problem *ret_problem)
{
    struct scan s = {.problem = ret_problem};
    struct budget budget = {.arena = &u->arena};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    int r = scan_message(&s, type, payload);

    assert(!u->message);
    if (r < 0) {
        return r;
    }
    arena_init(&u->arena, budget_bytes(payload, s.n_elements));
    u->message =
        protobuf_c_message_unpack(type, &allocator, payload.len, (const uint8_t *) payload.ptr);
    if (u->message) {
        return 0;
    }
    if (budget.is_out_of_memory) {
        return -ENOMEM;
    }
    if (budget.is_spent) {
        r = field_fail(ret_problem, "", "the message needs far more memory than its size");
        ret_problem->code = ERRCODE_PAYLOAD_TOO_LARGE;
        return r;
    }
    return field_fail(ret_problem, "", "the message is not well-formed protobuf");
}

void rpc_unpacked_done(struct rpc_unpacked *u)
{
    arena_done(&u->arena);
    u->message = NULL;
}
