/*
 * See openai_fields.h. One table: which kinds of request have a member, which types it may have, and
 * its elements; the range of numbers. Sources: OpenAI's request types (its Python package 3.54),
 * vLLM's request types (entrypoints/openai/protocol.py of 2025; since then protocol.py of
 * entrypoints/pooling/base, embed, scoring and classify as well), Cohere's rerank v1 and v2 (its Python
 * package's base_client.py and v2/client.py). priority is left to the server: each has its own
 * range. Words are not compared: servers add new ones, and their own refusal names them.
 */
#include "wire/openai_fields.h"

#include <errno.h>
#include <stdint.h>

#include "wire/field.h"
#include "wire/json.h"
#include "wire/openai_body.h"

enum {
    CHAT = 1 << REQUEST_CHAT,
    COMPLETE = 1 << REQUEST_COMPLETE,
    EMBED = 1 << REQUEST_EMBED,
    RERANK = 1 << REQUEST_RERANK,
    CLASSIFY = 1 << REQUEST_CLASSIFY,
    TEXT = CHAT | COMPLETE,
    POOLED = EMBED | RERANK | CLASSIFY,
    ANY = TEXT | POOLED,
};

#define INTEGER 0 /* as types: a number without a fraction */

static const struct row {
    const char *name; /* ".voice": a member of the row above that has no dot */
    uint8_t kinds;
    uint8_t types;    /* INTEGER, or of FIELD_... */
    uint8_t inner;    /* of elements, or of the values of an object; 0: any */
    int32_t min, max; /* of an INTEGER, of inner numbers */
} rows[] = {
    {"user", ANY, FIELD_STRING, 0, 0, 0},
    {"metadata", ANY, FIELD_OBJECT, 0, 0, 0},
    /* false: llama-server's word for never */
    {"logit_bias", TEXT, FIELD_OBJECT, FIELD_NUMBER | FIELD_BOOL, -100, 100},
    {"stream_options", TEXT, FIELD_OBJECT, 0, 0, 0},
    {".include_obfuscation", TEXT, FIELD_BOOL, 0, 0, 0},
    {"store", CHAT, FIELD_BOOL, 0, 0, 0},
    {"parallel_tool_calls", CHAT, FIELD_BOOL, 0, 0, 0},
    {"function_call", CHAT, FIELD_STRING | FIELD_OBJECT, 0, 0, 0},
    {"functions", CHAT, FIELD_ARRAY, FIELD_OBJECT, 0, 0},
    {"modalities", CHAT, FIELD_ARRAY, FIELD_STRING, 0, 0},
    {"audio", CHAT, FIELD_OBJECT, 0, 0, 0},
    {".format", CHAT, FIELD_STRING, 0, 0, 0},
    {".voice", CHAT, FIELD_STRING | FIELD_OBJECT, 0, 0, 0},
    {"prediction", CHAT, FIELD_OBJECT, 0, 0, 0},
    {".type", CHAT, FIELD_STRING, 0, 0, 0},
    {".content", CHAT, FIELD_STRING | FIELD_ARRAY, 0, 0, 0},
    {"verbosity", CHAT, FIELD_STRING, 0, 0, 0},
    {"safety_identifier", CHAT, FIELD_STRING, 0, 0, 0},
    {"prompt_cache_key", CHAT, FIELD_STRING, 0, 0, 0},
    {"prompt_cache_retention", CHAT, FIELD_STRING, 0, 0, 0},
    {"prompt_cache_options", CHAT, FIELD_OBJECT, 0, 0, 0},
    {"moderation", CHAT, FIELD_OBJECT, 0, 0, 0},
    {".model", CHAT, FIELD_STRING, 0, 0, 0},
    {".policy", CHAT, FIELD_OBJECT, 0, 0, 0},
    {"web_search_options", CHAT, FIELD_OBJECT, 0, 0, 0},
    {".search_context_size", CHAT, FIELD_STRING, 0, 0, 0},
    {".user_location", CHAT, FIELD_OBJECT, 0, 0, 0},
    {"best_of", COMPLETE, INTEGER, 0, 1, INT32_MAX},
    {"echo", TEXT, FIELD_BOOL, 0, 0, 0},
    {"chat_template_kwargs", CHAT | RERANK, FIELD_OBJECT, 0, 0, 0},
    {"instruction", RERANK, FIELD_STRING, 0, 0, 0},
    {"truncate_prompt_tokens", POOLED, INTEGER, 0, -1, INT32_MAX},
    {"add_special_tokens", EMBED | CLASSIFY, FIELD_BOOL, 0, 0, 0},
    {"use_activation", POOLED, FIELD_BOOL, 0, 0, 0},
    {"normalize", EMBED, FIELD_BOOL, 0, 0, 0}, /* the older names of use_activation */
    {"activation", RERANK | CLASSIFY, FIELD_BOOL, 0, 0, 0},
    {"softmax", RERANK | CLASSIFY, FIELD_BOOL, 0, 0, 0},
    {"max_tokens_per_doc", RERANK, INTEGER, 0, 0, INT32_MAX},
    {"max_tokens_per_query", RERANK, INTEGER, 0, 0, INT32_MAX},
    {"max_chunks_per_doc", RERANK, INTEGER, 0, 0, INT32_MAX},
    {"rank_fields", RERANK, FIELD_ARRAY, FIELD_STRING, 0, 0},
};

/* As the client said it, in its body or in extra_json. */
static struct str said(const struct request *req, const char *name)
{
    return req->dialect == DIALECT_OPENAI ? request_member(req, name) : json_find(req->extra, name);
}

static int check_inner(const struct row *row, const struct field *f)
{
    struct json_iter it;
    struct str name, value;

    json_iter_init(&it, f->value);
    for (size_t i = 0; json_next(&it, &name, &value); i++) {
        struct field one = {f->name, value, f->problem};
        int r = field_types(&one, row->inner);
        double number;

        if (r == 0 && json_type(value) == JSON_NUMBER) {
            r = field_double(&one, row->min, row->max, &number);
        }
        if (r < 0 && !name.ptr) {
            f->problem->param[0] = '\0';
            r = field_within(r, f->problem, "%s[%zu]", f->name, i);
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int check_row(const struct row *row, const struct field *f)
{
    int64_t number;
    int r;

    if (!field_is_present(f)) {
        return 0;
    }
    r = row->types == INTEGER ? field_i64(f, row->min, row->max, &number)
                              : field_types(f, row->types);
    return r == 0 && row->inner ? check_inner(row, f) : r;
}

static int check_rows(const struct request *req, struct problem *problem)
{
    struct field outer = {NULL, STR_NONE, problem};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        int r = 0;

        if (!(row->kinds & 1U << req->kind)) {
            continue;
        }
        if (row->name[0] != '.') {
            outer.name = row->name;
            outer.value = said(req, row->name);
            r = check_row(row, &outer);
        } else if (field_is_present(&outer)) {
            const char *name = row->name + 1;
            struct field f = {name, json_find(outer.value, name), problem};

            r = field_within(check_row(row, &f), problem, "%s", outer.name);
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int openai_body_carried(struct openai_body *b)
{
    return check_rows(b->req, b->problem);
}

int openai_check_extra(const struct request *req, struct problem *ret_problem)
{
    int r = req->extra.ptr ? check_rows(req, ret_problem) : 0;

    return field_within(r, ret_problem, "extra_json");
}

bool openai_wants_more_than_text(struct str modalities)
{
    struct json_iter it;
    struct str one;

    if (json_type(modalities) != JSON_ARRAY) {
        return false;
    }
    json_iter_init(&it, modalities);
    while (json_next(&it, NULL, &one)) {
        if (!str_is(one, "\"text\"")) {
            return true;
        }
    }
    return false;
}
