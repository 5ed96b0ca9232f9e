/* See server_state.h. */
#include "upstream/server_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "upstream/upstreams.h"

struct server_state {
    struct list link; /* upstreams.servers */
    unsigned n_refs;
    struct upstreams *up;  /* borrowed */
    char *api_base, *name; /* owned */
    struct server_address address;
    bool is_down;
    unsigned epoch;
    uint64_t down_at_usec, n_failures; /* while down */
    struct log_limit limit;
};

/* "https://user:secret@host/v1?key=secret": the log shows "https://host/v1". NULL: no memory. */
static char *without_secrets(const char *api_base)
{
    char *name = strdup(api_base);
    char *host = name ? strstr(name, "://") : NULL;

    if (!host) {
        return name; /* unix:/path */
    }
    host += 3;
    host[strcspn(host, "?#")] = '\0';
    for (char *at; (at = memchr(host, '@', strcspn(host, "/")));) {
        memmove(host, at + 1, strlen(at + 1) + 1);
    }
    return name;
}

struct server_state *server_state_unref(struct server_state *s)
{
    if (!s || --s->n_refs > 0) {
        return NULL;
    }
    list_remove(&s->link);
    if (s->api_base) {
        explicit_bzero(s->api_base, strlen(s->api_base)); /* may hold a password */
    }
    server_address_done(&s->address);
    free(s->api_base);
    free(s->name);
    free(s);
    return NULL;
}

struct server_state *server_state_retain(struct server_state *s)
{
    s->n_refs++;
    return s;
}

int server_state_ref(struct upstreams *up, const char *api_base, struct server_state **ret)
{
    int r;

    list_for_each (pos, &up->servers) {
        struct server_state *known = CONTAINER_OF(pos, struct server_state, link);

        if (strcmp(known->api_base, api_base) == 0) {
            *ret = server_state_retain(known);
            return 0;
        }
    }

    struct server_state *s = calloc(1, sizeof *s);

    if (!s) {
        return -ENOMEM;
    }
    *s = (struct server_state) {
        .n_refs = 1,
        .up = up,
        .api_base = strdup(api_base),
        .name = without_secrets(api_base),
    };
    list_init(&s->link);
    r = s->api_base && s->name ? server_address_init(&s->address, api_base) : -ENOMEM;
    if (r < 0) {
        server_state_unref(s);
        return r;
    }
    list_append(&up->servers, &s->link);
    *ret = s;
    return 0;
}

const char *server_state_name(const struct server_state *s)
{
    return s->name;
}

const struct server_address *server_state_address(const struct server_state *s)
{
    return &s->address;
}

bool server_state_is_down(const struct server_state *s)
{
    return s->is_down;
}

unsigned server_state_epoch(const struct server_state *s)
{
    return s->epoch;
}

void server_state_renew(struct server_state *s)
{
    s->epoch++;
    if (s->up->memory.on_lost) {
        s->up->memory.on_lost(s->up->memory.ctx, s->name);
    }
}

static void tell(struct server_state *s, struct server_report *report)
{
    report->server = s->name;
    report->is_down = s->is_down;
    report->limit = &s->limit;
    if (s->up->hooks.on_server) {
        s->up->hooks.on_server(s->up->hooks.ctx, report);
    }
}

void server_state_answered(struct server_state *s, uint64_t now_usec)
{
    if (!s->is_down) {
        return;
    }
    s->is_down = false;
    tell(s, &(struct server_report) {.code = ERRCODE_NONE,
                                     .why = "",
                                     .down_usec = usec_since(now_usec, s->down_at_usec),
                                     .n_failures = s->n_failures});
}

void server_state_failed(struct server_state *s, enum errcode code, const char *why,
                         uint64_t now_usec)
{
    if (code == ERRCODE_UPSTREAM_UNREACHABLE) {
        server_state_renew(s);
    }
    if (s->is_down) {
        s->n_failures++;
        return;
    }
    s->is_down = true;
    s->down_at_usec = now_usec;
    s->n_failures = 1;
    tell(s, &(struct server_report) {.code = code, .why = why});
}
