/*
 * The member "options" of a request to Ollama: the table of options, whose word counts for each,
 * and how a value is written.
 *
 *   load options     the deployment's, always, in every body alike: another num_ctx than the loaded
 *                    one makes Ollama unload and reload the model, for everybody. What a client
 *                    says about them is not read.
 *   all others       the client's, else the deployment's, else Ollama's own default
 *
 * What the deployment drops (additional_drop_params) counts as not said, by the client and by the
 * deployment itself, under the very name that it was said by: that is LiteLLM's rule for every
 * provider. A load option is dropped from all bodies alike, so it makes nothing reload.
 *
 * The names are Ollama's and mean what OpenAI's of the same name mean; frequency_penalty stays
 * frequency_penalty (a peer turns it into repeat_penalty, which multiplies: 0, which clients send,
 * then ruins the answer). What is not in the table is not sent.
 */
#include "wire/ollama_body.h"

#include <errno.h>

#include "wire/field.h"
#include "wire/json.h"

enum option_kind {
    OPTION_LOAD, /* the deployment's alone */
    OPTION_RUN,  /* the client's, where it set one */
};

/* Ollama's api/types.go, struct Runner and struct Options, with what older versions had. */
static const struct option_rule {
    const char *name;
    enum option_kind kind;
    enum sampling_bit bit;  /* 0: the neutral request does not know it */
    const char *aliases[2]; /* names that a deployment may use instead */
} option_rules[] = {
    {"num_ctx", OPTION_LOAD, 0, {NULL}},
    {"num_batch", OPTION_LOAD, 0, {NULL}},
    {"num_gpu", OPTION_LOAD, 0, {NULL}},
    {"main_gpu", OPTION_LOAD, 0, {NULL}},
    {"use_mmap", OPTION_LOAD, 0, {NULL}},
    {"use_mlock", OPTION_LOAD, 0, {NULL}},
    {"num_thread", OPTION_LOAD, 0, {NULL}},
    {"numa", OPTION_LOAD, 0, {NULL}},
    {"low_vram", OPTION_LOAD, 0, {NULL}},
    {"num_keep", OPTION_LOAD, 0, {NULL}}, /* a launch flag of the runner since 0.30 */
    {"draft_num_predict", OPTION_LOAD, 0, {NULL}},
    {"num_predict", OPTION_RUN, SAMPLING_MAX_TOKENS, {"max_tokens", "max_completion_tokens"}},
    {"temperature", OPTION_RUN, SAMPLING_TEMPERATURE, {NULL}},
    {"top_p", OPTION_RUN, SAMPLING_TOP_P, {NULL}},
    {"top_k", OPTION_RUN, SAMPLING_TOP_K, {NULL}},
    {"min_p", OPTION_RUN, SAMPLING_MIN_P, {NULL}},
    {"seed", OPTION_RUN, SAMPLING_SEED, {NULL}},
    {"stop", OPTION_RUN, SAMPLING_STOP, {NULL}},
    {"presence_penalty", OPTION_RUN, SAMPLING_PRESENCE_PENALTY, {NULL}},
    {"frequency_penalty", OPTION_RUN, SAMPLING_FREQUENCY_PENALTY, {NULL}},
    {"repeat_penalty", OPTION_RUN, 0, {NULL}},
    {"repeat_last_n", OPTION_RUN, 0, {NULL}},
    {"typical_p", OPTION_RUN, 0, {NULL}},
    {"penalize_newline", OPTION_RUN, 0, {NULL}},
    {"mirostat", OPTION_RUN, 0, {NULL}},
    {"mirostat_eta", OPTION_RUN, 0, {NULL}},
    {"mirostat_tau", OPTION_RUN, 0, {NULL}},
    {"tfs_z", OPTION_RUN, 0, {NULL}},
};

/* ---- where values come from */

bool ollama_drops(const struct ollama_target *target, const char *name)
{
    return target->dropped && kv_find(target->dropped, name);
}

struct str ollama_client_value(const struct request *req, const struct ollama_target *target,
                               const char *name)
{
    struct str value = request_member(req, name);

    if (ollama_drops(target, name)) {
        return STR_NONE;
    }
    if (json_is_null(value) && req->extra.ptr) {
        value = json_find(req->extra, name);
    }
    return json_is_null(value) ? STR_NONE : value;
}

struct str ollama_deployment_value(const struct ollama_target *target, const char *name)
{
    struct str value = str_from(target->options ? kv_find(target->options, name) : NULL);

    return json_is_null(value) || ollama_drops(target, name) ? STR_NONE : value;
}

static struct str deployment_option(const struct ollama_target *target,
                                    const struct option_rule *rule)
{
    struct str value = ollama_deployment_value(target, rule->name);

    for (size_t i = 0; !value.ptr && i < ARRAY_LEN(rule->aliases) && rule->aliases[i]; i++) {
        value = ollama_deployment_value(target, rule->aliases[i]);
    }
    return value;
}

/* ---- writing */

struct put *ollama_body_begin(struct ollama_body *b, const char *name)
{
    put_char(&b->put, b->is_empty ? '{' : ',');
    b->is_empty = false;
    put_char(&b->put, '"');
    put_z(&b->put, name);
    put_z(&b->put, "\":");
    return &b->put;
}

void ollama_put_strings(struct put *p, const struct str *strings, size_t n)
{
    put_char(p, '[');
    for (size_t i = 0; i < n; i++) {
        put_z(p, i > 0 ? "," : "");
        put_json_string(p, strings[i]);
    }
    put_char(p, ']');
}

void ollama_put_configured(struct put *p, struct str value)
{
    if (json_type(value) == JSON_STRING && value.len > 2) {
        struct str inner = {value.ptr + 1, value.len - 2};
        enum json_type type = json_check(inner, NULL) == 0 ? json_type(inner) : JSON_STRING;

        if (type == JSON_NUMBER || type == JSON_TRUE || type == JSON_FALSE) {
            value = inner;
        }
    }
    put_str(p, value);
}

static void put_sampling_value(struct ollama_body *b, const struct option_rule *rule)
{
    const struct sampling *s = &b->req->sampling;
    struct put *p = ollama_body_begin(b, rule->name);

    switch (rule->bit) {
    case SAMPLING_TEMPERATURE:
        put_json_double(p, s->temperature);
        break;
    case SAMPLING_TOP_P:
        put_json_double(p, s->top_p);
        break;
    case SAMPLING_SEED:
        put_i64(p, s->seed);
        break;
    case SAMPLING_FREQUENCY_PENALTY:
        put_json_double(p, s->frequency_penalty);
        break;
    case SAMPLING_PRESENCE_PENALTY:
        put_json_double(p, s->presence_penalty);
        break;
    case SAMPLING_TOP_K:
        put_u64(p, s->top_k);
        break;
    case SAMPLING_MIN_P:
        put_json_double(p, s->min_p);
        break;
    case SAMPLING_MAX_TOKENS:
        put_u64(p, s->max_tokens);
        break;
    case SAMPLING_STOP:
        ollama_put_strings(p, s->stop, s->n_stop);
        break;
    }
}

/* A list of strings; one string alone is a type error to Ollama. */
static void put_configured_stop(struct put *p, struct str value)
{
    bool is_list = json_type(value) == JSON_ARRAY;

    put_z(p, is_list ? "" : "[");
    put_str(p, value);
    put_z(p, is_list ? "" : "]");
}

static void put_option(struct ollama_body *b, const struct option_rule *rule)
{
    struct str value = STR_NONE;

    if (b->req && rule->bit && (b->req->sampling.set & rule->bit)) {
        put_sampling_value(b, rule);
        return;
    }
    if (b->req && rule->kind == OPTION_RUN && rule->bit != SAMPLING_STOP) {
        value = ollama_client_value(b->req, b->target, rule->name);
    }
    if (value.ptr) {
        put_str(ollama_body_begin(b, rule->name), value);
        return;
    }
    value = deployment_option(b->target, rule);
    if (value.ptr && rule->bit == SAMPLING_STOP) {
        put_configured_stop(ollama_body_begin(b, rule->name), value);
    } else if (value.ptr) {
        ollama_put_configured(ollama_body_begin(b, rule->name), value);
    }
}

/* Load options first, so that their text is the same in every body. Embeddings have no others. */
void ollama_body_options(struct ollama_body *b)
{
    bool is_run = b->req && b->req->kind != REQUEST_EMBED;

    (void) ollama_body_begin(b, "options");
    b->is_empty = true;
    for (size_t i = 0; i < ARRAY_LEN(option_rules); i++) {
        if (option_rules[i].kind == OPTION_LOAD || is_run) {
            put_option(b, &option_rules[i]);
        }
    }
    put_z(&b->put, b->is_empty ? "{}" : "}");
    b->is_empty = false;
}

/* Ollama answers 500 for an option of the wrong type, which would look like its own fault. */
int ollama_check_options(const struct request *req, const struct ollama_target *target,
                         struct problem *problem)
{
    for (size_t i = 0; i < ARRAY_LEN(option_rules); i++) {
        const struct option_rule *rule = &option_rules[i];
        bool is_read = rule->kind == OPTION_RUN && !(req->sampling.set & rule->bit);
        struct str value = is_read ? ollama_client_value(req, target, rule->name) : STR_NONE;
        enum json_type type = json_type(value);
        bool is_flag = strcmp(rule->name, "penalize_newline") == 0;

        if (!value.ptr || rule->bit == SAMPLING_STOP) {
            continue;
        }
        if (is_flag && type != JSON_TRUE && type != JSON_FALSE) {
            return field_fail(problem, rule->name, "'%s' must be a boolean", rule->name);
        }
        if (!is_flag && type != JSON_NUMBER) {
            return field_fail(problem, rule->name, "'%s' must be a number", rule->name);
        }
    }
    return 0;
}
