/*
 * See json.h. Text of models is bytes; JSON wants Unicode: what is not UTF-8 becomes U+FFFD, and a
 * character that two events share is printed with the second.
 */
#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *or_end(void *p)
{
    if (!p) {
        complain("out of memory while writing JSON");
        exit(EXIT_FAILED);
    }
    return p;
}

cJSON *json_object(void)
{
    return or_end(cJSON_CreateObject());
}

cJSON *json_array(void)
{
    return or_end(cJSON_CreateArray());
}

static cJSON *add(cJSON *to, const char *name, cJSON *item)
{
    bool is_added = name ? cJSON_AddItemToObject(to, name, or_end(item))
                         : cJSON_AddItemToArray(to, or_end(item));

    return or_end(is_added ? item : NULL);
}

cJSON *json_add_object(cJSON *object, const char *name)
{
    return add(object, name, cJSON_CreateObject());
}

cJSON *json_add_array(cJSON *object, const char *name)
{
    return add(object, name, cJSON_CreateArray());
}

static void add_bytes(cJSON *object, const char *name, struct term_text *carry, const char *bytes,
                      size_t n)
{
    char *clean = or_end(term_clean(carry, bytes, n, true));

    (void) add(object, name, cJSON_CreateString(clean));
    free(clean);
}

void json_add_text(cJSON *object, const char *name, const char *text)
{
    struct term_text carry = {.n_held = 0};

    add_bytes(object, name, &carry, text, strlen(text));
}

void json_add_lines(cJSON *object, const char *name, const char *text)
{
    cJSON *array = json_add_array(object, name);

    while (*text) {
        struct term_text carry = {.n_held = 0};
        size_t n = strcspn(text, "\n");

        add_bytes(array, NULL, &carry, text, n);
        text += n + (text[n] == '\n');
    }
}

void json_add_number(cJSON *object, const char *name, uint64_t value)
{
    char digits[24];

    /* Raw: cJSON's own numbers are doubles, and counters may outgrow those. */
    (void) snprintf(digits, sizeof(digits), "%llu", (unsigned long long) value);
    (void) add(object, name, cJSON_CreateRaw(digits));
}

void json_add_bool(cJSON *object, const char *name, bool value)
{
    (void) add(object, name, cJSON_CreateBool(value));
}

void json_add_float(cJSON *array, float value)
{
    char digits[32];

    for (int precision = 6; precision <= 9; precision++) {
        (void) snprintf(digits, sizeof(digits), "%.*g", precision, (double) value);
        if (strtof(digits, NULL) == value) {
            break;
        }
    }
    (void) add(array, NULL, cJSON_CreateRaw(digits));
}

/*
 * cJSON escapes what JSON forbids, but DEL and the controls from U+0080 to U+009F it writes as they
 * are, and a terminal obeys those as well. They stand in strings only, where \u does as well.
 */
static void write_escaped(const char *text)
{
    const unsigned char *c = (const unsigned char *) text;

    for (; *c != '\0'; c++) {
        if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) {
            (void) printf("\\u%04x", (unsigned) *++c);
        } else if (*c == 0x7f) {
            (void) fputs("\\u007f", stdout);
        } else {
            (void) putchar(*c);
        }
    }
    (void) putchar('\n');
}

void json_add_double(cJSON *object, const char *name, double value)
{
    (void) add(object, name, cJSON_CreateNumber(value));
}

void json_add_json(cJSON *object, const char *name, const char *bytes, size_t n)
{
    cJSON *parsed = cJSON_ParseWithLength(bytes, n);
    char *copy = or_end(strndup(parsed ? bytes : "null", parsed ? n : 4));

    /* Raw: numbers stay as they were written. */
    cJSON_Delete(parsed);
    cJSON_Minify(copy);
    (void) add(object, name, cJSON_CreateRaw(copy));
    free(copy);
}

void json_print(cJSON *value)
{
    char *text = or_end(cJSON_PrintUnformatted(value));

    write_escaped(text);
    (void) output_flush();
    free(text);
    cJSON_Delete(value);
}

/* ---------------------------------------------------------------- events */

void json_add_done(cJSON *object, const sluice_call *call)
{
    if (sluice_call_has_usage(call)) {
        cJSON *usage = json_add_object(object, "usage");

        json_add_number(usage, "input_tokens", sluice_call_input_tokens(call));
        json_add_number(usage, "cached_input_tokens", sluice_call_cached_input_tokens(call));
        json_add_number(usage, "output_tokens", sluice_call_output_tokens(call));
        json_add_number(usage, "reasoning_output_tokens",
                        sluice_call_reasoning_output_tokens(call));
    }

    cJSON *timings = json_add_object(object, "timings");

    json_add_number(timings, "queue_usec", sluice_call_queue_usec(call));
    json_add_number(timings, "first_token_usec", sluice_call_first_token_usec(call));
    json_add_number(timings, "total_usec", sluice_call_total_usec(call));
}

void json_add_failure(cJSON *object, const sluice_call *call)
{
    json_add_text(object, "code", sluice_call_error_code(call));
    json_add_text(object, "message", sluice_call_error_message(call));
    json_add_text(object, "param", sluice_call_error_param(call));
    json_add_number(object, "http_status", (uint64_t) sluice_call_error_http_status(call));
    json_add_bool(object, "retryable", sluice_call_error_is_retryable(call) != 0);
    json_add_number(object, "retry_after_usec", sluice_call_error_retry_after_usec(call));
    json_add_text(object, "request_id", sluice_call_request_id(call));
}

static const char *channel_name(int channel)
{
    switch ((enum sluice_channel) channel) {
    case SLUICE_CHANNEL_ANSWER:
        return "answer";
    case SLUICE_CHANNEL_THINKING:
        return "thinking";
    case SLUICE_CHANNEL_REFUSAL:
        return "refusal";
    }
    return "unknown"; /* of a newer daemon */
}

static void add_text_event(cJSON *object, const sluice_call *call, struct term_text *carry)
{
    size_t n;
    const char *text = sluice_call_text(call, &n);

    json_add_number(object, "choice", sluice_call_choice(call));
    json_add_text(object, "channel", channel_name(sluice_call_channel(call)));
    add_bytes(object, "text", carry, text, n);
}

static void add_tool_event(cJSON *object, const sluice_call *call)
{
    struct term_text carry = {.n_held = 0};
    size_t n;
    const char *arguments = sluice_call_tool_arguments(call, &n);

    json_add_number(object, "choice", sluice_call_choice(call));
    json_add_number(object, "index", sluice_call_tool_index(call));
    json_add_text(object, "id", sluice_call_tool_id(call));
    json_add_text(object, "name", sluice_call_tool_name(call));
    add_bytes(object, "arguments", &carry, arguments, n);
}

static void add_done_event(cJSON *object, const sluice_call *call)
{
    cJSON *reasons = json_add_array(object, "finish_reasons");

    for (size_t i = 0; i < sluice_call_n_choices(call); i++) {
        json_add_text(reasons, NULL, sluice_finish_reason_name(sluice_call_finish_reason(call, i)));
    }
    json_add_done(object, call);
}

cJSON *json_event(const sluice_call *call, struct term_text *carry)
{
    cJSON *object = json_object();

    switch ((enum sluice_event) sluice_call_event(call)) {
    case SLUICE_EVENT_QUEUED:
        json_add_text(object, "event", "queued");
        json_add_number(object, "position", sluice_call_queue_position(call));
        break;
    case SLUICE_EVENT_STARTED:
        json_add_text(object, "event", "started");
        json_add_text(object, "request_id", sluice_call_request_id(call));
        json_add_text(object, "model", sluice_call_model(call));
        json_add_text(object, "deployment", sluice_call_deployment(call));
        break;
    case SLUICE_EVENT_TEXT:
        json_add_text(object, "event", "text");
        add_text_event(object, call, carry);
        break;
    case SLUICE_EVENT_TOOL_CALL:
        json_add_text(object, "event", "tool_call");
        add_tool_event(object, call);
        break;
    case SLUICE_EVENT_DONE:
        json_add_text(object, "event", "done");
        add_done_event(object, call);
        break;
    case SLUICE_EVENT_FAILED: /* told by complain_call() */
    case SLUICE_EVENT_RESULT:
    case SLUICE_EVENT_EMBEDDING:
    case SLUICE_EVENT_REPLY:
    case SLUICE_EVENT_STATUS: /* printed as whole documents by their commands */
        break;
    }
    return object;
}
