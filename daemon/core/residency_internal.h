#pragma once
/*
 * What the parts of core/residency share: residency.c (models and their states), residency_gate.c
 * (the budget, and who is let in), residency_plan.c (whom room is made for), residency_pressure.c
 * (who goes when memory is short). Nobody else includes it.
 */
#include "base/clock.h"
#include "core/deployment.h"
#include "core/residency.h"
#include "core/router.h"

#define RESIDENCY_MIB              (UINT64_C(1) << 20)
#define RESIDENCY_RUNNER_LOAD_USEC (200 * USEC_PER_MSEC) /* between looks at one that grows */
/* A look at what a server holds is as good as new for so long. */
#define RESIDENCY_LOOK_FRESH_USEC (2 * USEC_PER_SEC)

/* Does a deployment lead to its server, if only one that a reload has taken away and calls still use? */
bool residency_has_server(const struct residency *r, const struct residency_model *m);

/* It is used, so its runner may grow. */
void residency_runner_used(struct residency_model *m, uint64_t now_usec);
/* What of the available memory is pages of files that our models have mapped: no load may take it. */
uint64_t residency_mapped_bytes(const struct residency *r);

void residency_set_state(struct residency_model *m, enum residency_state to, uint64_t now_usec);

/* From any state: it is there. What it is believed to take until its runner is looked at. */
void residency_become_resident(struct residency *r, struct residency_model *m, uint64_t now_usec);

/* Is it in its server's memory, or about to be? */
static inline bool residency_is_held(const struct residency_model *m)
{
    return m->state == RESIDENCY_RESIDENT || m->state == RESIDENCY_DRAINING ||
           m->state == RESIDENCY_UNLOADING;
}

/* Does it take memory of this device, or will as soon as its load begins? */
static inline bool residency_takes_memory(const struct residency_model *m)
{
    return m->is_local && (residency_is_held(m) || m->state == RESIDENCY_RESERVED ||
                           m->state == RESIDENCY_LOADING);
}

/* That the budget speaks of: on this device, where one is kept. */
bool residency_has_budget(const struct residency *r, const struct residency_model *m);

/* In a pass a model has changed. */
void residency_sum_again(struct residency *r);

/* What is free for models now. */
uint64_t residency_room(const struct residency *r);
uint64_t residency_asked(const struct residency *r, const struct residency_model *m);
bool residency_fits(const struct residency *r, const struct residency_model *m);
/* Other models that take memory of this device, or will. */
size_t residency_n_others(const struct residency *r, const struct residency_model *m);
/* The same, were so much more free; is_alone: and no other model there. */
bool residency_fits_after(const struct residency *r, const struct residency_model *m,
                          uint64_t freed_bytes, bool is_alone);

/*
 * What is free when it is gone: as its runner was seen, else the most that is believed of it. Nobody is
 * refused, and no turn is denied, for a number that is only believed; what is free then is looked at.
 */
uint64_t residency_held(const struct residency *r, const struct residency_model *m);

/* R_crit: a load that leaves less than this is stopped. */
uint64_t residency_critical_bytes(const struct residency *r);

/* What it takes for certain when it is loaded, before it grows by answers. */
uint64_t residency_least_bytes(const struct residency *r, const struct residency_model *m);

/* ---------------------------------------------------------------- residency_pressure.c */

/*
 * May a load of it begin now, or when others have gone who free so much, as far as pressure goes? *ret_at
 * (may be NULL): when; USEC_NEVER: not known.
 */
bool residency_may_load(const struct residency *r, const struct residency_model *m,
                        uint64_t freed_bytes, uint64_t now_usec, uint64_t *ret_at);
/* May others be unloaded for it, which frees so much? */
bool residency_may_make_room(const struct residency *r, const struct residency_model *m,
                             uint64_t freed_bytes, uint64_t now_usec);
/* Of those that should go for the sake of pressure, the one to go now; NULL: none. */
struct residency_model *residency_too_many(const struct residency *r, uint64_t now_usec);
/* Is memory so short that it goes as soon as nobody uses it? No call is begun at it until then. */
bool residency_must_rest(const struct residency *r, const struct residency_model *m,
                         uint64_t now_usec);
/* It goes for the sake of pressure; why, as people are told: the level, or what it has grown by. */
enum residency_reason residency_note_yield(struct residency *r, const struct residency_model *m,
                                           uint64_t now_usec);
/* With each run: is it used? */
void residency_note_use(struct residency_model *m, bool is_in_use, uint64_t now_usec);
/* Its runner was looked at again. */
void residency_note_growth(struct residency_model *m, uint64_t was_bytes, uint64_t is_bytes);

/* ---------------------------------------------------------------- residency_plan.c */

uint64_t residency_load_time(const struct residency *r, const struct residency_model *m);
/* Is it there, and can its server be told to free it? */
bool residency_can_go(const struct residency *r, const struct residency_model *m,
                      uint64_t now_usec);
/* The higher, the sooner it goes. */
double residency_score(const struct residency *r, const struct residency_model *m,
                       uint64_t now_usec);

/*
 * How long at least until a call of this class that asks now could begin a load of w: for the end of
 * another load, and for those to go that are in its way. 0: not at all, as far as is known.
 */
uint64_t residency_turn_usec(const struct residency *r, const struct residency_model *w,
                             enum call_class class, uint64_t now_usec);

/* Has room been made for another one, to which a turn is owed? Then m is not loaded into it. */
bool residency_is_kept(const struct residency *r, const struct residency_model *m,
                       uint64_t now_usec);

/*
 * Before its load: its server is to be asked for key and facts again, as they are not of this minute,
 * and its name may stand for another build by now (ollama pull).
 */
bool residency_doubts(struct residency_model *m, uint64_t now_usec);

/* The model of this device that is being loaded, reserved or unloaded; NULL: none. */
const struct residency_model *residency_moving(const struct residency *r);

/* As residency_refusal() and residency_describe(), of a model. */
struct residency_refusal residency_refusal_of(const struct residency *r,
                                              const struct residency_model *m, uint64_t now_usec);
const char *residency_describe_model(const struct residency *r, const struct residency_model *m,
                                     uint64_t now_usec, char ret_text[RESIDENCY_TEXT_BYTES]);

const char *residency_name_of(const struct deployment *d, const char *name);
/* The model that d serves under this name; NULL: not managed, or never heard of. */
const struct residency_model *residency_known(const struct residency *r, const struct deployment *d,
                                              const char *name);
