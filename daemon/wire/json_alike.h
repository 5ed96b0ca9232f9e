#pragma once
/*
 * Texts that say the same but for one string: the chunks of a streamed answer. A text like the last
 * one that was checked and read needs no second check and no second walk: only its string is looked
 * at.
 *
 *   {"id":"c1","choices":[{"index":0,"delta":{"content":  "Hel"  },"finish_reason":null}]}
 *   {"id":"c1","choices":[{"index":0,"delta":{"content":  "lo"   },"finish_reason":null}]}
 *   └──────────────────── before ─────────────────────┘  value   └──────── behind ───────┘
 *
 * A second string in front of the value may differ too (aside): the time in each line of Ollama.
 *
 * What matches is exact: with another string in its place a checked text stays well-formed, has the
 * same members, and whoever read it would find the same. Whoever learns must know that the one
 * effect of the text was the value, and must forget it as soon as a text of another form came.
 */
#include <stdbool.h>

#include "base/buf.h"

/* A text with more around its value is not worth remembering. */
#define JSON_ALIKE_MAX_BYTES 4096

struct json_alike {
    struct buf text; /* before, between, behind: one after the other */
    size_t n_before; /* only with an aside, else 0 */
    size_t n_between;
    bool has_aside;
    bool is_learnt;
};

void json_alike_init(struct json_alike *a);
void json_alike_done(struct json_alike *a);

void json_alike_forget(struct json_alike *a);
/*
 * text: checked. value and aside are string values in it, with their quotes; aside, which may be
 * absent, stands in front of value. Out of memory, or too long: nothing is learnt.
 */
void json_alike_learn(struct json_alike *a, struct str text, struct str aside, struct str value);

/*
 * Is text, which nobody has checked, like the one that was learnt? Then *ret_value is its string, a
 * checked value with quotes, never empty. False says nothing about text.
 */
bool json_alike_match(const struct json_alike *a, struct str text, struct str *ret_value);
