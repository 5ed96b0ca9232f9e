/*
 * See model_info.h. Written from the configuration when somebody asks, kept nowhere.
 *
 * Must not show a secret: of litellm_params only what is named below is told, api_base without what
 * stands around host and path. extra_headers, extra_body, keys and parameters that sluice does not
 * know are nobody's business.
 *
 * Owns nothing; reads the snapshot that the daemon runs with.
 */
#include "model_info.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "config/config.h"
#include "upstream/server_address.h"
#include "wire/json.h"
#include "wire/put.h"

static void put_key(struct put *p, const char *key)
{
    put_z(p, ",\"");
    put_z(p, key);
    put_z(p, "\":");
}

static void put_number(struct put *p, const char *key, uint64_t value)
{
    if (value > 0) {
        put_key(p, key);
        put_u64(p, value);
    }
}

static void put_text(struct put *p, const char *key, const char *text)
{
    if (text && text[0]) {
        put_key(p, key);
        put_json_string(p, str_from(text));
    }
}

static void put_seconds(struct put *p, const char *key, uint64_t usec)
{
    if (usec > 0 && usec != USEC_NEVER) {
        put_key(p, key);
        put_json_double(p, (double) usec / (double) USEC_PER_SEC);
    }
}

static void put_names(struct put *p, const char *key, const struct config_names *names)
{
    for (size_t i = 0; i < names->n_items; i++) {
        if (i == 0) {
            put_key(p, key);
        }
        put_char(p, i == 0 ? '[' : ',');
        put_json_string(p, str_from(names->items[i]));
    }
    put_z(p, names->n_items > 0 ? "]" : "");
}

/* litellm_params.model as the file has it. */
static void put_model(struct put *p, const struct config_deployment *d)
{
    struct buf name;

    if (d->litellm_model) {
        put_json_string(p, str_from(d->litellm_model));
        return;
    }
    buf_init(&name, CONFIG_MAX_FILE_BYTES);
    if (buf_printf(&name, "%s/%s", d->provider, d->model) < 0) {
        p->r = p->r < 0 ? p->r : -ENOMEM;
    }
    put_json_string(p, buf_str(&name));
    buf_done(&name);
}

static void put_params(struct put *p, const struct config_deployment *d)
{
    char *api_base = server_address_shown(d->api_base);

    if (!api_base) {
        p->r = -ENOMEM;
        return;
    }
    put_z(p, ",\"litellm_params\":{\"model\":");
    put_model(p, d);
    put_text(p, "api_base", api_base);
    put_number(p, "order", d->order);
    if (d->weight > 0) {
        put_key(p, "weight");
        put_json_double(p, d->weight);
    }
    put_number(p, "rpm", d->rpm);
    put_number(p, "tpm", d->tpm);
    put_number(p, "max_parallel_requests", d->slots);
    put_seconds(p, "timeout", d->total_usec);
    put_seconds(p, "stream_timeout", d->first_byte_usec);
    put_names(p, "tags", &d->tags);
    put_char(p, '}');
    free(api_base);
}

/* The members of model_info as the file has them; id is the one that counts, given or derived. */
static void put_info(struct put *p, const struct config_deployment *d)
{
    struct json_iter it;
    struct str name, value;

    put_z(p, ",\"model_info\":{\"id\":");
    put_json_string(p, str_from(d->id));
    put_z(p, ",\"db_model\":false,\"litellm_provider\":");
    put_json_string(p, str_from(d->provider));
    json_iter_init(&it, str_from(d->info));
    while (json_next(&it, &name, &value)) {
        if (str_is(name, "id") || str_is(name, "db_model") || str_is(name, "litellm_provider")) {
            continue;
        }
        put_z(p, ",\"");
        put_str(p, name); /* raw: escaped as it was */
        put_z(p, "\":");
        put_str(p, value);
    }
    put_char(p, '}');
}

int model_info_write(const struct config *c, struct str id, const struct access_key *key,
                     struct buf *out)
{
    struct put p = {out, 0};
    size_t n = 0;

    put_z(&p, "{\"data\":[");
    for (size_t i = 0; i < c->n_deployments; i++) {
        const struct config_deployment *d = &c->deployments[i];

        if ((id.len > 0 ? !str_is(id, d->id) : d->is_hidden) ||
            !access_key_allows(key, str_from(d->model_name))) {
            continue;
        }
        put_z(&p, n++ > 0 ? ",{\"model_name\":" : "{\"model_name\":");
        put_json_string(&p, str_from(d->model_name));
        put_params(&p, d);
        put_info(&p, d);
        put_char(&p, '}');
    }
    put_z(&p, "]}");
    return p.r < 0 ? p.r : id.len > 0 && n == 0 ? -ENOENT : 0;
}

/* ---- groups */

static const char *const abilities[] = {
    "supports_vision",    "supports_function_calling", "supports_parallel_function_calling",
    "supports_reasoning", "supports_response_schema",  "supports_audio_input",
};

/* One name with everything that its deployments say. */
struct group {
    const struct config *config;
    const char *name;
    size_t first; /* its first deployment */
};

static bool is_of(const struct group *g, size_t i)
{
    const struct config_deployment *d = &g->config->deployments[i];

    return !d->is_hidden && strcmp(d->model_name, g->name) == 0;
}

static bool is_first_of_its_provider(const struct group *g, size_t i)
{
    for (size_t k = g->first; k < i; k++) {
        if (is_of(g, k) &&
            strcmp(g->config->deployments[k].provider, g->config->deployments[i].provider) == 0) {
            return false;
        }
    }
    return true;
}

static void put_providers(struct put *p, const struct group *g)
{
    size_t n = 0;

    put_key(p, "providers");
    put_char(p, '[');
    for (size_t i = g->first; i < g->config->n_deployments; i++) {
        if (is_of(g, i) && is_first_of_its_provider(g, i)) {
            put_z(p, n++ > 0 ? "," : "");
            put_json_string(p, str_from(g->config->deployments[i].provider));
        }
    }
    put_char(p, ']');
}

/* The first value that a deployment of the group gives in its model_info. */
static struct str info_of(const struct group *g, const char *name)
{
    struct str value = STR_NONE;

    for (size_t i = g->first; !value.ptr && i < g->config->n_deployments; i++) {
        if (is_of(g, i) && g->config->deployments[i].info) {
            value = json_find(str_from(g->config->deployments[i].info), name);
        }
    }
    return value;
}

static void put_limits(struct put *p, const struct group *g)
{
    uint64_t rpm = 0, tpm = 0, max_tokens = 0;

    for (size_t i = g->first; i < g->config->n_deployments; i++) {
        const struct config_deployment *d = &g->config->deployments[i];

        if (is_of(g, i)) {
            rpm += d->rpm;
            tpm += d->tpm;
            max_tokens = d->max_input_tokens > max_tokens ? d->max_input_tokens : max_tokens;
        }
    }
    put_number(p, "max_input_tokens", max_tokens);
    put_number(p, "rpm", rpm);
    put_number(p, "tpm", tpm);
}

static void put_group(struct put *p, const struct group *g)
{
    struct str mode = info_of(g, "mode");

    put_z(p, "{\"model_group\":");
    put_json_string(p, str_from(g->name));
    put_providers(p, g);
    put_key(p, "mode");
    put_str(p, json_type(mode) == JSON_STRING ? mode : STR_LIT("\"chat\""));
    put_limits(p, g);
    for (size_t i = 0; i < ARRAY_LEN(abilities); i++) {
        put_key(p, abilities[i]);
        put_z(p, json_is_true(info_of(g, abilities[i])) ? "true" : "false");
    }
    put_char(p, '}');
}

int model_info_write_groups(const struct config *c, const struct access_key *key, struct buf *out)
{
    struct put p = {out, 0};
    size_t n = 0;

    put_z(&p, "{\"data\":[");
    for (size_t i = 0; i < c->n_deployments; i++) {
        struct group g = {c, c->deployments[i].model_name, 0};

        while (!is_of(&g, g.first) && g.first < i) {
            g.first++;
        }
        if (g.first == i && is_of(&g, i) && access_key_allows(key, str_from(g.name))) {
            put_z(&p, n++ > 0 ? "," : "");
            put_group(&p, &g);
        }
    }
    put_z(&p, "]}");
    return p.r;
}
