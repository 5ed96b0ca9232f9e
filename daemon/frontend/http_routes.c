/*
 * Paths, and the answers that come from what sluice knows itself. None of them asks an upstream:
 * health checks must not load models.
 */
#include "frontend/http_routes.h"

#include <assert.h>

#include "base/clock.h"
#include "wire/openai_reply.h"

#define PATH_MAX_BYTES 512

struct route_row {
    const char *path;
    enum http_route route;
};

static const struct route_row rows[] = {
    {"chat/completions", ROUTE_CHAT},      {"completions", ROUTE_COMPLETIONS},
    {"embeddings", ROUTE_EMBEDDINGS},      {"models", ROUTE_MODELS},
    {"health", ROUTE_READINESS}, /* LiteLLM's /health calls every model: ours never does */
    {"health/liveliness", ROUTE_LIVENESS}, {"health/liveness", ROUTE_LIVENESS},
    {"health/readiness", ROUTE_READINESS}, {"metrics", ROUTE_METRICS},
};

/*
 * The path without leading, doubled and trailing slashes, in ret (at most size bytes); 0 when it is
 * longer.
 */
static size_t squeeze(struct str path, char *ret, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < path.len; i++) {
        bool is_extra_slash = path.ptr[i] == '/' && (n == 0 || ret[n - 1] == '/');

        if (is_extra_slash) {
            continue;
        }
        if (n == size) {
            return 0;
        }
        ret[n++] = path.ptr[i];
    }
    return n > 0 && ret[n - 1] == '/' ? n - 1 : n;
}

/* Behind "models/" in the path as it was sent: names may hold slashes, also doubled ones. */
static struct str behind_models(struct str path)
{
    const char *at = memmem(path.ptr, path.len, "models/", 7);

    return at ? (struct str) {at + 7, path.len - (size_t) (at + 7 - path.ptr)} : STR_NONE;
}

enum http_route http_route_of(struct str path, struct str *ret_rest)
{
    char squeezed[PATH_MAX_BYTES];
    struct str p = {squeezed, squeeze(path, squeezed, sizeof squeezed)};

    *ret_rest = STR_NONE;
    if (str_has_prefix(p, "v1/")) {
        p.ptr += 3;
        p.len -= 3;
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (str_is(p, rows[i].path)) {
            return rows[i].route;
        }
    }
    if (str_has_prefix(p, "models/")) {
        *ret_rest = behind_models(path);
        return ROUTE_MODEL;
    }
    return ROUTE_NONE;
}

bool http_route_is_post(enum http_route route)
{
    return route == ROUTE_CHAT || route == ROUTE_COMPLETIONS || route == ROUTE_EMBEDDINGS;
}

enum request_kind http_route_kind(enum http_route route)
{
    assert(http_route_is_post(route));
    return route == ROUTE_CHAT          ? REQUEST_CHAT
           : route == ROUTE_COMPLETIONS ? REQUEST_COMPLETE
                                        : REQUEST_EMBED;
}

bool http_route_is_open(enum http_route route)
{
    return route == ROUTE_LIVENESS || route == ROUTE_READINESS;
}

static uint64_t wall_start_sec(const struct frontends *f)
{
    return (clock_wall_usec() - usec_since(clock_now_usec(), f->started_at_usec)) / USEC_PER_SEC;
}

static int write_models(const struct frontends *f, struct buf *out)
{
    int r = openai_write_models_begin(out);

    for (size_t i = 0; r == 0 && i < f->router->n_groups; i++) {
        r = openai_write_model(out, str_from(f->router->groups[i].name), STR_LIT("sluice"),
                               wall_start_sec(f));
    }
    return r < 0 ? r : openai_write_models_end(out);
}

static enum errcode answer_model(const struct frontends *f, struct str escaped, struct buf *out)
{
    struct buf name;
    enum errcode code = ERRCODE_MODEL_NOT_FOUND;

    buf_init(&name, REQUEST_MODEL_MAX);
    if (http1_unescape(escaped, &name) == 0 && router_resolve(f->router, buf_str(&name))) {
        code = openai_write_model(out, buf_str(&name), STR_LIT("sluice"), wall_start_sec(f)) < 0
                   ? ERRCODE_OUT_OF_MEMORY
                   : ERRCODE_NONE;
    }
    buf_done(&name);
    return code;
}

static int write_metric(struct buf *out, const char *name, const char *type, const char *help,
                        uint64_t value)
{
    return buf_printf(out, "# HELP sluice_%s %s\n# TYPE sluice_%s %s\nsluice_%s %llu\n", name, help,
                      name, type, name, (unsigned long long) value);
}

static int write_refusals(const struct stats *s, struct buf *out)
{
    int r = buf_append_z(out, "# HELP sluice_errors_total Calls that ended with an error, by code\n"
                              "# TYPE sluice_errors_total counter\n");

    for (int i = 0; r == 0 && i < _ERRCODE_MAX; i++) {
        if (s->n_by_code[i] > 0) {
            r = buf_printf(out, "sluice_errors_total{code=\"%s\"} %llu\n",
                           errcode_info((enum errcode) i)->openai_code,
                           (unsigned long long) s->n_by_code[i]);
        }
    }
    return r;
}

static int write_metrics(const struct frontends *f, struct buf *out)
{
    const struct stats *s = f->stats;
    struct {
        const char *name, *type, *help;
        uint64_t value;
    } all[] = {
        {"calls_completed_total", "counter", "Calls that were answered", s->n_completed},
        {"calls_failed_total", "counter", "Calls that had a slot and failed", s->n_failed},
        {"calls_cancelled_total", "counter", "Calls that their client cancelled", s->n_cancelled},
        {"calls_refused_total", "counter", "Calls that never had a slot", s->n_refused},
        {"tokens_input_total", "counter", "Prompt tokens, as upstreams counted them", s->tokens_in},
        {"tokens_output_total", "counter", "Generated tokens, as upstreams counted them",
         s->tokens_out},
        {"calls_queued", "gauge", "Calls waiting for a slot", f->admission->n_queued},
        {"calls_running", "gauge", "Calls that hold a slot", f->admission->n_granted},
        {"connections", "gauge", "Open connections of clients", f->n_conns},
        {"buffered_bytes", "gauge", "Request bodies and answers in memory", f->buffered_bytes},
        {"pressure_level", "gauge", "Memory pressure, 0 to 4", f->pressure->level},
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(all); i++) {
        r = write_metric(out, all[i].name, all[i].type, all[i].help, all[i].value);
    }
    return r < 0 ? r : write_refusals(s, out);
}

static enum errcode readiness(const struct frontends *f)
{
    return f->is_draining                      ? ERRCODE_DRAINING
           : f->registry->unusable             ? ERRCODE_MISCONFIGURED
           : f->pressure->level >= PRESSURE_L3 ? ERRCODE_MEMORY_PRESSURE
                                               : ERRCODE_NONE;
}

enum errcode http_route_answer(const struct frontends *f, enum http_route route, struct str rest,
                               struct buf *out, const char **ret_type)
{
    enum errcode code = ERRCODE_NONE;
    int r = 0;

    *ret_type = "application/json";
    switch (route) {
    case ROUTE_MODELS:
        r = write_models(f, out);
        break;
    case ROUTE_MODEL:
        return answer_model(f, rest, out);
    case ROUTE_LIVENESS:
        r = buf_append_z(out, "\"I'm alive!\""); /* LiteLLM's words: probes compare them */
        break;
    case ROUTE_READINESS:
        code = readiness(f);
        r = code != ERRCODE_NONE
                ? 0
                : buf_printf(
                      out,
                      "{\"status\":\"healthy\",\"sluice_version\":\"%s\",\"pressure_level\":%d}",
                      SLUICE_VERSION, f->pressure->level);
        break;
    case ROUTE_METRICS:
        *ret_type = "text/plain; version=0.0.4";
        r = write_metrics(f, out);
        break;
    case ROUTE_NONE:
    case ROUTE_CHAT:
    case ROUTE_COMPLETIONS:
    case ROUTE_EMBEDDINGS:
        assert(0);
        break;
    }
    return r < 0 ? ERRCODE_OUT_OF_MEMORY : code;
}
