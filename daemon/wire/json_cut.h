#pragma once
/*
 * Cuts members out of JSON text by paths in LiteLLM's words ("tools[*].function.strict", "a.b",
 * "a[0].b"; its litellm_core_utils/dot_notation_indexing.py): names between dots, elements of a list
 * by their index or all of them. What a path does not meet stays as it is, byte for byte, and a path
 * that meets nothing does nothing. Elements of a list are never cut themselves.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"

#define JSON_CUT_MAX_PATHS 64 /* one bit each; as many as additional_drop_params may have */
#define JSON_CUT_MAX_STEPS 16 /* of one path: no request nests its parameters nearly as deep */

struct json_cut_path;

/* Zeroed: no paths. Owned by whoever has it, freed by json_cut_done(). */
struct json_cut {
    struct json_cut_path *paths; /* owned */
    size_t n_paths;
    uint64_t ends[JSON_CUT_MAX_STEPS]; /* the paths that have their last step there */
};

/* Does it reach into a member (a dot or a bracket), or is it the name of a whole one? */
bool json_cut_is_path(const char *text);

/* NULL, or what is wrong with a path: static text, a clause. */
const char *json_cut_check(const char *path);

/* 0; -EINVAL: json_cut_check() has something to say; -ENOBUFS: too many; -ENOMEM. */
int json_cut_add(struct json_cut *cut, const char *path) MUST_USE;

void json_cut_done(struct json_cut *cut);

/*
 * text: one JSON value that passed json_check(). It is cut in place: nothing is allocated, nothing
 * can fail, and the time is linear in its length.
 */
void json_cut_apply(const struct json_cut *cut, struct buf *text);
