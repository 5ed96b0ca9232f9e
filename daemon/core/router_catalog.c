/*
 * See router_catalog.h. Servers of one group may have the same models: a name is told with the first
 * of them. Owns nothing.
 */
#include "core/router_catalog.h"

#include <string.h>

struct listing {
    struct router *router;
    const struct model_group *group;
    size_t i; /* of the deployment whose server is listed */
    uint64_t now_usec;
    model_visit_fn visit;
    void *ctx;
};

/* A pattern with one star in two halves. */
static bool split(const char *pattern, struct str *ret_front, struct str *ret_back)
{
    const char *star = strchr(pattern, '*');

    if (!star || strchr(star + 1, '*')) {
        return false;
    }
    *ret_front = (struct str) {pattern, (size_t) (star - pattern)};
    *ret_back = str_from(star + 1);
    return true;
}

static bool begins_with(struct str s, struct str front)
{
    return s.len >= front.len && (front.len == 0 || memcmp(s.ptr, front.ptr, front.len) == 0);
}

static bool ends_with(struct str s, struct str back)
{
    return s.len >= back.len &&
           (back.len == 0 || memcmp(s.ptr + s.len - back.len, back.ptr, back.len) == 0);
}

/* name at the server of d as clients say it; absent where none of theirs leads to it. */
static struct str public_name(const struct model_group *g, const struct deployment *d,
                              struct str name, char ret_text[ROUTER_MODEL_BYTES])
{
    struct str front, back, public_front, public_back;
    size_t n;

    if (!split(d->upstream_model, &front, &back) || !split(g->name, &public_front, &public_back) ||
        name.len <= front.len + back.len || !begins_with(name, front) || !ends_with(name, back)) {
        return STR_NONE;
    }
    name.ptr += front.len;
    name.len -= front.len + back.len;
    n = public_front.len + name.len + public_back.len;
    if (n >= ROUTER_MODEL_BYTES) {
        return STR_NONE;
    }
    memcpy(ret_text, public_front.ptr, public_front.len);
    memcpy(ret_text + public_front.len, name.ptr, name.len);
    memcpy(ret_text + public_front.len + name.len, public_back.ptr, public_back.len);
    return (struct str) {ret_text, n};
}

struct search {
    struct str name;
    bool is_found;
};

static void compare(void *ctx, struct str name)
{
    struct search *s = ctx;

    s->is_found = s->is_found || str_is_equal(s->name, name);
}

static bool can_list(const struct deployment *d)
{
    return d->backend && d->backend->ops->list_models;
}

/* Has a server of an earlier deployment the same? Deployments of a group have one pattern, mostly. */
static bool is_told(const struct listing *l, struct str name)
{
    const struct deployment *mine = l->group->deployments[l->i];
    struct search s = {name, false};

    for (size_t i = 0; i < l->i && !s.is_found; i++) {
        const struct deployment *d = l->group->deployments[i];

        if (can_list(d) && strcmp(d->upstream_model, mine->upstream_model) == 0) {
            d->backend->ops->list_models(d->backend, l->now_usec, compare, &s);
        }
    }
    return s.is_found;
}

static void tell(void *ctx, struct str name)
{
    const struct listing *l = ctx;
    char text[ROUTER_MODEL_BYTES];
    struct str public = public_name(l->group, l->group->deployments[l->i], name, text);

    if (public.ptr && router_resolve(l->router, public) == l->group && !is_told(l, name)) {
        l->visit(l->ctx, public);
    }
}

void router_each_model(struct router *r, const struct model_group *g, uint64_t now_usec,
                       model_visit_fn visit, void *ctx)
{
    struct listing l = {.router = r, .group = g, .now_usec = now_usec, .visit = visit, .ctx = ctx};

    for (l.i = 0; l.i < g->n_deployments; l.i++) {
        const struct deployment *d = g->deployments[l.i];

        if (can_list(d)) {
            d->backend->ops->list_models(d->backend, now_usec, tell, &l);
        }
    }
}

struct expansion {
    const struct model_group *group;
    router_listed_fn visit;
    void *ctx;
};

static void tell_listed(void *ctx, struct str name)
{
    const struct expansion *e = ctx;

    e->visit(e->ctx, &(struct router_listed) {.name = name, .group = e->group});
}

void router_each_listed(struct router *r, uint64_t now_usec, router_listed_fn visit, void *ctx)
{
    struct router_entry entry;

    for (size_t i = 0; router_next(r, &i, &entry);) {
        struct expansion e = {.group = entry.group, .visit = visit, .ctx = ctx};

        if (entry.is_wildcard) {
            router_each_model(r, entry.group, now_usec, tell_listed, &e);
        } else {
            tell_listed(&e, str_from(entry.name));
        }
    }
}
