/*
 * Memory pressure levels from samples. Pure: no file, no clock.
 *
 * Only the PSI rows of the level table are here. Headroom, time to exhaustion, swap and cgroup
 * events are further rows of the same table and come with the residency budget; until then PSI
 * alone may reach every level.
 *
 * Where the numbers come from: 10 % in 2 s is systemd's default trigger and the warning of
 * psi-notify and nohang; 20-25 % is lmkd's partial stall on low-RAM devices; 50-60 % for 20-30 s is
 * where systemd-oomd kills, so L3 and L4 come well before it.
 */
#include "core/pressure.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"

struct cell {
    unsigned some_permille, full_permille; /* 0: this row does not enter the level */
};

/* What enters each level; L4 has a hold of its own besides. */
static const struct cell cells[] = {
    [PRESSURE_L0] = {0, 0},     [PRESSURE_L1] = {100, 50}, [PRESSURE_L2] = {250, 150},
    [PRESSURE_L3] = {500, 300}, [PRESSURE_L4] = {0, 600},
};

#define L4_HOLD_USEC     (3 * USEC_PER_SEC)  /* full must stay over its value that long */
#define CALM_LOW_USEC    (10 * USEC_PER_SEC) /* calm before a fall from L1, L2 */
#define CALM_HIGH_USEC   (15 * USEC_PER_SEC) /* ... from L3, L4 */
#define FLAP_USEC        (60 * USEC_PER_SEC) /* a rise so soon after a fall doubles the calm */
#define FLAP_FORGET_USEC (5 * 60 * USEC_PER_SEC)
#define FLAP_MAX_FACTOR  8

#define INTERVAL_ACTIVE_USEC   (500 * USEC_PER_MSEC)
#define INTERVAL_RAISED_USEC   (250 * USEC_PER_MSEC)
#define INTERVAL_CRITICAL_USEC (100 * USEC_PER_MSEC)

void pressure_init(struct pressure *p)
{
    *p = (struct pressure) {.hold_factor = 1};
}

static const struct pressure_sample *newest(const struct pressure *p)
{
    return &p->ring[(p->head + PRESSURE_RING - 1) % PRESSURE_RING];
}

/*
 * The sample that the window starts with: the youngest that is at least PRESSURE_WINDOW_USEC older
 * than now. After an idle time that one may be hours old and would dilute the present; then the
 * oldest of the younger ones, if there is one.
 */
static const struct pressure_sample *window_start(const struct pressure *p, uint64_t now_usec)
{
    const struct pressure_sample *start = newest(p);

    for (size_t i = 1; i <= p->n_samples; i++) {
        const struct pressure_sample *s = &p->ring[(p->head + PRESSURE_RING - i) % PRESSURE_RING];
        uint64_t age = usec_since(now_usec, s->at_usec);

        if (age > 2 * PRESSURE_WINDOW_USEC && i > 1) {
            break;
        }
        start = s;
        if (age >= PRESSURE_WINDOW_USEC) {
            break;
        }
    }
    return start;
}

static unsigned share_permille(uint64_t stalled_usec, uint64_t window_usec)
{
    uint64_t v = window_usec > 0 ? stalled_usec * 1000 / window_usec : 0;

    return v > 1000 ? 1000 : (unsigned) v;
}

static void remember(struct pressure *p, const struct pressure_sample *s)
{
    p->ring[p->head] = *s;
    p->head = (p->head + 1) % PRESSURE_RING;
    p->n_samples = p->n_samples < PRESSURE_RING ? p->n_samples + 1 : PRESSURE_RING;
}

/*
 * Measures the window that ends with s. The window is never taken as shorter than
 * PRESSURE_WINDOW_USEC: after a start or an idle time two samples that lie close together would
 * make a short stall look like a storm.
 */
static void measure(struct pressure *p, const struct pressure_sample *s)
{
    if (p->n_samples > 0 &&
        (s->some_total_usec < newest(p)->some_total_usec ||
         s->full_total_usec < newest(p)->full_total_usec || s->at_usec < newest(p)->at_usec)) {
        p->n_samples = 0; /* the counters restarted */
    }
    p->some_permille = p->full_permille = 0;
    if (p->n_samples > 0) {
        const struct pressure_sample *from = window_start(p, s->at_usec);
        uint64_t window = usec_since(s->at_usec, from->at_usec);

        window = window < PRESSURE_WINDOW_USEC ? PRESSURE_WINDOW_USEC : window;
        p->some_permille = share_permille(s->some_total_usec - from->some_total_usec, window);
        p->full_permille = share_permille(s->full_total_usec - from->full_total_usec, window);
    }
    remember(p, s);
}

/* Does any cell of the level hold at factor (per mille of its value)? */
static bool holds(const struct pressure *p, enum pressure_level level, unsigned factor)
{
    const struct cell *c = &cells[level];

    return (c->some_permille > 0 && p->some_permille * 1000 >= c->some_permille * factor) ||
           (c->full_permille > 0 && p->full_permille * 1000 >= c->full_permille * factor);
}

/* The highest level that this sample alone would enter. */
static enum pressure_level level_now(struct pressure *p, uint64_t now_usec)
{
    if (!holds(p, PRESSURE_L4, 1000)) {
        p->full_since_usec = 0;
    } else if (p->full_since_usec == 0) {
        p->full_since_usec = now_usec;
    } else if (usec_since(now_usec, p->full_since_usec) >= L4_HOLD_USEC) {
        return PRESSURE_L4;
    }
    for (enum pressure_level l = PRESSURE_L3; l > PRESSURE_L0; l--) {
        if (holds(p, l, 1000)) {
            return l;
        }
    }
    return PRESSURE_L0;
}

static void rise(struct pressure *p, enum pressure_level to, uint64_t now_usec)
{
    if (p->fell_at_usec != 0 && usec_since(now_usec, p->fell_at_usec) < FLAP_USEC &&
        p->hold_factor < FLAP_MAX_FACTOR) {
        p->hold_factor *= 2;
    }
    p->level = to;
    p->calm_since_usec = 0;
}

/* One level down when nothing of the current level held at half its value for long enough. */
static void maybe_fall(struct pressure *p, uint64_t now_usec)
{
    uint64_t calm = (p->level >= PRESSURE_L3 ? CALM_HIGH_USEC : CALM_LOW_USEC) * p->hold_factor;

    if (holds(p, p->level, 500)) {
        p->calm_since_usec = 0;
    } else if (p->calm_since_usec == 0) {
        p->calm_since_usec = now_usec;
    } else if (usec_since(now_usec, p->calm_since_usec) >= calm) {
        p->level--;
        p->fell_at_usec = now_usec;
        p->calm_since_usec = now_usec;
        p->l0_since_usec = now_usec;
    }
}

bool pressure_is_due(const struct pressure *p, uint64_t now_usec)
{
    static_assert(PRESSURE_RING * PRESSURE_SPACING_USEC > PRESSURE_WINDOW_USEC,
                  "a full ring spans the window");
    uint64_t last = p->n_samples > 0 ? newest(p)->at_usec : 0;

    return p->n_samples == 0 || now_usec < last || now_usec - last >= PRESSURE_SPACING_USEC;
}

enum pressure_level pressure_update(struct pressure *p, const struct pressure_sample *s)
{
    p->is_blind = false;
    if (!pressure_is_due(p, s->at_usec)) {
        return p->level;
    }
    measure(p, s);

    enum pressure_level now = level_now(p, s->at_usec);
    enum pressure_level confirmed = now < p->seen ? now : p->seen; /* two samples in a row */

    p->seen = now;
    if (confirmed > p->level) {
        rise(p, confirmed, s->at_usec);
    } else if (p->level > PRESSURE_L0) {
        maybe_fall(p, s->at_usec);
    } else if (usec_since(s->at_usec, p->l0_since_usec) >= FLAP_FORGET_USEC) {
        p->hold_factor = 1;
    }
    return p->level;
}

void pressure_set_blind(struct pressure *p, bool was_readable)
{
    *p = (struct pressure) {
        .hold_factor = 1, .is_blind = true, .level = was_readable ? PRESSURE_L1 : PRESSURE_L0};
}

uint64_t pressure_interval_usec(const struct pressure *p, bool is_active)
{
    if (p->level >= PRESSURE_L3) {
        return INTERVAL_CRITICAL_USEC;
    }
    if (p->level > PRESSURE_L0 || p->seen > PRESSURE_L0) {
        return INTERVAL_RAISED_USEC;
    }
    return is_active ? INTERVAL_ACTIVE_USEC : USEC_NEVER;
}

/* The number behind " total=" of the line that starts with name. */
static int line_total(struct str text, const char *name, uint64_t *ret_usec)
{
    while (text.len > 0) {
        const char *end = memchr(text.ptr, '\n', text.len);
        struct str line = {text.ptr, end ? (size_t) (end - text.ptr) : text.len};
        const char *at;

        if (str_has_prefix(line, name) && (at = memmem(line.ptr, line.len, " total=", 7))) {
            struct str number = {at + 7, line.len - (size_t) (at + 7 - line.ptr)};

            return num_parse_u64(number, ret_usec) < 0 ? -EBADMSG : 0;
        }
        text.ptr += line.len + (end ? 1 : 0);
        text.len -= line.len + (end ? 1 : 0);
    }
    return -EBADMSG;
}

int pressure_parse(struct str text, struct pressure_sample *ret_sample)
{
    struct pressure_sample s = {0};
    int r;

    r = line_total(text, "some ", &s.some_total_usec);
    if (r < 0) {
        return r;
    }
    r = line_total(text, "full ", &s.full_total_usec);
    if (r < 0) {
        return r;
    }
    *ret_sample = s;
    return 0;
}
