/*
 * sluice as the daemon runs it, with its defaults, one model and one slot.
 *
 * Owns attempts until their calls have ended.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/device.h"
#include "tests/sim/policy.h"

struct sluice_call {
    struct list link; /* sluice.calls */
    struct event_sink sink;
    struct attempt *attempt; /* owned */
    struct call *call;       /* borrowed until it has ended */
};

struct sluice {
    struct policy policy;
    struct device device;
    struct list calls; /* sluice_call.link */
};

static struct sluice *sluice_of(struct policy *p)
{
    return CONTAINER_OF(p, struct sluice, policy);
}

static void free_call(struct sluice_call *c)
{
    list_remove(&c->link);
    free(c->attempt);
    free(c);
}

static enum sink_answer on_deliver(struct event_sink *sink, const struct event *ev)
{
    struct sluice_call *c = CONTAINER_OF(sink, struct sluice_call, sink);

    switch (ev->type) {
    case EVENT_STARTED:
        attempt_granted(c->attempt);
        break;
    case EVENT_TEXT:
        attempt_begun(c->attempt);
        break;
    case EVENT_END:
        attempt_done(c->attempt);
        free_call(c);
        break;
    case EVENT_FAILED:
        attempt_refused(c->attempt,
                        &(struct refusal) {.code = ev->failed.code,
                                           .retry_after_usec = ev->failed.retry_after_usec,
                                           .is_last = ev->failed.is_last});
        free_call(c);
        break;
    case EVENT_QUEUED:
    case EVENT_TOOL_CALL:
    case EVENT_EMBEDDING:
    case EVENT_RESULT:
    case EVENT_USAGE:
        break;
    }
    return SINK_ROOM;
}

static void submit(struct policy *p, struct attempt *a)
{
    struct sluice *s = sluice_of(p);
    struct sluice_call *c = calloc(1, sizeof *c);

    if (!c) {
        perror("call");
        abort();
    }
    c->sink.deliver = on_deliver;
    c->attempt = a;
    list_append(&s->calls, &c->link);
    c->call = device_submit(&s->device,
                            &(struct device_ask) {.model = "m",
                                                  .class = (enum call_class) a->class,
                                                  .uid = a->caller,
                                                  .n_retries = a->n_retries,
                                                  .read_timeout_usec = a->timeout_usec,
                                                  .n_tokens = a->n_tokens},
                            &c->sink);
}

static void leave(struct policy *p, struct attempt *a)
{
    struct sluice *s = sluice_of(p);

    list_for_each (l, &s->calls) {
        struct sluice_call *c = CONTAINER_OF(l, struct sluice_call, link);

        if (c->attempt == a) {
            call_detach(c->call, s->device.heap->now_usec);
            free_call(c);
            return;
        }
    }
}

static struct model_server *server(struct policy *p)
{
    return &sluice_of(p)->device.models[0].server;
}

static void sluice_free(struct policy *p)
{
    struct sluice *s = sluice_of(p);

    device_done(&s->device);
    list_for_each_safe (l, &s->calls) {
        free_call(CONTAINER_OF(l, struct sluice_call, link));
    }
    free(s);
}

struct policy *sluice_new(const struct setting *setting, struct event_heap *heap)
{
    static const struct policy_ops ops = {
        .name = "sluice", .submit = submit, .leave = leave, .server = server, .free = sluice_free};
    struct device_model model = {
        .name = "m", .prefill_usec = setting->prefill_usec, .token_usec = setting->token_usec};
    struct admission_params params = device_default_params();
    struct sluice *s = calloc(1, sizeof *s);

    if (!s) {
        perror("sluice");
        abort();
    }
    for (size_t i = 0; i < SETTING_CLASSES; i++) {
        if (setting->patience_usec[i] > 0) {
            params.patience_usec[i] = setting->patience_usec[i];
        }
    }
    s->policy.ops = &ops;
    list_init(&s->calls);
    device_init(&s->device, heap, &params, NULL, &model, 1, 1, NULL);
    return &s->policy;
}
