#pragma once
/*
 * Memory pressure as a level from 0 to 4, with the reason for it. Pure: samples come in, a level
 * comes out. No file, no clock, no allocation.
 *
 * A level is entered when any of its cells holds, for the machine or for the model server's group:
 *
 *                        L1 guarded     L2 high          L3 critical      L4 emergency
 *   PSI some, 2 s           10 %           25 %             50 %              -
 *   PSI full, 2 s            5 %           15 %             30 %          60 % for 3 s
 *   headroom H            < soft         < hard          < critical       < emergency
 *   time until H is 0     < 30 s         < 12 s            < 5 s            < 2 s
 *   swap free             < 25 %         < 10 %            < 5 %              -
 *                      and goes out   and H < 2 soft    and H < hard
 *   events              memory.high         -         limit hit, stalls    OOM kill
 *                                                     and H < hard
 *   without PSI:
 *   refaults per s          10 %      30 %, reclaim        100 %              -
 *   swap-in per s           5 MB          20 MB              -                -
 *
 * PSI cells need two samples in a row, the others one. H is what the kernel says is available; soft
 * and so on are shares of what there is (pressure_reserves()). The row of time does not count while
 * a load goes as planned (pressure_set_claims()). PSI alone reaches L1 only, unless memory is really
 * being reclaimed and is short (H < 2 soft) or read again and again (10 % refaults); events other
 * than an OOM kill of the model server count only while memory is short, and none of what happened
 * while nobody looked for more than 30 s. What is not known restricts nothing. On a swap of
 * compressed memory alone the some row counts from 1.5 times its values.
 *
 * Up: at once, by any number of levels. Down: one level at a time, when for the hold time of the
 * level none of its cells held at relaxed values; the hold doubles (up to 8 times) when the level
 * rises again within a minute of a fall.
 *
 * So the level says two things, and where it stands by its hold alone the second is not so: that work
 * which can wait should not come back yet, and that memory is short now. The hold is for the first.
 * What memory is short for now goes by the cells of now: .acute and .exhaustion_usec (models that go,
 * and loads: residency.h), pressure_level_for_calls() (who is turned away, whose call is ended).
 *
 * Who acts on it reads .level, .cause and pressure_stage(), and is called when one has changed
 * (memory_monitor.h).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "core/memory_sample.h"

#define PRESSURE_WINDOW_USEC (2 * UINT64_C(1000000))
#define PRESSURE_RING        32 /* samples; 2 s at the fastest rate of 10 per second, and room */
/*
 * Samples closer together are not taken: a storm of short calls would leave a ring that is much
 * shorter than the window.
 */
#define PRESSURE_SPACING_USEC (PRESSURE_WINDOW_USEC / 25)
#define PRESSURE_TEXT_MAX     128 /* of pressure_describe(), pressure_describe_now() */

enum pressure_level { PRESSURE_L0, PRESSURE_L1, PRESSURE_L2, PRESSURE_L3, PRESSURE_L4 };
#define PRESSURE_N_LEVELS 5

/* How much can be known here: the best that the kernel offers. */
enum pressure_rung {
    PRESSURE_RUNG_NONE,    /* nothing: always level 0 */
    PRESSURE_RUNG_ROOM,    /* P0: headroom and time to exhaustion only */
    PRESSURE_RUNG_VMSTAT,  /* P1: and refaults, swap-in in the place of PSI */
    PRESSURE_RUNG_PSI,     /* P2: PSI, read by a timer */
    PRESSURE_RUNG_TRIGGER, /* P3: PSI, and the kernel wakes us */
};

/* Which row of the table. */
enum pressure_reason {
    PRESSURE_CALM,
    PRESSURE_PSI_SOME,
    PRESSURE_PSI_FULL,
    PRESSURE_HEADROOM,
    PRESSURE_EXHAUSTION,
    PRESSURE_SWAP_FULL,
    PRESSURE_THROTTLED,
    PRESSURE_LIMIT_HIT,
    PRESSURE_STALLS,
    PRESSURE_OOM_KILL,
    PRESSURE_THRASHING,
    PRESSURE_SWAP_IN,
    PRESSURE_UNREADABLE,
};

struct pressure_cause {
    enum pressure_reason reason;
    enum memory_place place;
    /* What was seen and the value of the cell: per mille, bytes, bytes per second, usec, a count */
    uint64_t seen, limit;
};

/* What must stay free, each a level's. See pressure_reserves(). */
struct pressure_reserves {
    uint64_t soft_bytes, hard_bytes, critical_bytes, emergency_bytes;
};

/* What the newest sample says about a place, with the 2 s before it. */
struct pressure_figures {
    bool has_psi, has_room, has_reclaim;
    unsigned some_permille, full_permille;
    uint64_t headroom_bytes;
    uint64_t fall_bytes_per_sec;
    uint64_t exhaustion_usec; /* USEC_NEVER: does not fall, or falls slowly */
    struct pressure_reserves reserves;
    unsigned thrash_permille; /* refaults per second as a share of file_bytes */
    bool is_reclaiming;
    bool is_planned; /* a load goes as planned: exhaustion does not count */
    uint64_t n_throttled, n_limited, n_stalls, n_oom_kills; /* within the window */
};

struct pressure_swap {
    uint64_t total_bytes, free_bytes, in_bytes_per_sec;
    bool is_going_out, is_zram;
};

/*
 * What residency tells before each sample. Not what a load will still take, nor the pages of files
 * that runners have mapped: the budget of loads keeps both from being given away twice (residency.h),
 * and lets none begin that would leave less than soft. Taken off here they would raise a level for
 * memory that is free, or can be taken back: a model that is let in alone, with less than soft left
 * beside the factor of a guess, would be an emergency before its load began.
 */
struct pressure_claims {
    bool is_loading; /* samples come closer together */
    bool is_planned; /* ... as planned: the fall of H is no emergency */
};

/*
 * How far things have come after a time of pressure. Admission reopens in this order; what was
 * never closed (the worst level was too low for that) need not wait.
 */
enum pressure_stage {
    PRESSURE_STAGE_RAISED,      /* the level is above 0 */
    PRESSURE_STAGE_INTERACTIVE, /* level 0 just now: interactive calls */
    PRESSURE_STAGE_BATCH,       /* for 10 s: batch too */
    PRESSURE_STAGE_BACKGROUND,  /* for 20 s: background too */
    PRESSURE_STAGE_NORMAL,      /* for 135 s, or there never was any */
};

struct pressure_entry {
    struct memory_sample sample;
    unsigned generation[MEMORY_N_PLACES]; /* changes when counters of the place start again */
};

struct pressure {
    enum pressure_level level;
    struct pressure_cause cause; /* of the level; PRESSURE_CALM at level 0 */
    enum pressure_level worst;   /* of this time of pressure, and of the recovery after it */
    enum pressure_level acute;   /* that the last sample asks for, without the row of time */
    enum pressure_rung rung;     /* told by who reads */
    struct pressure_claims claims;

    /* at the last sample */
    uint64_t last_at_usec; /* USEC_NEVER: there was none */
    struct pressure_figures figures[MEMORY_N_PLACES];
    struct pressure_swap swap;
    unsigned some_permille, full_permille; /* the larger of the two places */
    uint64_t total_bytes;                  /* of the place with least room, see headroom_bytes */
    uint64_t headroom_bytes;               /* there; UINT64_MAX: not known */
    uint64_t exhaustion_usec; /* where memory runs out first; USEC_NEVER: nowhere, or as planned */
    uint64_t fall_bytes_per_sec;       /* there */
    struct pressure_reserves reserves; /* there; a load fits if need <= headroom - soft */

    /* of the level machine */
    struct pressure_entry ring[PRESSURE_RING];
    size_t n_samples, head;   /* head: where the next one goes */
    enum pressure_level seen; /* by PSI at the last sample: two in a row count */
    /* Instants; USEC_NEVER: it is not so, or never was. */
    uint64_t full_since_usec[MEMORY_N_PLACES]; /* full is over the L4 value */
    uint64_t calm_since_usec;                  /* the level could fall */
    uint64_t fell_at_usec;                     /* last fall */
    uint64_t l0_since_usec;                    /* level 0 after being above */
    uint64_t short_since_usec, short_at_usec;  /* cells of L3 or L4 held from then until then */
    uint64_t emergency_since_usec;             /* the same of L4 alone */
    uint64_t critical_at_usec;                 /* the last of the higher level, ... */
    enum pressure_level critical;              /* ... the higher one for a second; L0: none yet */
    unsigned hold_factor;                      /* 1, 2, 4, 8 */
};

void pressure_init(struct pressure *p);

/*
 * What must stay free of total. Of a device soft is 12 % of it, from 224 MiB (a quarter of what there
 * is, where that is less) to 768 MiB; hard 2/3 of that, critical 0.4, emergency 0.2. Of a control
 * group it is 12 % however small that is: nothing else than who is in it has to live on the rest.
 */
struct pressure_reserves pressure_reserves(uint64_t total_bytes, enum memory_place place);

void pressure_set_claims(struct pressure *p, const struct pressure_claims *claims);

/* Would a sample of now be taken? One that would not need not be read. */
bool pressure_is_due(const struct pressure *p, uint64_t now_usec);

/*
 * Takes a sample, when it is due, and returns the level. Samples come in order of time; one from
 * before the last one, and a counter that went backwards, restart the window.
 */
enum pressure_level pressure_update(struct pressure *p, const struct memory_sample *s);

/*
 * What the level means for calls: one of L3 or L4 whose cells have not held for a second is an L2. An
 * emergency is over when memory is there again; turning away for another minute whoever could be
 * served protects nobody, and batch and background wait for the hold as before.
 */
enum pressure_level pressure_level_for_calls(const struct pressure *p);
/* For how long that has been L3 or L4; 0: it is lower. */
uint64_t pressure_critical_usec(const struct pressure *p, uint64_t now_usec);
/* Since when it is L4; USEC_NEVER: it is not. */
uint64_t pressure_emergency_since_usec(const struct pressure *p);

/*
 * The kernel says that level 1 began (a PSI trigger): the first of the two samples in a row that
 * its cell needs.
 */
void pressure_hint(struct pressure *p);

/*
 * How long until the next sample: 100 ms from L3 or with 3 s left, 250 ms from L1 or while
 * something loads, 500 ms with calls, else USEC_NEVER: who is idle at level 0 needs none.
 */
uint64_t pressure_interval_usec(const struct pressure *p, bool is_active);

/* The newest sample, borrowed until the next one; NULL: there is none. */
const struct memory_sample *pressure_newest(const struct pressure *p);

/* Since when the level is 0 after it was above, as a duration; USEC_NEVER: it never was above. */
uint64_t pressure_calm_usec(const struct pressure *p, uint64_t now_usec);
enum pressure_stage pressure_stage(const struct pressure *p, uint64_t now_usec);
/* When the stage ends by itself: USEC_NEVER for the first and the last. */
uint64_t pressure_stage_ends_at_usec(const struct pressure *p, uint64_t now_usec);

/* Why the level is what it is: "headroom 180 MiB < 233 MiB". Returns ret_text. */
const char *pressure_describe(const struct pressure_cause *cause, char ret_text[PRESSURE_TEXT_MAX]);
/* The same of the level of now, with "; held, calls are taken as at L2" where it only holds for them. */
const char *pressure_describe_now(const struct pressure *p, char ret_text[PRESSURE_TEXT_MAX]);
/* "calm", "elevated", "high", "critical", "emergency": as people are told, and as sluice.yaml says it. */
const char *pressure_level_name(enum pressure_level level);
/* 0, or -EINVAL. */
int pressure_level_from_name(const char *name, enum pressure_level *ret_level) MUST_USE;
/* "headroom", "psi_some": for fields and labels. */
const char *pressure_reason_name(enum pressure_reason reason);
/* "psi+trigger", "psi", "vmstat", "meminfo", "none". */
const char *pressure_rung_name(enum pressure_rung rung);
