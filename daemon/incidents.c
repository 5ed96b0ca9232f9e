/*
 * See incidents.h. Of model servers and loads each report is a message; of refusals and wrong keys
 * only bursts are, or a busy device would fill its log with them.
 *
 * Owns one timer, which is off unless a burst is on.
 */
#include "incidents.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log_fields.h"
#include "base/num.h"
#include "messages.h"
#include "upstream/ollama_loader.h"
#include "upstream/ollama_unload.h"
#include "upstream/ollama_watch.h"
#include "upstream/server_state.h"

#define DURATION_BYTES 32
#define NAME_SHOWN_MAX 100 /* bytes of the model name in the message; the field has all */

static const struct burst_limits shed_limits = {INCIDENTS_SHED_N, INCIDENTS_SHED_USEC};
static const struct burst_limits denied_limits = {INCIDENTS_DENIED_N, INCIDENTS_DENIED_USEC};

/* A duration for people: "840ms", "12s", "7m". */
static const char *about(uint64_t usec, char ret_text[DURATION_BYTES])
{
    uint64_t unit = usec < 10 * USEC_PER_SEC    ? USEC_PER_MSEC
                    : usec < 600 * USEC_PER_SEC ? USEC_PER_SEC
                                                : 60 * USEC_PER_SEC;

    return num_format_duration(usec / unit * unit, ret_text);
}

/* ---------------------------------------------------------------- model servers */

static void on_server(void *ctx, const struct server_report *r)
{
    char text[DURATION_BYTES];
    struct log_fields f;

    log_fields_init(&f);
    log_fields_add(&f, "SLUICE_SERVER", str_from(r->server));
    if (r->is_down) {
        log_fields_add(&f, "SLUICE_CODE", str_from(errcode_info(r->code)->openai_code));
        log_fields_add(&f, "SLUICE_REASON", str_from(r->why));
        message_write(MESSAGE_UPSTREAM_DOWN, LOG_LEVEL_WARNING, r->limit, &f,
                      "model server %s does not answer: %s", r->server, r->why);
    } else {
        log_fields_add_number(&f, "SLUICE_DOWN_USEC", r->down_usec);
        log_fields_add_number(&f, "SLUICE_FAILURES", r->n_failures);
        message_write(MESSAGE_UPSTREAM_UP, LOG_LEVEL_NOTICE, r->limit, &f,
                      "model server %s answers again after %s; attempts that failed: %llu",
                      r->server, about(r->down_usec, text), (unsigned long long) r->n_failures);
    }
}

static void on_renewed(void *ctx, const struct renewal_report *r)
{
    bool is_same = strcmp(r->version, r->version_before) == 0;
    struct log_fields f;

    log_fields_init(&f);
    log_fields_add(&f, "SLUICE_SERVER", str_from(r->server));
    log_fields_add(&f, "SLUICE_SERVER_VERSION", str_from(r->version));
    log_fields_add(&f, "SLUICE_SERVER_VERSION_BEFORE", str_from(r->version_before));
    message_write(MESSAGE_UPSTREAM_RENEWED, LOG_LEVEL_NOTICE, r->limit, &f,
                  "model server %s may have been restarted: Ollama %s, %s%s; its models count as "
                  "not loaded",
                  r->server, r->version, is_same ? "as before" : "before it was ",
                  is_same ? "" : r->version_before);
}

static void write_opened(const struct deployment *d)
{
    struct log_fields f;

    log_fields_init(&f);
    log_fields_add(&f, "SLUICE_DEPLOYMENT", str_from(d->id));
    log_fields_add(&f, "SLUICE_SERVER", str_from(d->api_base));
    log_fields_add_number(&f, "SLUICE_FAILURES", d->health.n_failures);
    log_fields_add_number(&f, "SLUICE_OPEN_USEC", d->health.open_usec);
    message_write(MESSAGE_BREAKER_OPEN, LOG_LEVEL_WARNING, NULL, &f,
                  "deployment \"%s\" is left alone for %llu s: its model server let %u calls in a "
                  "row run into a time-out",
                  d->id, (unsigned long long) (d->health.open_usec / USEC_PER_SEC),
                  d->health.n_failures);
}

static void write_closed(const struct deployment *d, uint64_t now_usec)
{
    uint64_t open_usec = usec_since(now_usec, d->health.opened_at_usec);
    char text[DURATION_BYTES];
    struct log_fields f;

    log_fields_init(&f);
    log_fields_add(&f, "SLUICE_DEPLOYMENT", str_from(d->id));
    log_fields_add(&f, "SLUICE_SERVER", str_from(d->api_base));
    log_fields_add_number(&f, "SLUICE_FAILURES", d->health.n_probes_failed);
    log_fields_add_number(&f, "SLUICE_OPEN_USEC", open_usec);
    message_write(MESSAGE_BREAKER_CLOSED, LOG_LEVEL_NOTICE, NULL, &f,
                  "deployment \"%s\" takes calls again after %s; probes that failed: %u", d->id,
                  about(open_usec, text), d->health.n_probes_failed);
}

void incidents_breaker(const struct deployment *d, enum health_news news, uint64_t now_usec)
{
    switch (news) {
    case HEALTH_NO_NEWS:
        break;
    case HEALTH_HAS_OPENED:
        write_opened(d);
        break;
    case HEALTH_HAS_CLOSED:
        write_closed(d, now_usec);
        break;
    }
}

void incidents_cooldown(const struct deployment *d, uint64_t now_usec)
{
    uint64_t left_usec = cooldown_left_usec(&d->cooldown, now_usec);
    const char *cause = cooldown_cause_name(d->cooldown.cause);
    char text[DURATION_BYTES];
    struct log_fields f;

    log_fields_init(&f);
    log_fields_add(&f, "SLUICE_DEPLOYMENT", str_from(d->id));
    log_fields_add(&f, "SLUICE_SERVER", str_from(d->api_base));
    log_fields_add(&f, "SLUICE_REASON", str_from(cause));
    log_fields_add_number(&f, "SLUICE_COOLDOWN_USEC", left_usec);
    message_write(MESSAGE_COOLDOWN, LOG_LEVEL_NOTICE, NULL, &f,
                  "deployment \"%s\" is left alone for %s after: %s", d->id, about(left_usec, text),
                  cause);
}

static void on_load(void *ctx, const struct load_report *r)
{
    struct str model = str_clip(str_from(r->model), NAME_SHOWN_MAX);
    char text[DURATION_BYTES];
    struct log_fields f;

    log_fields_init(&f);
    log_fields_add(&f, "SLUICE_SERVER", str_from(r->server));
    log_fields_add(&f, "SLUICE_MODEL", str_from(r->model));
    log_fields_add_number(&f, "SLUICE_LOAD_USEC", r->took_usec);
    if (r->problem) {
        const struct errcode_info *code = errcode_info(r->problem->code);
        const char *why = r->problem->text[0] ? r->problem->text : code->text;

        log_fields_add(&f, "SLUICE_CODE", str_from(code->openai_code));
        log_fields_add(&f, "SLUICE_REASON", str_from(why));
        message_write(MESSAGE_MODEL_LOAD_REFUSED, LOG_LEVEL_WARNING, r->limit, &f,
                      "model \"%.*s\" cannot be loaded on %s: %s", STR_ARG(model), r->server, why);
    } else {
        message_write(MESSAGE_MODEL_LOADED,
                      r->took_usec >= INCIDENTS_LOAD_NOTICE_USEC ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG,
                      r->limit, &f, "model \"%.*s\" loaded on %s in %s", STR_ARG(model), r->server,
                      about(r->took_usec, text));
    }
}

static void on_evicted(void *ctx, const struct eviction_report *r)
{
    char text[DURATION_BYTES];
    struct log_fields f;

    log_fields_init(&f);
    log_fields_add(&f, "SLUICE_SERVER", str_from(r->server));
    log_fields_add(&f, "SLUICE_MODEL", str_from(r->model));
    log_fields_add_number(&f, "SLUICE_UNLOAD_USEC", r->took_usec);
    message_write(MESSAGE_MODEL_EVICTED, LOG_LEVEL_NOTICE, NULL, &f,
                  "model \"%.100s\" unloaded from %s, as asked, in %s", r->model, r->server,
                  about(r->took_usec, text));
}

struct upstream_hooks incidents_upstream_hooks(struct incidents *in)
{
    return (struct upstream_hooks) {.ctx = in,
                                    .on_server = on_server,
                                    .on_renewed = on_renewed,
                                    .on_load = on_load,
                                    .on_evicted = on_evicted};
}

/* ---------------------------------------------------------------- bursts */

static void arm(struct incidents *in)
{
    uint64_t at = burst_over_at(&in->shed, &shed_limits);

    for (size_t i = 0; i < INCIDENTS_SOURCES_MAX; i++) {
        uint64_t over = burst_over_at(&in->denied[i].burst, &denied_limits);

        at = over < at ? over : at;
    }
    if (at != USEC_NEVER) {
        (void) sd_event_source_set_time(in->timer, at);
        (void) sd_event_source_set_enabled(in->timer, SD_EVENT_ONESHOT);
    }
}

enum shed_kind { SHED_QUEUE_FULL, SHED_QUEUE_TIMEOUT, SHED_MEMORY_PRESSURE, SHED_NONE };

static enum shed_kind shed_kind_of(enum errcode outcome)
{
    bool is_full = outcome == ERRCODE_QUEUE_FULL || outcome == ERRCODE_DISPLACED;
    bool is_late = outcome == ERRCODE_QUEUE_TIMEOUT || outcome == ERRCODE_PREDICTED_WAIT ||
                   outcome == ERRCODE_PREEMPTED;

    return is_full                              ? SHED_QUEUE_FULL
           : is_late                            ? SHED_QUEUE_TIMEOUT
           : outcome == ERRCODE_MEMORY_PRESSURE ? SHED_MEMORY_PRESSURE
                                                : SHED_NONE;
}

static void shed_fields(struct log_fields *f, const struct burst *b)
{
    log_fields_init(f);
    log_fields_add_number(f, "SLUICE_REFUSED", b->n_all);
    log_fields_add_number(f, "SLUICE_QUEUE_FULL", b->n[SHED_QUEUE_FULL]);
    log_fields_add_number(f, "SLUICE_QUEUE_TIMEOUT", b->n[SHED_QUEUE_TIMEOUT]);
    log_fields_add_number(f, "SLUICE_MEMORY_PRESSURE", b->n[SHED_MEMORY_PRESSURE]);
    log_fields_add_number(f, "SLUICE_BURST_USEC", usec_since(b->last_at_usec, b->began_at_usec));
}

void incidents_call_ended(struct incidents *in, const struct call *call)
{
    enum shed_kind kind = shed_kind_of(call->outcome);
    const struct burst *b = &in->shed;
    struct log_fields f;

    if (kind == SHED_NONE || !burst_count(&in->shed, &shed_limits, kind, clock_now_usec())) {
        return;
    }
    shed_fields(&f, b);
    message_write(MESSAGE_SHED_BEGUN, LOG_LEVEL_WARNING, NULL, &f,
                  "more calls than this device can take: %u refused within seconds (queue full %u, "
                  "no slot in time %u, memory pressure %u)",
                  b->n_all, b->n[SHED_QUEUE_FULL], b->n[SHED_QUEUE_TIMEOUT],
                  b->n[SHED_MEMORY_PRESSURE]);
    arm(in);
}

static void end_shed(struct incidents *in, uint64_t now_usec)
{
    const struct burst *b = &in->shed;
    char text[DURATION_BYTES];
    struct log_fields f;

    if (!burst_end(&in->shed, &shed_limits, now_usec)) {
        return;
    }
    shed_fields(&f, b);
    message_write(MESSAGE_SHED_OVER, LOG_LEVEL_NOTICE, NULL, &f,
                  "no call was refused any more: %u were within %s (queue full %u, no slot in "
                  "time %u, memory pressure %u)",
                  b->n_all, about(b->last_at_usec - b->began_at_usec, text), b->n[SHED_QUEUE_FULL],
                  b->n[SHED_QUEUE_TIMEOUT], b->n[SHED_MEMORY_PRESSURE]);
}

/* ---------------------------------------------------------------- wrong keys */

/* The place of this source; where all are taken, that of the one not heard of for longest. */
static struct denied_source *source_of(struct incidents *in, const struct caller *caller)
{
    struct denied_source *oldest = &in->denied[0];

    for (size_t i = 0; i < INCIDENTS_SOURCES_MAX; i++) {
        struct denied_source *s = &in->denied[i];

        if (s->burst.n_all > 0 && s->has_uid == caller->has_uid &&
            (!s->has_uid || s->uid == caller->uid)) {
            return s;
        }
        if (s->burst.last_at_usec < oldest->burst.last_at_usec) {
            oldest = s;
        }
    }
    *oldest = (struct denied_source) {.has_uid = caller->has_uid, .uid = caller->uid};
    return oldest;
}

static void write_denied(const struct denied_source *s, enum log_level level, const char *what)
{
    char source[32] = "TCP";
    struct log_fields f;

    log_fields_init(&f);
    if (s->has_uid) {
        (void) snprintf(source, sizeof source, "uid %u", s->uid);
        log_fields_add_number(&f, "SLUICE_UID", s->uid);
    }
    log_fields_add(&f, "SLUICE_SOURCE", str_from(source));
    log_fields_add_number(&f, "SLUICE_FAILURES", s->burst.n_all);
    log_fields_add_number(&f, "SLUICE_BURST_USEC",
                          usec_since(s->burst.last_at_usec, s->burst.began_at_usec));
    message_write(MESSAGE_AUTH_FAILURES, level, NULL, &f, "%u requests with a wrong key by %s%s",
                  s->burst.n_all, source, what);
}

void incidents_denied(struct incidents *in, const struct caller *caller)
{
    struct denied_source *s = source_of(in, caller);

    if (burst_count(&s->burst, &denied_limits, 0, clock_now_usec())) {
        write_denied(s, LOG_LEVEL_WARNING, " within a minute");
        arm(in);
    }
}

/* ---------------------------------------------------------------- the timer */

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
    struct incidents *in = ctx;
    uint64_t now = clock_now_usec();

    end_shed(in, now);
    for (size_t i = 0; i < INCIDENTS_SOURCES_MAX; i++) {
        if (burst_end(&in->denied[i].burst, &denied_limits, now)) {
            write_denied(&in->denied[i], LOG_LEVEL_NOTICE, "; no more came for a minute");
        }
    }
    arm(in); /* those that went on meanwhile */
    return 0;
}

int incidents_init(struct incidents *in, sd_event *event)
{
    int r;

    *in = (struct incidents) {.timer = NULL};
    r = sd_event_add_time(event, &in->timer, CLOCK_MONOTONIC, USEC_NEVER, USEC_PER_SEC, on_timer,
                          in);
    return r < 0 ? r : sd_event_source_set_enabled(in->timer, SD_EVENT_OFF);
}

void incidents_done(struct incidents *in)
{
    in->timer = sd_event_source_disable_unref(in->timer);
}
