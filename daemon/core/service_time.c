/*
 * See service_time.h.
 *
 * Must not: read a clock, know calls, deployments or callers.
 */
#include "core/service_time.h"

#include <string.h>

#include "base/clock.h"

#define USEC_PER_MSEC UINT64_C(1000)

static void sort(uint32_t *v, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        uint32_t x = v[i], j = i;

        for (; j > 0 && v[j - 1] > x; j--) {
            v[j] = v[j - 1];
        }
        v[j] = x;
    }
}

void service_time_note(struct service_time *s, enum call_class class, uint64_t usec)
{
    struct service_ring *r = &s->classes[class];
    uint64_t msec = (usec + USEC_PER_MSEC - 1) / USEC_PER_MSEC; /* never 0: that is "not known" */
    uint32_t sorted[SERVICE_TIME_RING], n_kept;
    uint64_t sum = 0;

    r->last_msec[r->n % SERVICE_TIME_RING] = msec < UINT32_MAX ? (uint32_t) msec : UINT32_MAX;
    r->n = r->n < UINT32_MAX ? r->n + 1 : SERVICE_TIME_RING;
    n_kept = r->n < SERVICE_TIME_RING ? r->n : SERVICE_TIME_RING;
    memcpy(sorted, r->last_msec, n_kept * sizeof *sorted);
    sort(sorted, n_kept);
    for (uint32_t i = 0; i < n_kept; i++) {
        sum += sorted[i];
    }
    r->median_msec = sorted[n_kept / 2];
    r->mean_msec = (uint32_t) (sum / n_kept);
}

/* Of that class, or of the nearest that is known. */
static const struct service_ring *known(const struct service_time *s, enum call_class class)
{
    static const enum call_class order[_CLASS_MAX][_CLASS_MAX] = {
        [CLASS_INTERACTIVE] = {CLASS_INTERACTIVE, CLASS_BATCH, CLASS_BACKGROUND},
        [CLASS_BATCH] = {CLASS_BATCH, CLASS_BACKGROUND, CLASS_INTERACTIVE},
        [CLASS_BACKGROUND] = {CLASS_BACKGROUND, CLASS_BATCH, CLASS_INTERACTIVE},
    };

    for (int i = 0; i < _CLASS_MAX; i++) {
        const struct service_ring *r = &s->classes[order[class][i]];

        if (r->n > 0) {
            return r;
        }
    }
    return NULL;
}

uint64_t service_time_median(const struct service_time *s, enum call_class class)
{
    const struct service_ring *r = known(s, class);

    return r ? r->median_msec * USEC_PER_MSEC : 0;
}

uint64_t service_time_mean(const struct service_time *s, enum call_class class)
{
    const struct service_ring *r = known(s, class);

    return r ? r->mean_msec * USEC_PER_MSEC : 0;
}

/* Buckets that the time since has passed are emptied. */
static void advance(struct service_share *share, uint64_t now_usec)
{
    uint64_t at = now_usec / SERVICE_SHARE_BUCKET_USEC;

    if (at >= share->bucket_at + SERVICE_SHARE_BUCKETS) {
        memset(share->usec, 0, sizeof share->usec);
        share->bucket_at = at;
    }
    while (share->bucket_at < at) {
        share->usec[++share->bucket_at % SERVICE_SHARE_BUCKETS] = 0;
    }
}

void service_time_used(struct service_time *s, enum call_class class, uint64_t usec,
                       uint64_t now_usec)
{
    struct service_share *share = &s->shares[class];

    advance(share, now_usec);
    share->usec[share->bucket_at % SERVICE_SHARE_BUCKETS] += usec;
}

uint64_t service_time_above(const struct service_time *s, enum call_class class, uint64_t now_usec)
{
    uint64_t sum = 0;

    for (int c = 0; c < (int) class; c++) {
        struct service_share share = s->shares[c];

        advance(&share, now_usec);
        for (int i = 0; i < SERVICE_SHARE_BUCKETS; i++) {
            sum += share.usec[i];
        }
    }
    return sum;
}
