/*
 * The sampling values of chat/completions and completions. Ranges are OpenAI's (its OpenAPI
 * description), widened where local servers are known to take more and their clients know it. No
 * state.
 */
#include "wire/openai_body.h"

#include <errno.h>
#include <stddef.h>

#include "wire/json.h"

static const struct {
    const char *name;
    enum sampling_bit bit;
    size_t offset;
    double min, max;
} number_rules[] = {
    {"temperature", SAMPLING_TEMPERATURE, offsetof(struct sampling, temperature), 0, 2},
    {"top_p", SAMPLING_TOP_P, offsetof(struct sampling, top_p), 0, 1},
    {"min_p", SAMPLING_MIN_P, offsetof(struct sampling, min_p), 0, 1},
    {"frequency_penalty", SAMPLING_FREQUENCY_PENALTY, offsetof(struct sampling, frequency_penalty),
     -2, 2},
    {"presence_penalty", SAMPLING_PRESENCE_PENALTY, offsetof(struct sampling, presence_penalty), -2,
     2},
};

static int decode_numbers(struct openai_body *b)
{
    struct sampling *s = &b->req->sampling;
    int r;

    for (size_t i = 0; i < ARRAY_LEN(number_rules); i++) {
        struct field f = openai_body_member(b, number_rules[i].name);
        double *to = (double *) (void *) ((char *) s + number_rules[i].offset);

        r = field_double(&f, number_rules[i].min, number_rules[i].max, to);
        if (r < 0) {
            return r;
        }
        s->set |= field_is_present(&f) ? number_rules[i].bit : 0U;
    }
    return 0;
}

/*
 * The newer name wins. -1 is how clients of local servers say "no limit" (llama-server, LM Studio),
 * which is the same as not asking. 0 asks a completion for the log-probabilities of its prompt
 * (with echo), which only a server of this dialect can do.
 */
static int decode_max_tokens(struct openai_body *b)
{
    struct field newer = openai_body_member(b, "max_completion_tokens");
    struct field older = openai_body_member(b, "max_tokens");
    struct field f = field_is_present(&newer) ? newer : older;
    int64_t v = -1;
    int r = field_i64(&older, -1, INT32_MAX, &v);

    r = r < 0 ? r : field_i64(&f, -1, INT32_MAX, &v);

    if (r < 0) {
        return r;
    }
    if (v == 0 && b->req->kind != REQUEST_COMPLETE) {
        return field_fail(b->problem, f.name, "'%s' must be at least 1", f.name);
    }
    if (v == 0) {
        openai_body_mark_raw_only(b, "max_tokens");
    } else if (v > 0) {
        b->req->sampling.max_tokens = (uint32_t) v;
        b->req->sampling.set |= SAMPLING_MAX_TOKENS;
    }
    return 0;
}

/* top_k: vLLM says -1, llama-server 0 for "all". */
static int decode_integers(struct openai_body *b)
{
    struct sampling *s = &b->req->sampling;
    struct field seed = openai_body_member(b, "seed"), top_k = openai_body_member(b, "top_k"),
                 n = openai_body_member(b, "n");
    int64_t k = 0, n_choices = 1;
    int r = field_i64(&seed, INT64_MIN, INT64_MAX, &s->seed);

    if (r < 0) {
        return r;
    }
    r = field_i64(&top_k, -1, INT32_MAX, &k);
    if (r < 0) {
        return r;
    }
    r = field_i64(&n, 1, REQUEST_MAX_CHOICES, &n_choices);
    if (r < 0) {
        return r;
    }
    s->set |= field_is_present(&seed) ? SAMPLING_SEED : 0U;
    s->set |= field_is_present(&top_k) ? SAMPLING_TOP_K : 0U;
    s->top_k = k > 0 ? (uint32_t) k : 0;
    s->n_choices = (uint32_t) n_choices;
    return 0;
}

/* Chat: a boolean and a number beside it. Completions: the number alone. */
static int decode_logprobs(struct openai_body *b)
{
    struct sampling *s = &b->req->sampling;
    bool is_chat = b->req->kind == REQUEST_CHAT;
    struct field wanted = openai_body_member(b, "logprobs");
    struct field top = is_chat ? openai_body_member(b, "top_logprobs") : wanted;
    int64_t n = 0;
    int r = is_chat ? field_bool(&wanted, &s->logprobs) : 0;

    if (r < 0) {
        return r;
    }
    r = field_i64(&top, 0, 20, &n);
    s->top_logprobs = (uint32_t) n;
    s->logprobs = is_chat ? s->logprobs : field_is_present(&wanted);
    return r;
}

static int add_stop(struct openai_body *b, const char *name, struct str value)
{
    struct sampling *s = &b->req->sampling;
    struct field f = {name, value, b->problem};
    struct str text = STR_NONE;
    int r;

    if (json_type(value) != JSON_STRING) {
        return field_fail_type(&f, "a string");
    }
    r = field_string(&f, &b->req->arena, &text);
    if (r < 0) {
        return r;
    }
    if (text.len > 0) { /* an empty one would stop nothing, or everything */
        s->stop[s->n_stop++] = text;
        s->set |= SAMPLING_STOP;
    }
    return 0;
}

static int decode_stop(struct openai_body *b)
{
    struct sampling *s = &b->req->sampling;
    struct field f = openai_body_member(b, "stop");
    struct json_iter it;
    struct str name, value;
    bool is_array = json_type(f.value) == JSON_ARRAY;
    size_t n = is_array ? field_count(f.value) : 1;
    int r;

    if (!field_is_present(&f)) {
        return 0;
    }
    if (!is_array && json_type(f.value) != JSON_STRING) {
        return field_fail_type(&f, "a string or an array of strings");
    }
    if (n > REQUEST_MAX_STOP) {
        return field_fail(b->problem, f.name, "'stop' may hold at most %d strings",
                          REQUEST_MAX_STOP);
    }
    s->stop = arena_array(&b->req->arena, n, sizeof *s->stop);
    if (!s->stop) {
        return -ENOMEM;
    }
    if (!is_array) {
        return add_stop(b, f.name, f.value);
    }
    json_iter_init(&it, f.value);
    for (size_t i = 0; json_next(&it, &name, &value); i++) {
        r = add_stop(b, "", value);
        if (r < 0) {
            return field_within(r, b->problem, "stop[%zu]", i);
        }
    }
    return 0;
}

int openai_body_sampling(struct openai_body *b)
{
    static int (*const steps[])(struct openai_body *) = {
        decode_numbers, decode_integers, decode_max_tokens, decode_logprobs, decode_stop};
    int r;

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        r = steps[i](b);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}
