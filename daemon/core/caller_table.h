#pragma once
/*
 * Callers: whom slots are shared between, and what is known of each.
 *
 * A caller is an API key; else a systemd service of the system (/system.slice/NAME.service, which
 * only an administrator can make); else a uid; else, over TCP without a key, one of the frontend:
 * all of those are one. A user's own services are his uid, unless sluice.callers names them: or he
 * would have a share for each service that he starts.
 *
 * The table is fixed: CALLER_MAX of them. One who is not known takes the place of who has nothing
 * waiting or running and was seen longest ago; where there is none such, he shares the first entry,
 * "others", with everybody in his position. So nobody can grow it, and nobody is turned away for
 * it.
 *
 * Rules (sluice.callers, weights and classes of sluice.keys) are looked up when a caller takes an
 * entry and at each reload.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "core/fair_queue.h"
#include "core/request.h"

#define CALLER_MAX        64 /* with "others" */
#define CALLER_ESTIMATES  4 /* deployments of which the own service time is known, for each class */
#define CALLER_PROMISES   8
#define CALLER_NAME_BYTES (REQUEST_UNIT_MAX + 1)

#define CALLER_DESCRIPTION_BYTES (CALLER_NAME_BYTES + 8) /* "unit " and the like before it */

enum caller_kind { CALLER_OTHERS, CALLER_UID, CALLER_UNIT, CALLER_KEY };

/* What the configuration says about one caller. */
struct caller_rule {
    enum caller_kind kind;
    uint32_t uid;          /* CALLER_UID */
    const char *name;      /* CALLER_UNIT, CALLER_KEY; borrowed */
    unsigned weight;       /* 1 to FAIR_WEIGHT_MAX; 0: 1 */
    enum call_class class; /* the highest that its calls may have */
    unsigned max_running;  /* 0: no limit of its own */
    unsigned max_queued;   /* 0: as everybody */
};

/* A moving average of the slot time that a caller's calls take at one deployment. */
struct caller_estimate {
    uint32_t serial; /* deployment.serial; 0: free */
    uint32_t call_msec;
};

/* What a caller was told about coming back, so that who does so in time can be known again. */
struct caller_promise {
    uint64_t due_at_usec; /* 0: none */
    uint64_t wait_usec;   /* Retry-After */
};

/* How new calls fared, retries apart, since the first refusal after a while without any. */
struct caller_refusals {
    uint64_t since_usec; /* 0: none yet */
    uint64_t last_at_usec;
    uint32_t n_new, n_refused; /* of late: both are halved together */
};

struct caller_entry {
    enum caller_kind kind;
    uint32_t uid;
    char name[CALLER_NAME_BYTES]; /* of the key or unit */
    bool is_used;
    struct fair_lane lanes[_CLASS_MAX];
    unsigned n_running;
    enum call_class class; /* the highest that its calls may have */
    unsigned max_running, max_queued;
    uint64_t seen_at_usec;
    struct caller_estimate estimates[_CLASS_MAX][CALLER_ESTIMATES];
    struct caller_promise promises[_CLASS_MAX][CALLER_PROMISES];
    struct caller_refusals refusals[_CLASS_MAX];
    /* attempts of the current and of the last minute, and how many of them were retries */
    uint64_t minute_at_usec;
    unsigned n_attempts[2], n_retries[2];
};

struct caller_table {
    struct caller_entry entries[CALLER_MAX]; /* [0]: others */
    const struct caller_rule *rules;         /* borrowed */
    size_t n_rules;
};

/* ---------------------------------------------------------------- who it is */

/*
 * Who asks, as an entry is found by it. name is borrowed; of a longer one the first
 * CALLER_NAME_BYTES - 1 bytes count.
 */
struct caller_name {
    enum caller_kind kind;
    uint32_t uid;     /* CALLER_UID */
    const char *name; /* CALLER_UNIT, CALLER_KEY */
};

/*
 * The unit of a process in the text of its /proc/PID/cgroup ("0::/system.slice/x.service" or the
 * name=systemd line of version 1): the innermost part that ends in ".service" or ".scope".
 * ret_is_system: it is under /system.slice, and not inside a user's own manager. false: none, or
 * one longer than ret_unit takes.
 */
bool caller_unit_parse(struct str cgroup, char ret_unit[CALLER_NAME_BYTES], bool *ret_is_system);

/* What who came with a request counts as, under the rules. Borrowed from who. */
struct caller_name caller_name_of(const struct caller_table *t, const struct caller *who);

bool caller_name_is_same(const struct caller_name *a, const struct caller_name *b);

/* "uid 1000", "unit x.service", "key ci", "others". */
const char *caller_name_describe(const struct caller_name *name,
                                 char ret_text[CALLER_DESCRIPTION_BYTES]);

/* ---------------------------------------------------------------- the table */

void caller_table_init(struct caller_table *t);

/* rules are borrowed until the next call. Entries take what they say about them from now on. */
void caller_table_set_rules(struct caller_table *t, const struct caller_rule *rules,
                            size_t n_rules);

/* The entry of a caller, made where needed; never NULL. */
struct caller_entry *caller_table_take(struct caller_table *t, const struct caller_name *name,
                                       uint64_t now_usec);

/* Its entry, or NULL. */
struct caller_entry *caller_table_find(struct caller_table *t, const struct caller_name *name);

unsigned caller_entry_n_queued(const struct caller_entry *c);

/* As caller_name_describe(). */
const char *caller_entry_describe(const struct caller_entry *c,
                                  char ret_text[CALLER_DESCRIPTION_BYTES]);

/* ---------------------------------------------------------------- what is known of it */

/* A call of it took a slot of that deployment for so long and ended well. */
void caller_entry_note_service(struct caller_entry *c, enum call_class class, uint32_t serial,
                               uint64_t usec);

/* What its calls take there; 0: not known. */
uint64_t caller_entry_service(const struct caller_entry *c, enum call_class class, uint32_t serial);

/* An attempt of its client arrived; is_retry: by its own word (x-stainless-retry-count). */
void caller_entry_note_attempt(struct caller_entry *c, bool is_retry, uint64_t now_usec);

/* Are more than 30 % of its attempts of the last one to two minutes retries (and some ten of them)? */
bool caller_entry_retries_much(const struct caller_entry *c);

/* A new call of it, no retry, was let in or not. patience_usec: see caller_entry_is_crowded_out(). */
void caller_entry_note_new(struct caller_entry *c, enum call_class class, bool is_refused,
                           uint64_t patience_usec, uint64_t now_usec);

/*
 * Are most of its new calls refused, and for longer than any of them would wait? Then there is more
 * than can ever be done, and no burst that will be over: to come back is to take another one's place.
 */
bool caller_entry_is_crowded_out(const struct caller_entry *c, enum call_class class,
                                 uint64_t patience_usec, uint64_t now_usec);

/* It was refused, and told to come back after wait_usec. */
void caller_entry_promise(struct caller_entry *c, enum call_class class, uint64_t wait_usec,
                          uint64_t now_usec);

/* How many of its clients are expected back. */
unsigned caller_entry_n_promised(const struct caller_entry *c, enum call_class class,
                                 uint64_t now_usec);

/*
 * A retry arrived. Has somebody of this caller been told to come back about now? Who does so is let
 * in where new calls are not yet, once. What it was told to wait; 0: nobody was told so.
 */
uint64_t caller_entry_keeps_promise(struct caller_entry *c, enum call_class class,
                                    uint64_t now_usec);
