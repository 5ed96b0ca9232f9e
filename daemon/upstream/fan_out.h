#pragma once
/*
 * Several answers out of a backend that makes one for each request: n > 1, and lists of prompts
 * (/v1/completions). A backend around a backend: it runs jobs of the inner one in turn, each for one
 * answer, within the slot of the one call, and tells what comes of them as one job.
 *
 *   choices   of prompt p, answer i of n: p * n + i, as OpenAI numbers them
 *   seeds     seed + i where there is a seed, else all n would be one answer n times
 *   usage     what was written is added up; a prompt counts once, however many answers it has
 *   END       once, with all reasons
 *   failure   of one is that of all, and none is started after it
 *
 * A request for one answer passes through.
 */
#include "core/ports.h"
#include "upstream/provider.h"
#include "upstream/upstreams.h"

/*
 * Takes over inner in any case. 0 or -ENOMEM. up is borrowed; params is read during the call only:
 * the deployment's own seed and time limit.
 */
int fan_out_new(struct upstreams *up, struct backend *inner, const struct provider_params *params,
                struct backend **ret) MUST_USE;
