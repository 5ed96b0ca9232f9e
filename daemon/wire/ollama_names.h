#pragma once
/*
 * Names of models at Ollama: [host/][namespace/]model[:tag], the tag "latest" where there is none,
 * without regard to case (its types/model/name.go).
 */
#include <stdbool.h>

#include "base/str.h"

#define OLLAMA_NAME_MAX_BYTES 512 /* Ollama's own limit is 350 */

/* Do both name the same model? Nothing is named by "". */
bool ollama_name_is_same(struct str a, struct str b);

/*
 * "gpt-oss:120b-cloud", "glm-4.6:cloud": Ollama would forward what it is asked to ollama.com.
 */
bool ollama_name_is_cloud(struct str name);

struct problem;

/* Why such a model is not asked; also one that shows only when it is loaded (ollama_is_forwarded()). */
void ollama_refuse_cloud(struct problem *ret_problem);
