/*
 * See rpc_watch.h.
 *
 * Changes are counted, not compared for each watch: a look encodes the status without what moves
 * by itself (uptime, idle times, figures of memory but not its level), and where that differs from
 * the last look, a counter goes up. A watch remembers the count that it was told of. So a hundred
 * watches cost one comparison, and the bytes of a state are made once for all whom a look concerns.
 *
 * A state that finds its connection full is not kept: the watch stays behind the count, and the
 * next look after the connection has drained tells it what is then.
 *
 * Moments are multiples of the interval, whenever the watch began: watches of one interval share
 * their wake-ups.
 *
 * Owns the watches, one timer, and the last look. Does not own connections.
 */
#include "frontend/rpc_watch.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "frontend/rpc_info.h"
#include "frontend/rpc_output.h"

#define SILENCE_MAX_USEC (10 * USEC_PER_SEC) /* as sluice.proto has it */
#define ACCURACY_USEC    (10 * USEC_PER_MSEC)

struct rpc_watches {
    struct frontends *frontends; /* borrowed */
    struct list all;             /* rpc_watch.link */
    sd_event_source *timer;      /* off while there is no watch */
    struct buf last;             /* the last look */
    uint64_t n_changes;
};

struct rpc_watch {
    struct list link;      /* rpc_watches.all */
    struct list conn_link; /* rpc_watch_spec.of_conn */
    struct rpc_watches *watches;
    struct conn *conn; /* borrowed */
    uint32_t stream_id;
    char id[REQUEST_ID_MAX + 1];
    uint64_t interval_usec, due_at_usec, ends_at_usec;
    uint64_t told_change; /* rpc_watches.n_changes when it was told */
    uint64_t told_at_usec;
};

/* ---------------------------------------------------------------- looking and telling */

/* 0, or -errno: nothing is known of now. */
static int look(struct rpc_watches *all, uint64_t now_usec)
{
    struct buf now;
    int r;

    buf_init(&now, RPC_INFO_MAX_BYTES);
    r = rpc_info_encode_comparable(all->frontends, now_usec, &now);
    if (r == 0 &&
        (now.len != all->last.len || memcmp(buf_ptr(&now), buf_ptr(&all->last), now.len) != 0)) {
        all->n_changes++;
        buf_done(&all->last);
        all->last = now;
        return 0;
    }
    buf_done(&now);
    return r;
}

/* state: of this wake-up, made when it is needed first. 0 or -errno: nothing was put. */
static int tell(struct rpc_watch *w, struct buf *state, uint64_t now_usec)
{
    if (state->len == 0) {
        int r = rpc_info_encode_status(w->watches->frontends, now_usec, state);

        if (r < 0) {
            return r;
        }
    }
    rpc_put_frame(w->conn, w->stream_id, FRAME_DATA, 0, buf_str(state));
    w->told_at_usec = now_usec;
    w->told_change = w->watches->n_changes;
    return 0;
}

/* ---------------------------------------------------------------- the timer */

static uint64_t next_moment(const struct rpc_watch *w)
{
    return w->due_at_usec < w->ends_at_usec ? w->due_at_usec : w->ends_at_usec;
}

static void arm(struct rpc_watches *all)
{
    uint64_t at = USEC_NEVER;

    list_for_each (l, &all->all) {
        uint64_t one = next_moment(CONTAINER_OF(l, struct rpc_watch, link));

        at = one < at ? one : at;
    }
    (void) sd_event_source_set_time(all->timer, at);
    (void) sd_event_source_set_enabled(all->timer,
                                       at == USEC_NEVER ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

static void set_due(struct rpc_watch *w, uint64_t now_usec)
{
    uint64_t silent_until_usec = usec_add(w->told_at_usec, SILENCE_MAX_USEC);

    w->due_at_usec = (now_usec / w->interval_usec + 1) * w->interval_usec;
    if (now_usec < silent_until_usec && silent_until_usec < w->due_at_usec) {
        w->due_at_usec = silent_until_usec;
    }
}

static bool has_news(const struct rpc_watch *w, uint64_t now_usec)
{
    return w->told_change != w->watches->n_changes ||
           now_usec >= usec_add(w->told_at_usec, SILENCE_MAX_USEC);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
    struct rpc_watches *all = ctx;
    uint64_t now = clock_now_usec();
    bool is_known = look(all, now) == 0;
    struct buf state;

    buf_init(&state, RPC_INFO_MAX_BYTES);
    list_for_each_safe (l, &all->all) {
        struct rpc_watch *w = CONTAINER_OF(l, struct rpc_watch, link);

        if (now >= w->ends_at_usec) {
            rpc_watch_end(w, ERRCODE_DEADLINE_EXCEEDED);
            continue;
        }
        if (now < w->due_at_usec) {
            continue;
        }
        if (is_known && has_news(w, now) && !conn_is_full(w->conn)) {
            (void) tell(w, &state, now); /* without memory: another time */
        }
        set_due(w, now);
    }
    buf_done(&state);
    arm(all);
    return 0;
}

/* ---------------------------------------------------------------- life */

static struct rpc_watches *watches_of(struct frontends *f)
{
    struct rpc_watches *all = f->watches ? f->watches : calloc(1, sizeof *all);

    if (!all || all == f->watches) {
        return all;
    }
    all->frontends = f;
    list_init(&all->all);
    buf_init(&all->last, RPC_INFO_MAX_BYTES);
    if (sd_event_add_time(f->event, &all->timer, CLOCK_MONOTONIC, USEC_NEVER, ACCURACY_USEC,
                          on_timer, all) < 0) {
        return rpc_watches_free(all);
    }
    f->watches = all;
    return all;
}

struct rpc_watches *rpc_watches_free(struct rpc_watches *all)
{
    if (all) {
        assert(list_is_empty(&all->all));
        sd_event_source_disable_unref(all->timer);
        buf_done(&all->last);
        free(all);
    }
    return NULL;
}

static void watch_free(struct rpc_watch *w)
{
    struct rpc_watches *all = w->watches;

    list_remove(&w->link);
    list_remove(&w->conn_link);
    free(w);
    if (list_is_empty(&all->all)) {
        (void) sd_event_source_set_enabled(all->timer, SD_EVENT_OFF);
        buf_done(&all->last);
    }
}

static int tell_first(struct rpc_watch *w, uint64_t now_usec)
{
    struct buf state;
    int r = look(w->watches, now_usec);

    buf_init(&state, RPC_INFO_MAX_BYTES);
    r = r < 0 ? r : tell(w, &state, now_usec);
    buf_done(&state);
    return r;
}

int rpc_watch_start(const struct rpc_watch_spec *spec, const struct rpc_watch_request *req,
                    uint64_t now_usec)
{
    struct rpc_watches *all = watches_of(spec->conn->frontends);
    struct rpc_watch *w = all ? calloc(1, sizeof *w) : NULL;
    int r;

    if (!w) {
        return -ENOMEM;
    }
    w->watches = all;
    w->conn = spec->conn;
    w->stream_id = spec->stream_id;
    w->ends_at_usec = spec->ends_at_usec;
    w->interval_usec = req->interval_usec;
    (void) snprintf(w->id, sizeof w->id, "%s", req->id);
    list_init(&w->link);
    list_init(&w->conn_link);
    list_append(&all->all, &w->link);
    list_append(spec->of_conn, &w->conn_link);
    r = tell_first(w, now_usec);
    if (r < 0) {
        watch_free(w);
        return r;
    }
    set_due(w, now_usec);
    arm(all);
    return 0;
}

bool rpc_watch_is_of(const struct list *link, uint32_t stream_id)
{
    return CONTAINER_OF(link, const struct rpc_watch, conn_link)->stream_id == stream_id;
}

struct rpc_watch *rpc_watch_find(const struct frontends *f, struct str id, bool any_uid, uid_t uid)
{
    if (!f->watches || id.len == 0) {
        return NULL;
    }
    list_for_each (l, &f->watches->all) {
        struct rpc_watch *w = CONTAINER_OF(l, struct rpc_watch, link);

        if (str_is(id, w->id) && (any_uid || w->conn->caller.uid == uid)) {
            return w;
        }
    }
    return NULL;
}

void rpc_watch_end(struct rpc_watch *w, enum errcode code)
{
    struct rpc_error error = {.code = code,
                              .request_id = str_from(w->id),
                              .retry_after_usec =
                                  errcode_info(code)->is_retryable ? RETRY_AFTER_MIN_USEC : 0};

    rpc_put_error(w->conn, w->stream_id, &error);
    watch_free(w);
}

void rpc_watches_drain(struct list *of_conn, uint64_t now_usec)
{
    struct buf state;

    buf_init(&state, RPC_INFO_MAX_BYTES);
    list_for_each_safe (l, of_conn) {
        struct rpc_watch *w = CONTAINER_OF(l, struct rpc_watch, conn_link);

        if (!conn_is_full(w->conn)) {
            (void) tell(w, &state, now_usec); /* the end comes without it, too */
        }
        rpc_watch_end(w, ERRCODE_DRAINING);
    }
    buf_done(&state);
}

void rpc_watches_drop(struct list *of_conn)
{
    list_for_each_safe (l, of_conn) {
        watch_free(CONTAINER_OF(l, struct rpc_watch, conn_link));
    }
}
