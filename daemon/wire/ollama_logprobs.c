/*
 * Log-probabilities, Ollama's list of {"token","logprob","bytes"?,"top_logprobs"?} to the object
 * that OpenAI clients read:
 *
 *   chat          {"content":[{"token":..,"logprob":..,"bytes":..,"top_logprobs":[..]}]}:
 *                 elements spliced, missing members added
 *   completions   {"tokens":[..],"token_logprobs":[..],"top_logprobs":[{token: logprob}],
 *                  "text_offset":[..]}
 *
 * Elements that are no objects are left out. Offsets count characters of the answer, as OpenAI's
 * do.
 */
#include "wire/ollama_reply.h"

#include <errno.h>

#include "wire/field.h"
#include "wire/json.h"
#include "wire/put.h"

enum { TOKEN_TOKEN, TOKEN_LOGPROB, TOKEN_BYTES, TOKEN_TOP, _TOKEN_MAX };

static const struct str token_names[_TOKEN_MAX] = {
    [TOKEN_TOKEN] = FIELD_NAME("token"),
    [TOKEN_LOGPROB] = FIELD_NAME("logprob"),
    [TOKEN_BYTES] = FIELD_NAME("bytes"),
    [TOKEN_TOP] = FIELD_NAME("top_logprobs"),
};

/* The next element with a token and a number; false at the end. */
static bool next_token(struct json_iter *it, struct str *ret_element,
                       struct str ret_values[_TOKEN_MAX])
{
    while (json_next(it, NULL, ret_element)) {
        field_pick(*ret_element, token_names, _TOKEN_MAX, ret_values);
        if (json_type(ret_values[TOKEN_TOKEN]) == JSON_STRING &&
            json_type(ret_values[TOKEN_LOGPROB]) == JSON_NUMBER) {
            return true;
        }
    }
    return false;
}

/* ---- chat */

/* The element as it came, and behind its last member what clients expect to be there. */
static void put_element(struct put *p, struct str element, const struct str *values)
{
    put_bytes(p, element.ptr, element.len - 1);
    put_z(p, values[TOKEN_BYTES].ptr ? "" : ",\"bytes\":null");
    put_z(p, values[TOKEN_TOP].ptr ? "}" : ",\"top_logprobs\":[]}");
}

static void put_chat(struct put *p, struct str list)
{
    struct str element, values[_TOKEN_MAX];
    struct json_iter it;
    size_t n = 0;

    put_z(p, "{\"content\":[");
    json_iter_init(&it, list);
    while (next_token(&it, &element, values)) {
        put_z(p, n++ > 0 ? "," : "");
        put_element(p, element, values);
    }
    put_z(p, "]}");
}

/* ---- completions */

static uint64_t count_characters(struct str s)
{
    uint64_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        n += ((uint8_t) s.ptr[i] & 0xc0) != 0x80 ? 1 : 0;
    }
    return n;
}

/*
 * Did an earlier alternative have the same text? Broken bytes of several tokens all read as U+FFFD,
 * and no object may have a name twice.
 */
static bool is_repeated(struct str list, struct str end, struct str token)
{
    struct str element, values[_TOKEN_MAX];
    struct json_iter it;

    json_iter_init(&it, list);
    while (next_token(&it, &element, values) && element.ptr != end.ptr) {
        if (str_is_equal(values[TOKEN_TOKEN], token)) {
            return true;
        }
    }
    return false;
}

static void put_alternatives(struct put *p, struct str list)
{
    struct str element, values[_TOKEN_MAX];
    struct json_iter it;
    size_t n = 0;

    if (json_is_null(list)) {
        put_z(p, "null");
        return;
    }
    put_char(p, '{');
    json_iter_init(&it, list);
    while (next_token(&it, &element, values)) {
        if (!is_repeated(list, element, values[TOKEN_TOKEN])) {
            put_z(p, n++ > 0 ? "," : "");
            put_str(p, values[TOKEN_TOKEN]);
            put_char(p, ':');
            put_str(p, values[TOKEN_LOGPROB]);
        }
    }
    put_char(p, '}');
}

static void put_completion_list(struct ollama_decoder *d, struct put *p, struct str list,
                                unsigned what)
{
    struct str element, values[_TOKEN_MAX];
    struct json_iter it;
    size_t n = 0;

    put_char(p, '[');
    json_iter_init(&it, list);
    while (p->r == 0 && next_token(&it, &element, values)) {
        put_z(p, n++ > 0 ? "," : "");
        if (what == TOKEN_TOP) {
            put_alternatives(p, values[TOKEN_TOP]);
        } else if (what == TOKEN_BYTES) {
            put_u64(p, d->text_offset);
            buf_clear(&d->text);
            p->r = p->r < 0 ? p->r : json_string(values[TOKEN_TOKEN], &d->text);
            d->text_offset += count_characters(buf_str(&d->text));
        } else {
            put_str(p, values[what]);
        }
    }
    put_char(p, ']');
}

static void put_completion(struct ollama_decoder *d, struct put *p, struct str list)
{
    put_z(p, "{\"tokens\":");
    put_completion_list(d, p, list, TOKEN_TOKEN);
    put_z(p, ",\"token_logprobs\":");
    put_completion_list(d, p, list, TOKEN_LOGPROB);
    put_z(p, ",\"top_logprobs\":");
    put_completion_list(d, p, list, TOKEN_TOP);
    put_z(p, ",\"text_offset\":");
    put_completion_list(d, p, list, TOKEN_BYTES); /* stands for the offset */
    put_char(p, '}');
}

int ollama_decoder_logprobs(struct ollama_decoder *d, struct str list, struct str *ret)
{
    struct put p = {.out = &d->logprobs};

    buf_clear(&d->logprobs);
    if (d->kind == REQUEST_CHAT) {
        put_chat(&p, list);
    } else {
        put_completion(d, &p, list);
    }
    if (p.r < 0) {
        return p.r;
    }
    *ret = buf_str(&d->logprobs);
    return 0;
}
