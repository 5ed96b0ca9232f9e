#pragma once
/*
 * A small list of names and text values, in order, with a maximum: options that a layer carries for
 * another without understanding them. Owns its strings.
 */
#include <stddef.h>

#include "base/macros.h"
#include "base/str.h"

#define KV_MAX 64 /* options of one deployment; LiteLLM's own files stay below 20 */

struct kv_item {
    char *name;  /* owned */
    char *value; /* owned */
};

struct kv {
    struct kv_item *items; /* owned */
    size_t n_items;
};

/* Overwrites the values: they may hold keys. Before kv_done(). */
void kv_wipe(struct kv *kv);
void kv_done(struct kv *kv); /* accepts a zeroed struct; leaves one behind */

/* Sets or replaces. 0, -ENOMEM, -ENOBUFS (KV_MAX reached). */
int kv_set(struct kv *kv, struct str name, struct str value) MUST_USE;

/* NULL when absent. Borrowed. */
const char *kv_find(const struct kv *kv, const char *name);

/* 0 or -ENOMEM; *ret is a deep copy. */
int kv_copy(const struct kv *kv, struct kv *ret) MUST_USE;
