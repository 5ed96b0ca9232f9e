#pragma once
/*
 * An API key as everybody but the configuration sees it: what it is called and what it may do; how
 * much of it, core/quota.h knows. Filled by the composition; everything is borrowed from the
 * configuration.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "core/request.h"

struct access_key {
    const char *id;        /* 1 to REQUEST_KEY_ID_MAX bytes; no two keys share one */
    const uint8_t *sha256; /* of the key, 32 bytes */
    const char *const *models;
    size_t n_models;         /* 0: every model */
    enum call_class class;   /* the highest that its calls may have */
    uint64_t expires_at_sec; /* Unix time; 0: never */
};

/*
 * Does it allow a model by that name? A star at the beginning or the end of what it lists stands
 * for any text. key NULL, which is the master key or none: everything.
 */
bool access_key_allows(const struct access_key *key, struct str model);
