/*
 * See residency.h: the table of models, their states, and the news of them.
 *
 * Invariants: of the models with a budget at most one is RESERVED, LOADING or UNLOADING;
 * reserved_bytes is not 0 only in RESERVED and LOADING; a FAILED model has a quarantine.
 *
 * Owns the models; they stay until the table is full, as what is known of them (a quarantine) must
 * outlive a reload. Must not: read a clock, ask a server, decide who is served.
 */
#include "core/residency.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/residency_internal.h"

#define FAILURE_WINDOW_USEC (600 * USEC_PER_SEC)
#define QUARANTINE_USEC     (60 * USEC_PER_SEC)
#define QUARANTINE_MAX_USEC (900 * USEC_PER_SEC)
#define REAL_LOAD_USEC      (100 * USEC_PER_MSEC) /* what is there already takes Ollama 1 to 3 ms */
#define SETTLE_USEC         (1 * USEC_PER_SEC)    /* after a load, for the kernel's numbers */
#define RETRY_UNLOAD_USEC   (30 * USEC_PER_SEC)   /* after one that was not confirmed */
#define FREEING_USEC        (10 * USEC_PER_SEC) /* a runner that is gone has given its memory back */
#define ABORTED_PERMILLE    1300                /* as footprint_note_aborted() */
#define FREED_PERMILLE      800                 /* so much of it must be seen */

void residency_init(struct residency *r, const struct residency_params *params,
                    const struct router *router, struct footprints *footprints)
{
    *r = (struct residency) {.router = router,
                             .params = *params,
                             .footprints = footprints,
                             .pressure = {.exhaustion_usec = USEC_NEVER}};
    list_init(&r->models);
    list_init(&r->wishes);
}

static void model_free(struct residency_model *m)
{
    list_remove(&m->link);
    free(m->server);
    free(m->name);
    free(m);
}

void residency_done(struct residency *r)
{
    if (!r->models.next) {
        return; /* never set up */
    }
    list_for_each_safe (l, &r->models) {
        model_free(CONTAINER_OF(l, struct residency_model, link));
    }
    r->n_models = 0;
}

void residency_set_params(struct residency *r, const struct residency_params *params)
{
    r->params = *params;
}

/*
 * What was just loaded may not have touched all of its memory (mmap, KV caches): for a moment no more
 * counts as available than what was before the load, less its need.
 */
void residency_set_memory(struct residency *r, const struct residency_memory *memory,
                          uint32_t today, uint64_t now_usec)
{
    uint64_t mapped = residency_mapped_bytes(r);

    r->memory = *memory;
    r->left_bytes = memory->available_bytes;
    r->memory.available_bytes =
        memory->available_bytes > mapped ? memory->available_bytes - mapped : 0;
    r->today = today;
    if (r->memory.available_bytes >= r->freeing_goal_bytes || now_usec >= r->freeing_until_usec) {
        r->freeing_bytes = 0;
    }
    r->is_settling =
        now_usec < r->settled_at_usec && r->memory.available_bytes > r->settling_available_bytes;
    if (r->is_settling) {
        r->memory.available_bytes = r->settling_available_bytes;
    }
}

const char *residency_state_name(enum residency_state state)
{
    static const char *const names[] = {
        [RESIDENCY_UNLOADED] = "unloaded",  [RESIDENCY_RESERVED] = "reserved",
        [RESIDENCY_LOADING] = "loading",    [RESIDENCY_RESIDENT] = "resident",
        [RESIDENCY_DRAINING] = "draining",  [RESIDENCY_UNLOADING] = "unloading",
        [RESIDENCY_FAILED] = "quarantined",
    };

    return names[state];
}

const char *residency_reason_name(enum residency_reason reason)
{
    static const char *const names[] = {
        [RESIDENCY_FOR_MODEL] = "another model needs the room",
        [RESIDENCY_FOR_LEVEL] = "memory is short",
        [RESIDENCY_GROWN] = "it has grown",
        [RESIDENCY_OVER_PLAN] = "it takes more memory than was set aside for it",
        [RESIDENCY_EMERGENCY] = "nearly no memory is left",
        [RESIDENCY_BY_OPERATOR] = "as asked",
    };

    return names[reason];
}

/* ---------------------------------------------------------------- the table */

const char *residency_name_of(const struct deployment *d, const char *name)
{
    return name ? name : d->upstream_model;
}

bool residency_name_is_same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b || (!*a && strcmp(b, ":latest") == 0) || (!*b && strcmp(a, ":latest") == 0);
}

/* Of what two names of one model have in common. */
static uint32_t hash_of_name(const char *name)
{
    const struct str latest = STR_LIT(":latest");
    struct str s = str_from(name);

    if (s.len >= latest.len && strcmp(s.ptr + s.len - latest.len, latest.ptr) == 0) {
        s.len -= latest.len;
    }
    return str_hash(STR_HASH_START, s);
}

struct residency_model *residency_find(const struct residency *r, const char *server,
                                       const char *name)
{
    uint32_t hash = hash_of_name(name);

    list_for_each (l, &r->models) {
        struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);

        if (m->name_hash == hash && residency_name_is_same(m->name, name) &&
            strcmp(m->server, server) == 0) {
            return m;
        }
    }
    return NULL;
}

/* Nothing is known of it that another process would not find out as well. */
static bool is_forgettable(const struct residency_model *m)
{
    return m->state == RESIDENCY_UNLOADED && m->n_failures == 0 && !m->is_asked &&
           !m->is_load_wanted && m->n_wishes == 0 && m->wants.n == 0 && m->counting.n == 0;
}

/* Models come with the names that clients make up, where a wildcard takes them. */
static bool make_room(struct residency *r)
{
    struct residency_model *oldest = NULL;

    if (r->n_models < RESIDENCY_MODELS_MAX) {
        return true;
    }
    list_for_each (l, &r->models) {
        struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);

        if (is_forgettable(m) && (!oldest || m->since_usec < oldest->since_usec)) {
            oldest = m;
        }
    }
    if (!oldest) {
        return false;
    }
    model_free(oldest);
    r->n_models--;
    return true;
}

struct residency_model *residency_of(struct residency *r, const struct deployment *d,
                                     const char *name)
{
    struct residency_model *m;

    name = residency_name_of(d, name);
    if (!d->backend || !d->backend->memory || strchr(name, '*')) {
        return NULL;
    }
    m = residency_find(r, d->api_base, name);
    if (m || !make_room(r)) {
        return m;
    }
    m = calloc(1, sizeof *m);
    if (!m) {
        return NULL;
    }
    list_init(&m->link);
    m->is_local = d->is_local;
    m->server = strdup(d->api_base);
    m->name = strdup(name);
    m->name_hash = hash_of_name(name);
    footprint_key_init(&m->key, str_from(name), 0, d->slots);
    if (!m->server || !m->name) {
        model_free(m);
        return NULL;
    }
    list_append(&r->models, &m->link);
    r->n_models++;
    return m;
}

bool residency_model_is_of(const struct residency_model *m, const struct deployment *d)
{
    return strcmp(d->api_base, m->server) == 0 &&
           (residency_name_is_same(d->upstream_model, m->name) || strchr(d->upstream_model, '*'));
}

bool residency_model_is_in_use(const struct residency *r, const struct residency_model *m)
{
    const struct list *const lists[] = {&r->router->deployments, &r->router->retired};

    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        list_for_each (l, lists[i]) {
            const struct deployment *d = CONTAINER_OF(l, struct deployment, link);

            if (d->in_use > 0 && residency_model_is_of(m, d)) {
                return true;
            }
        }
    }
    return false;
}

/* ---------------------------------------------------------------- states */

/* The only writer of state. */
void residency_set_state(struct residency_model *m, enum residency_state to, uint64_t now_usec)
{
    static const unsigned char may[] = {
        /* from: the states that may follow, as bits */
        [RESIDENCY_UNLOADED] =
            1 << RESIDENCY_RESERVED | 1 << RESIDENCY_LOADING | 1 << RESIDENCY_RESIDENT,
        [RESIDENCY_RESERVED] =
            1 << RESIDENCY_UNLOADED | 1 << RESIDENCY_LOADING | 1 << RESIDENCY_RESIDENT,
        [RESIDENCY_LOADING] =
            1 << RESIDENCY_UNLOADED | 1 << RESIDENCY_RESIDENT | 1 << RESIDENCY_FAILED,
        [RESIDENCY_RESIDENT] = 1 << RESIDENCY_UNLOADED | 1 << RESIDENCY_LOADING |
                               1 << RESIDENCY_DRAINING | 1 << RESIDENCY_UNLOADING,
        [RESIDENCY_DRAINING] = 1 << RESIDENCY_UNLOADED | 1 << RESIDENCY_LOADING |
                               1 << RESIDENCY_RESIDENT | 1 << RESIDENCY_UNLOADING,
        [RESIDENCY_UNLOADING] =
            1 << RESIDENCY_UNLOADED | 1 << RESIDENCY_RESIDENT | 1 << RESIDENCY_LOADING,
        [RESIDENCY_FAILED] =
            1 << RESIDENCY_UNLOADED | 1 << RESIDENCY_LOADING | 1 << RESIDENCY_RESIDENT,
    };

    assert(m->state != to && (may[m->state] & 1 << to));
    m->state = to;
    m->since_usec = now_usec;
    if (to != RESIDENCY_RESERVED && to != RESIDENCY_LOADING) {
        m->reserved_bytes = 0;
    }
    if (!residency_is_held(m)) {
        m->mapped_bytes = 0;
        m->runner_pid = 0;
        m->grows_since_usec = 0;
        m->runner_due_usec = m->runner_again_usec = 0;
        if (to != RESIDENCY_LOADING) {
            m->held_bytes = m->baseline_bytes = 0;
        }
    }
}

/* What it is believed to take until its runner is looked at. */
void residency_become_resident(struct residency *r, struct residency_model *m, uint64_t now_usec)
{
    residency_set_state(m, RESIDENCY_RESIDENT, now_usec);
    m->held_bytes = residency_need(r, m).bytes;
    m->baseline_bytes = 0;
    m->runner_due_usec = now_usec;
    m->resident_at_usec = m->used_at_usec = now_usec;
    m->is_load_wanted = false;
    residency_sum_again(r);
}

void residency_told(struct residency_model *m, struct str digest, uint32_t num_ctx, uint32_t slots,
                    const struct footprint_facts *facts, bool makes_embeddings)
{
    bool is_silent = digest.len == 0 && facts->file_bytes == 0 && facts->told_bytes == 0;

    if (!is_silent || m->facts.file_bytes == 0) {
        footprint_key_init(&m->key, digest.len > 0 ? digest : str_from(m->name), num_ctx, slots);
        m->facts = *facts;
        m->makes_embeddings = makes_embeddings;
    }
    m->is_told = true;
    m->is_asked = m->is_fact_wanted = false;
}

/* A model that this device holds is no larger than its memory, whatever its server says. */
static bool is_credible(const struct residency *r, const struct residency_model *m,
                        uint64_t size_bytes)
{
    return size_bytes <= FOOTPRINT_MAX_BYTES &&
           (!residency_has_budget(r, m) || size_bytes <= r->memory.total_bytes);
}

void residency_looked(struct residency *r, struct residency_model *m, bool is_listed,
                      uint64_t size_bytes, bool is_trusted, uint64_t now_usec)
{
    size_bytes = is_credible(r, m, size_bytes) ? size_bytes : 0;
    m->looked_at_usec = now_usec;
    m->is_looked_for = false;
    if (is_listed && size_bytes > 0 && m->is_told) {
        footprint_note_size(r->footprints, &m->key, size_bytes, r->today);
    }
    switch (m->state) {
    case RESIDENCY_UNLOADED:
    case RESIDENCY_FAILED: /* somebody else has loaded it: then it can be */
        if (is_listed) {
            residency_become_resident(r, m, now_usec);
        }
        break;
    case RESIDENCY_RESIDENT:
    case RESIDENCY_DRAINING:
        if (!is_listed && !is_trusted) {
            residency_set_state(m, RESIDENCY_UNLOADED, now_usec);
        }
        break;
    case RESIDENCY_RESERVED:
    case RESIDENCY_LOADING:   /* a model that is loading is not listed */
    case RESIDENCY_UNLOADING: /* who unloads it looks for himself */
        break;
    }
    if (residency_is_held(m) && m->baseline_bytes == 0 && size_bytes > 0) {
        m->held_bytes = size_bytes;
    }
}

/* ---------------------------------------------------------------- loads */

void residency_reserve(struct residency *r, const struct deployment *d, const char *name,
                       uint64_t now_usec)
{
    struct residency_model *m = residency_of(r, d, name);

    if (m && (m->state == RESIDENCY_UNLOADED || m->state == RESIDENCY_FAILED)) {
        if (m->state == RESIDENCY_FAILED) {
            residency_set_state(m, RESIDENCY_UNLOADED, now_usec);
        }
        residency_set_state(m, RESIDENCY_RESERVED, now_usec);
        m->reserved_bytes = residency_has_budget(r, m) ? residency_asked(r, m) : 0;
        residency_sum_again(r);
    }
}

void residency_load_began(struct residency *r, struct residency_model *m, uint64_t now_usec)
{
    if (m->state == RESIDENCY_LOADING) {
        return;
    }
    /* what is there already, with other options or not for long, is not asked for twice */
    if (m->state != RESIDENCY_RESERVED && !residency_is_held(m) && residency_has_budget(r, m)) {
        m->reserved_bytes = residency_asked(r, m);
    }

    uint64_t reserved = m->reserved_bytes;

    if (reserved > 0) {
        uint64_t need = residency_need(r, m).bytes, available = r->memory.available_bytes;

        r->settling_available_bytes = available > need ? available - need : 0;
    }
    residency_set_state(m, RESIDENCY_LOADING, now_usec);
    m->reserved_bytes = reserved;
    m->left_began_bytes = r->left_bytes;
    m->runner_due_usec = usec_add(now_usec, RESIDENCY_RUNNER_LOAD_USEC);
}

static void quarantine(struct residency *r, struct residency_model *m, uint64_t now_usec)
{
    uint64_t usec = QUARANTINE_USEC;

    for (unsigned i = 0; i < m->n_quarantines && usec < QUARANTINE_MAX_USEC; i++) {
        usec *= 2;
    }
    usec = usec < QUARANTINE_MAX_USEC ? usec : QUARANTINE_MAX_USEC;
    m->n_quarantines++;
    r->n_quarantined++;
    m->quarantined_until_usec = usec_add(now_usec, usec);
    residency_set_state(m, RESIDENCY_FAILED, now_usec);
}

static void note_failure(struct residency_model *m, uint64_t now_usec)
{
    if (m->failed_at_usec == 0 || usec_since(now_usec, m->failed_at_usec) > FAILURE_WINDOW_USEC) {
        m->n_failures = 0;
    }
    m->n_failures++;
    m->failed_at_usec = now_usec;
}

static void note_success(struct residency *r, struct residency_model *m, uint64_t now_usec)
{
    uint64_t took = usec_since(now_usec, m->since_usec);

    m->n_failures = m->n_quarantines = 0;
    m->failed_at_usec = 0;
    if (m->held_bytes > 0 && m->reserved_bytes == 0 && took < REAL_LOAD_USEC) {
        residency_set_state(m, RESIDENCY_RESIDENT, now_usec); /* it was there all the time */
        m->used_at_usec = now_usec;
        return;
    }
    footprint_note_load(r->footprints, &m->key, took, r->today);
    r->settled_at_usec = m->reserved_bytes > 0 ? usec_add(now_usec, SETTLE_USEC) : 0;
    r->n_loads++;
    residency_become_resident(r, m, now_usec);
}

bool residency_load_ended(struct residency *r, struct residency_model *m, enum residency_load how,
                          uint64_t now_usec)
{
    m->is_load_wanted = m->is_stopping = false;
    if (m->state != RESIDENCY_LOADING) {
        return false; /* its server was lost meanwhile */
    }
    switch (how) {
    case RESIDENCY_LOAD_OK:
        note_success(r, m, now_usec);
        return false;
    case RESIDENCY_LOAD_KILLED:
        note_failure(m, now_usec);
        /* that it was killed on its way to what is believed says nothing of where it would end */
        if (m->held_bytes / 1000 * ABORTED_PERMILLE > residency_need(r, m).bytes) {
            footprint_note_aborted(r->footprints, &m->key, m->held_bytes, r->today);
        }
        quarantine(r, m, now_usec);
        return true;
    case RESIDENCY_LOAD_FAILED:
        note_failure(m, now_usec);
        if (m->n_failures > 1) {
            quarantine(r, m, now_usec);
            return true;
        }
        break;
    case RESIDENCY_LOAD_UNKNOWN:
        break;
    }
    residency_set_state(m, RESIDENCY_UNLOADED, now_usec);
    return false;
}

/* ---------------------------------------------------------------- unloads */

void residency_unload_began(struct residency_model *m, uint64_t now_usec)
{
    if (m->state == RESIDENCY_RESIDENT || m->state == RESIDENCY_DRAINING) {
        residency_set_state(m, RESIDENCY_UNLOADING, now_usec);
    }
}

void residency_unloaded(struct residency *r, struct residency_model *m, bool is_gone,
                        uint64_t now_usec)
{
    bool was_ours = m->state == RESIDENCY_UNLOADING;

    r->settled_at_usec = 0; /* memory came back */
    if (was_ours && is_gone) {
        r->freeing_bytes = m->held_bytes;
        r->freeing_goal_bytes = r->memory.available_bytes + m->held_bytes / 1000 * FREED_PERMILLE;
        r->freeing_until_usec = usec_add(now_usec, FREEING_USEC);
    }
    if (was_ours) {
        r->acted_at_usec = now_usec;
        r->n_evictions += is_gone;
        r->n_stuck += !is_gone;
    }
    if (is_gone && residency_is_held(m)) {
        residency_set_state(m, RESIDENCY_UNLOADED, now_usec);
    } else if (was_ours) {
        m->retry_unload_at_usec = usec_add(now_usec, RETRY_UNLOAD_USEC);
        m->looked_at_usec = 0;
        residency_set_state(m, RESIDENCY_RESIDENT, now_usec);
    }
}

void residency_server_lost(struct residency *r, const char *server, uint64_t now_usec)
{
    list_for_each (l, &r->models) {
        struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);

        if (strcmp(m->server, server) == 0) {
            m->is_told = m->is_told && m->state != RESIDENCY_UNLOADED;
            if (residency_is_held(m)) {
                residency_set_state(m, RESIDENCY_UNLOADED, now_usec);
            }
        }
    }
}

/* One that leads to its server, also of those that a reload has taken away while calls use them. */
static const struct deployment *deployment_at(const struct residency *r, const char *server)
{
    const struct list *const lists[] = {&r->router->deployments, &r->router->retired};

    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        list_for_each (l, lists[i]) {
            const struct deployment *d = CONTAINER_OF(l, struct deployment, link);

            if (d->backend && d->backend->memory && strcmp(d->api_base, server) == 0) {
                return d;
            }
        }
    }
    return NULL;
}

bool residency_has_server(const struct residency *r, const struct residency_model *m)
{
    return deployment_at(r, m->server) != NULL;
}

/* Questions to its server that are under way find it as if they had not been asked. */
static bool forget(struct residency_model *m, uint64_t now_usec)
{
    m->is_told = m->is_asked = m->is_looked_for = m->is_stopping = false;
    m->is_load_wanted = m->is_fact_wanted = false;
    m->asked_at_usec = m->looked_at_usec = m->retry_unload_at_usec = 0;
    if (m->state == RESIDENCY_UNLOADED || m->state == RESIDENCY_FAILED) {
        return false;
    }
    residency_set_state(m, RESIDENCY_UNLOADED, now_usec);
    return true;
}

bool residency_forget_servers(struct residency *r, uint64_t now_usec)
{
    bool has_forgotten = false;

    if (r->router->n_gone == r->n_gone_seen) {
        return false;
    }
    r->n_gone_seen = r->router->n_gone;
    list_for_each (l, &r->models) {
        struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);

        if (!residency_has_server(r, m) && forget(m, now_usec)) {
            has_forgotten = true;
        }
    }
    return has_forgotten;
}

/* ---------------------------------------------------------------- runs of the registry */

void residency_begin_run(struct residency *r)
{
    list_for_each (l, &r->models) {
        CONTAINER_OF(l, struct residency_model, link)->counting = (struct residency_wants) {0};
    }
}

void residency_want(struct residency *r, const struct deployment *d, const char *name,
                    enum call_class class, uint64_t since_usec)
{
    struct residency_model *m = residency_of(r, d, name);
    struct residency_wants *w;

    if (!m) {
        return;
    }
    w = &m->counting;
    if (w->n == 0 || class < w->class) {
        w->class = class;
        w->since_usec = since_usec;
    } else if (class == w->class && since_usec < w->since_usec) {
        w->since_usec = since_usec;
    }
    w->n++;
}

/*
 * A load begins with the call that was let in for it, or waits its turn at its server's loader. A call
 * can also be refused there before that (a parameter that such servers do not have), and that it was
 * there is not seen by who uses the deployment: a wildcard's other calls use it all the time.
 */
static bool is_load_ahead(const struct residency *r, const struct residency_model *m,
                          bool is_in_use)
{
    const struct deployment *d = deployment_at(r, m->server);
    const struct memory_ops *ops = d ? d->backend->memory : NULL;

    return ops && ops->is_loading ? ops->is_loading(d->backend, m->name) : is_in_use;
}

void residency_end_run(struct residency *r, uint64_t now_usec)
{
    list_for_each (l, &r->models) {
        struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);

        bool is_in_use = residency_model_is_in_use(r, m);

        m->wants = m->counting;
        residency_note_use(m, is_in_use, now_usec);
        if (m->state == RESIDENCY_RESERVED && !is_load_ahead(r, m, is_in_use)) {
            residency_set_state(m, RESIDENCY_UNLOADED, now_usec); /* the call ended before it */
        } else if (is_in_use) {
            residency_runner_used(m, now_usec);
        }
    }
}

size_t residency_n_reservations(const struct residency *r)
{
    size_t n = 0;

    list_for_each (l, &r->models) {
        const struct residency_model *m = CONTAINER_OF(l, struct residency_model, link);

        n += m->state == RESIDENCY_RESERVED || m->state == RESIDENCY_LOADING;
    }
    return n;
}

/* Of a wildcard's that have nothing to do with the memory of this device there may be hundreds. */
static bool may_be_looked_at(const struct residency *r, const struct deployment *d,
                             const char *name)
{
    return residency_known(r, d, name) ||
           (r->n_models < RESIDENCY_MODELS_MAX && (!name || (d->is_local && r->params.is_on)));
}

bool residency_want_facts_of(struct residency *r, const struct deployment *d, const char *name)
{
    struct residency_model *m = may_be_looked_at(r, d, name) ? residency_of(r, d, name) : NULL;

    if (!m || m->is_told) {
        return false;
    }
    m->is_fact_wanted = true;
    return m->is_local && r->params.is_on;
}

void residency_want_facts(struct residency *r)
{
    list_for_each (l, &r->router->deployments) {
        (void) residency_want_facts_of(r, CONTAINER_OF(l, struct deployment, link), NULL);
    }
}
