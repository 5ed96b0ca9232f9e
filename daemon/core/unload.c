/*
 * See unload.h.
 *
 * Two deployments may be one model in one server's memory (aliases, several with other sampling
 * defaults): all of them are looked at before anything is asked, by their address and their name
 * there. A wildcard's deployment that is in use may be using any model of its server, so then none is
 * unloaded there. What the server itself knows of other users is its own affair: Ollama waits for
 * them.
 */
#include "core/unload.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/residency.h"

struct unload_part {
    struct unload_sink sink;
    struct unload *owner;
    struct unload_job *job; /* NULL: not asked, or told */
};

static bool is_same_model(const struct deployment *a, const struct deployment *b)
{
    bool is_any = strchr(a->upstream_model, '*') || strchr(b->upstream_model, '*');

    return a == b || (a->api_base[0] != '\0' && strcmp(a->api_base, b->api_base) == 0 &&
                      (is_any || strcmp(a->upstream_model, b->upstream_model) == 0));
}

/* Does anybody use what this deployment leads to? Also those of an older configuration. */
static bool is_in_use(const struct router *r, const struct deployment *wanted)
{
    const struct list *const lists[] = {&r->deployments, &r->retired};

    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        list_for_each (l, lists[i]) {
            const struct deployment *d = CONTAINER_OF(l, struct deployment, link);

            if (d->in_use > 0 && is_same_model(d, wanted)) {
                return true;
            }
        }
    }
    return false;
}

static void note_failure(struct unload *u, enum errcode code, const char *text)
{
    if (u->code == ERRCODE_NONE) {
        u->code = code;
        (void) snprintf(u->text, sizeof u->text, "%s", text);
    }
}

static void on_unloaded(struct unload_sink *sink, const struct unload_result *result)
{
    struct unload_part *part = CONTAINER_OF(sink, struct unload_part, sink);
    struct unload *u = part->owner;

    part->job = NULL;
    if (result->code != ERRCODE_NONE) {
        note_failure(u, result->code, result->text ? result->text : "");
    } else if (result->was_loaded) {
        u->n_unloaded++;
    } else {
        u->n_unchanged++;
    }
    assert(u->n_pending > 0);
    if (--u->n_pending == 0) {
        u->on_done(u);
    }
}

/* Whoever watches what is in memory must know of it; the rest is between us and the server. */
static int start(struct residency *watch, struct unload_part *part, const struct deployment *d,
                 const char *model)
{
    int r = -EOPNOTSUPP;

    if (!d->backend || !d->backend->ops->unload) {
        return r;
    }
    if (watch && watch->unload) {
        r = watch->unload(watch, d, model, &part->sink, &part->job);
    }
    return r == -EOPNOTSUPP ? d->backend->ops->unload(d->backend, model, &part->sink, &part->job)
                            : r;
}

static void ask(struct unload *u, struct unload_part *part, const struct router *router,
                const struct deployment *d, const char *model)
{
    int r = start(router->residency, part, d, model);

    if (r == -EOPNOTSUPP) {
        u->n_unchanged++;
    } else if (r == -EBUSY) {
        note_failure(u, ERRCODE_MODEL_IN_USE, "the model is being loaded");
    } else if (r < 0) {
        note_failure(u, ERRCODE_OUT_OF_MEMORY, "");
    } else {
        u->n_pending++;
    }
}

enum errcode unload_start(struct unload *u, struct router *r, struct str model)
{
    const struct model_group *group = router_resolve(r, model);
    char text[ROUTER_MODEL_BYTES];

    u->code = ERRCODE_NONE;
    if (!group) {
        return ERRCODE_MODEL_NOT_FOUND;
    }
    for (size_t i = 0; i < group->n_deployments; i++) {
        if (is_in_use(r, group->deployments[i])) {
            return ERRCODE_MODEL_IN_USE;
        }
    }
    u->parts = calloc(group->n_deployments, sizeof *u->parts);
    if (!u->parts) {
        return ERRCODE_OUT_OF_MEMORY;
    }
    u->n_parts = group->n_deployments;
    for (size_t i = 0; i < u->n_parts; i++) {
        const struct deployment *d = group->deployments[i];

        u->parts[i].sink.on_unloaded = on_unloaded;
        u->parts[i].owner = u;
        ask(u, &u->parts[i], r, d, router_upstream_model(r, group, d, model, text));
    }
    return ERRCODE_NONE;
}

void unload_done(struct unload *u)
{
    for (size_t i = 0; i < u->n_parts; i++) {
        struct unload_job *job = u->parts[i].job;

        if (job) {
            job->cancel(job);
        }
    }
    free(u->parts);
    u->parts = NULL;
    u->n_parts = 0;
}
