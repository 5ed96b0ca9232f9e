#pragma once
/*
 * What a value of LiteLLM's keys says, with a type. LiteLLM reads leniently (pydantic turns "5" into
 * 5), and a variable can only hold text: so text that reads as the type in question is taken for it.
 *
 * Every function answers true with *ret set, or false with *ret untouched and, in why, what was
 * expected and found; nothing of a value is repeated there.
 */
#include <stdbool.h>
#include <stdint.h>

#include "config/config_reader.h"

#define CONFIG_WHY_MAX 160

bool config_value_flag(const struct config_node *at, bool *ret, char why[CONFIG_WHY_MAX]);

/* A whole number from least to most. */
bool config_value_count(const struct config_node *at, uint64_t least, uint64_t most, uint64_t *ret,
                        char why[CONFIG_WHY_MAX]);

/* A number from 0 to most. */
bool config_value_number(const struct config_node *at, double most, double *ret,
                         char why[CONFIG_WHY_MAX]);

#define CONFIG_MAX_SECONDS (7 * 86400) /* a week: longer is a slip; LiteLLM's default is 6000 */

/* LiteLLM's times: plain seconds from a millisecond to a week; 0 only where may_be_zero. */
bool config_value_seconds(const struct config_node *at, bool may_be_zero, uint64_t *ret_usec,
                          char why[CONFIG_WHY_MAX]);

/* Text that is there and not empty, without control characters. Borrowed. */
bool config_value_text(const struct config_node *at, const char **ret, char why[CONFIG_WHY_MAX]);

/*
 * A list of words, or one word in place of it, behind what *ret has already. False: *ret_at is what
 * is wrong; what came before it was added. Out of memory is the reader's.
 */
bool config_value_names(struct config_reader *r, const struct config_node *at,
                        struct config_names *ret, const struct config_node **ret_at,
                        char why[CONFIG_WHY_MAX]);
