#pragma once
/*
 * How long a deployment holds a slot for one call, by class: what predicted waits and fair shares
 * are reckoned with.
 *
 * The last SERVICE_TIME_RING calls of each class are kept, in milliseconds: their mean says how fast
 * a queue drains (waits are sums), their median what a call of an unknown caller will take (one long
 * answer in ten says little about the next). Both are found when a call ends, so that asking costs
 * nothing. A ring and not a decaying average: answers differ a hundredfold, and with a ring one of
 * them is gone for certain after sixteen others.
 *
 * The time to load a model is no service: who notes a call leaves it out (admission.c).
 *
 * A pure state machine without a clock of its own.
 */
#include <stdint.h>

#include "core/request.h"

#define SERVICE_TIME_RING 16

/* Of one class. All zero: no call has ended yet. */
struct service_ring {
    uint32_t last_msec[SERVICE_TIME_RING];
    uint32_t n; /* ever noted */
    uint32_t mean_msec, median_msec;
};

/* Slot time that a class took in the seconds of late, as a ring of buckets. */
#define SERVICE_SHARE_BUCKETS     8
#define SERVICE_SHARE_BUCKET_USEC (4 * UINT64_C(1000000))

struct service_share {
    uint64_t bucket_at; /* number of the current bucket: time / its length */
    uint64_t usec[SERVICE_SHARE_BUCKETS];
};

/* Embedded in a deployment. All zero: nothing is known. */
struct service_time {
    struct service_ring classes[_CLASS_MAX];
    struct service_share shares[_CLASS_MAX];
};

/* A call of that class held a slot for so long and ended well. */
void service_time_note(struct service_time *s, enum call_class class, uint64_t usec);

/*
 * What one call of that class takes: its median; where none ended yet, that of another class.
 * 0: nothing is known at all.
 */
uint64_t service_time_median(const struct service_time *s, enum call_class class);

/* What calls of that class take on average: for sums of many. As service_time_median(). */
uint64_t service_time_mean(const struct service_time *s, enum call_class class);

/* Slot time was used, whatever came of it. */
void service_time_used(struct service_time *s, enum call_class class, uint64_t usec,
                       uint64_t now_usec);

/* Slot time that classes above `class` took in the last 32 seconds. */
uint64_t service_time_above(const struct service_time *s, enum call_class class, uint64_t now_usec);

/* What service_time_above() is a part of: the length of what it looks back on. */
#define SERVICE_SHARE_WINDOW_USEC (SERVICE_SHARE_BUCKETS * SERVICE_SHARE_BUCKET_USEC)
