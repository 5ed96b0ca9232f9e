#pragma once
/*
 * From a request to the bytes of its answer, for fake_upstream.c: pure functions over memory, apart
 * from the sockets and timers there.
 *
 * An answer is rendered at the first use of its key as one whole HTTP response, with marks between
 * its tokens, and is kept for the life of the process. What a model of a given name says is
 * bench.h's agreement.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define MAX_ANSWERS    256 /* different answers in one run */
#define MAX_NAME_BYTES 64

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "fake_upstream: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static void *grow(void *p, size_t bytes)
{
    p = realloc(p, bytes);
    if (!p) {
        die("out of memory");
    }
    return p;
}

/* ---------------------------------------------------------------- text under construction */
struct text {
    char *ptr;
    size_t len, cap;
};

static void text_add(struct text *t, const char *bytes, size_t n)
{
    while (t->len + n + 1 > t->cap) {
        t->cap = t->cap ? 2 * t->cap : 1024;
        t->ptr = grow(t->ptr, t->cap);
    }
    memcpy(t->ptr + t->len, bytes, n);
    t->len += n;
    t->ptr[t->len] = 0;
}

static void __attribute__((format(printf, 2, 3))) text_printf(struct text *t, const char *fmt, ...)
{
    char small[1024];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t) n >= sizeof small) {
        die("text longer than its buffer");
    }
    text_add(t, small, (size_t) n);
}

/* ---------------------------------------------------------------- answers */
enum route {
    ROUTE_OPENAI_CHAT,
    ROUTE_OPENAI_EMBED,
    ROUTE_OLLAMA_CHAT,
    ROUTE_OLLAMA_GENERATE,
    ROUTE_OLLAMA_EMBED,
    ROUTE_VERSION,
    ROUTE_OPENAI_MODELS,
    ROUTE_OLLAMA_MODELS,
    ROUTE_ROOT,
    ROUTE_STATS,
    _ROUTE_MAX,
};

static const struct {
    const char *method, *path;
} g_routes[_ROUTE_MAX] = {
    [ROUTE_OPENAI_CHAT] = {"POST", "/v1/chat/completions"},
    [ROUTE_OPENAI_EMBED] = {"POST", "/v1/embeddings"},
    [ROUTE_OLLAMA_CHAT] = {"POST", "/api/chat"},
    [ROUTE_OLLAMA_GENERATE] = {"POST", "/api/generate"},
    [ROUTE_OLLAMA_EMBED] = {"POST", "/api/embed"},
    [ROUTE_VERSION] = {"GET", "/api/version"},
    [ROUTE_OPENAI_MODELS] = {"GET", "/v1/models"},
    [ROUTE_OLLAMA_MODELS] = {"GET", "/api/ps"},
    [ROUTE_ROOT] = {"GET", "/"},
    [ROUTE_STATS] = {"GET", "/bench/stats"},
};

struct answer_key {
    enum route route;
    bool is_stream, has_usage, is_load; /* is_load: /api/generate without a prompt */
    unsigned n_inputs;                  /* of an embedding */
    char model[MAX_NAME_BYTES];
};

/* Rendered once, then shared by all connections; lives as long as the process. */
struct answer {
    struct answer_key key;
    struct profile profile;
    struct text bytes;
    size_t
        *marks; /* marks[i]: where the bytes that token i releases end; the last one is bytes.len */
    unsigned n_marks;
};

static struct answer g_answers[MAX_ANSWERS];
static unsigned g_n_answers;

static void answer_mark(struct answer *a)
{
    a->marks = grow(a->marks, (a->n_marks + 1) * sizeof *a->marks);
    a->marks[a->n_marks++] = a->bytes.len;
}

static void add_head(struct text *out, const char *status, const char *type, bool is_chunked,
                     size_t length)
{
    text_printf(out, "HTTP/1.1 %s\r\nServer: fake\r\nContent-Type: %s\r\n", status, type);
    if (is_chunked) {
        text_printf(out, "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n");
    } else {
        text_printf(out, "Content-Length: %zu\r\n\r\n", length);
    }
}

/* One piece of a stream as one HTTP chunk, the way model servers flush after each token. */
static void add_chunk(struct text *out, const struct text *piece)
{
    text_printf(out, "%zx\r\n", piece->len);
    text_add(out, piece->ptr, piece->len);
    text_add(out, "\r\n", 2);
}

static void add_body(struct answer *a, const char *status, struct text *body)
{
    add_head(&a->bytes, status, "application/json", false, body->len);
    text_add(&a->bytes, body->ptr ? body->ptr : "", body->len);
    answer_mark(a);
    free(body->ptr);
}

/* delta and finish are JSON. */
static void add_openai_chunk(struct answer *a, const char *delta, const char *finish,
                             const char *usage)
{
    struct text piece = {0};

    text_printf(&piece,
                "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\","
                "\"created\":1700000000,\"model\":\"%s\",\"choices\":[",
                a->key.model);
    if (delta) {
        text_printf(&piece, "{\"index\":0,\"delta\":%s,\"logprobs\":null,\"finish_reason\":%s}",
                    delta, finish);
    }
    text_printf(&piece, "]%s}\n\n", usage);
    add_chunk(&a->bytes, &piece);
    free(piece.ptr);
}

static void render_openai_stream(struct answer *a)
{
    char delta[64], token[TOKEN_MAX_BYTES], usage[160];
    const struct text done = {.ptr = (char[]) {"data: [DONE]\n\n"}, .len = 14};

    add_head(&a->bytes, "200 OK", "text/event-stream", true, 0);
    add_openai_chunk(a, "{\"role\":\"assistant\",\"content\":\"\"}", "null", "");
    for (unsigned i = 0; i < a->profile.n_tokens; i++) {
        if (i > 0) {
            answer_mark(a);
        }
        (void) token_format(i, token);
        (void) snprintf(delta, sizeof delta, "{\"content\":\"%s\"}", token);
        add_openai_chunk(a, delta, "null", "");
    }
    add_openai_chunk(a, "{}", "\"stop\"", "");
    if (a->key.has_usage) {
        (void) snprintf(
            usage, sizeof usage,
            ",\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":%u,\"total_tokens\":%u}",
            a->profile.n_tokens, 100 + a->profile.n_tokens);
        add_openai_chunk(a, NULL, NULL, usage);
    }
    add_chunk(&a->bytes, &done);
    text_add(&a->bytes, "0\r\n\r\n", 5);
    answer_mark(a);
}

static void render_openai_body(struct answer *a)
{
    struct text body = {0};
    size_t len = 0;
    char *text = token_text(a->profile.n_tokens, &len);

    text_printf(&body,
                "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,"
                "\"model\":\"%s\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
                "\"content\":\"",
                a->key.model);
    text_add(&body, text, len);
    text_printf(&body,
                "\"},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":"
                "100,\"completion_tokens\":%u,\"total_tokens\":%u}}",
                a->profile.n_tokens, 100 + a->profile.n_tokens);
    free(text);
    add_body(a, "200 OK", &body);
}

/* One line of /api/chat or /api/generate; text is not escaped: tokens are plain. */
static void add_ollama_line(struct answer *a, struct text *out, const char *text, bool is_done)
{
    bool is_chat = a->key.route == ROUTE_OLLAMA_CHAT;

    text_printf(out, "{\"model\":\"%s\",\"created_at\":\"2026-01-01T00:00:00.000000000Z\",",
                a->key.model);
    text_printf(out,
                is_chat ? "\"message\":{\"role\":\"assistant\",\"content\":\"" : "\"response\":\"");
    text_add(out, text, strlen(text));
    text_printf(out, is_chat ? "\"}" : "\"");
    if (!is_done) {
        text_printf(out, ",\"done\":false}\n");
    } else if (a->key.is_load) {
        text_printf(out, ",\"done\":true,\"done_reason\":\"load\"}");
    } else {
        text_printf(out,
                    ",\"done\":true,\"done_reason\":\"stop\",\"total_duration\":5000000,"
                    "\"load_duration\":1000000,\"prompt_eval_count\":100,"
                    "\"prompt_eval_duration\":1000000,\"eval_count\":%u,\"eval_duration\":3000000}"
                    "\n",
                    a->profile.n_tokens);
    }
}

static void add_ollama_chunk(struct answer *a, const char *text, bool is_done)
{
    struct text line = {0};

    add_ollama_line(a, &line, text, is_done);
    add_chunk(&a->bytes, &line);
    free(line.ptr);
}

static void render_ollama_stream(struct answer *a)
{
    char token[TOKEN_MAX_BYTES];

    add_head(&a->bytes, "200 OK", "application/x-ndjson", true, 0);
    for (unsigned i = 0; i < a->profile.n_tokens; i++) {
        if (i > 0) {
            answer_mark(a);
        }
        (void) token_format(i, token);
        add_ollama_chunk(a, token, false);
    }
    add_ollama_chunk(a, "", true);
    text_add(&a->bytes, "0\r\n\r\n", 5);
    answer_mark(a);
}

static void render_ollama_body(struct answer *a)
{
    struct text body = {0};
    size_t len = 0;
    char *text = token_text(a->key.is_load ? 0 : a->profile.n_tokens, &len);

    if (!text) {
        die("out of memory");
    }
    add_ollama_line(a, &body, text, true);
    free(text);
    add_body(a, "200 OK", &body);
}

static void add_vector(struct text *out, unsigned n_dims)
{
    text_add(out, "[", 1);
    for (unsigned i = 0; i < n_dims; i++) {
        text_printf(out, "%s0.0%06u", i ? "," : "", i * 7919u % 1000000u);
    }
    text_add(out, "]", 1);
}

static void render_embedding(struct answer *a)
{
    bool is_openai = a->key.route == ROUTE_OPENAI_EMBED;
    struct text body = {0};

    text_printf(&body, is_openai ? "{\"object\":\"list\",\"data\":[" : "{\"embeddings\":[");
    for (unsigned i = 0; i < a->key.n_inputs; i++) {
        text_printf(&body, "%s", i ? "," : "");
        if (is_openai) {
            text_printf(&body, "{\"object\":\"embedding\",\"index\":%u,\"embedding\":", i);
        }
        add_vector(&body, a->profile.n_dims);
        text_printf(&body, is_openai ? "}" : "");
    }
    if (is_openai) {
        text_printf(&body, "],\"model\":\"%s\",\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}",
                    a->key.model);
    } else {
        text_printf(&body,
                    "],\"model\":\"%s\",\"total_duration\":1000000,\"load_duration\":1000,"
                    "\"prompt_eval_count\":8}",
                    a->key.model);
    }
    add_body(a, "200 OK", &body);
}

static void render_fixed(struct answer *a, const char *status, const char *json)
{
    struct text body = {0};

    text_add(&body, json, strlen(json));
    add_body(a, status, &body);
}

static void render_unknown_model(struct answer *a)
{
    bool is_openai = a->key.route == ROUTE_OPENAI_CHAT || a->key.route == ROUTE_OPENAI_EMBED;

    render_fixed(a, "404 Not Found",
                 is_openai ? "{\"error\":{\"message\":\"no such model\",\"type\":"
                             "\"invalid_request_error\",\"param\":\"model\",\"code\":"
                             "\"model_not_found\"}}"
                           : "{\"error\":\"model not found, try pulling it first\"}");
}

static bool is_known_model(struct answer *a)
{
    bool is_embed = a->key.route == ROUTE_OPENAI_EMBED || a->key.route == ROUTE_OLLAMA_EMBED;

    return profile_parse(a->key.model, &a->profile) && (a->profile.n_dims > 0) == is_embed;
}

static void answer_render(struct answer *a)
{
    switch (a->key.route) {
    case ROUTE_OPENAI_CHAT:
    case ROUTE_OLLAMA_CHAT:
    case ROUTE_OLLAMA_GENERATE:
    case ROUTE_OPENAI_EMBED:
    case ROUTE_OLLAMA_EMBED:
        if (!is_known_model(a)) {
            render_unknown_model(a);
        } else if (a->profile.n_dims > 0) {
            render_embedding(a);
        } else if (a->key.route == ROUTE_OPENAI_CHAT) {
            a->key.is_stream ? render_openai_stream(a) : render_openai_body(a);
        } else {
            a->key.is_stream ? render_ollama_stream(a) : render_ollama_body(a);
        }
        break;
    case ROUTE_VERSION:
        render_fixed(a, "200 OK", "{\"version\":\"0.33.0\"}");
        break;
    case ROUTE_OPENAI_MODELS:
        render_fixed(a, "200 OK",
                     "{\"object\":\"list\",\"data\":[{\"id\":\"bench-16\",\"object\":\"model\","
                     "\"created\":1700000000,\"owned_by\":\"bench\"}]}");
        break;
    case ROUTE_OLLAMA_MODELS:
        render_fixed(a, "200 OK", "{\"models\":[]}");
        break;
    case ROUTE_ROOT:
        render_fixed(a, "200 OK", "{\"status\":\"ok\"}");
        break;
    case ROUTE_STATS:
    case _ROUTE_MAX:
        render_fixed(a, "404 Not Found", "{\"error\":\"no such path\"}");
        break;
    }
}

/* The answer for a key; rendered at its first use. */
static const struct answer *answer_find(const struct answer_key *key)
{
    static unsigned last; /* the same model is asked for again and again */

    for (unsigned i = 0; i < g_n_answers; i++) {
        unsigned at = (last + i) % g_n_answers;

        if (memcmp(&g_answers[at].key, key, sizeof *key) == 0) {
            last = at;
            return &g_answers[at];
        }
    }
    if (g_n_answers == MAX_ANSWERS) {
        errno = ENOSPC;
        die("too many different answers");
    }

    struct answer *a = &g_answers[g_n_answers++];

    a->key = *key;
    answer_render(a);
    return a;
}

/* ---------------------------------------------------------------- requests */
struct span {
    const char *ptr;
    size_t len;
};

static const char *skip_string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++) {
        p += *p == '\\';
    }
    return p < end ? p + 1 : end;
}

/*
 * The raw value of a member of the outermost object, empty when it is not there. Only as strict as
 * a fake has to be, but a text that talks about "model" does not fool it.
 */
static struct span json_member(struct span json, const char *name)
{
    const char *end = json.ptr + json.len, *value = NULL;
    size_t name_len = strlen(name);
    int depth = 0;

    for (const char *p = json.ptr; p < end;) {
        const char *at = p;

        if (value && ((depth == 1 && *p == ',') || (depth == 1 && *p == '}'))) {
            return (struct span) {value, (size_t) (p - value)};
        }
        if (*p == '"') {
            p = skip_string(p, end);
            bool is_name = depth == 1 && (size_t) (p - at) == name_len + 2 &&
                           memcmp(at + 1, name, name_len) == 0;
            while (is_name && p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) {
                p++;
            }
            if (is_name && p < end && *p == ':') {
                value = ++p;
            }
            continue;
        }
        depth += *p == '{' || *p == '[';
        depth -= *p == '}' || *p == ']';
        p++;
    }
    return (struct span) {json.ptr, 0};
}

static bool span_has(struct span s, const char *what)
{
    return s.len > 0 && memmem(s.ptr, s.len, what, strlen(what));
}

/* How many elements an array has; 1 for a string. */
static unsigned json_count(struct span s)
{
    const char *end = s.ptr + s.len;
    unsigned n = 0;
    int depth = 0;

    for (const char *p = s.ptr; p < end;) {
        if (*p == '"') {
            n += depth <= 1;
            p = skip_string(p, end);
            continue;
        }
        depth += *p == '[';
        depth -= *p == ']';
        p++;
    }
    return n;
}

static void key_from_body(struct answer_key *key, struct span body)
{
    struct span model = json_member(body, "model");
    bool is_ollama = key->route != ROUTE_OPENAI_CHAT;
    const char *quote = model.len ? memchr(model.ptr, '"', model.len) : NULL;

    if (quote) {
        const char *end = memchr(quote + 1, '"', (size_t) (model.ptr + model.len - quote - 1));
        size_t len = end ? (size_t) (end - quote - 1) : 0;

        memcpy(key->model, quote + 1, len < MAX_NAME_BYTES ? len : MAX_NAME_BYTES - 1);
    }
    if (key->route == ROUTE_OPENAI_EMBED || key->route == ROUTE_OLLAMA_EMBED) {
        key->n_inputs = json_count(json_member(body, "input"));
        return;
    }
    key->is_load = key->route == ROUTE_OLLAMA_GENERATE && json_member(body, "prompt").len < 3;
    key->is_stream = is_ollama ? !key->is_load && !span_has(json_member(body, "stream"), "false")
                               : span_has(json_member(body, "stream"), "true");
    key->has_usage = !is_ollama && span_has(json_member(body, "stream_options"), "true");
}

static enum route route_find(struct span head)
{
    for (enum route r = 0; r < _ROUTE_MAX; r++) {
        size_t method = strlen(g_routes[r].method), path = strlen(g_routes[r].path);

        if (head.len > method + path + 2 && memcmp(head.ptr, g_routes[r].method, method) == 0 &&
            memcmp(head.ptr + method + 1, g_routes[r].path, path) == 0 &&
            (head.ptr[method + 1 + path] == ' ' || head.ptr[method + 1 + path] == '?')) {
            return r;
        }
    }
    return _ROUTE_MAX;
}
