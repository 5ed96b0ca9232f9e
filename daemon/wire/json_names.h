#pragma once
/*
 * The names of the objects that a JSON check has open, to find a name that an object has twice.
 * Shared by json.c and its own source only.
 *
 * The names of an object lie together at the top of one stack: those of inner objects have been
 * dropped before its next name comes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

/*
 * Of all objects open at one time. A whole-vocabulary logit_bias (about 200,000 tokens) is the only
 * use that comes near, and no client sends one: documented ones have at most 1,024 entries. It
 * bounds the memory of a check to 1 MiB.
 */
#define JSON_MAX_OPEN_NAMES 65536

#define JSON_NAMES_FIXED 96 /* without allocation; chunks and requests have below 40 open */

struct json_name {
    uint64_t key;    /* equal for equal names */
    uint32_t offset; /* of the first byte behind the quote */
    uint32_t len : 31;
    uint32_t is_escaped : 1;
};

struct json_names {
    const char *text;        /* borrowed */
    struct json_name *items; /* fixed, or owned */
    size_t n_items, cap;
    struct json_name fixed[JSON_NAMES_FIXED];
};

void json_names_init(struct json_names *names, const char *text);
void json_names_done(struct json_names *names);

/* Adds text[offset, offset + len), already checked. 0, -ENOBUFS (JSON_MAX_OPEN_NAMES), -ENOMEM. */
int json_names_add(struct json_names *names, size_t offset, size_t len, bool is_escaped) MUST_USE;

/*
 * The object whose first name is items[first] ends: drops its names. Returns false when two are
 * equal, with the place of the later one.
 */
bool json_names_close(struct json_names *names, size_t first, size_t *ret_offset);
