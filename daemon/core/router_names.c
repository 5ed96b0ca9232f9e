/*
 * What a name leads to: aliases, groups, ids of deployments, wildcards, and the names that were
 * perhaps meant.
 *
 * A pattern of n stars is n + 1 literals. Where a name fits, each star takes as much as it can, as in
 * a regular expression whose end is open (LiteLLM: router_utils/pattern_match_deployments.py):
 *
 *   "a-*-b"  on  "a-x-b-y-bc"     the star takes "x-b-y"; "c" is nobody's
 *
 * So the literals stand as far to the right as those behind them allow, which one pass from the end
 * finds: no name makes it go back and forth.
 *
 * Owns nothing. Must not: pick, or know calls.
 */
#include <assert.h>
#include <stdio.h>

#include "core/router.h"

#define SUGGEST_NAME_MAX 64 /* longer names are not compared: the distance is quadratic */
#define MAX_STARS        16 /* of a pattern; one with more fits no name */

/* ---------------------------------------------------------------- wildcards */

struct pattern {
    struct str literals[MAX_STARS + 1]; /* before, between and behind the stars */
    size_t n_stars;
};

/* What the stars of a pattern took of a name; borrowed from it. */
struct captures {
    struct str taken[MAX_STARS];
    size_t n;
};

static bool split(const char *text, struct pattern *ret)
{
    const char *star;

    ret->n_stars = 0;
    while ((star = strchr(text, '*'))) {
        if (ret->n_stars == MAX_STARS) {
            return false;
        }
        ret->literals[ret->n_stars++] = (struct str) {text, (size_t) (star - text)};
        text = star + 1;
    }
    ret->literals[ret->n_stars] = str_from(text);
    return true;
}

/* The last place of literal in the first n bytes of s, or -1. */
static ptrdiff_t find_last(const char *s, size_t n, struct str literal)
{
    for (ptrdiff_t at = (ptrdiff_t) n - (ptrdiff_t) literal.len; at >= 0; at--) {
        if (memcmp(s + at, literal.ptr, literal.len) == 0) {
            return at;
        }
    }
    return -1;
}

/* Does the name fit? Then *ret has what the stars take. */
static bool fits(const char *text, struct str name, struct captures *ret)
{
    size_t places[MAX_STARS + 1];
    size_t end = name.len;
    struct pattern p;

    if (!split(text, &p) || name.len < p.literals[0].len ||
        memcmp(name.ptr, p.literals[0].ptr, p.literals[0].len) != 0) {
        return false;
    }
    for (size_t i = p.n_stars; i > 0; i--) {
        ptrdiff_t at = find_last(name.ptr, end, p.literals[i]);

        if (at < (ptrdiff_t) p.literals[0].len) {
            return false;
        }
        places[i] = end = (size_t) at;
    }
    ret->n = p.n_stars;
    for (size_t i = 0, begin = p.literals[0].len; i < p.n_stars; i++) {
        ret->taken[i] = (struct str) {name.ptr + begin, places[i + 1] - begin};
        begin = places[i + 1] + p.literals[i + 1].len;
    }
    return true;
}

/*
 * How particular a pattern is: LiteLLM sorts by the length of the regular expression that it makes of
 * it (re.escape(), a star is "(.*)"), then by the number of characters with a meaning in that.
 */
struct rank {
    size_t length, n_special;
};

static struct rank rank_of(const char *text)
{
    struct rank rank = {0};

    for (; *text; text++) {
        if (*text == '*') {
            rank.length += strlen("(.*)");
            rank.n_special += 3;
        } else if (strchr("()[]{}?+-|^$\\.&~# \t\n\r\v\f", *text)) { /* escaped */
            rank.length += 2;
            rank.n_special += strchr("+?\\^$|()", *text) ? 2 : 1;
        } else {
            rank.length++;
        }
    }
    return rank;
}

static bool is_higher(struct rank a, struct rank b)
{
    return a.length != b.length ? a.length > b.length : a.n_special > b.n_special;
}

bool model_group_is_wildcard(const struct model_group *g)
{
    return strchr(g->name, '*') != NULL;
}

/* Of those that fit the highest, of equals the first in the file. */
static struct model_group *find_wildcard(const struct router *r, struct str name)
{
    struct model_group *best = NULL;
    struct rank best_rank = {0};
    struct captures ignored;

    for (size_t i = 0; i < r->n_groups; i++) {
        struct model_group *g = &r->groups[i];

        if (model_group_is_wildcard(g) && fits(g->name, name, &ignored)) {
            struct rank rank = rank_of(g->name);

            if (!best || is_higher(rank, best_rank)) {
                best = g;
                best_rank = rank;
            }
        }
    }
    return best;
}

/* "openai/gpt-4o" of "gpt-4o", where the name stands for a provider; else absent. */
static struct str with_provider(const struct router *r, struct str name,
                                char ret_text[ROUTER_MODEL_BYTES])
{
    const char *provider = r->provider_of ? r->provider_of(name) : NULL;
    int n;

    if (!provider) {
        return STR_NONE;
    }
    n = snprintf(ret_text, ROUTER_MODEL_BYTES, "%s/%.*s", provider, STR_ARG(name));
    return n > 0 && n < ROUTER_MODEL_BYTES ? (struct str) {ret_text, (size_t) n} : STR_NONE;
}

/* ---------------------------------------------------------------- resolve */

/* What an alias stands for, else the name itself. One step: LiteLLM follows no chain either. */
static struct str unalias(const struct router *r, struct str name)
{
    for (size_t i = 0; i < r->n_aliases; i++) {
        if (str_is(name, r->aliases[i].name)) {
            return str_from(r->aliases[i].target);
        }
    }
    return name;
}

static struct model_group *find_named(struct model_group *groups, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++) {
        if (str_is(name, groups[i].name)) {
            return &groups[i];
        }
    }
    return NULL;
}

static struct model_group *find_group(const struct router *r, struct str name)
{
    char text[ROUTER_MODEL_BYTES];
    struct model_group *g;

    name = unalias(r, name);
    g = find_named(r->groups, r->n_groups, name);
    g = g ? g : find_named(r->singles, r->n_singles, name);
    g = g ? g : find_wildcard(r, name);
    if (!g) {
        struct str full = with_provider(r, name, text);

        g = full.ptr ? find_wildcard(r, full) : NULL;
    }
    return g;
}

struct model_group *router_resolve(struct router *r, struct str name)
{
    return find_group(r, name);
}

const struct model_group *router_group_of_id(const struct router *r, struct str id)
{
    id = unalias(r, id);
    for (size_t i = 0; i < r->n_groups; i++) {
        const struct model_group *g = &r->groups[i];

        for (size_t k = 0; k < g->n_deployments; k++) {
            if (str_is(id, g->deployments[k]->id) &&
                strchr(g->deployments[k]->upstream_model, '*')) {
                return g;
            }
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- the upstream's name */

/* model with its stars replaced, in turn; stars for which nothing is left stay. NULL: too long. */
static const char *fill_in(const char *model, const struct captures *captures,
                           char ret_text[ROUTER_MODEL_BYTES])
{
    size_t n = 0, i = 0;

    for (; *model; model++) {
        struct str piece = {model, 1};

        if (*model == '*' && i < captures->n) {
            piece = captures->taken[i++];
        }
        if (piece.len >= ROUTER_MODEL_BYTES - n) {
            return NULL;
        }
        memcpy(ret_text + n, piece.ptr, piece.len);
        n += piece.len;
    }
    ret_text[n] = '\0';
    return ret_text;
}

/* The name as it came, without what the file has before the model: the provider is known. */
static const char *as_it_came(const struct deployment *d, struct str name,
                              char ret_text[ROUTER_MODEL_BYTES])
{
    size_t n_prefix = strlen(d->prefix);

    if (str_has_prefix(name, d->prefix) && name.len > n_prefix) {
        name.ptr += n_prefix;
        name.len -= n_prefix;
    }
    (void) snprintf(ret_text, ROUTER_MODEL_BYTES, "%.*s", STR_ARG(name));
    return ret_text;
}

static const char *fill_stars(const struct router *r, const struct model_group *g,
                              const struct deployment *d, struct str name,
                              char ret_text[ROUTER_MODEL_BYTES])
{
    char text[ROUTER_MODEL_BYTES];
    size_t n_stars = 0;
    struct captures captures;

    for (const char *c = d->upstream_model; *c; c++) {
        n_stars += *c == '*';
    }
    name = unalias(r, name);
    if (!fits(g->name, name, &captures)) {
        name = with_provider(r, name, text);
        if (!name.ptr || !fits(g->name, name, &captures)) {
            return NULL; /* another group's name, or one of another configuration */
        }
    }
    return captures.n > n_stars ? as_it_came(d, name, ret_text)
                                : fill_in(d->upstream_model, &captures, ret_text);
}

const char *router_upstream_model(const struct router *r, const struct model_group *g,
                                  const struct deployment *d, struct str name,
                                  char ret_text[ROUTER_MODEL_BYTES])
{
    return strchr(d->upstream_model, '*') && model_group_is_wildcard(g)
               ? fill_stars(r, g, d, name, ret_text)
               : NULL;
}

/* ---------------------------------------------------------------- what a name is told */

const struct router_fallbacks *router_fallbacks(const struct router *r, enum fallback_kind kind,
                                                struct str asked)
{
    const struct model_group *g = find_group(r, asked);
    const struct str names[] = {asked, unalias(r, asked), g ? str_from(g->name) : STR_NONE,
                                STR_LIT(ROUTER_ANY_GROUP)};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct router_fallbacks *found =
            names[i].ptr ? router_policy_fallbacks(&r->policy, kind, names[i]) : NULL;

        if (found) {
            return found;
        }
    }
    return NULL;
}

static const struct fail_policy *retries_of(const struct router *r, struct str asked)
{
    const struct model_group *g = find_group(r, asked);
    const struct str names[] = {asked, unalias(r, asked), g ? str_from(g->name) : STR_NONE};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct fail_policy *found =
            names[i].ptr ? router_policy_retries(&r->policy, names[i]) : NULL;

        if (found) {
            return found;
        }
    }
    return &r->policy.retries;
}

unsigned router_retries(const struct router *r, struct str asked, const struct deployment *d,
                        enum fail_cause cause)
{
    int n = fail_policy_get(retries_of(r, asked), cause);

    if (n == FAIL_POLICY_UNSET && d) {
        n = d->terms->max_retries;
    }
    return n == FAIL_POLICY_UNSET ? r->policy.max_retries : (unsigned) n;
}

/* ---------------------------------------------------------------- lists */

static bool is_hidden(const struct model_group *g)
{
    for (size_t i = 0; i < g->n_deployments; i++) {
        if (!g->deployments[i]->terms->is_hidden) {
            return false;
        }
    }
    return true;
}

/* Is the i-th name one to be shown? */
static bool entry_at(const struct router *r, size_t i, struct router_entry *ret)
{
    const struct router_alias *alias;

    if (i < r->n_groups) {
        const struct model_group *g = &r->groups[i];

        *ret = (struct router_entry) {g->name, g, model_group_is_wildcard(g)};
        return !is_hidden(g);
    }
    alias = &r->aliases[i - r->n_groups];
    *ret = (struct router_entry) {alias->name, find_group(r, str_from(alias->name)), false};
    return !alias->is_hidden && ret->group &&
           !find_named(r->groups, r->n_groups, str_from(alias->name));
}

bool router_next(const struct router *r, size_t *i, struct router_entry *ret)
{
    while (*i < r->n_groups + r->n_aliases) {
        if (entry_at(r, (*i)++, ret)) {
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- suggestions */

static unsigned char lower(char c)
{
    return (unsigned char) (c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* Levenshtein distance without regard to case; both at most SUGGEST_NAME_MAX long. */
static unsigned edit_distance(struct str a, struct str b)
{
    unsigned row[SUGGEST_NAME_MAX + 1];

    for (unsigned k = 0; k <= b.len; k++) {
        row[k] = k;
    }
    for (unsigned i = 1; i <= a.len; i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (unsigned k = 1; k <= b.len; k++) {
            unsigned replaced = diagonal + (lower(a.ptr[i - 1]) != lower(b.ptr[k - 1]));
            unsigned best = row[k] < row[k - 1] ? row[k] + 1 : row[k - 1] + 1;

            diagonal = row[k];
            row[k] = best < replaced ? best : replaced;
        }
    }
    return row[b.len];
}

size_t router_suggest(const struct router *r, struct str name, const char **ret_names, size_t max)
{
    unsigned distances[8];
    struct router_entry entry;
    size_t n = 0;

    assert(max <= ARRAY_LEN(distances));
    if (name.len > SUGGEST_NAME_MAX) {
        name.len = SUGGEST_NAME_MAX;
    }
    for (size_t i = 0; router_next(r, &i, &entry);) {
        struct str known = str_from(entry.name);

        if (known.len > SUGGEST_NAME_MAX) {
            continue;
        }

        unsigned d = edit_distance(name, known);
        size_t at = n;

        while (at > 0 && distances[at - 1] > d) {
            at--;
        }
        if (at == max) {
            continue;
        }
        n = n < max ? n + 1 : max;
        memmove(&distances[at + 1], &distances[at], (n - at - 1) * sizeof distances[0]);
        memmove(&ret_names[at + 1], &ret_names[at], (n - at - 1) * sizeof ret_names[0]);
        distances[at] = d;
        ret_names[at] = entry.name;
    }
    return n;
}
