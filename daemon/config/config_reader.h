#pragma once
/*
 * What all readers of sections share: where findings go, how keys are looked up in LiteLLM's table,
 * and the environment.
 *
 * Out of memory is sticky and not an answer of each function: readers carry on with what they have,
 * and config_parse() looks once at the end and gives everything back. A missing string is NULL, as
 * if the key were absent.
 */
#include "config/config.h"
#include "config/config_keys.h"
#include "config/config_node.h"
#include "credentials.h"

/* What deployments take where they say nothing themselves, and what only concerns their reading. */
struct config_defaults {
    uint64_t total_usec, first_byte_usec, gap_usec; /* 0: none */
    unsigned slots;                                 /* 0: sluice.slots */
    bool enforces_rates;
};

struct config_reader {
    struct config *config;           /* borrowed: what is being filled */
    struct config_defaults defaults; /* of router_settings, litellm_settings, general_settings */
    struct arena *arena;             /* borrowed: of the nodes */
    struct credentials *credentials; /* borrowed; what was read of them */
    const struct config_node *root;  /* a map */
    bool is_out_of_memory;
};

/* LiteLLM takes the master key from here where the file has none. */
#define CONFIG_MASTER_KEY_VARIABLE "LITELLM_MASTER_KEY"

#define CONFIG_TEXT_MAX 384 /* of a finding; longer ones are cut */

/* About a key, at the place of the key. */
void config_reader_note(struct config_reader *r, const struct config_node *at,
                        enum finding_kind kind, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* About a value, at the place of the value. at NULL: the file as a whole. */
void config_reader_error(struct config_reader *r, const struct config_node *at, bool is_fatal,
                         const char *fmt, ...) PRINTF_LIKE(4, 5);
/* The same about a key. */
void config_reader_error_at_key(struct config_reader *r, const struct config_node *at,
                                bool is_fatal, const char *fmt, ...) PRINTF_LIKE(4, 5);

/*
 * Reports a key as its row of config_keys.def says and returns the row; NULL: LiteLLM has no such
 * key, which is reported as unsupported, or as an error with the name that was probably meant.
 */
const struct config_key *config_reader_report(struct config_reader *r, enum config_section section,
                                              const struct config_node *key);

/* Does the file, or the environment, name a master key (usable or not)? */
bool config_reader_has_master_key(const struct config_reader *r);

/* Is the key absent, or without a value? */
bool config_reader_is_unset(const struct config_node *node);

/*
 * Is the value nothing, false, or empty (Python's idea of it)? What is written down as off asks for
 * nothing.
 */
bool config_reader_is_off(const struct config_node *node);

/*
 * The credential of that name, else a variable of environment_variables, else of the process; NULL
 * when it is not set, or empty, or when the credential is there and cannot be used (which
 * config_parse() reports). Borrowed until the file was read.
 */
const char *config_reader_variable(const struct config_reader *r, const char *name);

/* Replaces every os.environ/NAME of the file by its value. */
void config_reader_resolve_variables(struct config_reader *r, struct config_node *root);

/* The same for one value, and from credentials and the environment of the process only. */
void config_reader_resolve_from_process(struct config_reader *r, struct config_node *node);

/* A copy for the configuration; NULL: out of memory. */
char *config_reader_dup(struct config_reader *r, const char *text);
