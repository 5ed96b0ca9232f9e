#pragma once
/*
 * What stands between clients and a model server: the thing that is compared. A policy is given
 * attempts; it tells their clients what comes of them.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proto/errcode.h"
#include "tests/sim/event_heap.h"
#include "tests/sim/model_server.h"
#include "tests/sim/setting.h"

struct intent;

/* One request of a client. Owned by the policy from submit() on. */
struct attempt {
    struct intent *intent; /* borrowed; NULL: the client has left */
    size_t class;
    uint32_t caller;
    uint64_t n_tokens;
    unsigned n_retries;    /* before it, of the same intent */
    uint64_t timeout_usec; /* how long its client waits for the first byte, and says so */
    uint64_t at_usec;
};

struct policy {
    const struct policy_ops *ops;
};

struct policy_ops {
    const char *name;
    /* The attempt is freed by the policy after attempt_refused() or attempt_done(), or leave(). */
    void (*submit)(struct policy *p, struct attempt *a);
    void (*leave)(struct policy *p, struct attempt *a); /* the client has gone; a->intent is NULL */
    struct model_server *(*server)(struct policy *p);
    void (*free)(struct policy *p); /* also with attempts under way, whose clients hear nothing */
};

/* "fifo", "limits", "sluice"; NULL: no such policy. Owned by the caller. */
struct policy *policy_new(const char *name, const struct setting *setting, struct event_heap *heap);
struct policy *fifo_new(const struct setting *setting, struct event_heap *heap, bool sees_leave);
struct policy *sluice_new(const struct setting *setting, struct event_heap *heap);

/* What a policy tells, none of them with an intent that is NULL. By clients.c. */
void attempt_granted(struct attempt *a);
void attempt_begun(struct attempt *a); /* the first token */
void attempt_done(struct attempt *a);
/* ERRCODE_NONE: without a reason; retry_after 0: nothing is said. */
struct refusal {
    enum errcode code;
    uint64_t retry_after_usec;
    bool is_last; /* x-should-retry: false */
};
void attempt_refused(struct attempt *a, const struct refusal *why);
