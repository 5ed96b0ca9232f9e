/*
 * rpc_msg: requests written by hand, byte by byte, as a hostile client would; answers read back
 * with protobuf-c.
 */
#include "wire/rpc_msg.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "sluice.pb-c.h"
#include "support.h"
#include "wire/rpc_msg_unpack.h"

#define MAX_PAYLOAD (4 << 20)

/* ---- protobuf by hand */

static void put_varint(struct buf *b, uint64_t v)
{
    do {
        uint8_t c = (uint8_t) (v & 0x7f) | (v > 0x7f ? 0x80 : 0);

        ck_assert_int_eq(buf_append(b, &c, 1), 0);
        v >>= 7;
    } while (v > 0);
}

static void put_number(struct buf *b, unsigned field, uint64_t v)
{
    put_varint(b, field << 3);
    put_varint(b, v);
}

static void put_double(struct buf *b, unsigned field, double v)
{
    put_varint(b, field << 3 | 1);
    ck_assert_int_eq(buf_append(b, &v, sizeof v), 0); /* little-endian machines only, as CI is */
}

static void put_bytes(struct buf *b, unsigned field, struct str s)
{
    put_varint(b, field << 3 | 2);
    put_varint(b, s.len);
    ck_assert_int_eq(buf_append_str(b, s), 0);
}

static void put_text(struct buf *b, unsigned field, const char *z)
{
    put_bytes(b, field, str_from(z));
}

/* Ends the message in inner and puts it into b as a field. */
static void put_message(struct buf *b, unsigned field, struct buf *inner)
{
    put_bytes(b, field, buf_str(inner));
    buf_clear(inner);
}

/* Field numbers of sluice.proto. */
enum {
    CHAT_OPTIONS = 1,
    CHAT_MODEL,
    CHAT_MESSAGES,
    CHAT_SAMPLING,
    CHAT_TOOLS,
    CHAT_CHOICE,
    CHAT_FORMAT,
    CHAT_EFFORT
};
enum { MSG_ROLE = 1, MSG_TEXT, MSG_IMAGES, MSG_CALLS, MSG_CALL_ID, MSG_NAME, MSG_THINKING };
enum { COMPLETE_PROMPT = 3, COMPLETE_SUFFIX, COMPLETE_SAMPLING };
enum { EMBED_INPUTS = 3, EMBED_DIMENSIONS };

/*
 * Repeats two bytes until the payload is 2 MiB long; Check would write each assertion of such a
 * loop to a file.
 */
static void put_bomb(struct buf *b, const char *field)
{
    size_t n = 2 << 20;
    char *to = buf_reserve(b, n);

    ck_assert_ptr_nonnull(to);
    for (size_t i = 0; i < n; i++) {
        to[i] = field[i % 2];
    }
    buf_commit(b, n);
}

static struct buf g_payload, g_inner, g_innermost;
static struct request *g_req;
static struct problem g_problem;

static void setup(void)
{
    buf_init(&g_payload, MAX_PAYLOAD);
    buf_init(&g_inner, MAX_PAYLOAD);
    buf_init(&g_innermost, MAX_PAYLOAD);
}

static void teardown(void)
{
    buf_done(&g_payload);
    buf_done(&g_inner);
    buf_done(&g_innermost);
    g_req = request_free(g_req);
}

static int decode(enum request_kind kind)
{
    struct buf *b = &g_payload;

    g_req = request_free(g_req);
    g_req = request_new(kind, 4 * b->len + 4096 * 256 + 64 * 1024);
    if (!g_req) {
        return -ENOMEM;
    }
    memset(&g_problem, 0, sizeof g_problem);
    g_problem.code = ERRCODE_NONE;
    return rpc_decode_request(g_req, buf_str(b), &g_problem);
}

/* A message of one role and text, into g_payload. */
static void put_chat_message(unsigned role, const char *text)
{
    put_number(&g_inner, MSG_ROLE, role);
    put_text(&g_inner, MSG_TEXT, text);
    put_message(&g_payload, CHAT_MESSAGES, &g_inner);
}

static void put_small_chat(void)
{
    put_text(&g_payload, CHAT_MODEL, "tiny");
    put_chat_message(2, "hi");
}

#define ck_assert_refused(kind, name)                                                              \
    do {                                                                                           \
        ck_assert_int_eq(decode(kind), -EBADMSG);                                                  \
        ck_assert_int_eq(g_problem.code, ERRCODE_INVALID_REQUEST);                                 \
        ck_assert_str_eq(g_problem.param, (name));                                                 \
        ck_assert(g_problem.text[0] != '\0');                                                      \
    } while (0)

/* ---- requests */

START_TEST(decodes_a_small_chat)
{
    put_small_chat();
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    ck_assert_str_is(g_req->model, "tiny");
    ck_assert_uint_eq(g_req->n_messages, 1);
    ck_assert_int_eq(g_req->messages[0].role, ROLE_USER);
    ck_assert_uint_eq(g_req->messages[0].n_parts, 1);
    ck_assert_int_eq(g_req->messages[0].parts[0].type, PART_TEXT);
    ck_assert_str_is(g_req->messages[0].parts[0].text, "hi");
    ck_assert_uint_eq(g_req->total_bytes, g_payload.len);
    ck_assert(g_req->stream && g_req->include_usage && !g_req->is_raw_only);
    ck_assert_int_eq(g_req->dialect, DIALECT_NONE);
    ck_assert_int_eq(g_req->class, CLASS_INTERACTIVE);
    ck_assert_str_eq(g_req->id, "");
    ck_assert_uint_eq(g_req->deadline_usec, 0);
    ck_assert_uint_eq(g_req->sampling.set, 0);
    ck_assert_uint_eq(g_req->sampling.n_choices, 1);
    ck_assert(!g_req->tools.ptr && !g_req->tool_choice.ptr && !g_req->response_format.ptr);
    ck_assert(!g_req->reasoning_effort.ptr && !g_req->extra.ptr);
}
END_TEST

START_TEST(decodes_options)
{
    put_text(&g_inner, 1, "my-call.1_A");
    put_number(&g_inner, 2, 30000000);
    put_number(&g_inner, 3, 3);
    put_message(&g_payload, CHAT_OPTIONS, &g_inner);
    put_small_chat();
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    ck_assert_str_eq(g_req->id, "my-call.1_A");
    ck_assert_uint_eq(g_req->deadline_usec, 30000000);
    ck_assert_int_eq(g_req->class, CLASS_BACKGROUND);
}
END_TEST

START_TEST(refuses_wrong_options)
{
    static const char *const ids[] = {
        "with space", "a/b", "\xc3\xa9",
        "0123456789012345678901234567890123456789012345678901234567890123X"};

    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        buf_clear(&g_payload);
        put_text(&g_inner, 1, ids[i]);
        put_message(&g_payload, CHAT_OPTIONS, &g_inner);
        put_small_chat();
        ck_assert_refused(REQUEST_CHAT, "options.request_id");
    }
    for (uint64_t class = 4; class > 3; class = class == 4 ? UINT64_MAX : 0) {
        buf_clear(&g_payload);
        put_number(&g_inner, 3, class); /* UINT64_MAX is how -1 is written */
        put_message(&g_payload, CHAT_OPTIONS, &g_inner);
        put_small_chat();
        ck_assert_refused(REQUEST_CHAT, "options.class");
    }
}
END_TEST

START_TEST(decodes_sampling)
{
    struct sampling *s;

    put_double(&g_inner, 1, 0.0); /* zero and set is not the same as not set */
    put_double(&g_inner, 2, 0.9);
    put_number(&g_inner, 3, (uint64_t) -7);
    put_double(&g_inner, 4, -2);
    put_double(&g_inner, 5, 2);
    put_number(&g_inner, 6, 40);
    put_double(&g_inner, 7, 0.05);
    put_number(&g_inner, 8, 128);
    put_text(&g_inner, 9, "END");
    put_text(&g_inner, 9, "");
    put_text(&g_inner, 9, "\n\n");
    put_text(&g_inner, 10, "{\"repeat_penalty\":1.1}");
    put_number(&g_inner, 11, 1);
    put_number(&g_inner, 12, 5);
    put_message(&g_payload, CHAT_SAMPLING, &g_inner);
    put_small_chat();
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    s = &g_req->sampling;
    ck_assert_uint_eq(s->set, (1 << 9) - 1);
    ck_assert_double_eq(s->temperature, 0);
    ck_assert_double_eq(s->top_p, 0.9);
    ck_assert_int_eq(s->seed, -7);
    ck_assert_double_eq(s->frequency_penalty, -2);
    ck_assert_double_eq(s->presence_penalty, 2);
    ck_assert_uint_eq(s->top_k, 40);
    ck_assert_double_eq(s->min_p, 0.05);
    ck_assert_uint_eq(s->max_tokens, 128);
    ck_assert_uint_eq(s->n_stop, 2);
    ck_assert_str_is(s->stop[0], "END");
    ck_assert_str_is(s->stop[1], "\n\n");
    ck_assert(s->logprobs);
    ck_assert_uint_eq(s->top_logprobs, 5);
    ck_assert_str_is(g_req->extra, "{\"repeat_penalty\":1.1}");
}
END_TEST

START_TEST(refuses_sampling_out_of_range)
{
    static const struct {
        unsigned field;
        double value;
        const char *param;
    } doubles[] = {
        {1, 2.01, "sampling.temperature"},
        {1, -0.01, "sampling.temperature"},
        {1, NAN, "sampling.temperature"},
        {1, INFINITY, "sampling.temperature"},
        {2, 1.1, "sampling.top_p"},
        {4, 2.1, "sampling.frequency_penalty"},
        {5, -2.1, "sampling.presence_penalty"},
        {7, -1, "sampling.min_p"},
    };
    static const struct {
        unsigned field;
        uint64_t value;
        const char *param;
    } integers[] = {
        {6, UINT32_MAX, "sampling.top_k"},
        {8, UINT32_MAX, "sampling.max_tokens"},
        {12, 21, "sampling.top_logprobs"},
    };

    for (size_t i = 0; i < ARRAY_LEN(doubles); i++) {
        buf_clear(&g_payload);
        put_double(&g_inner, doubles[i].field, doubles[i].value);
        put_message(&g_payload, CHAT_SAMPLING, &g_inner);
        put_small_chat();
        ck_assert_refused(REQUEST_CHAT, doubles[i].param);
    }
    for (size_t i = 0; i < ARRAY_LEN(integers); i++) {
        buf_clear(&g_payload);
        put_number(&g_inner, integers[i].field, integers[i].value);
        put_message(&g_payload, CHAT_SAMPLING, &g_inner);
        put_small_chat();
        ck_assert_refused(REQUEST_CHAT, integers[i].param);
    }
}
END_TEST

START_TEST(decodes_a_conversation_with_tools)
{
    const struct message *m;

    put_text(&g_payload, CHAT_MODEL, "tiny");
    put_chat_message(1, "be brief");
    put_number(&g_inner, MSG_ROLE, 3);
    put_text(&g_innermost, 1, "call_1");
    put_text(&g_innermost, 2, "get_weather");
    put_text(&g_innermost, 3, "{\"city\":\"Paris\"}");
    put_message(&g_inner, MSG_CALLS, &g_innermost);
    put_text(&g_innermost, 2, "now");
    put_message(&g_inner, MSG_CALLS, &g_innermost);
    put_text(&g_inner, MSG_THINKING, "hm");
    put_message(&g_payload, CHAT_MESSAGES, &g_inner);
    put_number(&g_inner, MSG_ROLE, 4);
    put_text(&g_inner, MSG_TEXT, "sunny");
    put_text(&g_inner, MSG_CALL_ID, "call_1");
    put_text(&g_inner, MSG_NAME, "get_weather");
    put_message(&g_payload, CHAT_MESSAGES, &g_inner);
    put_text(&g_payload, CHAT_TOOLS, "[{\"type\":\"function\"}]");
    put_text(&g_payload, CHAT_CHOICE, "\"auto\"");
    put_text(&g_payload, CHAT_FORMAT, "{\"type\":\"json_object\"}");
    put_text(&g_payload, CHAT_EFFORT, "low");
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    ck_assert_uint_eq(g_req->n_messages, 3);
    ck_assert_int_eq(g_req->messages[0].role, ROLE_SYSTEM);
    m = &g_req->messages[1];
    ck_assert_int_eq(m->role, ROLE_ASSISTANT);
    ck_assert_uint_eq(m->n_parts, 0);
    ck_assert_uint_eq(m->n_tool_calls, 2);
    ck_assert_str_is(m->tool_calls[0].id, "call_1");
    ck_assert_str_is(m->tool_calls[0].name, "get_weather");
    ck_assert_str_is(m->tool_calls[0].arguments, "{\"city\":\"Paris\"}");
    ck_assert(!m->tool_calls[1].id.ptr);
    ck_assert_str_is(m->tool_calls[1].arguments, "{}");
    ck_assert_str_is(m->thinking, "hm");
    m = &g_req->messages[2];
    ck_assert_int_eq(m->role, ROLE_TOOL);
    ck_assert_str_is(m->tool_call_id, "call_1");
    ck_assert_str_is(m->name, "get_weather");
    ck_assert_str_is(g_req->tools, "[{\"type\":\"function\"}]");
    ck_assert_str_is(g_req->tool_choice, "\"auto\"");
    ck_assert_str_is(g_req->response_format, "{\"type\":\"json_object\"}");
    ck_assert_str_is(g_req->reasoning_effort, "low");
}
END_TEST

START_TEST(decodes_images)
{
    const struct message *m;

    put_text(&g_payload, CHAT_MODEL, "llava");
    put_number(&g_inner, MSG_ROLE, 2);
    put_text(&g_inner, MSG_TEXT, "what is this?");
    put_bytes(&g_innermost, 1, STR_LIT("\x89PNG\0\xff"));
    put_text(&g_innermost, 2, "image/png");
    put_message(&g_inner, MSG_IMAGES, &g_innermost);
    put_text(&g_innermost, 3, "https://example.org/a.png");
    put_message(&g_inner, MSG_IMAGES, &g_innermost);
    put_message(&g_payload, CHAT_MESSAGES, &g_inner);
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    m = &g_req->messages[0];
    ck_assert_uint_eq(m->n_parts, 3);
    ck_assert_int_eq(m->parts[1].type, PART_IMAGE);
    ck_assert_str_is(m->parts[1].data, "iVBORwD/");
    ck_assert_str_is(m->parts[1].media_type, "image/png");
    ck_assert(!m->parts[1].url.ptr);
    ck_assert_int_eq(m->parts[2].type, PART_IMAGE);
    ck_assert_str_is(m->parts[2].url, "https://example.org/a.png");
    ck_assert(!m->parts[2].data.ptr && !m->parts[2].media_type.ptr);
}
END_TEST

/* A user message with one image of the given fields. */
static void put_image_chat(const char *content, const char *url)
{
    buf_clear(&g_payload);
    put_text(&g_payload, CHAT_MODEL, "llava");
    put_number(&g_inner, MSG_ROLE, 2);
    put_text(&g_innermost, 1, content);
    put_text(&g_innermost, 3, url);
    put_message(&g_inner, MSG_IMAGES, &g_innermost);
    put_message(&g_payload, CHAT_MESSAGES, &g_inner);
}

START_TEST(refuses_wrong_images)
{
    put_image_chat("", "");
    ck_assert_refused(REQUEST_CHAT, "messages[0].images[0]");
    put_image_chat("x", "https://example.org/a.png");
    ck_assert_refused(REQUEST_CHAT, "messages[0].images[0]");
    put_image_chat("", "file:///etc/passwd");
    ck_assert_refused(REQUEST_CHAT, "messages[0].images[0].url");
}
END_TEST

START_TEST(refuses_wrong_messages)
{
    put_text(&g_payload, CHAT_MODEL, "tiny");
    ck_assert_refused(REQUEST_CHAT, "messages");

    put_chat_message(2, "hi");
    put_chat_message(0, "who?");
    ck_assert_refused(REQUEST_CHAT, "messages[1].role");

    buf_clear(&g_payload);
    put_text(&g_payload, CHAT_MODEL, "tiny");
    put_chat_message(5, "who?");
    ck_assert_refused(REQUEST_CHAT, "messages[0].role");

    buf_clear(&g_payload);
    put_text(&g_payload, CHAT_MODEL, "tiny");
    put_number(&g_inner, MSG_ROLE, 2);
    put_text(&g_innermost, 2, "f");
    put_message(&g_inner, MSG_CALLS, &g_innermost);
    put_message(&g_payload, CHAT_MESSAGES, &g_inner);
    ck_assert_refused(REQUEST_CHAT, "messages[0].tool_calls");

    buf_clear(&g_payload);
    put_text(&g_payload, CHAT_MODEL, "tiny");
    put_number(&g_inner, MSG_ROLE, 3);
    put_text(&g_innermost, 1, "id");
    put_message(&g_inner, MSG_CALLS, &g_innermost);
    put_message(&g_payload, CHAT_MESSAGES, &g_inner);
    ck_assert_refused(REQUEST_CHAT, "messages[0].tool_calls[0].name");
}
END_TEST

START_TEST(refuses_wrong_models)
{
    char longest[REQUEST_MODEL_MAX + 2];

    put_chat_message(2, "hi");
    ck_assert_refused(REQUEST_CHAT, "model");
    put_text(&g_payload, CHAT_MODEL, "a\x1b[2J");
    ck_assert_refused(REQUEST_CHAT, "model");
    put_text(&g_payload, CHAT_MODEL, "a\xc2\x9b");
    ck_assert_refused(REQUEST_CHAT, "model");
    memset(longest, 'x', sizeof longest);
    longest[REQUEST_MODEL_MAX + 1] = '\0';
    put_text(&g_payload, CHAT_MODEL, longest); /* the last one wins */
    ck_assert_refused(REQUEST_CHAT, "model");
    longest[REQUEST_MODEL_MAX] = '\0';
    put_text(&g_payload, CHAT_MODEL, longest);
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
}
END_TEST

START_TEST(refuses_wrong_json)
{
    static const struct {
        unsigned field;
        const char *text, *param;
    } cases[] = {
        {CHAT_TOOLS, "[{]", "tools_json"},
        {CHAT_TOOLS, "{}", "tools_json"},
        {CHAT_CHOICE, "auto", "tool_choice_json"},
        {CHAT_CHOICE, "[]", "tool_choice_json"},
        {CHAT_FORMAT, "\"x\"", "response_format_json"},
        {CHAT_FORMAT, "{} {}", "response_format_json"},
        {CHAT_EFFORT, "utmost", "reasoning_effort"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_clear(&g_payload);
        put_small_chat();
        put_text(&g_payload, cases[i].field, cases[i].text);
        ck_assert_refused(REQUEST_CHAT, cases[i].param);
    }
    buf_clear(&g_payload);
    put_small_chat();
    put_text(&g_inner, 10, "[1]");
    put_message(&g_payload, CHAT_SAMPLING, &g_inner);
    ck_assert_refused(REQUEST_CHAT, "sampling.extra_json");
}
END_TEST

START_TEST(decodes_complete)
{
    put_text(&g_payload, 2, "tiny");
    put_text(&g_payload, COMPLETE_PROMPT, "def f(");
    put_text(&g_payload, COMPLETE_SUFFIX, "return 1");
    put_number(&g_inner, 8, 9);
    put_message(&g_payload, COMPLETE_SAMPLING, &g_inner);
    ck_assert_int_eq(decode(REQUEST_COMPLETE), 0);
    ck_assert_str_is(g_req->prompt, "def f(");
    ck_assert_str_is(g_req->suffix, "return 1");
    ck_assert_uint_eq(g_req->sampling.max_tokens, 9);
    ck_assert(g_req->stream);

    buf_clear(&g_payload);
    put_text(&g_payload, 2, "tiny");
    ck_assert_refused(REQUEST_COMPLETE, "prompt");
}
END_TEST

START_TEST(decodes_embed)
{
    put_text(&g_payload, 2, "minilm");
    put_text(&g_payload, EMBED_INPUTS, "one");
    put_text(&g_payload, EMBED_INPUTS, "");
    put_text(&g_payload, EMBED_INPUTS, "d\xc3\xa9j\xc3\xa0");
    put_number(&g_payload, EMBED_DIMENSIONS, 64);
    ck_assert_int_eq(decode(REQUEST_EMBED), 0);
    ck_assert_uint_eq(g_req->n_inputs, 3);
    ck_assert_str_is(g_req->inputs[0], "one");
    ck_assert_str_is(g_req->inputs[1], "");
    ck_assert_str_is(g_req->inputs[2], "d\xc3\xa9j\xc3\xa0");
    ck_assert_uint_eq(g_req->dimensions, 64);
    ck_assert(!g_req->stream);

    buf_clear(&g_payload);
    put_text(&g_payload, 2, "minilm");
    ck_assert_refused(REQUEST_EMBED, "inputs");
    put_text(&g_payload, EMBED_INPUTS, "one");
    put_number(&g_payload, EMBED_DIMENSIONS, UINT32_MAX);
    ck_assert_refused(REQUEST_EMBED, "dimensions");
}
END_TEST

/* ---- what protobuf-c would let through */

START_TEST(refuses_bad_strings)
{
    put_bytes(&g_payload, CHAT_MODEL, STR_LIT("tiny\0x"));
    put_chat_message(2, "hi");
    ck_assert_refused(REQUEST_CHAT, "model");

    buf_clear(&g_payload);
    put_text(&g_payload, CHAT_MODEL, "tiny");
    put_chat_message(2, "hi");
    put_chat_message(2, "\xff");
    ck_assert_refused(REQUEST_CHAT, "messages[1].text");

    buf_clear(&g_payload);
    put_text(&g_payload, CHAT_MODEL, "tiny");
    put_number(&g_inner, MSG_ROLE, 3);
    put_text(&g_innermost, 2, "f");
    put_message(&g_inner, MSG_CALLS, &g_innermost);
    put_bytes(&g_innermost, 2, STR_LIT("\0"));
    put_message(&g_inner, MSG_CALLS, &g_innermost);
    put_message(&g_payload, CHAT_MESSAGES, &g_inner);
    ck_assert_refused(REQUEST_CHAT, "messages[0].tool_calls[1].name");

    buf_clear(&g_payload);
    put_text(&g_payload, 2, "minilm");
    put_text(&g_payload, EMBED_INPUTS, "\xed\xa0\x80"); /* a surrogate */
    ck_assert_refused(REQUEST_EMBED, "inputs[0]");
}
END_TEST

START_TEST(refuses_malformed_protobuf)
{
    static const struct {
        struct str bytes;
        const char *param;
    } cases[] = {
        {STR_LIT("\x12"), ""},         /* a tag and nothing */
        {STR_LIT("\x12\x05tiny"), ""}, /* a length behind the end */
        {STR_LIT("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), ""},
        {STR_LIT("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), ""}, /* an endless varint */
        {STR_LIT("\xff\xff\xff\xff\x7f\x00"), ""},                     /* a tag of 35 bits */
        {STR_LIT("\x02\x00"), ""},                                     /* field 0 */
        {STR_LIT("\x0b\x0c"), ""},                                     /* a group */
        {STR_LIT("\x16"), ""},
        {STR_LIT("\x17"), ""},                             /* wire types 6 and 7 */
        {STR_LIT("\x10\x01"), "model"},                    /* a number for a string */
        {STR_LIT("\x1a\x02\x0a\x00"), "messages[0].role"}, /* bytes for an enum */
        {STR_LIT("\x1a\x02\x12\x05"), "messages[0]"},
        {STR_LIT("\x09\x01"), ""}, /* half a fixed64 */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_clear(&g_payload);
        ck_assert_int_eq(buf_append_str(&g_payload, cases[i].bytes), 0);
        ck_assert_refused(REQUEST_CHAT, cases[i].param);
    }
    buf_clear(&g_payload);
    ck_assert_refused(REQUEST_CHAT, "model"); /* an empty message is well-formed */
}
END_TEST

START_TEST(unknown_fields_are_ignored_up_to_a_limit)
{
    put_small_chat();
    put_number(&g_payload, 900, 1);
    put_text(&g_payload, 901, "\xff\0"); /* who knows what it is */
    put_double(&g_payload, 902, 1);
    put_varint(&g_payload, 903 << 3 | 5);
    ck_assert_int_eq(buf_append(&g_payload, "abcd", 4), 0);
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    for (int i = 4; i < RPC_MAX_UNKNOWN_FIELDS; i++) {
        put_number(&g_payload, 900, 1);
    }
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    put_number(&g_payload, 900, 1);
    ck_assert_refused(REQUEST_CHAT, "");
}
END_TEST

START_TEST(lists_reach_their_limits)
{
    put_text(&g_payload, CHAT_MODEL, "tiny");
    for (int i = 0; i < REQUEST_MAX_MESSAGES; i++) {
        put_chat_message(2, "a");
    }
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    ck_assert_uint_eq(g_req->n_messages, REQUEST_MAX_MESSAGES);
    put_chat_message(2, "a");
    ck_assert_refused(REQUEST_CHAT, "messages");

    buf_clear(&g_payload);
    put_text(&g_payload, 2, "minilm");
    for (int i = 0; i < REQUEST_MAX_INPUTS; i++) {
        put_text(&g_payload, EMBED_INPUTS, "a");
    }
    ck_assert_int_eq(decode(REQUEST_EMBED), 0);
    ck_assert_uint_eq(g_req->n_inputs, REQUEST_MAX_INPUTS);
    put_text(&g_payload, EMBED_INPUTS, "a");
    ck_assert_refused(REQUEST_EMBED, "inputs");

    buf_clear(&g_payload);
    put_small_chat();
    for (int i = 0; i < REQUEST_MAX_STOP; i++) {
        put_text(&g_inner, 9, "x");
    }
    put_bytes(&g_payload, CHAT_SAMPLING, buf_str(&g_inner));
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
    put_text(&g_inner, 9, "x");
    put_message(&g_payload, CHAT_SAMPLING, &g_inner);
    ck_assert_refused(REQUEST_CHAT, "sampling.stop");
}
END_TEST

/* 2 MiB of two-byte fields each: what costs protobuf-c a hundred times its size. */
START_TEST(bombs_stay_under_the_budget)
{
    static const struct {
        enum request_kind kind;
        const char *field;
    } bombs[] = {
        {REQUEST_CHAT, "\x0a\0"},     /* options, again and again */
        {REQUEST_CHAT, "\x22\0"},     /* sampling */
        {REQUEST_CHAT, "\x12\0"},     /* model */
        {REQUEST_COMPLETE, "\x1a\0"}, /* prompt */
    };

    for (size_t i = 0; i < ARRAY_LEN(bombs); i++) {
        buf_clear(&g_payload);
        put_bomb(&g_payload, bombs[i].field);
        ck_assert_int_eq(decode(bombs[i].kind), -EBADMSG);
        ck_assert_int_eq(g_problem.code, ERRCODE_PAYLOAD_TOO_LARGE);
    }
    buf_clear(&g_payload);
    put_bomb(&g_payload, "\x1a\0"); /* messages */
    ck_assert_refused(REQUEST_CHAT, "messages");
}
END_TEST

START_TEST(a_large_prompt_fits)
{
    char *text = malloc(3 << 20);

    ck_assert_ptr_nonnull(text);
    memset(text, 'a', (3 << 20) - 1);
    text[(3 << 20) - 1] = '\0';
    put_text(&g_payload, 2, "tiny");
    put_text(&g_payload, COMPLETE_PROMPT, text);
    ck_assert_int_eq(decode(REQUEST_COMPLETE), 0);
    ck_assert_uint_eq(g_req->prompt.len, (3 << 20) - 1);
    free(text);
}
END_TEST

START_TEST(a_small_request_arena_is_out_of_memory)
{
    put_small_chat();
    g_req = request_new(REQUEST_CHAT, 64);
    ck_assert_int_eq(rpc_decode_request(g_req, buf_str(&g_payload), &g_problem), -ENOMEM);
}
END_TEST

START_TEST(decodes_cancel)
{
    char id[REQUEST_ID_MAX + 1] = "untouched";

    put_text(&g_payload, 1, "call-1");
    ck_assert_int_eq(rpc_decode_cancel(buf_str(&g_payload), id, &g_problem), 0);
    ck_assert_str_eq(id, "call-1");
    put_text(&g_payload, 1, "call 2");
    ck_assert_int_eq(rpc_decode_cancel(buf_str(&g_payload), id, &g_problem), -EBADMSG);
    ck_assert_str_eq(g_problem.param, "request_id");
    ck_assert_str_eq(id, "call-1");
    ck_assert_int_eq(rpc_decode_cancel(STR_LIT(""), id, &g_problem), -EBADMSG);
    ck_assert_int_eq(rpc_decode_cancel(STR_LIT("\x0a"), id, &g_problem), -EBADMSG);
    ck_assert_int_eq(g_problem.code, ERRCODE_INVALID_REQUEST);
}
END_TEST

/* ---- answers */

static Sluice__V1__Event *read_event(const struct buf *b)
{
    Sluice__V1__Event *m = sluice__v1__event__unpack(NULL, b->len, (const uint8_t *) buf_ptr(b));

    ck_assert_ptr_nonnull(m);
    return m;
}

START_TEST(encodes_a_stream)
{
    const struct rpc_timings timings = {1, 22, 333};
    const float values[] = {0.5F, -1, 0};
    const enum finish_reason reasons[] = {FINISH_STOP, FINISH_LENGTH, FINISH_TOOL_CALLS,
                                          FINISH_CONTENT_FILTER};
    struct rpc_stream s = {0};
    Sluice__V1__Event *m;
    struct buf out;
    const struct event events[] = {
        {.type = EVENT_QUEUED, .queued = {3}},
        {.type = EVENT_STARTED, .started = {STR_LIT("tiny"), STR_LIT("d1")}},
        {.type = EVENT_TEXT, .text = {1, CHANNEL_THINKING, STR_LIT("a\0\xc3"), STR_LIT("{}")}},
        {.type = EVENT_TOOL_CALL, .tool_call = {0, 2, STR_LIT("id"), STR_LIT("f"), STR_LIT("{")}},
        {.type = EVENT_TOOL_CALL, .tool_call = {0, 2, STR_NONE, STR_NONE, STR_LIT("}")}},
        {.type = EVENT_EMBEDDING, .embedding = {7, values, 3}},
        {.type = EVENT_USAGE, .usage = {10, 4, 6}},
        {.type = EVENT_END, .end = {reasons, 4}},
    };

    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        buf_clear(&out);
        ck_assert_int_eq(rpc_encode_event(&s, &events[i], "call-1", &timings, &out), 0);
        if (events[i].type == EVENT_USAGE) {
            ck_assert_uint_eq(out.len, 0);
            continue;
        }
        m = read_event(&out);
        ck_assert_uint_eq(m->seq, i < 6 ? i + 1 : 7);
        switch (i) {
        case 0:
            ck_assert_int_eq(m->kind_case, SLUICE__V1__EVENT__KIND_QUEUED);
            ck_assert_uint_eq(m->queued->position, 3);
            break;
        case 1:
            ck_assert_str_eq(m->started->request_id, "call-1");
            ck_assert_str_eq(m->started->model, "tiny");
            ck_assert_str_eq(m->started->deployment, "d1");
            break;
        case 2:
            ck_assert_uint_eq(m->text->text.len, 3);
            ck_assert_mem_eq(m->text->text.data, "a\0\xc3", 3);
            ck_assert_int_eq(m->text->channel, SLUICE__V1__CHANNEL__CHANNEL_THINKING);
            ck_assert_uint_eq(m->text->choice, 1);
            ck_assert_str_eq(m->text->logprobs_json, "{}");
            break;
        case 3:
            ck_assert_str_eq(m->tool_call->id, "id");
            ck_assert_str_eq(m->tool_call->name, "f");
            ck_assert_uint_eq(m->tool_call->index, 2);
            ck_assert_str_eq(m->tool_call->arguments_json, "{");
            break;
        case 4:
            ck_assert_str_eq(m->tool_call->id, "");
            ck_assert_str_eq(m->tool_call->arguments_json, "}");
            break;
        case 5:
            ck_assert_uint_eq(m->embedding->index, 7);
            ck_assert_uint_eq(m->embedding->n_values, 3);
            ck_assert_mem_eq(m->embedding->values, values, sizeof values);
            break;
        default:
            ck_assert_int_eq(m->kind_case, SLUICE__V1__EVENT__KIND_DONE);
            ck_assert_uint_eq(m->done->n_finish_reasons, 4);
            for (unsigned k = 0; k < 4; k++) {
                ck_assert_uint_eq(m->done->finish_reasons[k], k + 1);
            }
            ck_assert_uint_eq(m->done->usage->input_tokens, 10);
            ck_assert_uint_eq(m->done->usage->cached_input_tokens, 4);
            ck_assert_uint_eq(m->done->usage->output_tokens, 6);
            ck_assert_uint_eq(m->done->timings->queue_usec, 1);
            ck_assert_uint_eq(m->done->timings->first_token_usec, 22);
            ck_assert_uint_eq(m->done->timings->total_usec, 333);
            break;
        }
        sluice__v1__event__free_unpacked(m, NULL);
    }
    buf_done(&out);
}
END_TEST

START_TEST(done_without_usage_has_none)
{
    const enum finish_reason reason = FINISH_STOP;
    const struct event ev = {.type = EVENT_END, .end = {&reason, 1}};
    const struct rpc_timings timings = {0};
    struct rpc_stream s = {0};
    struct buf out;

    buf_init(&out, 4096);
    ck_assert_int_eq(rpc_encode_event(&s, &ev, NULL, &timings, &out), 0);

    Sluice__V1__Event *m = read_event(&out);

    ck_assert_ptr_null(m->done->usage);
    sluice__v1__event__free_unpacked(m, NULL);
    buf_done(&out);
}
END_TEST

START_TEST(failed_is_no_event)
{
    const struct event ev = {.type = EVENT_FAILED, .failed = {.code = ERRCODE_INTERNAL}};
    struct rpc_stream s = {0};
    struct buf out;

    buf_init(&out, 4096);
    ck_assert_int_eq(rpc_encode_event(&s, &ev, NULL, NULL, &out), 0);
    ck_assert_uint_eq(out.len, 0);
    ck_assert_uint_eq(s.seq, 0);
    buf_done(&out);
}
END_TEST

/* A model server's bad byte must not make a strict client refuse the message. */
START_TEST(strings_are_mended)
{
    const struct event ev = {.type = EVENT_TOOL_CALL,
                             .tool_call = {0, 0, STR_LIT("a\0b"), STR_LIT("\xffg\xc3\xa9\xc3"),
                                           STR_LIT("{\xf0\x9f\x92\xa9}")}};
    struct rpc_stream s = {0};
    struct buf out;

    buf_init(&out, 4096);
    ck_assert_int_eq(rpc_encode_event(&s, &ev, NULL, NULL, &out), 0);

    Sluice__V1__Event *m = read_event(&out);

    ck_assert_str_eq(m->tool_call->id, "a?b");
    ck_assert_str_eq(m->tool_call->name, "?g\xc3\xa9?");
    ck_assert_str_eq(m->tool_call->arguments_json, "{\xf0\x9f\x92\xa9}");
    sluice__v1__event__free_unpacked(m, NULL);
    buf_done(&out);
}
END_TEST

START_TEST(a_full_buffer_takes_nothing)
{
    const struct event ev = {.type = EVENT_TEXT,
                             .text = {0, CHANNEL_ANSWER, STR_LIT("0123456789"), STR_NONE}};
    struct rpc_stream s = {0};
    struct buf out;

    buf_init(&out, 20);
    ck_assert_int_eq(rpc_encode_event(&s, &ev, NULL, NULL, &out), 0);
    size_t n = out.len;

    ck_assert_int_eq(rpc_encode_event(&s, &ev, NULL, NULL, &out), -ENOBUFS);
    ck_assert_uint_eq(out.len, n);
    ck_assert_uint_eq(s.seq, 1);
    buf_done(&out);
}
END_TEST

/* The hot path: with room in the buffer there is nothing to fail. */
START_TEST(text_needs_no_allocation)
{
    const struct event ev = {.type = EVENT_TEXT,
                             .text = {0, CHANNEL_ANSWER, STR_LIT("token"), STR_NONE}};
    struct rpc_stream s = {0};
    struct buf out;
    int r = 0;

    buf_init(&out, 4096);
    ck_assert_ptr_nonnull(buf_reserve(&out, 4000));
    fail_allocation(1);
    for (int i = 0; i < 100;
         i++) { /* nothing of Check in here: it may be linked statically, and allocates */
        r = r < 0 ? r : rpc_encode_event(&s, &ev, NULL, NULL, &out);
    }

    bool failed = allocation_failed();

    fail_allocation(0);
    ck_assert_int_eq(r, 0);
    ck_assert(!failed);
    ck_assert_uint_eq(s.seq, 100);
    buf_done(&out);
}
END_TEST

START_TEST(encodes_error_detail)
{
    struct buf out;

    buf_init(&out, 4096);
    ck_assert_int_eq(
        rpc_encode_error_detail(ERRCODE_QUEUE_FULL, 5000000, STR_LIT("p"), STR_LIT("id"), &out), 0);

    Sluice__V1__ErrorDetail *m =
        sluice__v1__error_detail__unpack(NULL, out.len, (const uint8_t *) buf_ptr(&out));

    ck_assert_ptr_nonnull(m);
    ck_assert_str_eq(m->code, "queue_full");
    ck_assert_uint_eq(m->http_status, 503);
    ck_assert_uint_eq(m->retry_after_usec, 5000000);
    ck_assert_str_eq(m->param, "p");
    ck_assert_str_eq(m->request_id, "id");
    sluice__v1__error_detail__free_unpacked(m, NULL);
    buf_done(&out);
}
END_TEST

START_TEST(encodes_info)
{
    const struct rpc_limits limits = {4194304, 262144, 30000000, 64};
    struct buf out;

    buf_init(&out, 65536);
    ck_assert_int_eq(rpc_encode_info(&limits, &out), 0);

    Sluice__V1__GetInfoResponse *m =
        sluice__v1__get_info_response__unpack(NULL, out.len, (const uint8_t *) buf_ptr(&out));

    ck_assert_ptr_nonnull(m);
    ck_assert_str_eq(m->version, SLUICE_VERSION);
    ck_assert_uint_ge(m->api_level, 1);
    ck_assert_uint_eq(m->limits->frame_bytes, 4194304);
    ck_assert_uint_eq(m->limits->calls_per_connection, 64);
    ck_assert_uint_eq(m->limits->output_high_water_bytes, 262144);
    ck_assert_uint_eq(m->limits->stalled_reader_usec, 30000000);
    ck_assert_uint_eq(m->limits->messages, REQUEST_MAX_MESSAGES);
    ck_assert_uint_eq(m->limits->inputs, REQUEST_MAX_INPUTS);
    ck_assert_uint_ge(m->n_features, 4);
    ck_assert_str_eq(m->features[0], "chat");
    /* FileDescriptorSet.file = 1, FileDescriptorProto.name = 1 */
    ck_assert_uint_gt(m->file_descriptor_set.len, 1000);
    ck_assert_uint_eq(m->file_descriptor_set.data[0], 0x0a);
    ck_assert_ptr_nonnull(
        memmem(m->file_descriptor_set.data, m->file_descriptor_set.len, "sluice.proto", 12));
    sluice__v1__get_info_response__free_unpacked(m, NULL);
    buf_done(&out);
}
END_TEST

START_TEST(encodes_models_status_and_cancel)
{
    const struct rpc_model models[] = {{"a", "ollama", 2, 1}, {"b", "mock", 1, 0}};
    const struct rpc_deployment deployments[] = {{"a", "d1", "ollama", NULL, 2, 1},
                                                 {"a", "d2", "openai", "no key", 1, 0}};
    const struct rpc_status status = {.uptime_usec = 5,
                                      .config_generation = 2,
                                      .pressure_level = 3,
                                      .some_permille = 100,
                                      .full_permille = 50,
                                      .pressure_source = "psi",
                                      .is_draining = true,
                                      .n_connections = 4,
                                      .n_queued = 5,
                                      .n_running = 6,
                                      .n_tickets = 7,
                                      .n_completed = 8,
                                      .n_failed = 9,
                                      .n_cancelled = 10,
                                      .n_refused = 11,
                                      .deployments = deployments,
                                      .n_deployments = 2};
    struct buf out;

    buf_init(&out, 4096);
    ck_assert_int_eq(rpc_encode_models(models, 2, &out), 0);

    Sluice__V1__ListModelsResponse *m =
        sluice__v1__list_models_response__unpack(NULL, out.len, (const uint8_t *) buf_ptr(&out));

    ck_assert_uint_eq(m->n_models, 2);
    ck_assert_str_eq(m->models[0]->name, "a");
    ck_assert_uint_eq(m->models[0]->deployments, 2);
    ck_assert_uint_eq(m->models[0]->available_deployments, 1);
    ck_assert_str_eq(m->models[1]->provider, "mock");
    sluice__v1__list_models_response__free_unpacked(m, NULL);

    buf_clear(&out);
    ck_assert_int_eq(rpc_encode_models(NULL, 0, &out), 0);
    ck_assert_uint_eq(out.len, 0);

    ck_assert_int_eq(rpc_encode_status(&status, &out), 0);

    Sluice__V1__StatusResponse *s =
        sluice__v1__status_response__unpack(NULL, out.len, (const uint8_t *) buf_ptr(&out));

    ck_assert_str_eq(s->version, SLUICE_VERSION);
    ck_assert_uint_eq(s->uptime_usec, 5);
    ck_assert_uint_eq(s->config_generation, 2);
    ck_assert_uint_eq(s->pressure_level, 3);
    ck_assert_str_eq(s->pressure_source, "psi");
    ck_assert_uint_eq(s->pressure_some_permille, 100);
    ck_assert_uint_eq(s->pressure_full_permille, 50);
    ck_assert(s->draining);
    ck_assert_uint_eq(s->connections, 4);
    ck_assert_uint_eq(s->calls_queued, 5);
    ck_assert_uint_eq(s->calls_running, 6);
    ck_assert_uint_eq(s->tickets, 7);
    ck_assert_uint_eq(s->calls_completed, 8);
    ck_assert_uint_eq(s->calls_failed, 9);
    ck_assert_uint_eq(s->calls_cancelled, 10);
    ck_assert_uint_eq(s->calls_refused, 11);
    ck_assert_uint_eq(s->n_deployments, 2);
    ck_assert(s->deployments[0]->available && !s->deployments[1]->available);
    ck_assert_str_eq(s->deployments[1]->unavailable_reason, "no key");
    ck_assert_uint_eq(s->deployments[0]->slots, 2);
    ck_assert_uint_eq(s->deployments[0]->slots_in_use, 1);
    sluice__v1__status_response__free_unpacked(s, NULL);

    buf_clear(&out);
    ck_assert_int_eq(rpc_encode_cancel_response(true, &out), 0);
    ck_assert_str_is(buf_str(&out), "\x08\x01");
    buf_done(&out);
}
END_TEST

/* ---- out of memory */

static void decode_once(void)
{
    int r = decode(REQUEST_CHAT);

    ck_assert(r == 0 || r == -ENOMEM);
}

START_TEST(decoding_survives_failed_allocations)
{
    put_text(&g_payload, CHAT_MODEL, "tiny");
    for (int i = 0; i < 40; i++) {
        put_number(&g_inner, MSG_ROLE, 3);
        put_text(&g_inner, MSG_TEXT,
                 "a somewhat longer text, so that more than one block is needed");
        put_text(&g_innermost, 2, "f");
        put_message(&g_inner, MSG_CALLS, &g_innermost);
        put_text(&g_innermost, 1, "bytes");
        put_message(&g_inner, MSG_IMAGES, &g_innermost);
        put_message(&g_payload, CHAT_MESSAGES, &g_inner);
    }
    put_text(&g_inner, 9, "stop");
    put_message(&g_payload, CHAT_SAMPLING, &g_inner);
    put_text(&g_payload, CHAT_TOOLS, "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]");
    for_each_failed_allocation(decode_once);
    ck_assert_int_eq(decode(REQUEST_CHAT), 0);
}
END_TEST

static void cancel_once(void)
{
    char id[REQUEST_ID_MAX + 1];
    int r = rpc_decode_cancel(buf_str(&g_payload), id, &g_problem);

    ck_assert(r == 0 || (r == -EBADMSG && g_problem.code == ERRCODE_OUT_OF_MEMORY));
}

static void encode_once(void)
{
    const enum finish_reason reason = FINISH_STOP;
    const struct rpc_timings timings = {0};
    const struct rpc_model model = {"a", "ollama", 2, 1};
    const struct rpc_deployment deployment = {"a", "d1", "ollama", NULL, 2, 1};
    const struct rpc_status status = {
        .pressure_source = "", .deployments = &deployment, .n_deployments = 1};
    const struct event events[] = {
        {.type = EVENT_STARTED, .started = {STR_LIT("tiny"), STR_LIT("d1")}},
        {.type = EVENT_TEXT, .text = {0, CHANNEL_ANSWER, STR_LIT("a"), STR_LIT("{}")}},
        {.type = EVENT_TOOL_CALL, .tool_call = {0, 0, STR_LIT("id"), STR_LIT("f"), STR_LIT("{}")}},
        {.type = EVENT_END, .end = {&reason, 1}},
    };
    struct rpc_stream s = {0};
    struct buf out;
    int r;

    buf_init(&out, 65536);
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        uint64_t seq = s.seq;

        r = rpc_encode_event(&s, &events[i], "id", &timings, &out);
        ck_assert(r == 0 || (r == -ENOMEM && s.seq == seq));
    }
    r = rpc_encode_error_detail(ERRCODE_INTERNAL, 0, STR_LIT("p"), STR_LIT("id"), &out);
    ck_assert(r == 0 || r == -ENOMEM);
    r = rpc_encode_models(&model, 1, &out);
    ck_assert(r == 0 || r == -ENOMEM);
    r = rpc_encode_status(&status, &out);
    ck_assert(r == 0 || r == -ENOMEM);
    buf_done(&out);
}

START_TEST(the_rest_survives_failed_allocations)
{
    put_text(&g_payload, 1, "call-1");
    for_each_failed_allocation(cancel_once);
    for_each_failed_allocation(encode_once);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, decodes_a_small_chat);
    tcase_add_test(tc, decodes_options);
    tcase_add_test(tc, refuses_wrong_options);
    tcase_add_test(tc, decodes_sampling);
    tcase_add_test(tc, refuses_sampling_out_of_range);
    tcase_add_test(tc, decodes_a_conversation_with_tools);
    tcase_add_test(tc, decodes_images);
    tcase_add_test(tc, refuses_wrong_images);
    tcase_add_test(tc, refuses_wrong_messages);
    tcase_add_test(tc, refuses_wrong_models);
    tcase_add_test(tc, refuses_wrong_json);
    tcase_add_test(tc, decodes_complete);
    tcase_add_test(tc, decodes_embed);
    tcase_add_test(tc, refuses_bad_strings);
    tcase_add_test(tc, refuses_malformed_protobuf);
    tcase_add_test(tc, unknown_fields_are_ignored_up_to_a_limit);
    tcase_add_test(tc, lists_reach_their_limits);
    tcase_add_test(tc, bombs_stay_under_the_budget);
    tcase_add_test(tc, a_large_prompt_fits);
    tcase_add_test(tc, a_small_request_arena_is_out_of_memory);
    tcase_add_test(tc, decodes_cancel);
    tcase_add_test(tc, encodes_a_stream);
    tcase_add_test(tc, done_without_usage_has_none);
    tcase_add_test(tc, failed_is_no_event);
    tcase_add_test(tc, strings_are_mended);
    tcase_add_test(tc, a_full_buffer_takes_nothing);
    tcase_add_test(tc, text_needs_no_allocation);
    tcase_add_test(tc, encodes_error_detail);
    tcase_add_test(tc, encodes_info);
    tcase_add_test(tc, encodes_models_status_and_cancel);
    tcase_add_test(tc, decoding_survives_failed_allocations);
    tcase_add_test(tc, the_rest_survives_failed_allocations);
}

TEST_MAIN("rpc_msg", add_tests)
