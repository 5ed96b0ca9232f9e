#pragma once
/*
 * Members of an OpenAI body that are said to a gateway and not to a model: LiteLLM's per-request
 * overrides, and what would choose where sluice connects and as whom.
 */
#include <stdbool.h>

#include "base/str.h"

/* Is the member meant for a gateway, so that no model server may see it? */
bool openai_gateway_is_member(struct str name);
