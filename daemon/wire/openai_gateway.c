/*
 * What a body says to the gateway (LiteLLM: docs/proxy/request_headers.md, reliability.md).
 *
 *   obeyed      fallbacks, disable_fallbacks, num_retries, timeout, stream_timeout, tags,
 *               metadata.tags, and x-sluice-local-only for who can set no header: into struct
 *               request_routing
 *   refused     api_base, api_key and their kin, by name: they would send our key, or the request,
 *               to a place of the caller's choice. LiteLLM bans most of them as well
 *               (proxy/auth/auth_utils.py: is_request_body_safe)
 *   without     LiteLLM's other controls, and Ollama's load options: known, not obeyed, never sent
 *   effect      on
 *
 * One table says which is which, for the reading here and for the splice of openai_upstream.c.
 * metadata itself is OpenAI's and goes on as it was sent; so does everything that is not in the
 * table.
 */
#include "wire/openai_gateway.h"

#include <errno.h>

#include "wire/json.h"
#include "wire/openai_body.h"
#include "wire/overrides.h"

enum gateway_kind {
    KIND_NONE, /* not in the table: the model server's */
    KIND_FALLBACKS,
    KIND_DISABLE_FALLBACKS,
    KIND_RETRIES,
    KIND_TIMEOUT,
    KIND_STREAM_TIMEOUT,
    KIND_TAGS,
    KIND_METADATA, /* sent on */
    KIND_LOCAL_ONLY,
    KIND_WITHOUT_EFFECT,
    KIND_REFUSED,
};

struct row {
    struct str name;
    enum gateway_kind kind;
};

static const struct row rows[] = {
    {FIELD_NAME("fallbacks"), KIND_FALLBACKS},
    {FIELD_NAME("disable_fallbacks"), KIND_DISABLE_FALLBACKS},
    {FIELD_NAME("num_retries"), KIND_RETRIES},
    {FIELD_NAME("timeout"), KIND_TIMEOUT},
    {FIELD_NAME("stream_timeout"), KIND_STREAM_TIMEOUT},
    {FIELD_NAME("tags"), KIND_TAGS},
    {FIELD_NAME("metadata"), KIND_METADATA},
    {FIELD_NAME("x-sluice-local-only"), KIND_LOCAL_ONLY},
    {FIELD_NAME("api_base"), KIND_REFUSED},
    {FIELD_NAME("base_url"), KIND_REFUSED},
    {FIELD_NAME("api_key"), KIND_REFUSED},
    {FIELD_NAME("api_version"), KIND_REFUSED},
    {FIELD_NAME("api_type"), KIND_REFUSED},
    {FIELD_NAME("organization"), KIND_REFUSED},
    {FIELD_NAME("custom_llm_provider"), KIND_REFUSED},
    {FIELD_NAME("extra_headers"), KIND_REFUSED},
    {FIELD_NAME("headers"), KIND_REFUSED},
    {FIELD_NAME("extra_query"), KIND_REFUSED},
    {FIELD_NAME("model_list"), KIND_REFUSED},
    {FIELD_NAME("user_config"), KIND_REFUSED},
    {FIELD_NAME("proxy_server_request"), KIND_REFUSED},
    {FIELD_NAME("azure_ad_token"), KIND_REFUSED},
    {FIELD_NAME("azure_endpoint"), KIND_REFUSED},
    {FIELD_NAME("azure_username"), KIND_REFUSED},
    {FIELD_NAME("azure_password"), KIND_REFUSED},
    {FIELD_NAME("client_secret"), KIND_REFUSED},
    {FIELD_NAME("aws_access_key_id"), KIND_REFUSED},
    {FIELD_NAME("aws_secret_access_key"), KIND_REFUSED},
    {FIELD_NAME("aws_session_token"), KIND_REFUSED},
    {FIELD_NAME("aws_profile_name"), KIND_REFUSED},
    {FIELD_NAME("aws_role_name"), KIND_REFUSED},
    {FIELD_NAME("aws_sts_endpoint"), KIND_REFUSED},
    {FIELD_NAME("aws_web_identity_token"), KIND_REFUSED},
    {FIELD_NAME("aws_bedrock_runtime_endpoint"), KIND_REFUSED},
    {FIELD_NAME("vertex_credentials"), KIND_REFUSED},
    {FIELD_NAME("vertex_project"), KIND_REFUSED},
    {FIELD_NAME("vertex_location"), KIND_REFUSED},
    {FIELD_NAME("litellm_params"), KIND_REFUSED},
    {FIELD_NAME("litellm_credential_name"), KIND_REFUSED},
    {FIELD_NAME("extra_body"), KIND_WITHOUT_EFFECT}, /* its members stand beside it */
    {FIELD_NAME("keep_alive"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("num_ctx"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("context_window_fallbacks"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("content_policy_fallbacks"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("default_fallbacks"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("max_fallbacks"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("max_retries"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("retry_policy"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("request_timeout"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("cooldown_time"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("priority"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("drop_params"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("additional_drop_params"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("allowed_openai_params"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("cache"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("caching"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("guardrails"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("no-log"), KIND_WITHOUT_EFFECT},
    {FIELD_NAME("ttl"), KIND_WITHOUT_EFFECT},
};

static enum gateway_kind kind_of(struct str name)
{
    char first = name.len > 0 ? name.ptr[0] : '\0';

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) { /* a letter tells most of them apart */
        if (rows[i].name.ptr[0] == first && str_is_equal(name, rows[i].name)) {
            return rows[i].kind;
        }
    }
    if (str_has_prefix(name, "mock_") || str_has_prefix(name, "litellm_")) {
        return KIND_WITHOUT_EFFECT;
    }
    return KIND_NONE;
}

static bool is_for_gateway(enum gateway_kind kind)
{
    return kind != KIND_NONE && kind != KIND_METADATA;
}

bool openai_gateway_is_member(struct str name)
{
    return is_for_gateway(kind_of(name));
}

/* ---- reading */

static int read_fallback_names(struct openai_body *b, struct str array)
{
    struct json_iter it;
    struct str name, value;
    int r = 0;

    json_iter_init(&it, array);
    while (r == 0 && json_next(&it, &name, &value)) {
        struct field f = {"", value, b->problem};
        struct str text = STR_NONE;

        if (json_type(value) != JSON_STRING) {
            return field_fail(b->problem, "fallbacks", "'fallbacks' must hold names of models");
        }
        r = field_string(&f, &b->req->arena, &text);
        f.name = "fallbacks";
        r = r < 0 ? r : overrides_add_fallback(&f, text, b->req);
    }
    return r;
}

/* The rule counts for this model when its key is the model asked for, or "*". */
static int read_fallback_rule(struct openai_body *b, struct str group, struct str value)
{
    if (json_type(value) != JSON_ARRAY) {
        return field_fail(b->problem, "fallbacks", "'fallbacks' must hold names of models");
    }
    if (!str_is_equal(group, b->req->model) && !str_is(group, "*")) {
        return 0;
    }
    return read_fallback_names(b, value);
}

/*
 * One fallback: a name; {"model": name} (LiteLLM's client-side form; what else it holds would be
 * another request, which is refused rather than left out); or {group: [names]}, as the
 * configuration writes it.
 */
static int read_fallback(struct openai_body *b, struct str value)
{
    struct field f = {"fallbacks", value, b->problem};
    struct json_iter it;
    struct str name, inner, text = STR_NONE;
    int r;

    if (json_type(value) == JSON_OBJECT) {
        json_iter_init(&it, value);
        if (field_count(value) != 1 || !json_next(&it, &name, &inner)) {
            return field_fail(b->problem, f.name,
                              "an entry of 'fallbacks' must be a name, or have one member");
        }
        if (!str_is(name, "model") || json_type(inner) != JSON_STRING) {
            return read_fallback_rule(b, name, inner);
        }
        f.value = inner;
    }
    r = json_type(f.value) == JSON_STRING ? field_string(&f, &b->req->arena, &text)
                                          : field_fail_type(&f, "a list of names");
    return r < 0 ? r : overrides_add_fallback(&f, text, b->req);
}

static int read_fallbacks(struct openai_body *b, struct str value)
{
    struct field f = {"fallbacks", value, b->problem};
    struct str array = STR_NONE, name, element;
    struct json_iter it;
    int r = field_array(&f, &array);

    if (r < 0 || !array.ptr) {
        return r;
    }
    b->req->routing.has_fallbacks = true;
    json_iter_init(&it, array);
    while (r == 0 && json_next(&it, &name, &element)) {
        r = read_fallback(b, element);
    }
    return r;
}

static int read_tags(struct openai_body *b, const char *member, struct str value)
{
    struct field f = {member, value, b->problem};
    struct str array = STR_NONE, name, element;
    struct json_iter it;
    int r = field_array(&f, &array);

    if (r < 0 || !array.ptr) {
        return r;
    }
    json_iter_init(&it, array);
    while (r == 0 && json_next(&it, &name, &element)) {
        struct field tag = {member, element, b->problem};
        struct str text = STR_NONE;

        if (json_type(element) != JSON_STRING) {
            return field_fail(b->problem, member, "'%s' must hold strings", member);
        }
        r = field_string(&tag, &b->req->arena, &text);
        r = r < 0 ? r : overrides_add_tag(&f, text, b->req);
    }
    return r;
}

/* OpenAI's metadata holds strings, so a list named tags can only be meant for a gateway. */
static int read_metadata(struct openai_body *b, struct str value)
{
    struct str tags = json_type(value) == JSON_OBJECT ? json_find(value, "tags") : STR_NONE;

    if (json_type(tags) != JSON_ARRAY) {
        return 0;
    }
    return field_within(read_tags(b, "tags", tags), b->problem, "metadata");
}

static int read_disable_fallbacks(struct openai_body *b, struct str value)
{
    struct field f = {"disable_fallbacks", value, b->problem};
    bool is_disabled = false;
    int r = field_bool(&f, &is_disabled);

    b->has_disabled_fallbacks = is_disabled;
    return r;
}

static int refuse(struct openai_body *b, struct str name, struct str value)
{
    char param[PROBLEM_PARAM_MAX];

    if (json_is_null(value)) {
        return 0;
    }
    (void) snprintf(param, sizeof param, "%.*s", STR_ARG(name));
    return field_fail(b->problem, param,
                      "'%s' is for the configuration of the gateway and not for a request", param);
}

static int read_member(struct openai_body *b, enum gateway_kind kind, struct str name,
                       struct str value)
{
    struct request_routing *to = &b->req->routing;
    struct field f = {"", value, b->problem};

    switch (kind) {
    case KIND_FALLBACKS:
        return read_fallbacks(b, value);
    case KIND_DISABLE_FALLBACKS:
        return read_disable_fallbacks(b, value);
    case KIND_RETRIES:
        f.name = "num_retries";
        return overrides_read_retries(&f, to);
    case KIND_TIMEOUT:
        f.name = "timeout";
        return overrides_read_seconds(&f, &to->total_usec);
    case KIND_STREAM_TIMEOUT:
        f.name = "stream_timeout";
        return overrides_read_seconds(&f, &to->first_byte_usec);
    case KIND_TAGS:
        return read_tags(b, "tags", value);
    case KIND_METADATA:
        return read_metadata(b, value);
    case KIND_LOCAL_ONLY:
        f.name = "x-sluice-local-only";
        return field_bool(&f, &to->is_local_only);
    case KIND_REFUSED:
        return refuse(b, name, value);
    case KIND_WITHOUT_EFFECT:
    case KIND_NONE:
        break;
    }
    return 0;
}

static void finish_routing(const struct openai_body *b)
{
    if (b->has_disabled_fallbacks) {
        b->req->routing.has_fallbacks = true;
        b->req->routing.n_fallbacks = 0;
    }
}

int openai_body_gateway(struct openai_body *b)
{
    struct request *req = b->req;
    int r = 0;

    for (size_t i = 0; r == 0 && i < req->n_members; i++) {
        struct request_member *m = &req->members[i];
        enum gateway_kind kind = kind_of(m->name);

        m->is_for_gateway = is_for_gateway(kind);
        r = read_member(b, kind, m->name, m->value);
    }
    finish_routing(b);
    return r;
}

int openai_gateway_read_extra(struct request *req, struct problem *ret_problem)
{
    struct openai_body b = {.req = req, .problem = ret_problem};
    struct json_iter it;
    struct str name, value;
    int r = 0;

    if (!req->extra.ptr) {
        return 0;
    }
    json_iter_init(&it, req->extra);
    while (r == 0 && json_next(&it, &name, &value)) {
        r = read_member(&b, kind_of(name), name, value);
    }
    finish_routing(&b);
    return field_within(r, ret_problem, "extra_json");
}
