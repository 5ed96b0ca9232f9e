#pragma once
/*
 * Which provider serves which prefix of a model name, and where its server is when the file does
 * not say.
 */
#include <stdbool.h>

#include "base/str.h"

struct config_provider {
    const char *prefix;   /* "ollama_chat" of "ollama_chat/gemma" */
    const char *provider; /* of providers.c: "ollama", "openai"; NULL: known, and not served */
    const char *base;     /* where it is unless told otherwise, or NULL */
    const char *base_variables; /* environment variables that say otherwise, separated by blanks */
    const char *key_variables;  /* ... that hold the key */
    bool wants_v1;              /* its documentation writes the base without /v1 as well */
    const char *text;           /* said of a deployment that uses it, or why it is not served */
};

/* The row of a prefix, or NULL. */
const struct config_provider *config_provider_find(struct str prefix);

/* The first row (after NULL) or the next one that is served; NULL: no more. */
const struct config_provider *config_provider_next(const struct config_provider *p);

/* The row for a model name without a prefix that we know to be OpenAI's, or NULL. */
const struct config_provider *config_provider_of_bare(struct str model);

/* The known prefix that a mistyped one was probably meant to be, or NULL. */
const char *config_provider_suggest(const char *prefix);
