#pragma once
/*
 * How much memory a model takes when a server on this device holds it: learned from runners that
 * were seen, guessed where none was. Pure: numbers in, numbers out; the clock is a day number that
 * the caller gives, and where the text of it is kept is the caller's affair.
 *
 * A model is known by a name (its digest where the server tells one: another build of a tag is
 * another model), its context length and the number of slots that share it: memory is allotted for
 * all of these at the load.
 *
 * What is learned are decaying maxima: a runner that was seen with more raises them at once, and of
 * an old value 5 % goes each day, so that one odd day is not remembered for ever. Anonymous memory
 * counts with its part in swap (RssAnon + VmSwap): what was swapped out does not stand in RSS.
 *
 * Three kinds of witnesses tell it, one more exact than the other (enum footprint_witness). The rule
 * between them: a more exact one replaces what a less exact one has shown; a less exact one can only
 * raise it.
 *
 * The order of guesses, best first:
 *
 *   LEARNED   a runner of this model was looked at, or (LEARNED_GROUP) what its server grew by
 *   TOLD      the configuration says it (ram_mb)
 *   REPORTED  what the server has said of it when it was loaded
 *   COMPUTED  1.10 x file + KV cache + 200 MiB, from what the server says of the file
 *   UNKNOWN   nothing: a load is not held back for a number that nobody has
 *
 * Where a file's size says what memory a model takes, it is the least that one is believed to take:
 * a runner with less of it in memory has not touched all of it, and a server that reports less lies.
 *
 * To each belongs a factor for what is asked of the device: 1.10 when three runs were seen, 1.25
 * else, 1 for what the configuration says.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "base/str.h"

#define FOOTPRINT_NAME_BYTES 72 /* a digest in hex, or a short name; longer ones are cut */
#define FOOTPRINTS_MAX       64 /* the one not seen for longest makes room */
#define FOOTPRINT_TEXT_MAX   (64 * 1024)
#define FOOTPRINT_MAX_BYTES  (UINT64_C(1) << 46) /* more than this is a lie: 64 TiB */

struct footprint_key {
    char name[FOOTPRINT_NAME_BYTES];
    uint32_t num_ctx; /* 0: the server's default */
    uint32_t slots;
};

/* name is cut where it is too long, and what a file cannot hold in one word is replaced. */
void footprint_key_init(struct footprint_key *key, struct str name, uint32_t num_ctx,
                        uint32_t slots);

/* Who has shown what is learned; the later, the more exact. */
enum footprint_witness {
    FOOTPRINT_ABORTED,    /* a load that was ended: 1.3 times what it had, as it wanted more */
    FOOTPRINT_BY_GROUP,   /* the control group of its server: by how much it grew */
    FOOTPRINT_BY_PROCESS, /* the process that holds it */
    _FOOTPRINT_WITNESS_MAX,
};

/* What is known of one model. Zero: not known. */
struct footprint {
    struct footprint_key key;
    uint64_t anon_bytes, file_bytes; /* decaying maxima of a runner's memory */
    enum footprint_witness witness;  /* who raised them last */
    uint64_t size_bytes;             /* what the server said of it */
    uint64_t load_usec;              /* how long a load takes: half the old, half the new */
    uint32_t n_runs;                 /* runs that were seen */
    uint32_t day;                    /* up to when decay is counted */
};

struct footprints {
    struct footprint items[FOOTPRINTS_MAX];
    size_t n;
    bool is_dirty; /* something changed since the text was written */
};

/* What is said of a model before it was ever seen. Zero: not said. */
struct footprint_facts {
    uint64_t told_bytes; /* of the configuration */
    uint64_t file_bytes; /* of its file */
    uint64_t kv_bytes;   /* of its KV cache, for all slots */
};

enum footprint_source {
    FOOTPRINT_UNKNOWN,
    FOOTPRINT_COMPUTED,
    FOOTPRINT_REPORTED,
    FOOTPRINT_TOLD,
    FOOTPRINT_LEARNED_GROUP,
    FOOTPRINT_LEARNED,
};

struct footprint_need {
    uint64_t bytes;       /* what it is believed to take */
    uint64_t sure_bytes;  /* LEARNED: what was seen of it; else as bytes */
    uint64_t asked_bytes; /* what a load must find free: with the factor */
    uint64_t load_usec;   /* 0: never seen */
    enum footprint_source source;
};

void footprints_init(struct footprints *fs);

/* NULL: nothing is known of it. */
const struct footprint *footprint_find(const struct footprints *fs,
                                       const struct footprint_key *key);

/*
 * What is needed for a load. facts may be NULL. can_compute: a file's size says what memory it
 * takes (not where a GPU may hold it).
 */
struct footprint_need footprint_need(const struct footprints *fs, const struct footprint_key *key,
                                     const struct footprint_facts *facts, bool can_compute);

/*
 * A runner was looked at: of its first look, is_new_run. Numbers above FOOTPRINT_MAX_BYTES are not
 * taken. today: days since any fixed day; a step back decays nothing.
 */
void footprint_note_run(struct footprints *fs, const struct footprint_key *key, uint64_t anon_bytes,
                        uint64_t file_bytes, enum footprint_witness witness, bool is_new_run,
                        uint32_t today);

/* The server says so of a model that it holds. */
void footprint_note_size(struct footprints *fs, const struct footprint_key *key, uint64_t bytes,
                         uint32_t today);

/* A load was ended because it grew to so much and was not done: it wants more than that. */
void footprint_note_aborted(struct footprints *fs, const struct footprint_key *key,
                            uint64_t grown_bytes, uint32_t today);

void footprint_note_load(struct footprints *fs, const struct footprint_key *key, uint64_t load_usec,
                         uint32_t today);

/*
 * A KV cache of n_ctx tokens for each of slots: 2 bytes (f16) for each value of keys and of values
 * in every layer, an upper bound for models with sliding windows. 0 where the numbers make none.
 */
struct footprint_shape {
    uint64_t n_layers, n_kv_heads, key_length, value_length;
    uint64_t trained_ctx; /* 0: not known */
};
uint64_t footprint_kv_bytes(const struct footprint_shape *shape, uint64_t num_ctx, uint64_t slots);

/* The text that is kept, and read again. -EBADMSG: not such a text, and fs is empty then. */
int footprints_encode(struct footprints *fs, struct buf *out) MUST_USE; /* clears is_dirty */
int footprints_decode(struct footprints *fs, struct str text) MUST_USE;

const char *footprint_source_name(enum footprint_source source);
