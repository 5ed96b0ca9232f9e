#pragma once
/*
 * Members of OpenAI's requests, and of vLLM's and Cohere's, that sluice only carries: known by name
 * and type, so that a wrong one is refused here, by name, and not by a model server in its own words
 * or not at all. What is not known is never looked at.
 */
#include "core/request.h"
#include "wire/problem.h"

/* Those of the RPC's extra_json (req->extra). 0; -EBADMSG with the problem. */
int openai_check_extra(const struct request *req, struct problem *ret_problem) MUST_USE;

/*
 * Does the value of "modalities" ask for something else than text, which no event of ours carries?
 * Clients send ["text"] as a matter of course.
 */
bool openai_wants_more_than_text(struct str modalities);
