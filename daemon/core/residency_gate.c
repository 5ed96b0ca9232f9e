/*
 * The gate of core/residency: the budget with its sums over all models (taken once for a pass of
 * admission), who is let in, and what those are told who are not.
 *
 * The reserve is that of the pressure levels (pressure_reserves(): 12 %, R_soft), so that a load that
 * was let in raises none; a third less for what is impossible (R_hard): earlyoom acts at 10 %,
 * systemd-oomd later, so that what is planned here stays clear of both. Swap counts for nothing:
 * zram's pages lie in the same memory.
 *
 * The factor and the cache of a need, and the difference between soft and hard, keep a load from
 * hurting the models that are there. Where no other one is, there is nobody to hurt, and a guess that
 * nobody has checked would keep a model from ever being seen: it is let in when what it needs for
 * certain leaves the hard reserve, and the watch over its load does the rest.
 *
 * Must not: change a state but for a reservation (residency.c), read a clock.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "core/pressure.h"
#include "core/residency_internal.h"

#define CACHE_SHARE       4 /* of the device, for a cache that nobody bounds */
#define CACHE_MAX_BYTES   (1024 * RESIDENCY_MIB)
#define SHORT_USEC        (15 * USEC_PER_SEC) /* how long memory is short, as nobody knows */
#define RETRY_BUDGET_USEC (15 * USEC_PER_SEC)
#define FACTS_USEC        (60 * USEC_PER_SEC) /* so old may they be when a load begins */

/* ---------------------------------------------------------------- sums */

uint64_t residency_reserved_bytes(const struct residency *r)
{
    uint64_t sum = 0;

    if (r->has_sums) {
        return r->sums.reserved_bytes;
    }
    list_for_each (l, &r->models) {
        sum += CONTAINER_OF(l, struct residency_model, link)->reserved_bytes;
    }
    return sum;
}

static size_t n_there(const struct residency *r)
{
    size_t n = 0;

    if (r->has_sums) {
        return r->sums.n_there;
    }
    list_for_each (l, &r->models) {
        n += residency_takes_memory(CONTAINER_OF(l, struct residency_model, link));
    }
    return n;
}

size_t residency_n_others(const struct residency *r, const struct residency_model *m)
{
    return n_there(r) - residency_takes_memory(m);
}

const struct residency_model *residency_moving(const struct residency *r)
{
    if (r->has_sums) {
        return r->sums.moving;
    }
    list_for_each (l, &r->models) {
        const struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);

        if (m->is_local && (m->state == RESIDENCY_RESERVED || m->state == RESIDENCY_LOADING ||
                            m->state == RESIDENCY_UNLOADING)) {
            return m;
        }
    }
    return NULL;
}

/* What could become free for models: what is about to, and what our models take at most. */
static uint64_t freed_at_most(const struct residency *r)
{
    uint64_t sum = r->freeing_bytes;

    if (r->has_sums) {
        return r->sums.freed_bytes;
    }
    list_for_each (l, &r->models) {
        const struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);

        if (m->is_local && residency_is_held(m)) {
            sum += residency_held(r, m);
        }
        sum += m->is_local ? m->reserved_bytes : 0;
    }
    return sum;
}

void residency_begin_pass(struct residency *r)
{
    r->has_sums = false;
    r->sums = (struct residency_sums) {.reserved_bytes = residency_reserved_bytes(r),
                                       .freed_bytes = freed_at_most(r),
                                       .n_there = n_there(r),
                                       .moving = residency_moving(r)};
    r->has_sums = true;
}

void residency_end_pass(struct residency *r)
{
    r->has_sums = false;
}

void residency_sum_again(struct residency *r)
{
    if (r->has_sums) {
        residency_begin_pass(r);
    }
}

/* ---------------------------------------------------------------- the budget */

bool residency_has_budget(const struct residency *r, const struct residency_model *m)
{
    return m->is_local && r->params.is_on && r->memory.total_bytes > 0;
}

uint64_t residency_reserve_soft(const struct residency *r)
{
    if (r->params.reserve_bytes > 0) {
        return r->params.reserve_bytes;
    }
    return r->memory.reserve_bytes > 0
               ? r->memory.reserve_bytes
               : pressure_reserves(r->memory.total_bytes, MEMORY_SYSTEM).soft_bytes;
}

static uint64_t above(uint64_t bytes, uint64_t floor)
{
    return bytes > floor ? bytes - floor : 0;
}

static int64_t left(uint64_t available_bytes, uint64_t reserve_bytes)
{
    return (int64_t) num_clamp_u64(available_bytes, 0, INT64_MAX / 2) - (int64_t) reserve_bytes;
}

/* What a place has for models when nobody else is in it. */
static uint64_t most_of(uint64_t total_bytes, enum memory_place place)
{
    return above(total_bytes, pressure_reserves(total_bytes, place).hard_bytes);
}

static void bound_most(struct residency_memory *memory, uint64_t there_bytes)
{
    uint64_t here =
        memory->most_bytes > 0 ? memory->most_bytes : most_of(memory->total_bytes, MEMORY_SYSTEM);

    memory->most_bytes = memory->total_bytes == 0 || there_bytes < here ? there_bytes : here;
}

void residency_memory_add(struct residency_memory *memory, const struct memory_place_sample *place)
{
    uint64_t here = pressure_reserves(memory->total_bytes, MEMORY_SYSTEM).soft_bytes;
    uint64_t there = pressure_reserves(place->total_bytes, MEMORY_SERVER).soft_bytes;

    if (!place->has_room || place->total_bytes == 0) {
        return;
    }
    here = memory->reserve_bytes > 0 ? memory->reserve_bytes : here;
    bound_most(memory, most_of(place->total_bytes, MEMORY_SERVER));
    if (memory->total_bytes == 0 ||
        left(place->headroom_bytes, there) < left(memory->available_bytes, here)) {
        memory->available_bytes = place->headroom_bytes;
        here = there;
    }
    memory->reserve_bytes = here;
    if (memory->total_bytes == 0 || place->total_bytes < memory->total_bytes) {
        memory->total_bytes = place->total_bytes;
    }
}

static uint64_t reserve_hard(const struct residency *r)
{
    return residency_reserve_soft(r) / 3 * 2;
}

uint64_t residency_room(const struct residency *r)
{
    return above(r->memory.available_bytes,
                 residency_reserved_bytes(r) + residency_reserve_soft(r));
}

struct footprint_need residency_need(const struct residency *r, const struct residency_model *m)
{
    return footprint_need(r->footprints, &m->key, &m->facts, !r->params.has_gpu);
}

/* What a runner may grow by after the load, where that is not in what was learned of it. */
static uint64_t cache_bytes(const struct residency *r)
{
    uint64_t share = r->memory.total_bytes / CACHE_SHARE;

    if (!r->params.is_cache_unbounded) {
        return r->params.cache_bytes;
    }
    return share < CACHE_MAX_BYTES ? share : CACHE_MAX_BYTES;
}

uint64_t residency_asked(const struct residency *r, const struct residency_model *m)
{
    struct footprint_need need = residency_need(r, m);

    switch (need.source) {
    case FOOTPRINT_UNKNOWN:
    case FOOTPRINT_TOLD: /* who says it has counted everything */
        return need.asked_bytes;
    case FOOTPRINT_LEARNED:
    case FOOTPRINT_LEARNED_GROUP:
    case FOOTPRINT_COMPUTED:
    case FOOTPRINT_REPORTED:
        break;
    }
    return need.asked_bytes + cache_bytes(r);
}

uint64_t residency_held(const struct residency *r, const struct residency_model *m)
{
    uint64_t most = residency_asked(r, m);

    return m->baseline_bytes > 0 || m->held_bytes > most ? m->held_bytes : most;
}

/*
 * Of a guess the weights and the KV cache; of what was learned, what its last
 * load took, as the rest is what it has kept of answers, and can be without; of an ended load what it
 * had.
 */
uint64_t residency_least_bytes(const struct residency *r, const struct residency_model *m)
{
    struct footprint_need need = residency_need(r, m);
    uint64_t least = m->facts.file_bytes + m->facts.kv_bytes;

    if (need.source == FOOTPRINT_COMPUTED && least < need.bytes) {
        return least;
    }
    return m->fresh_bytes > 0 && m->fresh_bytes < need.sure_bytes ? m->fresh_bytes
                                                                  : need.sure_bytes;
}

bool residency_fits_after(const struct residency *r, const struct residency_model *m,
                          uint64_t freed_bytes, bool is_alone)
{
    uint64_t hard = above(r->memory.available_bytes, residency_reserved_bytes(r) + reserve_hard(r));

    return residency_asked(r, m) <= residency_room(r) + freed_bytes ||
           (is_alone && residency_least_bytes(r, m) <= hard + freed_bytes);
}

bool residency_fits(const struct residency *r, const struct residency_model *m)
{
    return residency_fits_after(r, m, 0, residency_n_others(r, m) == 0);
}

uint64_t residency_critical_bytes(const struct residency *r)
{
    return residency_reserve_soft(r) / 5 * 2;
}

/* ---------------------------------------------------------------- refusals */

/*
 * What is there for a model that is alone on an empty device. Each place has its own reserve: that
 * of the one with least left now says nothing about another one, which may be the smallest.
 */
static uint64_t most_bytes(const struct residency *r)
{
    return r->params.reserve_bytes == 0 && r->memory.most_bytes > 0
               ? r->memory.most_bytes
               : above(r->memory.total_bytes, reserve_hard(r));
}

/* Who is refused for good must be too big for certain: no factor, and no guess. */
static bool can_never_fit(const struct residency *r, const struct residency_model *m)
{
    return residency_least_bytes(r, m) > most_bytes(r);
}

/* If all others went. What moves, or has just moved, says nothing sure. */
static bool could_fit(const struct residency *r, const struct residency_model *m)
{
    return r->is_settling || residency_moving(r) ||
           residency_fits_after(r, m, freed_at_most(r), true);
}

struct residency_refusal residency_refusal_of(const struct residency *r,
                                              const struct residency_model *m, uint64_t now_usec)
{
    bool is_needed = m->state == RESIDENCY_UNLOADED || m->state == RESIDENCY_FAILED;

    if (!is_needed) {
        return (struct residency_refusal) {.code = ERRCODE_NONE};
    }
    if (residency_has_budget(r, m) && can_never_fit(r, m)) {
        return (struct residency_refusal) {ERRCODE_MODEL_EXCEEDS, USEC_NEVER};
    }
    if (m->state == RESIDENCY_FAILED && now_usec < m->quarantined_until_usec) {
        return (struct residency_refusal) {ERRCODE_MODEL_QUARANTINED,
                                           m->quarantined_until_usec - now_usec};
    }
    /* a model that its server may hold already is looked for first */
    if (residency_has_budget(r, m) && m->is_told && m->looked_at_usec > 0 && !could_fit(r, m)) {
        return (struct residency_refusal) {ERRCODE_MODEL_BUDGET, RETRY_BUDGET_USEC};
    }
    return (struct residency_refusal) {.code = ERRCODE_NONE};
}

const struct residency_model *residency_known(const struct residency *r, const struct deployment *d,
                                              const char *name)
{
    return d->backend && d->backend->memory
               ? residency_find(r, d->api_base, residency_name_of(d, name))
               : NULL;
}

struct residency_refusal residency_refusal(const struct residency *r, const struct deployment *d,
                                           const char *name, uint64_t now_usec)
{
    const struct residency_model *m = residency_known(r, d, name);

    return m ? residency_refusal_of(r, m, now_usec)
             : (struct residency_refusal) {.code = ERRCODE_NONE};
}

/* ---------------------------------------------------------------- what a wait would be at least */

/* What is left of a load; one that takes longer than ever goes on for a tenth of that. */
static uint64_t rest_of_load(const struct residency *r, const struct residency_model *m,
                             uint64_t now_usec)
{
    uint64_t load = residency_need(r, m).load_usec;
    uint64_t rest = usec_since(load, usec_since(now_usec, m->since_usec));

    return m->state == RESIDENCY_RESERVED ? load : rest > load / 10 ? rest : load / 10;
}

static uint64_t until_a_load(const struct residency *r, const struct residency_model *m,
                             uint64_t now_usec)
{
    const struct residency_model *moving = residency_moving(r);
    bool is_freeing = r->freeing_bytes > 0 || (moving && moving->state == RESIDENCY_UNLOADING);
    uint64_t freed = residency_fits(r, m) ? 0 : freed_at_most(r), at, rest = 0;

    if (!is_freeing && !residency_may_load(r, m, freed, now_usec, &at)) {
        return at == USEC_NEVER ? SHORT_USEC : usec_since(at, now_usec);
    }
    if (m->wants.n == 0) {
        return 0;
    }
    if (moving && moving != m && moving->state != RESIDENCY_UNLOADING) {
        rest = rest_of_load(r, moving, now_usec);
    }
    return rest;
}

uint64_t residency_wait(const struct residency *r, const struct deployment *d, const char *name,
                        enum call_class class, uint64_t now_usec)
{
    const struct residency_model *m = residency_known(r, d, name);
    uint64_t before, turn, load;

    if (!m || !residency_has_budget(r, m)) {
        return 0;
    }
    switch (m->state) {
    case RESIDENCY_RESIDENT:
        break;
    case RESIDENCY_RESERVED:
    case RESIDENCY_LOADING:
        return rest_of_load(r, m, now_usec);
    case RESIDENCY_UNLOADED:
    case RESIDENCY_FAILED:
    case RESIDENCY_DRAINING:
    case RESIDENCY_UNLOADING:
        before = until_a_load(r, m, now_usec);
        turn = residency_turn_usec(r, m, class, now_usec);
        load = residency_need(r, m).load_usec;
        return before > 0       ? (before > turn ? before : turn) + load
               : m->wants.n > 0 ? turn + load
                                : turn;
    }
    return 0;
}

bool residency_is_there(const struct residency *r, const struct deployment *d, const char *name)
{
    const struct residency_model *m = residency_known(r, d, name);

    return m && m->state != RESIDENCY_UNLOADED && m->state != RESIDENCY_UNLOADING &&
           m->state != RESIDENCY_FAILED;
}

static unsigned long long mib(uint64_t bytes)
{
    return bytes / RESIDENCY_MIB;
}

const char *residency_describe_model(const struct residency *r, const struct residency_model *m,
                                     uint64_t now_usec, char ret_text[RESIDENCY_TEXT_BYTES])
{
    struct residency_refusal refusal = residency_refusal_of(r, m, now_usec);
    struct footprint_need need;

    if (refusal.code == ERRCODE_NONE) {
        return NULL;
    }
    need = residency_need(r, m);
    if (refusal.code == ERRCODE_MODEL_EXCEEDS) {
        (void) snprintf(ret_text, RESIDENCY_TEXT_BYTES,
                        "it needs about %llu MiB (%s), and this device has %llu MiB, of which %llu "
                        "MiB must stay free",
                        mib(need.bytes), footprint_source_name(need.source),
                        mib(r->memory.total_bytes),
                        mib(above(r->memory.total_bytes, most_bytes(r))));
    } else if (refusal.code == ERRCODE_MODEL_BUDGET) {
        (void) snprintf(ret_text, RESIDENCY_TEXT_BYTES,
                        "to load it %llu MiB must be free beside a reserve of %llu MiB, and even "
                        "without the models that are loaded there would be %llu MiB",
                        mib(residency_asked(r, m)), mib(residency_reserve_soft(r)),
                        mib(residency_room(r) + freed_at_most(r)));
    } else {
        (void) snprintf(
            ret_text, RESIDENCY_TEXT_BYTES,
            "its last load failed, and it is not loaded for another %llu s",
            (unsigned long long) ((refusal.retry_after_usec + USEC_PER_SEC - 1) / USEC_PER_SEC));
    }
    return ret_text;
}

const char *residency_describe(const struct residency *r, const struct deployment *d,
                               const char *name, uint64_t now_usec,
                               char ret_text[RESIDENCY_TEXT_BYTES])
{
    const struct residency_model *m = residency_known(r, d, name);

    return m ? residency_describe_model(r, m, now_usec, ret_text) : NULL;
}

static const char *fits(const struct residency *r, const struct residency_model *m,
                        uint64_t now_usec)
{
    if (!residency_has_budget(r, m) || !m->is_told ||
        residency_need(r, m).source == FOOTPRINT_UNKNOWN) {
        return "";
    }
    if (can_never_fit(r, m)) {
        return "never";
    }
    if (residency_is_held(m) || m->reserved_bytes > 0 || residency_fits(r, m)) {
        return "now";
    }
    return could_fit(r, m) ? "later" : "not now";
}

bool residency_view(const struct residency *r, const struct deployment *d, const char *name,
                    uint64_t now_usec, struct residency_view *ret)
{
    const struct residency_model *m = residency_known(r, d, name);
    struct footprint_need need;

    if (!m) {
        return false;
    }
    need = residency_need(r, m);
    *ret = (struct residency_view) {
        .state = m->is_asked ? "asked" : residency_state_name(m->state),
        .fits = fits(r, m, now_usec),
        .source = need.source == FOOTPRINT_UNKNOWN ? "" : footprint_source_name(need.source),
        .need_bytes = need.bytes,
        .file_bytes = m->facts.file_bytes,
        .held_bytes = residency_is_held(m) ? m->held_bytes : 0,
    };
    return true;
}

/* ---------------------------------------------------------------- the answer */

static bool is_trusted(const struct deployment *d, const char *name, uint64_t now_usec)
{
    return d->backend->memory->is_trusted(d->backend, name, now_usec);
}

static bool is_fresh(const struct residency_model *m, uint64_t now_usec)
{
    return m->looked_at_usec > 0 &&
           usec_since(now_usec, m->looked_at_usec) < RESIDENCY_LOOK_FRESH_USEC;
}

/* One that is not surely there may have gone from memory since it answered last: a call could load. */
static bool is_surely_there(const struct deployment *d, const struct residency_model *m,
                            const char *name, uint64_t now_usec)
{
    return is_trusted(d, name, now_usec) || is_fresh(m, now_usec);
}

bool residency_doubts(struct residency_model *m, uint64_t now_usec)
{
    if (m->asked_at_usec > 0 && usec_since(now_usec, m->asked_at_usec) >= FACTS_USEC) {
        m->is_told = false;
    }
    return !m->is_told;
}

/* From L2 on one model works at a time: what a second one touches would have to be read again. */
static bool is_second(const struct residency *r, const struct residency_model *m)
{
    if (r->pressure.level < 2 || residency_model_is_in_use(r, m)) {
        return false;
    }
    list_for_each (l, &r->models) {
        const struct residency_model *other = CONTAINER_OF(l, struct residency_model, link);

        if (other != m && residency_takes_memory(other) && residency_model_is_in_use(r, other)) {
            return true;
        }
    }
    return false;
}

static bool could_load(const struct residency *r, const struct residency_model *m)
{
    return !residency_moving(r) && residency_fits(r, m);
}

/* Of one with a budget: may it serve now, or be loaded, as far as room and other models go? */
static bool has_turn(const struct residency *r, const struct deployment *d,
                     const struct residency_model *m, const char *name, uint64_t now_usec)
{
    switch (m->state) {
    case RESIDENCY_RESIDENT:
        return !is_second(r, m) && !residency_must_rest(r, m, now_usec) &&
               (is_surely_there(d, m, name, now_usec) || could_load(r, m));
    case RESIDENCY_UNLOADED:
    case RESIDENCY_FAILED:
        return residency_may_load(r, m, 0, now_usec, NULL) && could_load(r, m) &&
               !residency_is_kept(r, m, now_usec);
    case RESIDENCY_RESERVED:
    case RESIDENCY_LOADING:
    case RESIDENCY_DRAINING:
    case RESIDENCY_UNLOADING:
        break;
    }
    return false;
}

bool residency_has_turn(const struct residency *r, const struct deployment *d, const char *name,
                        uint64_t now_usec)
{
    const struct residency_model *m = residency_known(r, d, name);

    name = residency_name_of(d, name);
    return !m || !residency_has_budget(r, m) || has_turn(r, d, m, name, now_usec) ||
           (m->state == RESIDENCY_UNLOADED && is_trusted(d, name, now_usec));
}

enum residency_answer residency_ask(struct residency *r, const struct deployment *d,
                                    const char *name, uint64_t now_usec)
{
    struct residency_model *m = residency_of(r, d, name);

    name = residency_name_of(d, name);
    if (!m) {
        return RESIDENCY_SERVES;
    }
    if (residency_refusal_of(r, m, now_usec).code != ERRCODE_NONE) {
        return RESIDENCY_REFUSES;
    }
    if (m->state == RESIDENCY_UNLOADED && is_trusted(d, name, now_usec)) {
        residency_become_resident(r, m, now_usec); /* it answers, whoever has loaded it */
    }
    if (!residency_has_budget(r, m)) { /* who comes second waits for the loader */
        return m->state == RESIDENCY_UNLOADED || m->state == RESIDENCY_FAILED ? RESIDENCY_LOADS
                                                                              : RESIDENCY_SERVES;
    }
    if (!has_turn(r, d, m, name, now_usec)) {
        return RESIDENCY_WAITS;
    }
    if (m->state == RESIDENCY_RESIDENT) {
        return RESIDENCY_SERVES;
    }
    return m->is_told && !residency_doubts(m, now_usec) ? RESIDENCY_LOADS : RESIDENCY_WAITS;
}
