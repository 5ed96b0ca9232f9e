/* See access_key.h. Owns nothing, and knows nothing of groups: who asks says all names. */
#include "core/access_key.h"

/* pattern: with a star at either end, or none. */
static bool matches(struct str pattern, struct str name)
{
    bool is_open_at_end = pattern.len > 0 && pattern.ptr[pattern.len - 1] == '*';
    bool is_open_at_start;

    pattern.len -= is_open_at_end;
    is_open_at_start = pattern.len > 0 && pattern.ptr[0] == '*';
    pattern.ptr += is_open_at_start;
    pattern.len -= is_open_at_start;
    if (pattern.len > name.len) {
        return false;
    }
    if (is_open_at_start && is_open_at_end) {
        return memmem(name.ptr, name.len, pattern.ptr, pattern.len) != NULL;
    }
    if (is_open_at_start) {
        name.ptr += name.len - pattern.len;
        name.len = pattern.len;
    } else if (is_open_at_end) {
        name.len = pattern.len;
    }
    return str_is_equal(pattern, name);
}

bool access_key_allows(const struct access_key *key, struct str model)
{
    if (!key || key->n_models == 0) {
        return true;
    }
    for (size_t i = 0; i < key->n_models; i++) {
        if (matches(str_from(key->models[i]), model)) {
            return true;
        }
    }
    return false;
}
