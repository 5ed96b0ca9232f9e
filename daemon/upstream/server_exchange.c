/*
 * See server_exchange.h.
 *
 * Owns the transfer while one is under way, the answer as far as it came, and a timer from the first
 * start that has a time limit on. An idle exchange holds no answer: what was read is given back
 * when on_end returns.
 *
 * Must not: touch itself after on_end, which may have freed it.
 */
#include "upstream/server_exchange.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "upstream/curl_loop.h"

void server_exchange_init(struct server_exchange *x, struct upstreams *up,
                          struct server_state *server, size_t max_bytes,
                          server_exchange_end_fn on_end)
{
    *x = (struct server_exchange) {
        .up = up, .server = server_state_retain(server), .on_end = on_end, .max_bytes = max_bytes};
    buf_init(&x->body, max_bytes);
}

void server_exchange_done(struct server_exchange *x)
{
    if (x->server) {
        (void) server_exchange_stop(x);
        sd_event_source_disable_unref(x->timer);
        server_state_unref(x->server);
        *x = (struct server_exchange) {0};
    }
}

bool server_exchange_is_asked(const struct server_exchange *x)
{
    return x->transfer;
}

static void disarm(struct server_exchange *x)
{
    if (x->timer) {
        (void) sd_event_source_set_enabled(x->timer, SD_EVENT_OFF);
    }
}

int server_exchange_stop(struct server_exchange *x)
{
    int status = x->transfer ? x->status : 0;

    x->transfer = transfer_cancel(x->transfer);
    disarm(x);
    buf_done(&x->body);
    buf_init(&x->body, x->max_bytes);
    return status;
}

static void end(struct server_exchange *x, enum transfer_result result, const char *why)
{
    struct buf body = x->body;
    struct server_answer answer = {
        .result = result, .status = x->status, .body = buf_str(&body), .why = why};

    x->transfer = NULL;
    disarm(x);
    buf_init(&x->body, x->max_bytes);
    x->on_end(x, &answer);
    buf_done(&body);
}

static void on_head(void *ctx, const struct transfer_head *head)
{
    ((struct server_exchange *) ctx)->status = head->status;
}

static enum transfer_answer on_bytes(void *ctx, struct str bytes)
{
    struct server_exchange *x = ctx;

    x->n_bytes += bytes.len;
    if (x->n_bytes > x->max_bytes || (!x->drops_body && buf_append_str(&x->body, bytes) < 0)) {
        return TRANSFER_STOP;
    }
    return TRANSFER_ROOM;
}

static void on_done(void *ctx, enum transfer_result result, const char *text)
{
    end(ctx, result, text);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
    struct server_exchange *x = ctx;

    transfer_cancel(x->transfer);
    end(x, TRANSFER_CUT, "it took too long");
    return 0;
}

static int arm(struct server_exchange *x, uint64_t at_usec)
{
    int r;

    if (at_usec == USEC_NEVER) {
        return 0;
    }
    if (!x->timer) {
        return sd_event_add_time(x->up->event, &x->timer, CLOCK_MONOTONIC, at_usec, USEC_PER_MSEC,
                                 on_timer, x);
    }
    r = sd_event_source_set_time(x->timer, at_usec);
    return r < 0 ? r : sd_event_source_set_enabled(x->timer, SD_EVENT_ONESHOT);
}

static int send_request(struct server_exchange *x, const struct server_request *request)
{
    static const struct transfer_callbacks callbacks = {on_head, on_bytes, on_done};
    const struct server_address *address = server_state_address(x->server);
    char *url = server_address_url(address, request->path);
    struct transfer_spec spec = {
        .url = url,
        .unix_path = address->unix_path,
        .access = request->access,
        .body = request->body,
        .accept = "application/json",
        .is_local = address->is_local,
        .connect_usec = request->connect_usec,
    };
    int r;

    if (!url) {
        return -ENOMEM;
    }
    r = transfer_start(x->up->curl, &spec, &callbacks, x, &x->transfer);
    explicit_bzero(url, strlen(url)); /* may hold a password */
    free(url);
    return r;
}

int server_exchange_start(struct server_exchange *x, const struct server_request *request)
{
    int r;

    assert(!x->transfer);
    x->status = 0;
    x->n_bytes = 0;
    x->drops_body = request->drops_body;
    r = arm(x, request->ends_at_usec);
    if (r >= 0) {
        r = send_request(x, request);
    }
    if (r < 0) {
        disarm(x);
    }
    return r;
}
