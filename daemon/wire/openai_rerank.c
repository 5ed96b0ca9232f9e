/*
 * Requests to rerank and to classify (see openai_request.h), and what their answers have in common
 * with them: the documents.
 *
 *   rerank    Cohere's shape, which Jina, vLLM and llama-server took over: model, query, documents,
 *             top_n, return_documents
 *   classify  vLLM's shape: model and input, as embeddings have it, or messages
 *
 * A document is a string or an object. Cohere and Jina take {"text":...} and objects with fields of
 * their own or images; vLLM and llama-server take strings, and vLLM one object in the place of the
 * list. So an object that holds nothing but a text goes out as that text, which all of them take,
 * and what else there is goes out as it came.
 *
 * Which of the documents come back with the results is return_documents, and every server reads it
 * in its own way (llama-server never sends one, vLLM always). Here it means what it says; without
 * it the answer has what the server sent.
 */
#include "wire/openai_rerank.h"

#include <errno.h>

#include "wire/json.h"
#include "wire/openai_body.h"

/* ---- requests */

/* The text of a document; absent where it is more than a text. */
static struct str plain_text(struct str document)
{
    struct str text;

    if (json_type(document) == JSON_STRING) {
        return document;
    }
    text = json_find(document, "text");
    return json_type(text) == JSON_STRING && field_count(document) == 1 ? text : STR_NONE;
}

static int check_document(struct openai_body *b, size_t i, struct str document)
{
    if (json_type(document) != JSON_STRING && json_type(document) != JSON_OBJECT) {
        int r = field_fail(b->problem, "", "a document must be a string or an object");

        return field_within(r, b->problem, "documents[%zu]", i);
    }
    if (!plain_text(document).ptr) {
        openai_body_mark_raw_only(b, "documents");
    }
    return 0;
}

static int check_documents(struct openai_body *b, struct str array, size_t *ret_n)
{
    struct json_iter it;
    struct str document;
    size_t n = field_count(array);

    if (n == 0) {
        return field_fail(b->problem, "documents", "'documents' must not be empty");
    }
    if (n > REQUEST_MAX_INPUTS) {
        return field_fail(b->problem, "documents", "'documents' may hold at most %d documents",
                          REQUEST_MAX_INPUTS);
    }
    json_iter_init(&it, array);
    for (size_t i = 0; json_next(&it, NULL, &document); i++) {
        int r = check_document(b, i, document);

        if (r < 0) {
            return r;
        }
    }
    *ret_n = n;
    return 0;
}

static int dup_documents(struct openai_body *b, struct str array, size_t n)
{
    struct request *req = b->req;
    struct json_iter it;
    struct str document;

    req->inputs = arena_array(&req->arena, n, sizeof *req->inputs);
    if (!req->inputs) {
        return -ENOMEM;
    }
    json_iter_init(&it, array);
    while (json_next(&it, NULL, &document)) {
        int r = json_string_dup(plain_text(document), &req->arena, &req->inputs[req->n_inputs]);

        if (r < 0) {
            return r;
        }
        req->n_inputs++;
    }
    return 0;
}

/* vLLM's form for images: one object, with a list of parts. */
static int decode_parts(struct openai_body *b, struct str object)
{
    struct field f = {"content", json_find(object, "content"), b->problem};
    struct str array = STR_NONE;
    size_t n;
    int r = field_array(&f, &array);

    n = field_count(array);
    if (r == 0 && (n == 0 || n > REQUEST_MAX_INPUTS)) {
        r = field_fail(b->problem, f.name, "'content' must hold 1 to %d documents",
                       REQUEST_MAX_INPUTS);
    }
    openai_body_mark_raw_only(b, "documents");
    return field_within(r, b->problem, "documents");
}

static int decode_documents(struct openai_body *b)
{
    struct field f = openai_body_member(b, "documents");
    size_t n = 0;
    int r;

    if (!field_is_present(&f)) {
        return field_fail(b->problem, f.name, "'documents' is required");
    }
    if (json_type(f.value) == JSON_OBJECT) {
        return decode_parts(b, f.value);
    }
    if (json_type(f.value) != JSON_ARRAY) {
        return field_fail_type(&f, "an array");
    }
    r = check_documents(b, f.value, &n);
    return r < 0 || b->req->is_raw_only ? r : dup_documents(b, f.value, n);
}

static int decode_query(struct openai_body *b)
{
    struct field f = openai_body_member(b, "query");
    int r;

    if (json_type(f.value) == JSON_OBJECT) {
        openai_body_mark_raw_only(b, f.name);
        return 0;
    }
    r = field_string(&f, &b->req->arena, &b->req->query);
    return r == 0 && b->req->query.len == 0 ? field_fail(b->problem, f.name, "'query' is required")
                                            : r;
}

int openai_body_rerank(struct openai_body *b)
{
    struct field top_n = openai_body_member(b, "top_n"),
                 wanted = openai_body_member(b, "return_documents");
    bool is_wanted;
    int64_t n = 0;
    int r = decode_query(b);

    if (r == 0) {
        r = decode_documents(b);
    }
    if (r == 0) {
        r = field_i64(&top_n, 0, INT32_MAX, &n);
    }
    b->req->top_n = (uint32_t) n;
    return r < 0 ? r : field_bool(&wanted, &is_wanted);
}

int openai_body_classify(struct openai_body *b)
{
    struct field input = openai_body_member(b, "input"),
                 messages = openai_body_member(b, "messages");

    if (!field_is_present(&input) && json_type(messages.value) == JSON_ARRAY) {
        openai_body_mark_raw_only(b, messages.name);
        return 0;
    }
    return openai_body_inputs(b, input.name, REQUEST_MAX_INPUTS, &b->req->inputs,
                              &b->req->n_inputs);
}

size_t openai_count_documents(const struct request *req)
{
    struct str documents = request_member(req, "documents");

    if (req->n_inputs > 0) {
        return req->n_inputs;
    }
    return field_count(json_type(documents) == JSON_OBJECT ? json_find(documents, "content")
                                                           : documents);
}

/* ---- the documents of a request that is passed on */

void openai_put_documents(struct put *p, struct str documents)
{
    struct json_iter it;
    struct str document;
    bool is_first = true;

    if (json_type(documents) != JSON_ARRAY) {
        put_str(p, documents);
        return;
    }
    json_iter_init(&it, documents);
    put_char(p, '[');
    for (; json_next(&it, NULL, &document); is_first = false) {
        struct str text = plain_text(document);

        put_z(p, is_first ? "" : ",");
        put_str(p, text.ptr ? text : document);
    }
    put_char(p, ']');
}

/* ---- results */

int openai_documents_init(struct openai_documents *d, const struct request *req)
{
    struct str wanted = request_member(req, "return_documents");
    struct str documents = request_member(req, "documents"), document;
    struct json_iter it;

    *d = (struct openai_documents) {.is_unwanted = json_type(wanted) == JSON_FALSE};
    if (!json_is_true(wanted) || json_type(documents) != JSON_ARRAY) {
        return 0;
    }
    d->spans = calloc(field_count(documents) + 1, sizeof *d->spans);
    if (!d->spans) {
        return -ENOMEM;
    }
    json_iter_init(&it, documents);
    while (json_next(&it, NULL, &document)) {
        d->spans[d->n_spans++] = document;
    }
    return 0;
}

void openai_documents_done(struct openai_documents *d)
{
    free(d->spans);
    *d = (struct openai_documents) {0};
}

static void put_document(struct put *p, struct str document)
{
    bool is_text = json_type(document) == JSON_STRING;

    put_z(p, is_text ? ",\"document\":{\"text\":" : ",\"document\":");
    put_str(p, document);
    put_z(p, is_text ? "}" : "");
}

/* Members by their place: a name may hold escapes. */
struct ranked {
    struct str index, score, document;
};

static bool is_rewritten(const struct ranked *m, struct str value)
{
    return value.ptr == m->index.ptr || value.ptr == m->score.ptr || value.ptr == m->document.ptr;
}

/* Numbers as they came: a double of ours could print another one. */
void openai_put_ranked(struct put *p, const struct openai_documents *d, const struct event *ev)
{
    struct str json = ev->result.json, name, value;
    struct ranked m = {json_find(json, "index"), json_find(json, "relevance_score"),
                       json_find(json, "document")};
    struct json_iter it;

    put_z(p, "{\"index\":");
    put_u64(p, ev->result.index);
    put_z(p, ",\"relevance_score\":");
    if (json_type(m.score) == JSON_NUMBER) {
        put_str(p, m.score);
    } else {
        put_json_double(p, ev->result.score);
    }
    json_iter_init(&it, json);
    while (json_next(&it, &name, &value)) {
        if (!is_rewritten(&m, value)) {
            put_z(p, ",\"");
            put_str(p, name); /* still escaped */
            put_z(p, "\":");
            put_str(p, value);
        }
    }
    if (!json_is_null(m.document) && !d->is_unwanted) {
        put_z(p, ",\"document\":");
        put_str(p, m.document);
    } else if (ev->result.index < d->n_spans) {
        put_document(p, d->spans[ev->result.index]);
    }
    put_char(p, '}');
}

void openai_put_rerank_usage(struct put *p, const struct usage *usage)
{
    put_z(p, ",\"meta\":{\"billed_units\":{\"total_tokens\":");
    put_u64(p, usage->tokens_in + usage->tokens_out);
    put_z(p, "},\"tokens\":{\"input_tokens\":");
    put_u64(p, usage->tokens_in);
    put_z(p, ",\"output_tokens\":");
    put_u64(p, usage->tokens_out);
    put_z(p, "}}");
}
