#pragma once
/*
 * Whether a call is spilled, and to whom: spill.h's rule, asked with what admission and router know.
 * Changes nothing: a call that goes, and an explanation, get the same answer.
 */
#include <stdbool.h>
#include <stdint.h>

#include "core/admission.h"
#include "core/router.h"
#include "core/spill.h"

/* Who asks. All borrowed. */
struct spill_call {
    const struct model_group *group; /* of the model that was asked for */
    struct str asked;                /* that model, as asked */
    const struct router_wish *wish;  /* of the call; never NULL */
    const struct admission_ask *ask; /* as it would go through the gate */
    const struct request_routing
        *routing; /* its own fallbacks, in the place of all others; or NULL */
};

/* Why the call would leave, wherever it could go. refusal: what it was refused with here, if it was. */
enum spill_reason spill_look(struct admission *a, const struct spill_call *c, enum errcode refusal,
                             uint64_t now_usec);

/*
 * The name to ask for elsewhere: the one that was asked for where its own group has deployments that
 * are not on this device, else the first of its fallbacks that will do. Absent: nobody takes it now,
 * or it must not leave. One takes it that has a slot free which nobody waits for; or, unless
 * wants_slot, whose own wait is known and not longer than the configuration's.
 */
struct str spill_find(struct admission *a, const struct spill_call *c, bool wants_slot,
                      uint64_t now_usec);
