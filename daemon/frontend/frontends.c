/*
 * The table of frontends, and what connections share: budget, ids, the end of a turn.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "frontend/conn.h"
#include "frontend/frontend.h"
#include "frontend/listener.h"
#include "frontend/rpc_watch.h"

static const struct frontend_ops *const table[] = {
    &frontend_rpc,
    &frontend_http,
    &frontend_http_unix,
};

const struct frontend_ops *frontend_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (strcmp(table[i]->name, name) == 0) {
            return table[i];
        }
    }
    return NULL;
}

void frontends_init(struct frontends *f, const struct frontend_params *params)
{
    uint32_t random = 0;

    *f = (struct frontends) {.params = *params};
    list_init(&f->conns);
    list_init(&f->dead);
    list_init(&f->dirty);
    list_init(&f->listeners);
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) < 0) {
        /* ids must differ between runs; they protect nothing */
        random = (uint32_t) clock_wall_usec();
    }
    (void) snprintf(f->boot_id, sizeof f->boot_id, "%08x", random);
}

static void free_dead(struct frontends *f)
{
    struct list *l;

    while ((l = list_first(&f->dead))) {
        struct conn *c = CONTAINER_OF(l, struct conn, link);

        c->ops->free(c);
    }
}

void frontends_done(struct frontends *f)
{
    struct list *l;

    listeners_close(f);
    while ((l = list_first(&f->conns))) {
        conn_close(CONTAINER_OF(l, struct conn, link), clock_now_usec());
    }
    free_dead(f);
    f->watches = rpc_watches_free(f->watches);
    assert(f->n_conns == 0 && f->buffered_bytes == 0);
}

void frontends_turn(struct frontends *f, uint64_t now_usec)
{
    struct list *l;

    while ((l = list_first(&f->dirty))) {
        struct conn *c = CONTAINER_OF(l, struct conn, dirty_link);

        conn_flush(c, now_usec);
        if (c->state == CONN_OPEN) {
            c->ops->on_turn(c, now_usec);
        }
    }
    if (!list_is_empty(&f->dead)) {
        free_dead(f);
        listeners_room(f);
    }
}

/*
 * Between requests, and nothing more has come; a connection that never said anything may be about
 * to.
 */
static bool is_finished(const struct conn *c)
{
    char byte;

    return c->state == CONN_OPEN && c->ops->is_idle(c) && c->has_received &&
           recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

/*
 * Between requests does not mean that the last answer has left: its reader may be slow, or this
 * wake-up made it.
 */
static void close_idle(struct conn *c, uint64_t now_usec)
{
    if (c->out.len > 0) {
        conn_close_after_output(c, now_usec);
    } else {
        conn_close(c, now_usec);
    }
}

void frontends_close_door(struct frontends *f, uint64_t now_usec)
{
    f->is_draining = f->is_closing_door = true;
    listeners_close(f);
    list_for_each_safe (l, &f->conns) {
        struct conn *c = CONTAINER_OF(l, struct conn, link);

        if (c->state == CONN_OPEN && c->ops->on_drain) {
            c->ops->on_drain(c, now_usec);
        }
        if (is_finished(c)) {
            close_idle(c, now_usec);
        }
    }
}

void frontends_close_idle(struct frontends *f, uint64_t now_usec)
{
    f->is_closing_door = false;
    list_for_each_safe (l, &f->conns) {
        struct conn *c = CONTAINER_OF(l, struct conn, link);

        if (c->state == CONN_OPEN && c->ops->is_idle(c)) {
            close_idle(c, now_usec);
        }
    }
}

size_t frontends_shed_idle(struct frontends *f, uint64_t now_usec)
{
    size_t n = 0;

    list_for_each_safe (l, &f->conns) {
        struct conn *c = CONTAINER_OF(l, struct conn, link);

        if (!c->is_kept && is_finished(c)) {
            close_idle(c, now_usec);
            n++;
        }
    }
    return n;
}

void frontends_make_room(struct frontends *f, bool is_tcp, size_t n_wanted, uint64_t now_usec)
{
    list_for_each_safe (l, &f->conns) {
        struct conn *c = CONTAINER_OF(l, struct conn, link);

        if (n_wanted > 0 && !c->is_kept && c->caller.has_uid != is_tcp && is_finished(c)) {
            close_idle(c, now_usec);
            n_wanted--;
        }
    }
}

bool frontends_are_idle(const struct frontends *f)
{
    return f->n_conns == 0;
}

uint64_t frontends_output_due(const struct frontends *f)
{
    uint64_t oldest = USEC_NEVER;

    list_for_each (l, &f->conns) {
        const struct conn *c = CONTAINER_OF(l, struct conn, link);

        if (c->out.len > 0 && c->progress_at_usec != 0 && c->progress_at_usec < oldest) {
            oldest = c->progress_at_usec;
        }
    }
    return usec_add(oldest, f->params.stalled_reader_usec);
}

void frontends_make_id(struct frontends *f, char ret_id[REQUEST_ID_MAX + 1])
{
    (void) snprintf(ret_id, REQUEST_ID_MAX + 1, "req-%s-%llu", f->boot_id,
                    (unsigned long long) ++f->next_id);
}

bool frontends_charge(struct frontends *f, size_t old_bytes, size_t new_bytes)
{
    size_t others = f->buffered_bytes - old_bytes, max = f->params.max_buffered_bytes;

    /* a reload may have lowered the limit below what is held */
    if (new_bytes > old_bytes && (others > max || new_bytes > max - others)) {
        return false;
    }
    f->buffered_bytes = others + new_bytes;
    return true;
}
