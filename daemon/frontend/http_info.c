/*
 * Answers from what sluice knows itself, in the shapes of OpenAI (models) and LiteLLM (the rest). None
 * of them asks an upstream: a health check must not load a model, and a list must come quickly also
 * when every model server is down.
 */
#include "frontend/http_info.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "core/router_catalog.h"
#include "frontend/http_access.h"
#include "frontend/http_metrics.h"
#include "wire/http1.h"
#include "wire/openai_reply.h"
#include "wire/put.h"

#define QUERY_VALUE_MAX 256

/* ---- models */

static uint64_t wall_start_sec(const struct frontends *f)
{
    return (clock_wall_usec() - usec_since(clock_now_usec(), f->started_at_usec)) / USEC_PER_SEC;
}

struct model_list {
    const struct frontends *frontends;
    const struct access_key *key;
    struct buf *out;
    int r;
};

static void write_listed(void *ctx, const struct router_listed *one)
{
    struct model_list *l = ctx;

    if (l->r == 0 && http_access_allows(l->frontends, l->key, one->name)) {
        l->r =
            openai_write_model(l->out, one->name, STR_LIT("sluice"), wall_start_sec(l->frontends));
    }
}

static int write_models(const struct frontends *f, const struct access_key *key, struct buf *out)
{
    struct model_list list = {
        .frontends = f, .key = key, .out = out, .r = openai_write_models_begin(out)};

    if (list.r == 0) {
        router_each_listed(f->router, clock_now_usec(), write_listed, &list);
    }
    return list.r < 0 ? list.r : openai_write_models_end(out);
}

static enum errcode answer_model(const struct frontends *f, struct str escaped,
                                 const struct access_key *key, struct buf *out)
{
    struct buf name;
    enum errcode code = ERRCODE_MODEL_NOT_FOUND;

    buf_init(&name, REQUEST_MODEL_MAX);
    if (http1_unescape(escaped, &name) == 0 && router_resolve(f->router, buf_str(&name)) &&
        http_access_allows(f, key, buf_str(&name))) {
        code = openai_write_model(out, buf_str(&name), STR_LIT("sluice"), wall_start_sec(f)) < 0
                   ? ERRCODE_OUT_OF_MEMORY
                   : ERRCODE_NONE;
    }
    buf_done(&name);
    return code;
}

/* The value of a parameter of the query, unescaped into out (empty where it has none). */
static int query_value(struct str query, const char *name, struct buf *out)
{
    size_t n = strlen(name);

    while (query.len > 0) {
        const char *amp = memchr(query.ptr, '&', query.len);
        struct str one = {query.ptr, amp ? (size_t) (amp - query.ptr) : query.len};

        if (one.len > n && one.ptr[n] == '=' && memcmp(one.ptr, name, n) == 0) {
            return http1_unescape((struct str) {one.ptr + n + 1, one.len - n - 1}, out);
        }
        query.ptr += one.len + (amp ? 1 : 0);
        query.len -= one.len + (amp ? 1 : 0);
    }
    return 0;
}

static enum errcode answer_model_info(const struct frontends *f, const struct http_info_ask *ask,
                                      struct buf *out)
{
    struct buf id;
    int r;

    buf_init(&id, QUERY_VALUE_MAX);
    r = query_value(ask->query, "litellm_model_id", &id);
    r = r < 0 ? -ENOENT : f->info.write_models(f->ctx, buf_str(&id), ask->key, out);
    buf_done(&id);
    return r == -ENOENT ? ERRCODE_MODEL_NOT_FOUND : r < 0 ? ERRCODE_OUT_OF_MEMORY : ERRCODE_NONE;
}

/* ---- health */

static enum errcode readiness(const struct frontends *f)
{
    return f->is_draining                                         ? ERRCODE_DRAINING
           : f->registry->unusable                                ? ERRCODE_MISCONFIGURED
           : pressure_level_for_calls(f->pressure) >= PRESSURE_L3 ? ERRCODE_MEMORY_PRESSURE
                                                                  : ERRCODE_NONE;
}

/*
 * LiteLLM's fields, for probes that read them: there is no database and no cache here.
 */
static int write_readiness(const struct frontends *f, struct buf *out)
{
    return buf_printf(out,
                      "{\"status\":\"healthy\",\"db\":\"Not connected\",\"cache\":null,"
                      "\"success_callbacks\":[],\"sluice_version\":\"%s\",\"pressure_level\":%d}",
                      SLUICE_VERSION, f->pressure->level);
}

/*
 * Why a deployment cannot serve now, or NULL: what its calls have shown, and where servers are
 * checked what the last check has. Without checks it is not known whether one that nobody has
 * called would answer, and it counts as healthy.
 */
static const char *trouble_of(const struct deployment *d, uint64_t now_usec,
                              char text[DEPLOYMENT_TEXT_BYTES])
{
    struct backend_check check;

    if (d->off_reason) {
        return d->off_reason;
    }
    if (deployment_checked(d, &check) && check.trouble) {
        return check.trouble;
    }
    if (deployment_is_down(d)) {
        return "the model server does not answer";
    }
    if (deployment_paused_by(d, now_usec, NULL) == PAUSE_RATE) {
        return NULL; /* works as it was told to */
    }
    return deployment_describe_pause(d, true, now_usec, text);
}

/* Is it one of a model that the key may use? */
static bool is_visible(const struct frontends *f, const struct access_key *key,
                       const struct deployment *d)
{
    for (size_t i = 0; key && i < f->router->n_groups; i++) {
        const struct model_group *g = &f->router->groups[i];

        for (size_t k = 0; k < g->n_deployments; k++) {
            if (g->deployments[k] == d && access_key_allows(key, str_from(g->name))) {
                return true;
            }
        }
    }
    return !key;
}

/* When its server was asked last, as LiteLLM's model_group/info has it. */
static void put_checked_at(struct put *p, const struct deployment *d, uint64_t now_usec)
{
    struct backend_check check;
    struct tm tm;
    char date[32];
    time_t at;

    if (!deployment_checked(d, &check)) {
        return;
    }
    at = (time_t) ((clock_wall_usec() - usec_since(now_usec, check.at_usec)) / USEC_PER_SEC);
    if (gmtime_r(&at, &tm) && strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0) {
        put_z(p, ",\"health_checked_at\":");
        put_json_string(p, str_from(date));
    }
}

static void put_endpoint(struct put *p, const struct deployment *d, const char *trouble,
                         uint64_t now_usec)
{
    char model[ROUTER_MODEL_BYTES];

    (void) snprintf(model, sizeof model, "%s%s", d->prefix, d->upstream_model);
    put_z(p, "{\"model\":");
    put_json_string(p, str_from(model));
    put_z(p, ",\"custom_llm_provider\":");
    put_json_string(p, str_from(d->provider));
    if (d->api_base[0]) {
        put_z(p, ",\"api_base\":");
        put_json_string(p, str_from(d->api_base));
    }
    put_z(p, ",\"model_id\":");
    put_json_string(p, str_from(d->id));
    put_checked_at(p, d, now_usec);
    if (trouble) {
        put_z(p, ",\"error\":");
        put_json_string(p, str_from(trouble));
    }
    put_char(p, '}');
}

/* Those that are healthy, or those that are not. How many. */
static unsigned put_endpoints(struct put *p, const struct frontends *f,
                              const struct access_key *key, bool healthy, uint64_t now_usec)
{
    unsigned n = 0;

    list_for_each (l, &f->router->deployments) {
        const struct deployment *d = CONTAINER_OF(l, struct deployment, link);
        char text[DEPLOYMENT_TEXT_BYTES];
        const char *trouble = trouble_of(d, now_usec, text);

        if (healthy == !trouble && is_visible(f, key, d)) {
            put_z(p, n++ > 0 ? "," : "");
            put_endpoint(p, d, trouble, now_usec);
        }
    }
    return n;
}

static int write_health(const struct frontends *f, const struct access_key *key, uint64_t now_usec,
                        struct buf *out)
{
    struct put p = {out, 0};
    unsigned n_healthy, n_unhealthy;

    put_z(&p, "{\"healthy_endpoints\":[");
    n_healthy = put_endpoints(&p, f, key, true, now_usec);
    put_z(&p, "],\"unhealthy_endpoints\":[");
    n_unhealthy = put_endpoints(&p, f, key, false, now_usec);
    put_z(&p, "],\"healthy_count\":");
    put_u64(&p, n_healthy);
    put_z(&p, ",\"unhealthy_count\":");
    put_u64(&p, n_unhealthy);
    put_char(&p, '}');
    return p.r;
}

/* ---- */

enum errcode http_info_answer(const struct frontends *f, const struct http_info_ask *ask,
                              uint64_t now_usec, struct buf *out, const char **ret_type)
{
    enum errcode code = ERRCODE_NONE;
    int r = 0;

    *ret_type = "application/json";
    switch (ask->route) {
    case ROUTE_MODELS:
        r = write_models(f, ask->key, out);
        break;
    case ROUTE_MODEL:
        return answer_model(f, ask->model, ask->key, out);
    case ROUTE_MODEL_INFO:
        return answer_model_info(f, ask, out);
    case ROUTE_GROUP_INFO:
        r = f->info.write_groups(f->ctx, ask->key, out);
        break;
    case ROUTE_HEALTH:
        r = write_health(f, ask->key, now_usec, out);
        break;
    case ROUTE_LIVENESS:
        r = buf_append_z(out, "\"I'm alive!\""); /* LiteLLM's words: probes compare them */
        break;
    case ROUTE_READINESS:
        code = readiness(f);
        r = code == ERRCODE_NONE ? write_readiness(f, out) : 0;
        break;
    case ROUTE_METRICS:
        *ret_type = "text/plain; version=0.0.4";
        r = http_metrics_write(f, out);
        break;
    case ROUTE_NONE:
    case ROUTE_NOT_SERVED:
    case ROUTE_CHAT:
    case ROUTE_COMPLETIONS:
    case ROUTE_EMBEDDINGS:
    case ROUTE_RERANK:
    case ROUTE_CLASSIFY:
        assert(0);
        break;
    }
    return r < 0 ? ERRCODE_OUT_OF_MEMORY : code;
}
