/*
 * ollama_json, answers: lines as a real Ollama 0.34 wrote them, whole and byte by byte, to events;
 * its errors to errors.def.
 */
#include "wire/ollama_json.h"

#include <errno.h>
#include <stdio.h>

#include "support.h"
#include "wire/json.h"

#define HEAD "{\"model\":\"tiny\",\"created_at\":\"2026-11-22T13:44:32.409357757Z\","
#define CHUNK(text)                                                                                \
    HEAD "\"message\":{\"role\":\"assistant\",\"content\":\"" text "\"},\"done\":false}\n"
#define DONE(reason, counts)                                                                            \
    HEAD                                                                                                \
        "\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"" reason \
        "\",\"total_duration\":11848133,\"load_duration\":4524632" counts "}\n"
#define COUNTS                                                                                     \
    ",\"prompt_eval_count\":25,\"prompt_eval_cached_count\":13,\"prompt_eval_duration\":555000,"   \
    "\"eval_count\":4,\"eval_duration\":840000"

static struct recording_sink g_sink;
static struct problem g_problem;
static enum request_kind g_kind;
static size_t g_n_inputs;
static uint32_t g_dimensions;
static const char *g_bytes;
static size_t g_n_bytes, g_step;
static bool g_was_full;

static void setup(void)
{
    recording_sink_init(&g_sink);
    g_kind = REQUEST_CHAT;
    g_n_inputs = 0;
    g_dimensions = 0;
    g_was_full = false;
}

static void teardown(void)
{
    recording_sink_done(&g_sink);
}

static struct ollama_decoder *decoder_new(void)
{
    struct request req = {
        .kind = g_kind, .id = "call-1", .n_inputs = g_n_inputs, .dimensions = g_dimensions};

    return ollama_decoder_new(&req, &g_sink.sink);
}

/* Feeds all of g_bytes in pieces of g_step, then the end. */
static int decode_pieces(void)
{
    struct ollama_decoder *d = decoder_new();
    bool is_full = false;
    int r = 0;

    memset(&g_problem, 0, sizeof g_problem);
    g_problem.code = ERRCODE_NONE;
    if (!d) {
        return -ENOMEM;
    }
    for (size_t i = 0; r == 0 && i < g_n_bytes; i += g_step) {
        size_t n = g_n_bytes - i < g_step ? g_n_bytes - i : g_step;

        r = ollama_decoder_feed(d, (struct str) {g_bytes + i, n}, 1000 + i, &is_full, &g_problem);
        g_was_full = g_was_full || is_full;
    }
    if (r == 0) {
        r = ollama_decoder_end(d, 9999, &g_problem);
    }
    if (r == 0 && !ollama_decoder_is_over(d)) {
        r = -EPROTO;
    }
    ollama_decoder_free(d);
    return r;
}

static int decode(const char *text)
{
    g_bytes = text;
    g_n_bytes = strlen(text);
    g_step = g_n_bytes > 0 ? g_n_bytes : 1;
    recording_sink_done(&g_sink);
    recording_sink_init(&g_sink);
    return decode_pieces();
}

/* The same events however the bytes are split. */
static void check_events(const char *text, const char *expected)
{
    static const size_t steps[] = {1, 2, 7, 100};

    ck_assert_msg(decode(text) == 0, "%s", g_problem.text);
    ck_assert_str_eq(recording_sink_text(&g_sink), expected);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        g_step = steps[i];
        recording_sink_done(&g_sink);
        recording_sink_init(&g_sink);
        ck_assert_msg(decode_pieces() == 0, "%s", g_problem.text);
        ck_assert_str_eq(recording_sink_text(&g_sink), expected);
    }
}

#define ck_assert_fails(input, error, expected)                                                    \
    do {                                                                                           \
        ck_assert_int_eq(decode(input), -EBADMSG);                                                 \
        ck_assert_int_eq(g_problem.code, error);                                                   \
        ck_assert(g_problem.text[0] != '\0');                                                      \
        ck_assert_str_eq(recording_sink_text(&g_sink), expected);                                  \
    } while (0)

/* ---- chat */

START_TEST(a_chat)
{
    check_events(CHUNK(" ln") CHUNK("D") DONE("length", COUNTS), "TEXT 0 answer  ln\n"
                                                                 "TEXT 0 answer D\n"
                                                                 "USAGE 25 13 4\n"
                                                                 "END length\n");
}
END_TEST

START_TEST(escapes_are_resolved)
{
    check_events(CHUNK("\\u003cb\\u003e \\\"x\\\"\\n\\ud83d\\ude00 d\xc3\xa9j\xc3\xa0")
                     DONE("stop", COUNTS),
                 "TEXT 0 answer <b> \"x\"\n\xf0\x9f\x98\x80 d\xc3\xa9j\xc3\xa0\n"
                 "USAGE 25 13 4\n"
                 "END stop\n");
}
END_TEST

/* Every delta of thinking counts, not just the first ones, and it never mixes with the answer. */
START_TEST(thinking)
{
#define THINK(text)                                                                                \
    HEAD "\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"" text               \
         "\"},\"done\":false}\n"
    check_events(THINK("he") THINK("ll") THINK("o") CHUNK("4") DONE("stop", COUNTS),
                 "TEXT 0 thinking he\n"
                 "TEXT 0 thinking ll\n"
                 "TEXT 0 thinking o\n"
                 "TEXT 0 answer 4\n"
                 "USAGE 25 13 4\n"
                 "END stop\n");
}
END_TEST

START_TEST(a_tool_call)
{
    check_events(
        "{\"model\":\"smollm2-tools\",\"message\":{\"role\":\"assistant\",\"content\":\"\","
        "\"tool_calls\":[{\"id\":\"call_o0avk2in\",\"function\":{\"index\":0,\"name\":"
        "\"get_weather\",\"arguments\":{\"city\":\"Paris\",\"n\": 1.50}}}]},\"done\":false}\n" DONE(
            "stop", COUNTS),
        "TOOL_CALL 0 0 call_o0avk2in get_weather {\"city\":\"Paris\",\"n\": 1.50}\n"
        "USAGE 25 13 4\n"
        "END tool_calls\n");
}
END_TEST

/*
 * No id, no arguments, two calls in one line, a third later with Ollama's index starting again:
 * ours count on.
 */
START_TEST(tool_calls_without_ids)
{
    struct str lines[4];
    const char *p;

    ck_assert_int_eq(
        decode(HEAD
               "\"message\":{\"role\":\"assistant\",\"content\":\"ok\",\"tool_calls\":["
               "{\"function\":{\"name\":\"a\",\"arguments\":{}}},"
               "{\"function\":{\"name\":\"b\"}}]},\"done\":false}\n" HEAD
               "\"message\":{\"tool_calls\":[{\"id\":\"\",\"function\":{\"index\":0,\"name\":"
               "\"c\\u0022\",\"arguments\":\"{\\\"x\\\":1}\"}}]},\"done\":true,\"done_reason\":"
               "\"stop\"}\n"),
        0);
    p = recording_sink_text(&g_sink);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        const char *lf = strchr(p, '\n');

        lines[i] = (struct str) {p, (size_t) (lf - p)};
        p = lf + 1;
    }
    ck_assert_str_is(lines[0], "TEXT 0 answer ok");
    ck_assert(str_has_prefix(lines[1], "TOOL_CALL 0 0 call_"));
    ck_assert(str_has_prefix(lines[2], "TOOL_CALL 0 1 call_"));
    ck_assert(str_has_prefix(lines[3], "TOOL_CALL 0 2 call_"));
    ck_assert_ptr_nonnull(memmem(lines[1].ptr, lines[1].len, " a {}", 5));
    ck_assert_ptr_nonnull(memmem(lines[2].ptr, lines[2].len, " b {}", 5));
    ck_assert_ptr_nonnull(memmem(lines[3].ptr, lines[3].len, " c\" {\"x\":1}", 11));
    ck_assert_str_eq(p, "USAGE 0 0 0\nEND tool_calls\n");
    /* an id means one call only */
    ck_assert(memcmp(lines[1].ptr + 14, lines[2].ptr + 14, 24) != 0);
}
END_TEST

START_TEST(a_cut_answer_with_a_call_stays_cut)
{
    ck_assert_int_eq(decode(HEAD
                            "\"message\":{\"tool_calls\":[{\"id\":\"i\",\"function\":{\"name\":"
                            "\"f\"}}]},\"done\":false}\n" DONE("length", "")),
                     0);
    ck_assert_str_eq(recording_sink_text(&g_sink), "TOOL_CALL 0 0 i f {}\n"
                                                   "USAGE 0 0 0\n"
                                                   "END length\n");
}
END_TEST

/* The order of members changed between versions, and zero counts are left out. */
START_TEST(nothing_relies_on_order_or_presence)
{
    check_events("{\"done_reason\":\"stop\",\"done\":false,\"message\":{\"content\":\"a\","
                 "\"role\":\"assistant\"}}\r\n\r\n"
                 "{\"eval_count\":1,\"done_reason\":\"stop\",\"done\":true}\n",
                 "TEXT 0 answer a\n"
                 "USAGE 0 0 1\n"
                 "END stop\n");
    check_events("{\"message\":{\"content\":null,\"thinking\":null,\"tool_calls\":null},\"done\":"
                 "false,\"error\":null}\n"
                 "{\"message\":null,\"done\":true,\"prompt_eval_count\":-1,\"eval_count\":\"x\","
                 "\"prompt_eval_cached_count\":5}\n",
                 "USAGE 0 0 0\n"
                 "END stop\n");
}
END_TEST

/* One object without a line end, even though a stream was asked for. */
START_TEST(a_load_is_no_answer)
{
    static const char *const reasons[] = {"load", "unload"};

    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        char body[256];

        (void) snprintf(body, sizeof body,
                        "{\"model\":\"tiny\",\"created_at\":\"2026-11-22T13:44:32.4Z\","
                        "\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,"
                        "\"done_reason\":\"%s\"}",
                        reasons[i]);
        ck_assert_fails(body, ERRCODE_UPSTREAM_CUT, "");
    }
    check_events("{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"loaded\"}",
                 "USAGE 0 0 0\n"
                 "END stop\n");
}
END_TEST

START_TEST(what_comes_after_the_end_is_ignored)
{
    check_events(CHUNK("a") DONE("stop", COUNTS) CHUNK("b") "garbage\n", "TEXT 0 answer a\n"
                                                                         "USAGE 25 13 4\n"
                                                                         "END stop\n");
}
END_TEST

START_TEST(chat_logprobs)
{
    check_events(
        HEAD "\"message\":{\"role\":\"assistant\",\"content\":\" ln\"},\"done\":false,\"logprobs\":"
             "[{\"token\":\" ln\",\"logprob\":-6.678,\"bytes\":[32,108,110],\"top_logprobs\":"
             "[{\"token\":\"x\",\"logprob\":-1}]},{\"token\":\"y\",\"logprob\":-2}]}\n" DONE(
                 "stop", COUNTS),
        "TEXT 0 answer  ln {\"content\":[{\"token\":\" ln\",\"logprob\":-6.678,\"bytes\":[32,108,"
        "110],\"top_logprobs\":[{\"token\":\"x\",\"logprob\":-1}]},{\"token\":\"y\",\"logprob\":-2,"
        "\"bytes\":null,\"top_logprobs\":[]}]}\n"
        "USAGE 25 13 4\n"
        "END stop\n");
}
END_TEST

START_TEST(logprobs_of_thinking_stay_with_it)
{
    ck_assert_int_eq(
        decode(HEAD "\"message\":{\"content\":\"\",\"thinking\":\"t\"},\"logprobs\":[{\"token\":"
                    "\"t\",\"logprob\":0}],\"done\":false}\n" HEAD
                    "\"message\":{\"content\":\"\"},\"logprobs\":[{\"token\":"
                    "\"u\",\"logprob\":0}],\"done\":true}\n"),
        0);
    ck_assert_str_eq(
        recording_sink_text(&g_sink),
        "TEXT 0 thinking t {\"content\":[{\"token\":\"t\",\"logprob\":0,\"bytes\":null,"
        "\"top_logprobs\":[]}]}\n"
        "TEXT 0 answer  {\"content\":[{\"token\":\"u\",\"logprob\":0,\"bytes\":null,"
        "\"top_logprobs\":[]}]}\n"
        "USAGE 0 0 0\n"
        "END stop\n");
}
END_TEST

#define AT(time, content)                                                                          \
    "{\"model\":\"m\",\"created_at\":\"" time "\",\"message\":{\"role\":\"assistant\"," content    \
    "},\"done\":false}\n"

/* A line like the last one is not read in full; what it says must be the same. */
START_TEST(lines_that_are_alike)
{
    check_events(AT("1", "\"content\":\"a\"") AT("23", "\"content\":\"b\\n\"")
                     AT("3", "\"content\":\"\"") AT("4", "\"content\":\"c\"")
                         AT("5", "\"content\":\"\",\"thinking\":\"d\"")
                             AT("6", "\"content\":\"\",\"thinking\":\"e\"")
                                 AT("7", "\"content\":\"f\"") DONE("stop", COUNTS),
                 "TEXT 0 answer a\n"
                 "TEXT 0 answer b\n\n"
                 "TEXT 0 answer c\n"
                 "TEXT 0 thinking d\n"
                 "TEXT 0 thinking e\n"
                 "TEXT 0 answer f\n"
                 "USAGE 25 13 4\n"
                 "END stop\n");
}
END_TEST

START_TEST(lines_that_only_look_alike)
{
    ck_assert_fails(AT("1", "\"content\":\"a\"") AT("2", "\"content\":\"b\",\"content\":\"c\""),
                    ERRCODE_UPSTREAM_GARBAGE, "TEXT 0 answer a\n");
    ck_assert_fails(AT("1", "\"content\":\"a\"") AT("\xff", "\"content\":\"b\""),
                    ERRCODE_UPSTREAM_GARBAGE, "TEXT 0 answer a\n");
    ck_assert_fails(AT("1", "\"content\":\"a\"") AT("2", "\"content\":1"), ERRCODE_UPSTREAM_GARBAGE,
                    "TEXT 0 answer a\n");
}
END_TEST

/* ---- generate */

START_TEST(a_completion)
{
    g_kind = REQUEST_COMPLETE;
    check_events("{\"model\":\"m\",\"created_at\":\"Z\",\"response\":\"Hi\",\"done\":false}\n"
                 "{\"model\":\"m\",\"response\":\"\",\"thinking\":\"t\",\"done\":false}\n"
                 "{\"model\":\"m\",\"response\":\" you\",\"done\":true,\"done_reason\":\"stop\","
                 "\"context\":[1,2,3],\"prompt_eval_count\":2,\"eval_count\":3}\n",
                 "TEXT 0 answer Hi\n"
                 "TEXT 0 thinking t\n"
                 "TEXT 0 answer  you\n"
                 "USAGE 2 0 3\n"
                 "END stop\n");
}
END_TEST

START_TEST(completion_logprobs)
{
    g_kind = REQUEST_COMPLETE;
    ck_assert_int_eq(
        decode(
            "{\"response\":\"d\xc3\xa9x\",\"logprobs\":[{\"token\":\"d\xc3\xa9\",\"logprob\":-1.5,"
            "\"top_logprobs\":[{\"token\":\"\\ufffd\",\"logprob\":-2},{\"token\":\"\\ufffd\","
            "\"logprob\":-3},{\"token\":\"d\",\"logprob\":-4}]},{\"token\":\"x\",\"logprob\":-1}]"
            ",\"done\":false}\n"
            "{\"response\":\"y\",\"logprobs\":[{\"token\":\"y\",\"logprob\":0}],\"done\":true}\n"),
        0);
    ck_assert_str_eq(
        recording_sink_text(&g_sink),
        "TEXT 0 answer d\xc3\xa9x {\"tokens\":[\"d\xc3\xa9\",\"x\"],\"token_logprobs\":[-1.5,-1],"
        "\"top_logprobs\":[{\"\\ufffd\":-2,\"d\":-4},null],\"text_offset\":[0,2]}\n"
        "TEXT 0 answer y {\"tokens\":[\"y\"],\"token_logprobs\":[0],\"top_logprobs\":[null],"
        "\"text_offset\":[3]}\n"
        "USAGE 0 0 0\n"
        "END stop\n");
}
END_TEST

/* ---- ends that are none */

START_TEST(an_end_without_done_is_a_cut)
{
    ck_assert_fails("", ERRCODE_UPSTREAM_CUT, "");
    ck_assert_fails(CHUNK("a"), ERRCODE_UPSTREAM_CUT, "TEXT 0 answer a\n");
    /* in the middle of a line */
    ck_assert_fails(CHUNK("a") "{\"model\":\"tiny\",\"mess", ERRCODE_UPSTREAM_CUT,
                    "TEXT 0 answer a\n");
}
END_TEST

START_TEST(an_error_line_ends_the_answer)
{
    ck_assert_fails(CHUNK("a") "{\"error\":\"an error was encountered while running the model: "
                               "unexpected EOF\"}\n",
                    ERRCODE_UPSTREAM_ERROR, "TEXT 0 answer a\n");
    ck_assert_ptr_nonnull(strstr(g_problem.text, "unexpected EOF"));
    ck_assert_fails("{\"error\":\"prediction aborted, token repeat limit reached\"}",
                    ERRCODE_UPSTREAM_ERROR, "");
    ck_assert_fails("{\"error\":\"model requires more system memory (5 GiB) than is available\"}\n",
                    ERRCODE_UPSTREAM_OUT_OF_MEMORY, "");
}
END_TEST

START_TEST(garbage)
{
    static const char *const cases[] = {
        "<html>\n",
        "[]\n",
        "\"x\"\n",
        "{\"message\":{\"content\":\"a\"},\"done\":false} {}\n",
        "{\"message\":{\"content\":7}}\n",
        "{\"message\":[]}\n",
        "{\"message\":{\"tool_calls\":{}}}\n",
        "{\"message\":{\"tool_calls\":[7]}}\n",
        "{\"message\":{\"tool_calls\":[{\"function\":{\"arguments\":{}}}]}}\n",
        "{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":[]}}]}}\n",
        "{\"message\":{\"tool_calls\":[{\"id\":7,\"function\":{\"name\":\"f\"}}]}}\n",
        "{\"message\":{\"content\":\"\xff\"}}\n",
        "{\"done\":true,\"done\":true}\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ck_assert_fails(cases[i], ERRCODE_UPSTREAM_GARBAGE, "");
    }
}
END_TEST

/* Feeds n bytes of a long text in one go. */
static int decode_long(char *text, size_t n)
{
    int r;

    text[n] = '\0';
    r = decode(text);
    free(text);
    return r;
}

START_TEST(a_line_over_the_maximum)
{
    size_t n = (1 << 20) + 100;
    char *text = malloc(n + 1);

    ck_assert_ptr_nonnull(text);
    memset(text, ' ', n);
    memcpy(text, "{\"x\":\"", 6);
    ck_assert_int_eq(decode_long(text, n), -EBADMSG);
    ck_assert_int_eq(g_problem.code, ERRCODE_UPSTREAM_GARBAGE);
}
END_TEST

START_TEST(a_full_sink_is_told)
{
    struct ollama_decoder *d = decoder_new();
    bool is_full = false;

    g_sink.say_full = true;
    ck_assert_int_eq(
        ollama_decoder_feed(d, STR_LIT(CHUNK("a") CHUNK("b")), 1, &is_full, &g_problem), 0);
    ck_assert(is_full); /* and both were delivered whole */
    ck_assert_uint_eq(g_sink.n_events, 2);
    g_sink.say_full = false;
    ck_assert_int_eq(ollama_decoder_feed(d, STR_LIT(CHUNK("c")), 1, &is_full, &g_problem), 0);
    ck_assert(!is_full);
    ollama_decoder_free(d);
}
END_TEST

/* ---- embeddings */

START_TEST(embeddings)
{
    g_kind = REQUEST_EMBED;
    g_n_inputs = 2;
    check_events("{\"model\":\"all-minilm\",\"embeddings\":[[0.5,-1,2.5e-1],[0,1,3]],"
                 "\"total_duration\":301142779,\"load_duration\":257754599,\"prompt_eval_count\":"
                 "42}",
                 "EMBEDDING 0 0.5 -1 0.25\n"
                 "EMBEDDING 1 0 1 3\n"
                 "USAGE 42 0 0\n"
                 "END stop\n");
}
END_TEST

START_TEST(dimensions)
{
    g_kind = REQUEST_EMBED;
    g_n_inputs = 2;
    g_dimensions = 2; /* a version that does not know of them */
    check_events("{\"embeddings\":[[3,4,99],[0,0,1]]}", "EMBEDDING 0 0.6 0.8\n"
                                                        "EMBEDDING 1 0 0\n"
                                                        "USAGE 0 0 0\n"
                                                        "END stop\n");
    g_dimensions = 3; /* as asked: not touched */
    check_events("{\"embeddings\":[[3,4,99],[0,0,1]]}", "EMBEDDING 0 3 4 99\n"
                                                        "EMBEDDING 1 0 0 1\n"
                                                        "USAGE 0 0 0\n"
                                                        "END stop\n");
    g_dimensions = 4;
    ck_assert_fails("{\"embeddings\":[[3,4,99],[0,0,1]]}", ERRCODE_UNSUPPORTED_PARAMETER, "");
    ck_assert_str_eq(g_problem.param, "dimensions");
}
END_TEST

START_TEST(wrong_embeddings)
{
    static const char *const cases[] = {
        "{\"embeddings\":[[1,2]]}",
        "{\"embeddings\":[[1],[2],[3]]}",
        "{\"embeddings\":[]}",
        "{\"embeddings\":[[1],[]]}",
        "{\"embeddings\":[[1],7]}",
        "{\"embeddings\":[[1],[1,2]]}",
        "{\"embeddings\":{\"0\":1,\"1\":2}}",
        "{}",
        "[]",
        "{\"embeddings\":[[1],[2]]} {}",
    };

    g_kind = REQUEST_EMBED;
    g_n_inputs = 2;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ck_assert_fails(cases[i], ERRCODE_UPSTREAM_GARBAGE, "");
    }
    ck_assert_int_eq(decode("{\"embeddings\":[[1],[\"a\"]]}"), -EBADMSG);
    ck_assert_int_eq(g_problem.code, ERRCODE_UPSTREAM_GARBAGE);
    ck_assert_int_eq(decode("{\"embeddings\":[[1],[1e300]]}"), -EBADMSG);
    ck_assert_int_eq(g_problem.code, ERRCODE_UPSTREAM_GARBAGE);
    ck_assert_fails("{\"embeddings\":[[1],[", ERRCODE_UPSTREAM_CUT, "");
    ck_assert_fails("", ERRCODE_UPSTREAM_CUT, "");
    ck_assert_fails("{\"error\":\"the input length exceeds the context length\"}",
                    ERRCODE_CONTEXT_LENGTH, "");
}
END_TEST

/* ---- memory */

static void decode_once(void)
{
    int r;

    recording_sink_done(&g_sink);
    recording_sink_init(&g_sink);
    r = decode_pieces();
    /* an error text that cannot be read for want of memory stays an error */
    ck_assert(r == 0 || r == -ENOMEM || r == -EBADMSG);
}

static void fail_each(enum request_kind kind, size_t n_inputs, const char *text, size_t step)
{
    g_kind = kind;
    g_n_inputs = n_inputs;
    g_bytes = text;
    g_n_bytes = strlen(text);
    g_step = step;
    for_each_failed_allocation(decode_once);
}

START_TEST(decoding_survives_failed_allocations)
{
    fail_each(REQUEST_CHAT, 0,
              CHUNK("a\\n") HEAD
              "\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"\\u0066\",\"arguments\":"
              "{}}}]},\"logprobs\":[{\"token\":\"x\",\"logprob\":0}],\"done\":false}\n" DONE(
                  "stop", COUNTS),
              50);
    fail_each(REQUEST_COMPLETE, 0,
              "{\"response\":\"\\n\",\"logprobs\":[{\"token\":\"\\n\",\"logprob\":0}],\"done\":"
              "true}\n",
              10);
    fail_each(REQUEST_EMBED, 1, "{\"embeddings\":[[1,2]]}", 10);
    fail_each(REQUEST_CHAT, 0, "{\"error\":\"\\\"tiny\\\" does not support thinking\"}\n", 100);
}
END_TEST

/* Counts, and uses nothing of Check, which may be linked statically and allocates. */
struct counting_sink {
    struct event_sink sink;
    unsigned n_events;
};

static enum sink_answer count_event(struct event_sink *sink, const struct event *ev)
{
    CONTAINER_OF(sink, struct counting_sink, sink)->n_events += ev->type == EVENT_TEXT ? 1 : 0;
    return SINK_ROOM;
}

/* The hot path: once its buffers are there, a line costs no allocation, wherever it is split. */
START_TEST(a_line_needs_no_allocation)
{
    static const char lines[] = CHUNK(" token") CHUNK("to\\\"ken");
    struct request req = {.kind = REQUEST_CHAT};
    struct counting_sink sink = {.sink = {.deliver = count_event}};
    struct ollama_decoder *d = ollama_decoder_new(&req, &sink.sink);
    bool is_full, failed = false;
    int r = 0;

    ck_assert_ptr_nonnull(d);
    for (size_t i = 0; r == 0 && i < 2 * sizeof lines; i++) {
        size_t cut = i % sizeof lines;

        failed = failed || allocation_failed();
        fail_allocation(i < sizeof lines ? 0 : 1); /* the first round fills the buffers */

        r = ollama_decoder_feed(d, (struct str) {lines, cut}, 1, &is_full, &g_problem);
        r = r < 0 ? r
                  : ollama_decoder_feed(d, (struct str) {lines + cut, sizeof lines - 1 - cut}, 1,
                                        &is_full, &g_problem);
    }

    failed = failed || allocation_failed();
    fail_allocation(0);
    ck_assert_int_eq(r, 0);
    ck_assert(!failed);
    ck_assert_uint_eq(sink.n_events, 4 * sizeof lines);
    ollama_decoder_free(d);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_chat);
    tcase_add_test(tc, escapes_are_resolved);
    tcase_add_test(tc, thinking);
    tcase_add_test(tc, a_tool_call);
    tcase_add_test(tc, tool_calls_without_ids);
    tcase_add_test(tc, a_cut_answer_with_a_call_stays_cut);
    tcase_add_test(tc, nothing_relies_on_order_or_presence);
    tcase_add_test(tc, a_load_is_no_answer);
    tcase_add_test(tc, what_comes_after_the_end_is_ignored);
    tcase_add_test(tc, chat_logprobs);
    tcase_add_test(tc, logprobs_of_thinking_stay_with_it);
    tcase_add_test(tc, lines_that_are_alike);
    tcase_add_test(tc, lines_that_only_look_alike);
    tcase_add_test(tc, a_completion);
    tcase_add_test(tc, completion_logprobs);
    tcase_add_test(tc, an_end_without_done_is_a_cut);
    tcase_add_test(tc, an_error_line_ends_the_answer);
    tcase_add_test(tc, garbage);
    tcase_add_test(tc, a_line_over_the_maximum);
    tcase_add_test(tc, a_full_sink_is_told);
    tcase_add_test(tc, embeddings);
    tcase_add_test(tc, dimensions);
    tcase_add_test(tc, wrong_embeddings);
    tcase_add_test(tc, decoding_survives_failed_allocations);
    tcase_add_test(tc, a_line_needs_no_allocation);
}

TEST_MAIN("ollama_reply", add_tests)
