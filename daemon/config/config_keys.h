#pragma once
/* The table of config_keys.def, and what a mistyped name was probably meant to be. */
#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

enum config_section {
    SECTION_ROOT,
    SECTION_ENTRY,  /* model_list[] */
    SECTION_PARAMS, /* model_list[].litellm_params */
    SECTION_INFO,   /* model_list[].model_info */
    SECTION_ROUTER,
    SECTION_LITELLM,
    SECTION_GENERAL,
};

/* What is done with a key of litellm_params. */
enum config_use {
    USE_REPORT, /* nothing */
    USE_OFF,    /* the deployment cannot do what is asked: off */
    USE_TARGET, /* config_target.c */
    USE_TOTAL,  /* a time-out, in seconds */
    USE_FIRST_BYTE,
    USE_GAP,
    USE_SLOTS,
    USE_ORDER, /* config_rules.c, to USE_DROPPED */
    USE_WEIGHT,
    USE_RPM,
    USE_TPM,
    USE_TAGS,
    USE_RETRIES,
    USE_COOLDOWN,
    USE_DROP,
    USE_DROPPED,
    USE_HEADERS, /* config_headers.c, to USE_CA */
    USE_ORGANIZATION,
    USE_CA,
    USE_NUMBER, /* a default parameter, and of which type */
    USE_INTEGER,
    USE_STOP,
    USE_ANY,
    USE_OLLAMA_INTEGER, /* the same, where the provider is Ollama */
    USE_OLLAMA_ANY,
    USE_BODY, /* extra_body: a map of parameters that win over the client's */
    USE_FIRST_OPTION = USE_NUMBER,
    USE_LAST_OPTION = USE_OLLAMA_ANY,
};

/* Packed: there are some 440 of them. */
struct config_key {
    const char *name;
    const char *text;
    enum config_section section : 8;
    enum finding_kind status : 8;
    enum config_use use : 8;
    bool is_refused; /* status is FINDING_ERROR: see config_keys.def */
};

/* NULL: LiteLLM has no such key, as far as we know. */
const struct config_key *config_keys_find(enum config_section section, const char *name);

/* The known name of that section that is nearest, when one is near; else NULL. */
const char *config_keys_suggest(enum config_section section, const char *name);

/*
 * May a have been meant as b? Letters in other case and missing or other separators do not count;
 * beyond that one slip (a letter too many, too few, wrong, or two swapped) for names of 4 to 6
 * letters, two for longer ones.
 */
bool config_keys_are_near(const char *a, const char *b);

/* How many slips lie between them, on the same terms; SIZE_MAX: too far. */
size_t config_keys_distance(const char *a, const char *b);
