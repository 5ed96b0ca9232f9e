/*
 * What core/residency learns from the processes that hold models, or, where they cannot be seen, from
 * the control group of their server: when one is to be looked at, and what its numbers mean.
 *
 * A process that holds a model grows while it loads and while it answers, and at no other time: so
 * it is looked at then, and once after. An idle daemon looks at none.
 *
 * Pages of files (weights that are mapped) count in full for what a model needs: without them in
 * memory it crawls. The kernel calls them available all the same, so as long as the model is held
 * they are taken from what is available. Only while a model loads the same weights may stand there
 * twice for a moment, mapped and copied (repacked for the processor's vectors); then the larger
 * number counts, as a load is stopped for what it takes.
 *
 * Where a GPU holds models and the configuration says what one takes, that is left alone: a process
 * does not show what its GPU took of this memory.
 *
 * A group's growth is a model's where it loads alone: no other one works, comes or goes meanwhile, and
 * as long as that holds after it (core/server_growth.h). It is less exact than a process, in both
 * ways. Too much: what the server itself takes for an answer. Too little: pages of files count for the
 * group that read them first, which may have been another one, or this one before its server was
 * started again; where weights are mapped they would be missing. So what is less than file and KV
 * cache is not believed, nor anything beside a GPU, where that says nothing.
 *
 * Must not: read a file or a clock.
 */
#include "core/residency_internal.h"

#define AGAIN_USEC       (5 * USEC_PER_SEC)  /* between looks at one that is used */
#define HIDDEN_USEC      (30 * USEC_PER_SEC) /* the same, where it is not found */
#define HIDDEN_LOAD_USEC (1 * USEC_PER_SEC)

static struct residency_model *model_of(struct list *l)
{
    return CONTAINER_OF(l, struct residency_model, link);
}

static bool is_there(const struct residency *r, const struct residency_model *m)
{
    return residency_has_budget(r, m) && (m->state == RESIDENCY_LOADING || residency_is_held(m));
}

uint64_t residency_runner_at(const struct residency *r)
{
    uint64_t at = USEC_NEVER;

    list_for_each (l, &r->models) {
        const struct residency_model *m = model_of(l);

        if (m->runner_due_usec > 0 && m->runner_due_usec < at && is_there(r, m)) {
            at = m->runner_due_usec;
        }
    }
    return at;
}

void residency_runner_used(struct residency_model *m, uint64_t now_usec)
{
    if (residency_is_held(m) && m->runner_due_usec == 0) {
        m->runner_due_usec = now_usec > m->runner_again_usec ? now_usec : m->runner_again_usec;
    }
}

struct residency_model *residency_next_runner(struct residency *r, uint64_t now_usec)
{
    list_for_each (l, &r->models) {
        struct residency_model *m = model_of(l);
        bool is_loading = m->state == RESIDENCY_LOADING;

        if (m->runner_due_usec > 0 && now_usec >= m->runner_due_usec && is_there(r, m)) {
            m->runner_again_usec = usec_add(now_usec, AGAIN_USEC);
            m->runner_due_usec = is_loading ? usec_add(now_usec, RESIDENCY_RUNNER_LOAD_USEC) : 0;
            return m;
        }
    }
    return NULL;
}

void residency_unseen(struct residency_model *m, uint64_t now_usec)
{
    if (m->state == RESIDENCY_LOADING) {
        m->runner_due_usec = usec_add(now_usec, HIDDEN_LOAD_USEC);
    } else {
        m->runner_again_usec = usec_add(now_usec, HIDDEN_USEC);
    }
}

/* A number that no memory has is a lie, and nothing is done for it. */
static bool is_sane(uint64_t anon_bytes, uint64_t file_bytes)
{
    return anon_bytes <= FOOTPRINT_MAX_BYTES && file_bytes <= FOOTPRINT_MAX_BYTES &&
           anon_bytes + file_bytes > 0;
}

static void seen_by(struct residency *r, struct residency_model *m, uint64_t anon_bytes,
                    uint64_t file_bytes, enum footprint_witness witness)
{
    bool is_first = m->baseline_bytes == 0;
    uint64_t was = m->held_bytes;

    if (!is_sane(anon_bytes, file_bytes)) {
        return;
    }
    if (m->state == RESIDENCY_LOADING) {
        m->held_bytes = anon_bytes > file_bytes ? anon_bytes : file_bytes;
        return;
    }
    if (!residency_is_held(m)) {
        return;
    }
    m->held_bytes = anon_bytes + file_bytes;
    m->mapped_bytes = file_bytes;
    if (is_first) {
        m->baseline_bytes = m->fresh_bytes = m->held_bytes;
    } else {
        residency_note_growth(m, was, m->held_bytes);
    }
    if (!r->params.has_gpu || m->facts.told_bytes == 0) {
        footprint_note_run(r->footprints, &m->key, anon_bytes, file_bytes, witness, is_first,
                           r->today);
    }
}

void residency_seen(struct residency *r, struct residency_model *m, uint64_t anon_bytes,
                    uint64_t file_bytes)
{
    seen_by(r, m, anon_bytes, file_bytes, FOOTPRINT_BY_PROCESS);
}

/* ---------------------------------------------------------------- the group of its server */

/* Has another one worked, come or gone since? */
static bool is_disturbed(const struct residency *r, const struct residency_model *m,
                         uint64_t since_usec)
{
    list_for_each (l, &r->models) {
        const struct residency_model *other = model_of(l);

        if (other != m && other->is_local &&
            (other->used_at_usec > since_usec || other->since_usec > since_usec ||
             residency_model_is_in_use(r, other))) {
            return true;
        }
    }
    return false;
}

void residency_group_began(struct residency *r, struct residency_model *m,
                           const struct server_memory *memory, uint64_t now_usec)
{
    bool was_there = m->held_bytes > 0; /* with other options: its memory is in the numbers */

    list_for_each (l, &r->models) {
        model_of(l)->grows_since_usec = 0;
    }
    if (memory && m->state == RESIDENCY_LOADING && !was_there && residency_has_budget(r, m) &&
        !is_disturbed(r, m, now_usec) &&
        server_growth_begin(&r->growth, memory, residency_n_others(r, m))) {
        m->grows_since_usec = now_usec;
    }
}

static bool is_credible(const struct residency *r, const struct residency_model *m, uint64_t bytes)
{
    return m->is_told && m->facts.file_bytes > 0 && !r->params.has_gpu &&
           bytes >= m->facts.file_bytes + m->facts.kv_bytes && bytes <= r->memory.total_bytes;
}

bool residency_group_seen(struct residency *r, struct residency_model *m,
                          const struct server_memory *memory)
{
    bool is_loading = m->state == RESIDENCY_LOADING;
    uint64_t anon, file;

    if (m->grows_since_usec == 0) {
        return false;
    }
    if (is_disturbed(r, m, m->grows_since_usec)) {
        r->growth.is_on = false;
    }
    if (server_growth_see(&r->growth, memory, is_loading, &anon, &file) && is_sane(anon, file) &&
        (is_loading || is_credible(r, m, anon + file))) {
        seen_by(r, m, anon, file, FOOTPRINT_BY_GROUP);
    }
    m->grows_since_usec = r->growth.is_on ? m->grows_since_usec : 0;
    return r->growth.is_on;
}

/* Models that share their weights share a process: it counts once. */
static bool is_counted(const struct residency *r, const struct residency_model *m)
{
    list_for_each (l, &r->models) {
        const struct residency_model *other = model_of(l);

        if (other == m) {
            break;
        }
        if (other->runner_pid > 0 && other->runner_pid == m->runner_pid) {
            return true;
        }
    }
    return false;
}

uint64_t residency_mapped_bytes(const struct residency *r)
{
    uint64_t sum = 0;

    list_for_each (l, &r->models) {
        const struct residency_model *m = model_of(l);

        sum += m->mapped_bytes > 0 && !is_counted(r, m) ? m->mapped_bytes : 0;
    }
    return sum;
}
