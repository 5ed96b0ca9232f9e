/*
 * See footprint.h.
 *
 * Owns a fixed table and nothing else; allocates nothing but in the buffer that it writes to.
 *
 * The text: a first line that names the format, then one line for each model, its fields divided by
 * single blanks. A line that is not one makes the whole text worthless: half a file is what a crash
 * leaves, and guesses are better than half-read numbers.
 *
 * Must not: read a clock or a file, decide what is loaded.
 */
#include "core/footprint.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

#define HEADLINE         "sluice-footprints 2\n"
#define HEADLINE_1       "sluice-footprints 1\n" /* without the witness: a process, always */
#define MIB              (UINT64_C(1) << 20)
#define COMPUTE_BYTES    (200 * MIB) /* buffers of the computation, and the process itself */
#define N_NUMBERS        9           /* of a line, behind the name; 8 in the first format */
#define RUNS_LEARNED     3
#define FACTOR_LEARNED   1100 /* per mille */
#define FACTOR_GUESSED   1250
#define FACTOR_FILE      1100
#define FACTOR_ABORTED   1300
#define DECAY_PER_DAY    950
#define DECAY_MAX_DAYS   90   /* 1 % is left */
#define CTX_DEFAULT      4096 /* Ollama's, where it sees no GPU of 24 GB */
#define KV_VALUE_BYTES   2    /* f16 */
#define SHAPE_NUMBER_MAX (UINT64_C(1) << 24)

void footprint_key_init(struct footprint_key *key, struct str name, uint32_t num_ctx,
                        uint32_t slots)
{
    size_t n = name.len < sizeof key->name - 1 ? name.len : sizeof key->name - 1;

    *key = (struct footprint_key) {.num_ctx = num_ctx, .slots = slots};
    /* the end of a digest tells models apart as well as its beginning; of names the end does better */
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char) name.ptr[name.len - n + i];

        key->name[i] = c > ' ' && c != 0x7f ? (char) c : '_';
    }
    if (n == 0) {
        key->name[0] = '_';
    }
}

void footprints_init(struct footprints *fs)
{
    *fs = (struct footprints) {0};
}

static bool is_same(const struct footprint_key *a, const struct footprint_key *b)
{
    return a->num_ctx == b->num_ctx && a->slots == b->slots && strcmp(a->name, b->name) == 0;
}

const struct footprint *footprint_find(const struct footprints *fs, const struct footprint_key *key)
{
    for (size_t i = 0; i < fs->n; i++) {
        if (is_same(&fs->items[i].key, key)) {
            return &fs->items[i];
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- what is needed */

static uint64_t times(uint64_t bytes, uint64_t permille)
{
    return bytes > FOOTPRINT_MAX_BYTES ? FOOTPRINT_MAX_BYTES : bytes * permille / 1000;
}

static struct footprint_need need_of(enum footprint_source source, uint64_t bytes, uint64_t factor)
{
    return (struct footprint_need) {
        .bytes = bytes, .sure_bytes = bytes, .asked_bytes = times(bytes, factor), .source = source};
}

static struct footprint_need need_as_learned(const struct footprint *f, uint64_t least_bytes)
{
    uint64_t bytes = f->anon_bytes + f->file_bytes, seen = bytes;
    struct footprint_need need;

    if (f->witness == FOOTPRINT_ABORTED) {
        seen = bytes / FACTOR_ABORTED * 1000;
    }
    bytes = bytes > least_bytes ? bytes : least_bytes;
    need = need_of(f->witness == FOOTPRINT_BY_GROUP ? FOOTPRINT_LEARNED_GROUP : FOOTPRINT_LEARNED,
                   bytes, f->n_runs >= RUNS_LEARNED ? FACTOR_LEARNED : FACTOR_GUESSED);
    need.sure_bytes = seen > least_bytes ? seen : least_bytes;
    return need;
}

static struct footprint_need best_guess(const struct footprint *f,
                                        const struct footprint_facts *facts, bool can_compute)
{
    uint64_t least = can_compute && facts ? times(facts->file_bytes, 1000) : 0;

    if (f && f->n_runs > 0) {
        return need_as_learned(f, least);
    }
    if (facts && facts->told_bytes > 0) {
        return need_of(FOOTPRINT_TOLD, facts->told_bytes, 1000);
    }
    if (f && f->size_bytes > 0 && f->size_bytes >= least) {
        return need_of(FOOTPRINT_REPORTED, f->size_bytes, FACTOR_GUESSED);
    }
    if (least > 0) {
        return need_of(FOOTPRINT_COMPUTED,
                       times(facts->file_bytes, FACTOR_FILE) + facts->kv_bytes + COMPUTE_BYTES,
                       FACTOR_GUESSED);
    }
    return need_of(FOOTPRINT_UNKNOWN, 0, 1000);
}

struct footprint_need footprint_need(const struct footprints *fs, const struct footprint_key *key,
                                     const struct footprint_facts *facts, bool can_compute)
{
    const struct footprint *f = footprint_find(fs, key);
    struct footprint_need need = best_guess(f, facts, can_compute);

    need.load_usec = f ? f->load_usec : 0;
    return need;
}

static uint64_t limited(uint64_t v)
{
    return v < SHAPE_NUMBER_MAX ? v : SHAPE_NUMBER_MAX;
}

uint64_t footprint_kv_bytes(const struct footprint_shape *shape, uint64_t num_ctx, uint64_t slots)
{
    uint64_t ctx = num_ctx > 0 ? num_ctx : CTX_DEFAULT;
    uint64_t lengths = limited(shape->key_length) + limited(shape->value_length);
    double bytes;

    if (shape->trained_ctx > 0 && shape->trained_ctx < ctx) {
        ctx = shape->trained_ctx;
    }
    /* a server's numbers: their product may be anything, and a double overflows to infinity */
    bytes = (double) limited(ctx) * (double) limited(slots) * (double) limited(shape->n_layers) *
            (double) limited(shape->n_kv_heads) * (double) lengths * KV_VALUE_BYTES;
    return bytes < (double) FOOTPRINT_MAX_BYTES ? (uint64_t) bytes : FOOTPRINT_MAX_BYTES;
}

/* ---------------------------------------------------------------- what is learned */

/* The place of a model, made where there is none. Never fails: the oldest makes room. */
static struct footprint *place_of(struct footprints *fs, const struct footprint_key *key,
                                  uint32_t today)
{
    struct footprint *f = NULL;

    for (size_t i = 0; i < fs->n; i++) {
        if (is_same(&fs->items[i].key, key)) {
            return &fs->items[i];
        }
        f = !f || fs->items[i].day < f->day ? &fs->items[i] : f;
    }
    if (fs->n < FOOTPRINTS_MAX) {
        f = &fs->items[fs->n++];
    }
    *f = (struct footprint) {.key = *key, .day = today};
    return f;
}

/* Counted up to today; when the clock was put back, from the earlier day on. */
static void decay(struct footprint *f, uint32_t today)
{
    uint32_t days = today > f->day ? today - f->day : 0;

    for (uint32_t i = 0; i < days && i < DECAY_MAX_DAYS; i++) {
        f->anon_bytes = times(f->anon_bytes, DECAY_PER_DAY);
        f->file_bytes = times(f->file_bytes, DECAY_PER_DAY);
    }
    f->day = today;
}

/* false: it was seen with as much, or more. */
static bool raise(uint64_t *value, uint64_t seen)
{
    bool is_more = seen > *value;

    *value = is_more ? seen : *value;
    return is_more;
}

/* What somebody less exact has shown is forgotten, and counted no more. */
static void replace(struct footprint *f, enum footprint_witness witness)
{
    if (f->n_runs > 0 && witness > f->witness) {
        f->anon_bytes = f->file_bytes = 0;
        f->n_runs = 0;
    }
}

void footprint_note_run(struct footprints *fs, const struct footprint_key *key, uint64_t anon_bytes,
                        uint64_t file_bytes, enum footprint_witness witness, bool is_new_run,
                        uint32_t today)
{
    bool is_raised;
    struct footprint *f;

    if (anon_bytes + file_bytes == 0 || anon_bytes > FOOTPRINT_MAX_BYTES ||
        file_bytes > FOOTPRINT_MAX_BYTES) {
        return;
    }
    f = place_of(fs, key, today);
    decay(f, today);
    replace(f, witness);
    is_raised = raise(&f->anon_bytes, anon_bytes);
    is_raised = raise(&f->file_bytes, file_bytes) || is_raised;
    if (is_raised) {
        f->witness = witness;
        fs->is_dirty = true;
    }
    if (is_new_run || f->n_runs == 0) {
        f->n_runs += f->n_runs < UINT32_MAX;
        fs->is_dirty = true;
    }
}

void footprint_note_size(struct footprints *fs, const struct footprint_key *key, uint64_t bytes,
                         uint32_t today)
{
    struct footprint *f;

    if (bytes == 0 || bytes > FOOTPRINT_MAX_BYTES) {
        return;
    }
    f = place_of(fs, key, today);
    fs->is_dirty |= f->size_bytes != bytes;
    f->size_bytes = bytes;
}

void footprint_note_aborted(struct footprints *fs, const struct footprint_key *key,
                            uint64_t grown_bytes, uint32_t today)
{
    footprint_note_run(fs, key, times(grown_bytes, FACTOR_ABORTED), 0, FOOTPRINT_ABORTED, true,
                       today);
}

void footprint_note_load(struct footprints *fs, const struct footprint_key *key, uint64_t load_usec,
                         uint32_t today)
{
    struct footprint *f = place_of(fs, key, today);

    f->load_usec = f->load_usec > 0 ? f->load_usec / 2 + load_usec / 2 : load_usec;
    fs->is_dirty = true;
}

/* ---------------------------------------------------------------- the text */

int footprints_encode(struct footprints *fs, struct buf *out)
{
    int r = buf_append_z(out, HEADLINE);

    for (size_t i = 0; i < fs->n && r == 0; i++) {
        const struct footprint *f = &fs->items[i];

        r = buf_printf(out,
                       "%s %" PRIu32 " %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
                       " %" PRIu32 " %" PRIu32 " %u\n",
                       f->key.name, f->key.num_ctx, f->key.slots, f->anon_bytes, f->file_bytes,
                       f->size_bytes, f->load_usec, f->n_runs, f->day, (unsigned) f->witness);
    }
    if (r == 0) {
        fs->is_dirty = false;
    }
    return r;
}

/* Up to the next sep, which is consumed; absent: there is none. */
static struct str take_until(struct str *text, char sep)
{
    const char *end = text->len > 0 ? memchr(text->ptr, sep, text->len) : NULL;
    struct str part = {text->ptr, end ? (size_t) (end - text->ptr) : 0};

    if (!end) {
        return STR_NONE;
    }
    text->ptr += part.len + 1;
    text->len -= part.len + 1;
    return part;
}

/* n: numbers in a line of that format. */
static int decode_line(struct str line, size_t n, struct footprint *ret)
{
    struct str name = take_until(&line, ' ');
    uint64_t v[N_NUMBERS] = {[N_NUMBERS - 1] = FOOTPRINT_BY_PROCESS};

    if (!name.ptr || name.len == 0 || name.len >= FOOTPRINT_NAME_BYTES) {
        return -EBADMSG;
    }
    for (size_t i = 0; i < n; i++) {
        struct str word = i == n - 1 ? line : take_until(&line, ' ');
        bool is_narrow = i < 2 || i > 5;

        if (!word.ptr || num_parse_u64(word, &v[i]) < 0 ||
            v[i] > (is_narrow ? UINT32_MAX : FOOTPRINT_MAX_BYTES)) {
            return -EBADMSG;
        }
    }
    if (v[8] >= _FOOTPRINT_WITNESS_MAX) {
        return -EBADMSG;
    }
    *ret = (struct footprint) {
        .anon_bytes = v[2],
        .file_bytes = v[3],
        .size_bytes = v[4],
        .load_usec = v[5],
        .n_runs = (uint32_t) v[6],
        .day = (uint32_t) v[7],
        .witness = (enum footprint_witness) v[8],
    };
    footprint_key_init(&ret->key, name, (uint32_t) v[0], (uint32_t) v[1]);
    return 0;
}

int footprints_decode(struct footprints *fs, struct str text)
{
    bool is_first_format = str_has_prefix(text, HEADLINE_1);
    struct footprint f;

    footprints_init(fs);
    if (!is_first_format && !str_has_prefix(text, HEADLINE)) {
        return -EBADMSG;
    }
    text.ptr += strlen(HEADLINE);
    text.len -= strlen(HEADLINE);
    while (text.len > 0) {
        struct str line = take_until(&text, '\n');

        if (!line.ptr || fs->n >= FOOTPRINTS_MAX ||
            decode_line(line, is_first_format ? N_NUMBERS - 1 : N_NUMBERS, &f) < 0) {
            footprints_init(fs);
            return -EBADMSG;
        }
        fs->items[fs->n++] = f;
    }
    return 0;
}

const char *footprint_source_name(enum footprint_source source)
{
    static const char *const names[] = {
        [FOOTPRINT_UNKNOWN] = "unknown",   [FOOTPRINT_COMPUTED] = "computed",
        [FOOTPRINT_REPORTED] = "reported", [FOOTPRINT_TOLD] = "configured",
        [FOOTPRINT_LEARNED] = "learned",   [FOOTPRINT_LEARNED_GROUP] = "learned-group",
    };

    return names[source];
}
