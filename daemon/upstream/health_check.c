/*
 * See health_check.h.
 *
 *   (waiting) ──it is due, and there is room──► (asked) ──a head, an end, the time limit──► (waiting)
 *
 * A check owns copies of all it needs and an exchange with its server; the checker owns the timer, which stands at the next thing to do of all checks. Of an
 * answer only the head is looked at; what follows is thrown away, and after BODY_MAX_BYTES the
 * connection is closed.
 *
 * Must not: know deployments or calls, load anything, free a check within a transfer's callback.
 */
#include "upstream/health_check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "upstream/server_exchange.h"
#include "upstream/server_state.h"

#define BODY_MAX_BYTES (256 * 1024)       /* a vendor's list of models; more is not worth reading */
#define AGAIN_MIN_USEC (5 * USEC_PER_SEC) /* as the breaker's pauses: core/health.h */
#define AGAIN_MAX_USEC (60 * USEC_PER_SEC)
#define ACCURACY_USEC  (250 * USEC_PER_MSEC)
#define TROUBLE_BYTES  160

enum check_verdict {
    CHECK_NONE,
    CHECK_ANSWERS,
    CHECK_REFUSES_KEY,
    CHECK_IS_BROKEN,
    CHECK_NO_ANSWER
};

struct health_check {
    struct list link; /* upstreams.checks */
    unsigned n_refs;
    struct upstreams *up;        /* borrowed */
    struct server_state *server; /* borrowed: of exchange */
    struct server_exchange exchange;
    const char *path; /* static */
    struct server_access access;
    uint64_t connect_usec, limit_usec;
    uint64_t at_usec; /* while it is asked: the time limit; else when the next one is due */
    enum check_verdict verdict;
    uint64_t checked_at_usec;
    unsigned n_failed; /* in a row */
    char trouble[TROUBLE_BYTES];
};

struct health_checker {
    sd_event_source *timer;
    uint64_t interval_usec;
    unsigned n_parallel, n_running;
    uint64_t random; /* state of spread(); no secret */
};

/* ---------------------------------------------------------------- the timer */

/* A tenth more or less, so that servers and daemons that began together do not stay so. */
static uint64_t spread(struct health_checker *h, uint64_t usec)
{
    /* xorshift64 (Marsaglia, 2003) */
    h->random ^= h->random << 13;
    h->random ^= h->random >> 7;
    h->random ^= h->random << 17;
    return usec / 1000 * (900 + h->random % 201);
}

static bool is_asked(const struct health_check *c)
{
    return server_exchange_is_asked(&c->exchange);
}

static void arm(struct upstreams *up)
{
    struct health_checker *h = up->checker;
    uint64_t at = USEC_NEVER;

    list_for_each (pos, &up->checks) {
        const struct health_check *c = CONTAINER_OF(pos, struct health_check, link);

        if (c->at_usec < at && (is_asked(c) || h->n_running < h->n_parallel)) {
            at = c->at_usec;
        }
    }
    (void) sd_event_source_set_time(h->timer, at);
    (void) sd_event_source_set_enabled(h->timer,
                                       at == USEC_NEVER ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

/* ---------------------------------------------------------------- what it shows */

static bool is_failing(const struct health_check *c)
{
    return c->verdict == CHECK_IS_BROKEN ||
           (c->verdict == CHECK_NO_ANSWER && server_state_is_down(c->server));
}

bool health_check_result(const struct health_check *c, struct backend_check *ret)
{
    bool is_over = c->verdict == CHECK_NO_ANSWER && !server_state_is_down(c->server);

    if (c->verdict == CHECK_NONE) {
        return false;
    }
    *ret = (struct backend_check) {
        .at_usec = c->checked_at_usec,
        .trouble = c->verdict == CHECK_ANSWERS || is_over ? NULL : c->trouble,
        .is_failing = is_failing(c),
    };
    return true;
}

static enum check_verdict judge(int status)
{
    if (status == 401 || status == 403) {
        return CHECK_REFUSES_KEY;
    }
    return status >= 500 && status != 501 ? CHECK_IS_BROKEN : CHECK_ANSWERS;
}

static uint64_t delay(const struct health_check *c)
{
    uint64_t most = c->up->checker->interval_usec;
    unsigned n = c->n_failed < 5 ? c->n_failed : 5;
    uint64_t again = n > 0 ? AGAIN_MIN_USEC << (n - 1) : most;

    again = again < AGAIN_MAX_USEC || n == 0 ? again : AGAIN_MAX_USEC;
    return again < most ? again : most;
}

/* Servers that do not answer are told of by their state, once for all who use it. */
static void report(const struct health_check *c, enum check_verdict before)
{
    const struct upstream_hooks *hooks = &c->up->hooks;

    if (c->verdict == CHECK_REFUSES_KEY || c->verdict == CHECK_IS_BROKEN) {
        log_printf(LOG_LEVEL_WARNING, "health check of model server %s: %s",
                   server_state_name(c->server), c->trouble);
    } else if (c->verdict == CHECK_ANSWERS &&
               (before == CHECK_REFUSES_KEY || before == CHECK_IS_BROKEN)) {
        log_printf(LOG_LEVEL_NOTICE, "health check of model server %s: it is well again",
                   server_state_name(c->server));
    }
    if (hooks->on_checked) {
        bool is_back = before == CHECK_NO_ANSWER && c->verdict == CHECK_ANSWERS;

        hooks->on_checked(hooks->ctx, is_back ? server_state_name(c->server) : NULL);
    }
}

static void settle(struct health_check *c, enum check_verdict verdict, uint64_t now_usec)
{
    enum check_verdict before = c->verdict;

    c->up->checker->n_running--;
    c->verdict = verdict;
    c->checked_at_usec = now_usec;
    c->n_failed = is_failing(c) ? c->n_failed + 1 : 0;
    c->at_usec = usec_add(now_usec, spread(c->up->checker, delay(c)));
    if (verdict != before) {
        report(c, before);
    }
}

static void conclude_status(struct health_check *c, int status, uint64_t now_usec)
{
    enum check_verdict verdict = judge(status);

    server_state_answered(c->server, now_usec);
    (void) snprintf(c->trouble, sizeof c->trouble,
                    verdict == CHECK_REFUSES_KEY ? "the model server refuses the key (status %d)"
                                                 : "the model server answers with status %d",
                    status);
    settle(c, verdict, now_usec);
}

static void conclude_silence(struct health_check *c, enum errcode code, const char *why,
                             uint64_t now_usec)
{
    server_state_failed(c->server, code, why, now_usec);
    (void) snprintf(c->trouble, sizeof c->trouble, "the model server does not answer: %.100s", why);
    settle(c, CHECK_NO_ANSWER, now_usec);
}

/* ---------------------------------------------------------------- the exchange */

static enum errcode code_of(enum transfer_result result)
{
    switch (result) {
    case TRANSFER_REFUSED:
        return ERRCODE_UPSTREAM_UNREACHABLE;
    case TRANSFER_UNTRUSTED:
        return ERRCODE_UPSTREAM_UNTRUSTED;
    case TRANSFER_CONNECT_TIMEOUT:
        return ERRCODE_UPSTREAM_TIMEOUT;
    case TRANSFER_GARBAGE:
        return ERRCODE_UPSTREAM_GARBAGE;
    case TRANSFER_COMPLETE:
    case TRANSFER_CUT:
    case TRANSFER_STOPPED:
        break;
    }
    return ERRCODE_UPSTREAM_CUT;
}

static void on_end(struct server_exchange *x, const struct server_answer *answer)
{
    struct health_check *c = CONTAINER_OF(x, struct health_check, exchange);
    uint64_t now = clock_now_usec();

    if (answer->result == TRANSFER_CUT) {
        server_state_renew(c->server); /* as a server that is stopped does */
    }
    if (answer->status != 0) {
        conclude_status(c, answer->status, now);
    } else {
        conclude_silence(c, code_of(answer->result), answer->why, now);
    }
    arm(c->up);
}

static void time_out(struct health_check *c, uint64_t now_usec)
{
    int status = server_exchange_stop(&c->exchange);

    if (status != 0) {
        conclude_status(c, status, now_usec);
    } else {
        conclude_silence(c, ERRCODE_UPSTREAM_TIMEOUT, "no answer to a health check in time",
                         now_usec);
    }
}

/* Without memory it stays as it is, for a while. */
static void ask(struct health_check *c, uint64_t now_usec)
{
    struct server_request request = {
        .path = c->path,
        .access = &c->access,
        .connect_usec = c->connect_usec < c->limit_usec ? c->connect_usec : c->limit_usec,
        .ends_at_usec = USEC_NEVER, /* the checker's timer has it */
        .drops_body = true,
    };

    if (server_exchange_start(&c->exchange, &request) < 0) {
        c->at_usec = usec_add(now_usec, AGAIN_MIN_USEC);
        return;
    }
    c->up->checker->n_running++;
    c->at_usec = usec_add(now_usec, c->limit_usec);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
    struct upstreams *up = ctx;
    struct health_checker *h = up->checker;
    uint64_t now = clock_now_usec();

    list_for_each (pos, &up->checks) {
        struct health_check *c = CONTAINER_OF(pos, struct health_check, link);

        if (is_asked(c) && now >= c->at_usec) {
            time_out(c, now);
        }
    }
    list_for_each (pos, &up->checks) {
        struct health_check *c = CONTAINER_OF(pos, struct health_check, link);

        if (!is_asked(c) && now >= c->at_usec && h->n_running < h->n_parallel) {
            ask(c, now);
        }
    }
    arm(up);
    return 0;
}

/* ---------------------------------------------------------------- on and off */

static void forget(struct health_check *c)
{
    (void) server_exchange_stop(&c->exchange);
    c->verdict = CHECK_NONE;
    c->n_failed = 0;
    c->at_usec = 0;
}

void health_checks_stop(struct upstreams *up)
{
    if (!up->checker) {
        return;
    }
    list_for_each (pos, &up->checks) {
        forget(CONTAINER_OF(pos, struct health_check, link));
    }
    sd_event_source_disable_unref(up->checker->timer);
    free(up->checker);
    up->checker = NULL;
}

static int checker_new(struct upstreams *up, uint64_t now_usec)
{
    struct health_checker *h = calloc(1, sizeof *h);
    int r;

    if (!h) {
        return -ENOMEM;
    }
    h->random = now_usec | 1; /* xorshift stays at 0 */
    r = sd_event_add_time(up->event, &h->timer, CLOCK_MONOTONIC, USEC_NEVER, ACCURACY_USEC,
                          on_timer, up);
    if (r < 0) {
        free(h);
        return r;
    }
    up->checker = h;
    return 0;
}

int health_checks_start(struct upstreams *up, uint64_t interval_usec, unsigned n_parallel,
                        uint64_t now_usec)
{
    int r = up->checker ? 0 : checker_new(up, now_usec);

    if (r < 0) {
        return r;
    }
    up->checker->interval_usec = interval_usec;
    up->checker->n_parallel = n_parallel;
    list_for_each (pos, &up->checks) {
        struct health_check *c = CONTAINER_OF(pos, struct health_check, link);
        uint64_t latest = usec_add(now_usec, delay(c));

        if (!is_asked(c) && c->at_usec > latest) {
            c->at_usec = latest; /* the interval is shorter than it was */
        }
    }
    arm(up);
    return 0;
}

/* ---------------------------------------------------------------- life */

struct health_check *health_check_unref(struct health_check *c)
{
    if (!c || --c->n_refs > 0) {
        return NULL;
    }
    if (is_asked(c)) {
        c->up->checker->n_running--;
    }
    list_remove(&c->link);
    server_exchange_done(&c->exchange);
    if (c->up->checker) {
        arm(c->up);
    }
    server_access_done(&c->access);
    free(c);
    return NULL;
}

int health_check_ref(struct upstreams *up, const struct health_check_spec *spec,
                     struct health_check **ret)
{
    int r;

    list_for_each (pos, &up->checks) {
        struct health_check *known = CONTAINER_OF(pos, struct health_check, link);

        if (known->server == spec->server && strcmp(known->path, spec->path) == 0 &&
            server_access_is_same(&known->access, spec->access)) {
            known->n_refs++;
            known->limit_usec =
                known->limit_usec > spec->limit_usec ? known->limit_usec : spec->limit_usec;
            *ret = known;
            return 0;
        }
    }

    struct health_check *c = calloc(1, sizeof *c);

    if (!c) {
        return -ENOMEM;
    }
    c->n_refs = 1;
    c->up = up;
    c->path = spec->path;
    c->server = spec->server;
    server_exchange_init(&c->exchange, up, spec->server, BODY_MAX_BYTES, on_end);
    c->connect_usec = spec->connect_usec;
    c->limit_usec = spec->limit_usec;
    list_init(&c->link);
    r = server_access_copy(spec->access, &c->access);
    if (r < 0) {
        health_check_unref(c);
        return r;
    }
    list_append(&up->checks, &c->link);
    if (up->checker) {
        arm(up);
    }
    *ret = c;
    return 0;
}
