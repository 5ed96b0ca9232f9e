/*
 * The messages of chat/completions: roles, content in its many shapes, tool calls and their
 * results. Clients differ most here, so this file is lenient in shape and strict in type:
 *
 *   - content is a string, null, missing, or an array of parts, for every role; a part may be a
 *     bare string
 *   - an image is an object with a url or a bare url; data: URLs are taken apart, http(s) ones are
 *     kept
 *   - tool arguments are JSON text, or the object itself; a call without arguments has "{}"
 *   - the deprecated pair function_call / role "function" becomes a tool call and its result
 *   - the thinking of earlier turns comes as reasoning_content or reasoning
 *
 * A part of an unknown type makes the request raw-only instead of invalid: a model server may know
 * more than sluice. All strings borrow from the request's body where nothing needs resolving. Each
 * value is walked once for each level of nesting; nothing is recursive.
 */
#include "wire/openai_body.h"

#include <errno.h>

#include "wire/base64.h"
#include "wire/json.h"
#include "wire/openai_request.h"

#define MAX_PARTS 4096 /* of one message: the pages of a scanned book */

/* ---- roles */

static const struct {
    const char *name;
    enum message_role role;
} role_names[] = {
    {"system", ROLE_SYSTEM},       {"developer", ROLE_SYSTEM}, {"user", ROLE_USER},
    {"assistant", ROLE_ASSISTANT}, {"tool", ROLE_TOOL},        {"function", ROLE_TOOL},
};

static int decode_role(struct openai_body *b, struct str value, enum message_role *ret_role)
{
    struct field f = {"role", value, b->problem};
    struct str name = STR_NONE;
    int r = field_string(&f, &b->req->arena, &name);

    if (r < 0) {
        return r;
    }
    if (!name.ptr) {
        return field_fail(b->problem, f.name, "every message needs a 'role'");
    }
    for (size_t i = 0; i < ARRAY_LEN(role_names); i++) {
        if (str_is(name, role_names[i].name)) {
            *ret_role = role_names[i].role;
            return 0;
        }
    }
    return field_fail(b->problem, f.name,
                      "'role' must be system, developer, user, assistant, tool or function");
}

/* ---- content */

/* application/octet-stream is what programs say that do not know. */
static bool is_image_type(struct str type)
{
    static const char prefix[] = "image/";
    size_t n = sizeof prefix - 1;

    return (type.len > n && str_is_nocase((struct str) {type.ptr, n}, prefix)) ||
           str_is_nocase(type, "application/octet-stream");
}

/* data:[media type][;parameters];base64,DATA (RFC 2397) */
static int decode_data_url(struct openai_body *b, const struct field *f, struct str url,
                           struct content_part *part)
{
    static const char marker[] = ";base64";
    size_t n_marker = sizeof marker - 1;
    struct str head = {url.ptr + strlen("data:"), 0};
    const char *comma = memchr(url.ptr, ',', url.len);

    head.len = comma ? (size_t) (comma - head.ptr) : 0;
    if (head.len < n_marker || !str_is_nocase((struct str) {comma - n_marker, n_marker}, marker)) {
        return field_fail(f->problem, f->name,
                          "a data: URL must hold base64 (data:TYPE;base64,...)");
    }
    part->data = (struct str) {comma + 1, (size_t) (url.ptr + url.len - (comma + 1))};
    if (part->data.len == 0) {
        return field_fail(f->problem, f->name, "the data: URL is empty");
    }
    head.len -= n_marker;

    const char *parameters = memchr(head.ptr, ';', head.len);

    if (parameters) {
        head.len = (size_t) (parameters - head.ptr);
    }
    if (head.len > 0 && !is_image_type(head)) {
        return field_fail(f->problem, f->name, "the data: URL must be of an image");
    }
    part->media_type = head.len > 0 ? head : STR_NONE;

    int r = base64_normalise(part->data, &b->req->arena, &part->data);

    return r == -EBADMSG ? field_fail(f->problem, f->name, "the data: URL is not valid base64") : r;
}

static bool has_scheme(struct str url, const char *scheme)
{
    size_t n = strlen(scheme);

    return url.len > n && str_is_nocase((struct str) {url.ptr, n}, scheme);
}

static int decode_url(struct openai_body *b, const struct field *f, struct str url,
                      struct content_part *part)
{
    if (!url.ptr) {
        return field_fail(f->problem, f->name, "an image needs a URL");
    }
    if (has_scheme(url, "data:")) {
        return decode_data_url(b, f, url, part);
    }
    if (has_scheme(url, "http://") || has_scheme(url, "https://")) {
        part->url = url;
        return 0;
    }
    /* file: and the like would make a model server read its own disk */
    return field_fail(f->problem, f->name, "an image must be a data:, http: or https: URL");
}

enum { IMAGE_URL, IMAGE_DETAIL, _IMAGE_MAX };

static const struct str image_names[_IMAGE_MAX] = {
    [IMAGE_URL] = FIELD_NAME("url"),
    [IMAGE_DETAIL] = FIELD_NAME("detail"),
};

/*
 * {"url": ...} in chat/completions, a bare string from many clients and in parts of the type
 * "input_image".
 */
static int decode_image(struct openai_body *b, struct str value, struct content_part *part)
{
    bool is_object = json_type(value) == JSON_OBJECT;
    struct field f = {is_object ? "url" : "image_url", value, b->problem};
    struct field detail = {"detail", STR_NONE, b->problem};
    struct str url = STR_NONE, values[_IMAGE_MAX];
    int r;

    if (is_object) {
        field_pick(value, image_names, _IMAGE_MAX, values);
        f.value = values[IMAGE_URL];
        detail.value = values[IMAGE_DETAIL];
    }
    part->type = PART_IMAGE;
    r = field_types(&detail, FIELD_STRING);
    if (r == 0) {
        r = field_string(&f, &b->req->arena, &url);
    }
    if (r == 0) {
        r = decode_url(b, &f, url, part);
    }
    return is_object ? field_within(r, b->problem, "image_url") : r;
}

static int decode_text_part(struct openai_body *b, const char *name, struct str value,
                            struct content_part *part)
{
    struct field f = {name, value, b->problem};
    int r = field_string(&f, &b->req->arena, &part->text);

    if (r == 0 && !part->text.ptr) {
        return field_fail(b->problem, name, "this part needs a '%s'", name);
    }
    return r;
}

enum { PART_FIELD_TYPE, PART_FIELD_TEXT, PART_FIELD_REFUSAL, PART_FIELD_IMAGE, _PART_FIELD_MAX };

static const struct str part_names[_PART_FIELD_MAX] = {
    [PART_FIELD_TYPE] = FIELD_NAME("type"),
    [PART_FIELD_TEXT] = FIELD_NAME("text"),
    [PART_FIELD_REFUSAL] = FIELD_NAME("refusal"),
    [PART_FIELD_IMAGE] = FIELD_NAME("image_url"),
};

/* Of parts that are only carried, those that OpenAI and vLLM have: the object, and its texts. */
static int check_opaque(struct openai_body *b, struct str type, struct str part)
{
    static const struct {
        const char *type;
        unsigned types;
        const char *texts[3];
    } rows[] = {
        {"input_audio", FIELD_OBJECT, {"data", "format"}},
        {"file", FIELD_OBJECT, {"file_data", "file_id", "filename"}},
        {"audio_url", FIELD_STRING | FIELD_OBJECT, {"url"}},
        {"video_url", FIELD_STRING | FIELD_OBJECT, {"url"}},
    };
    size_t i = 0;

    while (i < ARRAY_LEN(rows) && !str_is(type, rows[i].type)) {
        i++;
    }
    if (i == ARRAY_LEN(rows)) {
        return 0;
    }

    struct field f = {rows[i].type, json_find(part, rows[i].type), b->problem};
    int r = field_types(&f, rows[i].types);

    if (r == 0 && !field_is_present(&f)) {
        return field_fail(b->problem, f.name, "this part needs '%s'", f.name);
    }
    if (r < 0) {
        return r;
    }
    for (size_t k = 0; r == 0 && k < ARRAY_LEN(rows[i].texts) && rows[i].texts[k]; k++) {
        const char *name = rows[i].texts[k];
        struct field text = {name, json_find(f.value, name), b->problem};

        r = field_types(&text, FIELD_STRING);
    }
    return field_within(r, b->problem, "%s", f.name);
}

static int decode_part(struct openai_body *b, struct str value, struct content_part *part)
{
    struct str values[_PART_FIELD_MAX], type = STR_NONE;
    struct field f = {"type", STR_NONE, b->problem};
    int r;

    if (json_type(value) == JSON_STRING) {
        return decode_text_part(b, "text", value, part);
    }
    if (json_type(value) != JSON_OBJECT) {
        return field_fail(b->problem, "", "a content part must be an object");
    }
    field_pick(value, part_names, _PART_FIELD_MAX, values);
    f.value = values[PART_FIELD_TYPE];
    r = field_string(&f, &b->req->arena, &type);
    if (r < 0) {
        return r;
    }
    if (!type.ptr) {
        return field_fail(b->problem, f.name, "a content part needs a 'type'");
    }
    if (str_is(type, "text") || str_is(type, "input_text") || str_is(type, "output_text")) {
        return decode_text_part(b, "text", values[PART_FIELD_TEXT], part);
    }
    if (str_is(type, "refusal")) {
        return decode_text_part(b, "refusal", values[PART_FIELD_REFUSAL], part);
    }
    if (str_is(type, "image_url") || str_is(type, "input_image")) {
        return decode_image(b, values[PART_FIELD_IMAGE], part);
    }
    part->type = PART_OPAQUE;
    openai_body_mark_raw_only(b, "messages");
    return check_opaque(b, type, value);
}

static int decode_parts(struct openai_body *b, struct str array, struct message *m)
{
    size_t n = field_count(array);
    struct json_iter it;
    struct str name, value;
    int r;

    if (n > MAX_PARTS) {
        return field_fail(b->problem, "content", "a message may have at most %d parts", MAX_PARTS);
    }
    m->parts = arena_array(&b->req->arena, n, sizeof *m->parts);
    if (!m->parts) {
        return -ENOMEM;
    }
    json_iter_init(&it, array);
    while (json_next(&it, &name, &value)) {
        r = decode_part(b, value, &m->parts[m->n_parts]);
        if (r < 0) {
            return field_within(r, b->problem, "content[%zu]", m->n_parts);
        }
        m->n_parts++;
    }
    return 0;
}

static int decode_content(struct openai_body *b, struct str value, struct message *m)
{
    struct field f = {"content", value, b->problem};
    int r;

    if (!field_is_present(&f)) {
        return 0;
    }
    if (json_type(value) == JSON_ARRAY) {
        return decode_parts(b, value, m);
    }
    if (json_type(value) != JSON_STRING) {
        return field_fail_type(&f, "a string or an array of parts");
    }
    m->parts = arena_array(&b->req->arena, 1, sizeof *m->parts);
    if (!m->parts) {
        return -ENOMEM;
    }
    r = field_string(&f, &b->req->arena, &m->parts[0].text);
    m->n_parts = 1;
    return r;
}

/* ---- tool calls */

/* JSON text in a string; the object itself from clients that speak Ollama's shape by mistake. */
static int decode_arguments(struct openai_body *b, struct str value, struct str *ret)
{
    struct field f = {"arguments", value, b->problem};
    struct str text = STR_NONE;
    int r;

    if (json_type(value) == JSON_OBJECT) {
        *ret = value;
        return 0;
    }
    r = field_string(&f, &b->req->arena, &text);
    if (r < 0) {
        return r;
    }
    *ret = text.len > 0 ? text : STR_LIT("{}");
    return 0;
}

enum { FUNCTION_NAME, FUNCTION_ARGUMENTS, _FUNCTION_MAX };

static const struct str function_names[_FUNCTION_MAX] = {
    [FUNCTION_NAME] = FIELD_NAME("name"),
    [FUNCTION_ARGUMENTS] = FIELD_NAME("arguments"),
};

/* The inner object of a call: its name is that of the member, for the verdict. */
static int decode_function(struct openai_body *b, const char *member, struct str value,
                           struct tool_call *call)
{
    struct field f = {member, value, b->problem}, name = {"name", STR_NONE, b->problem};
    struct str function = STR_NONE, values[_FUNCTION_MAX];
    int r = field_object(&f, &function);

    if (r < 0) {
        return r;
    }
    if (!function.ptr) {
        return field_fail(b->problem, member, "a tool call needs a '%s'", member);
    }
    field_pick(function, function_names, _FUNCTION_MAX, values);
    name.value = values[FUNCTION_NAME];
    r = field_string(&name, &b->req->arena, &call->name);
    if (r == 0 && call->name.len == 0) {
        r = field_fail(b->problem, name.name, "a tool call needs a 'name'");
    }
    if (r == 0) {
        r = decode_arguments(b, values[FUNCTION_ARGUMENTS], &call->arguments);
    }
    return field_within(r, b->problem, "%s", member);
}

enum { CALL_ID, CALL_TYPE, CALL_FUNCTION, CALL_CUSTOM, _CALL_MAX };

static const struct str call_names[_CALL_MAX] = {
    [CALL_ID] = FIELD_NAME("id"),
    [CALL_TYPE] = FIELD_NAME("type"),
    [CALL_FUNCTION] = FIELD_NAME("function"),
    [CALL_CUSTOM] = FIELD_NAME("custom"),
};

static int decode_tool_call(struct openai_body *b, struct str value, struct tool_call *call)
{
    struct str values[_CALL_MAX], type = STR_NONE;
    struct field id = {"id", STR_NONE, b->problem}, kind = {"type", STR_NONE, b->problem};
    int r;

    if (json_type(value) != JSON_OBJECT) {
        return field_fail(b->problem, "", "a tool call must be an object");
    }
    field_pick(value, call_names, _CALL_MAX, values);
    id.value = values[CALL_ID];
    kind.value = values[CALL_TYPE];
    r = field_string(&id, &b->req->arena, &call->id);
    if (r < 0) {
        return r;
    }
    r = field_string(&kind, &b->req->arena, &type);
    if (r < 0) {
        return r;
    }
    if (str_is(type, "custom")) {
        /* free text instead of arguments: the neutral model has no place for it */
        openai_body_mark_raw_only(b, "messages");
        return decode_function(b, "custom", values[CALL_CUSTOM], call);
    }
    return decode_function(b, "function", values[CALL_FUNCTION], call);
}

static int decode_tool_calls(struct openai_body *b, struct str array, struct message *m)
{
    size_t n = field_count(array);
    struct json_iter it;
    struct str name, value;
    int r;

    if (n > OPENAI_MAX_TOOL_CALLS) {
        return field_fail(b->problem, "tool_calls", "a message may have at most %d tool calls",
                          OPENAI_MAX_TOOL_CALLS);
    }
    m->tool_calls = arena_array(&b->req->arena, n, sizeof *m->tool_calls);
    if (!m->tool_calls) {
        return -ENOMEM;
    }
    json_iter_init(&it, array);
    while (json_next(&it, &name, &value)) {
        r = decode_tool_call(b, value, &m->tool_calls[m->n_tool_calls]);
        if (r < 0) {
            return field_within(r, b->problem, "tool_calls[%zu]", m->n_tool_calls);
        }
        m->n_tool_calls++;
    }
    return 0;
}

static int decode_legacy_call(struct openai_body *b, struct str value, struct message *m)
{
    m->tool_calls = arena_array(&b->req->arena, 1, sizeof *m->tool_calls);
    if (!m->tool_calls) {
        return -ENOMEM;
    }
    m->n_tool_calls = 1;
    return decode_function(b, "function_call", value, m->tool_calls);
}

/* ---- messages */

enum {
    MESSAGE_ROLE,
    MESSAGE_CONTENT,
    MESSAGE_NAME,
    MESSAGE_TOOL_CALLS,
    MESSAGE_TOOL_CALL_ID,
    MESSAGE_FUNCTION_CALL,
    MESSAGE_REASONING_CONTENT,
    MESSAGE_REASONING,
    MESSAGE_REFUSAL,
    MESSAGE_AUDIO,
    _MESSAGE_MAX
};

static const struct str message_names[_MESSAGE_MAX] = {
    [MESSAGE_ROLE] = FIELD_NAME("role"),
    [MESSAGE_CONTENT] = FIELD_NAME("content"),
    [MESSAGE_NAME] = FIELD_NAME("name"),
    [MESSAGE_TOOL_CALLS] = FIELD_NAME("tool_calls"),
    [MESSAGE_TOOL_CALL_ID] = FIELD_NAME("tool_call_id"),
    [MESSAGE_FUNCTION_CALL] = FIELD_NAME("function_call"),
    [MESSAGE_REASONING_CONTENT] = FIELD_NAME("reasoning_content"),
    [MESSAGE_REASONING] = FIELD_NAME("reasoning"),
    [MESSAGE_REFUSAL] = FIELD_NAME("refusal"),
    [MESSAGE_AUDIO] = FIELD_NAME("audio"),
};

/* Not part of OpenAI's API, so another type than a string is somebody's extension and no error. */
static int decode_thinking(struct openai_body *b, const struct str *values, struct str *ret)
{
    struct str value = values[MESSAGE_REASONING_CONTENT];

    if (json_is_null(value)) {
        value = values[MESSAGE_REASONING];
    }
    if (json_type(value) != JSON_STRING) {
        return 0;
    }
    return json_string_dup(value, &b->req->arena, ret);
}

static int decode_calls(struct openai_body *b, const struct str *values, struct message *m)
{
    struct field f = {"tool_calls", values[MESSAGE_TOOL_CALLS], b->problem};
    struct str array = STR_NONE;
    int r = field_array(&f, &array);

    if (r < 0) {
        return r;
    }
    if (array.ptr) {
        return decode_tool_calls(b, array, m);
    }
    if (!json_is_null(values[MESSAGE_FUNCTION_CALL])) {
        return decode_legacy_call(b, values[MESSAGE_FUNCTION_CALL], m);
    }
    return 0;
}

/* Of an assistant: carried. */
static int check_said(struct openai_body *b, const struct str *values)
{
    struct field refusal = {"refusal", values[MESSAGE_REFUSAL], b->problem};
    struct field audio = {"audio", values[MESSAGE_AUDIO], b->problem};
    int r = field_types(&refusal, FIELD_STRING);

    return r < 0 ? r : field_types(&audio, FIELD_OBJECT);
}

static int decode_message(struct openai_body *b, struct str value, struct message *m)
{
    struct str values[_MESSAGE_MAX];
    struct field name = {"name", STR_NONE, b->problem}, id = {"tool_call_id", STR_NONE, b->problem};
    int r;

    if (json_type(value) != JSON_OBJECT) {
        return field_fail(b->problem, "", "a message must be an object");
    }
    field_pick(value, message_names, _MESSAGE_MAX, values);
    name.value = values[MESSAGE_NAME];
    id.value = values[MESSAGE_TOOL_CALL_ID];
    r = decode_role(b, values[MESSAGE_ROLE], &m->role);
    if (r < 0) {
        return r;
    }
    r = decode_content(b, values[MESSAGE_CONTENT], m);
    if (r < 0) {
        return r;
    }
    r = decode_calls(b, values, m);
    if (r < 0) {
        return r;
    }
    r = check_said(b, values);
    if (r < 0) {
        return r;
    }
    r = field_string(&name, &b->req->arena, &m->name);
    if (r < 0) {
        return r;
    }
    r = field_string(&id, &b->req->arena, &m->tool_call_id);
    return r < 0 ? r : decode_thinking(b, values, &m->thinking);
}

int openai_body_messages(struct openai_body *b)
{
    struct request *req = b->req;
    struct field f = openai_body_member(b, "messages");
    struct str array = STR_NONE, name, element;
    struct json_iter it;
    size_t n;
    int r = field_array(&f, &array);

    if (r < 0) {
        return r;
    }
    n = array.ptr ? field_count(array) : 0;
    if (n == 0) {
        return field_fail(b->problem, f.name, "'messages' must hold at least one message");
    }
    if (n > OPENAI_MAX_MESSAGES) {
        return field_fail(b->problem, f.name, "'messages' may hold at most %d messages",
                          OPENAI_MAX_MESSAGES);
    }
    req->messages = arena_array(&req->arena, n, sizeof *req->messages);
    if (!req->messages) {
        return -ENOMEM;
    }
    json_iter_init(&it, array);
    while (json_next(&it, &name, &element)) {
        r = decode_message(b, element, &req->messages[req->n_messages]);
        if (r < 0) {
            return field_within(r, b->problem, "messages[%zu]", req->n_messages);
        }
        req->n_messages++;
    }
    return 0;
}
