/*
 * See model_load.h. A wish keeps its model wanted (is_load_wanted) until it is there, or refused, or
 * waited for too long; everything else is residency's.
 */
#include "core/model_load.h"

#include "base/clock.h"
#include "core/residency_internal.h"

#define LIMIT_USEC (600 * USEC_PER_SEC) /* as a background call may wait */

static struct model_load *wish_of(struct list *l)
{
    return CONTAINER_OF(l, struct model_load, link);
}

static void end(struct model_load *load, enum errcode code, const char *text)
{
    model_load_cancel(load);
    load->on_done(load, code, text);
}

static bool is_there(const struct residency_model *m)
{
    return m->state == RESIDENCY_RESIDENT || m->state == RESIDENCY_DRAINING;
}

/* Not only as far as is known: Ollama drops what nobody uses. */
static bool is_surely_there(const struct residency *r, const struct model_load *load)
{
    const struct residency_model *m = load->model;

    return is_there(m) &&
           (m->since_usec >= load->began_at_usec || m->looked_at_usec >= load->began_at_usec ||
            residency_model_is_in_use(r, m));
}

enum errcode model_load_start(struct model_load *load, struct router *router, struct str name,
                              uint64_t now_usec)
{
    struct model_group *group = router_resolve(router, name);
    char text[ROUTER_MODEL_BYTES];

    list_init(&load->link);
    load->began_at_usec = now_usec;
    if (!group || !router->residency) {
        return group ? ERRCODE_UNSUPPORTED_PARAMETER : ERRCODE_MODEL_NOT_FOUND;
    }
    for (size_t i = 0; i < group->n_deployments; i++) {
        const struct deployment *d = group->deployments[i];
        const char *model = router_upstream_model(router, group, d, name, text);

        load->model = d->off_reason ? NULL : residency_of(router->residency, d, model);
        if (!load->model) {
            continue;
        }
        load->was_there = is_there(load->model) &&
                          d->backend->memory->is_trusted(d->backend, load->model->name, now_usec);
        if (!load->was_there) {
            load->model->n_wishes++;
            list_append(&router->residency->wishes, &load->link);
        }
        return ERRCODE_NONE;
    }
    return ERRCODE_UNSUPPORTED_PARAMETER;
}

void model_load_cancel(struct model_load *load)
{
    if (list_is_linked(&load->link)) {
        list_remove(&load->link);
        load->model->n_wishes--;
        load->model->is_load_wanted = load->model->n_wishes > 0;
    }
}

static void look_at(struct residency *r, struct model_load *load, uint64_t now_usec)
{
    struct residency_model *m = load->model;
    char text[RESIDENCY_TEXT_BYTES];

    if (!residency_has_server(r, m)) {
        end(load, ERRCODE_UPSTREAM_UNREACHABLE, "its server left the configuration");
    } else if (is_surely_there(r, load)) {
        end(load, ERRCODE_NONE, "");
    } else if (residency_describe_model(r, m, now_usec, text)) {
        end(load, residency_refusal_of(r, m, now_usec).code, text);
    } else if (usec_since(now_usec, load->began_at_usec) >= LIMIT_USEC) {
        end(load, ERRCODE_MODEL_BUDGET, "there was no room for it in ten minutes");
    } else if (m->state != RESIDENCY_LOADING) {
        m->is_load_wanted = true;
    }
}

void model_loads_turn(struct residency *r, uint64_t now_usec)
{
    list_for_each_safe (l, &r->wishes) {
        look_at(r, wish_of(l), now_usec);
    }
}

void model_loads_end(struct residency *r, const struct residency_model *m, enum errcode code,
                     const char *text)
{
    list_for_each_safe (l, &r->wishes) {
        struct model_load *load = wish_of(l);

        if (load->model == m) {
            end(load, code, text);
        }
    }
}
