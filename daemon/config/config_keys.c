/*
 * See config_keys.h. The table is searched from front to back, a few hundred rows for each key of a
 * file that is read once: speed does not matter here.
 */
#include "config/config_keys.h"

#include <stdint.h>
#include <string.h>

/* LiteLLM's longest key has 49 letters; who mistypes such a one finds it */
#define DISTANCE_MAX_LETTERS 48

/* The statuses of config_keys.def; REFUSED is no kind of finding of its own. */
#define STATUS_EXACT        .status = FINDING_EXACT
#define STATUS_APPROXIMATED .status = FINDING_APPROXIMATED
#define STATUS_IGNORED      .status = FINDING_IGNORED
#define STATUS_UNSUPPORTED  .status = FINDING_UNSUPPORTED
#define STATUS_REFUSED      .status = FINDING_ERROR, .is_refused = true

static const struct config_key keys[] = {
#define S(sec, nm, st, txt)                                                                        \
    {.name = nm, .text = txt, .section = SECTION_##sec, STATUS_##st, .use = USE_REPORT},
#define P(nm, st, us, txt)                                                                         \
    {.name = nm, .text = txt, .section = SECTION_PARAMS, STATUS_##st, .use = USE_##us},
#include "config/config_keys.def"
#undef S
#undef P
};

static bool is_match(const char *pattern, const char *name)
{
    size_t n = strlen(pattern);

    if (n > 0 && pattern[n - 1] == '*') {
        return strncmp(pattern, name, n - 1) == 0;
    }
    return strcmp(pattern, name) == 0;
}

const struct config_key *config_keys_find(enum config_section section, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (keys[i].section == section && is_match(keys[i].name, name)) {
            return &keys[i];
        }
    }
    return NULL;
}

/*
 * Lower case, without - and _: "API-Base" and "api_base" are the same. Returns the length, SIZE_MAX
 * when too long.
 */
static size_t squeeze(const char *name, char ret_letters[DISTANCE_MAX_LETTERS])
{
    size_t n = 0;

    for (; *name; name++) {
        if (*name == '_' || *name == '-') {
            continue;
        }
        if (n == DISTANCE_MAX_LETTERS) {
            return SIZE_MAX;
        }
        ret_letters[n++] = *name >= 'A' && *name <= 'Z' ? (char) (*name - 'A' + 'a') : *name;
    }
    return n;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/*
 * Optimal string alignment: insertion, deletion, substitution, and a swap of neighbours as one
 * slip. Three rows of the matrix are enough.
 */
size_t config_keys_distance(const char *name_a, const char *name_b)
{
    char a[DISTANCE_MAX_LETTERS], b[DISTANCE_MAX_LETTERS];
    size_t n = squeeze(name_a, a), m = squeeze(name_b, b);
    size_t rows[3][DISTANCE_MAX_LETTERS + 1];

    if (n == SIZE_MAX || m == SIZE_MAX) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= m; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= n; i++) {
        size_t *row = rows[i % 3], *above = rows[(i - 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);

            best = least(best, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                best = least(best, rows[(i - 2) % 3][j - 2] + 1);
            }
            row[j] = best;
        }
    }
    return rows[n % 3][m];
}

/*
 * How many slips a name may have to be taken for another: more would make "top_k" a slip of "stop".
 */
static size_t allowed_slips(const char *name)
{
    char letters[DISTANCE_MAX_LETTERS];
    size_t n = squeeze(name, letters);

    return n < 4 ? 0 : n < 7 ? 1 : 2;
}

bool config_keys_are_near(const char *a, const char *b)
{
    size_t slips = least(allowed_slips(a), allowed_slips(b));
    char letters[DISTANCE_MAX_LETTERS];
    size_t n = squeeze(a, letters), m = squeeze(b, letters);

    if (n == SIZE_MAX || m == SIZE_MAX || n > m + slips || m > n + slips) {
        return false; /* most names differ in length by more: no need to look at their letters */
    }
    return config_keys_distance(a, b) <= slips;
}

const char *config_keys_suggest(enum config_section section, const char *name)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (keys[i].section != section || strchr(keys[i].name, '*') ||
            !config_keys_are_near(name, keys[i].name)) {
            continue;
        }

        size_t distance = config_keys_distance(name, keys[i].name);

        if (distance < best_distance) {
            best = keys[i].name;
            best_distance = distance;
        }
    }
    return best;
}
