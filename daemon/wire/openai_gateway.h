#pragma once
/*
 * Members of an OpenAI body that are said to a gateway and not to a model: LiteLLM's per-request
 * overrides, and what would choose where sluice connects and as whom.
 */
#include <stdbool.h>

#include "base/macros.h"
#include "base/str.h"
#include "core/request.h"
#include "wire/problem.h"

/* Is the member meant for a gateway, so that no model server may see it? */
bool openai_gateway_is_member(struct str name);

/*
 * What req->extra (RPC's extra_json) says to the gateway, into req->routing; req->model is set. 0,
 * -EBADMSG with *ret_problem (400, "extra_json.<name>"), -ENOMEM.
 */
int openai_gateway_read_extra(struct request *req, struct problem *ret_problem) MUST_USE;
