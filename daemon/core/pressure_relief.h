#pragma once
/*
 * Which running calls are ended so that a model's memory comes back.
 *
 * The other answers to pressure cost nobody an answer that has begun: new calls are refused, idle
 * models are unloaded (residency_plan.c). This is the last resort, and only where it frees memory: a
 * model server frees a model when the last call to it has ended, and not a byte earlier.
 *
 *   L0 to L2   nothing
 *   L3         a runner that serves batch and background calls only is emptied; residency unloads it
 *   L4         background, then batch, then interactive calls, down to one interactive call;
 *              still L4 after 5 s: that one too
 *
 * Who goes first: the lower class; who has no content yet; who got its slot last (least work lost);
 * whose caller weighs least. Of several runners at L3 the one with the lower class, then with fewer
 * calls, then the larger.
 *
 * Pacing, as what an action frees is seen late: one call per decision, and the next one a second
 * later at the earliest, as well after an unload. While a model is being unloaded, stands idle and
 * could be, or has gone and its memory is not seen free yet, the next call is spared, for 10 s at
 * most.
 *
 * Never touched: calls to other machines; to servers whose models sluice does not unload, as their
 * end frees nothing; and all, where our models hold less than a tenth of the memory: somebody else
 * takes it then.
 *
 * Pure: the clock is the caller's, nothing is allocated, and who is to be ended is answered, not done.
 */
#include <stdint.h>

#include "core/admission.h"
#include "core/residency.h"

struct pressure_relief {
    enum pressure_level level;
    uint64_t since_usec;    /* in that level */
    uint64_t acted_at_usec; /* the last answer; 0: never */
    uint64_t look_at_usec;  /* the answer may be another by itself then; USEC_NEVER: not */
};

void pressure_relief_init(struct pressure_relief *p);

/*
 * A granted ticket whose call is to be ended now; NULL: none. Its owner ends it before the next
 * question, which is asked once per run of the registry. residency NULL: none ever.
 */
struct ticket *pressure_relief_next(struct pressure_relief *p, const struct admission *a,
                                    struct residency *residency, enum pressure_level level,
                                    uint64_t now_usec);
