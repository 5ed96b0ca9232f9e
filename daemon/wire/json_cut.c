/*
 * See json_cut.h.
 *
 * All paths are followed at once in one walk over the text. Each step of a path goes exactly one
 * level down, so where a path stands is said by the level and one bit: the paths whose steps above
 * this level all matched are a set in a word.
 *
 *   {"tools":[{"function":{"name":"f","strict":true}}]}      path tools[*].function.strict
 *    level 0 ─ 1 ─ 2 ───── 3 ────────────── cut: it ends here
 *
 * What comes out is never longer than what was read of the text, so it is written over it: kept
 * spans move to the left. A value that no path leads into is one span; inside of those that one
 * leads into, blanks between members are lost. A level is stepped over once by the walk above it and
 * once by its own, so the time is at most JSON_CUT_MAX_STEPS times the length.
 *
 * Owns the texts of its paths. Must not: allocate while it cuts, go deeper than a path.
 */
#include "wire/json_cut.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/json.h"

#define MAX_INDEX_DIGITS 9 /* fits into 32 bits, and no list is that long */

enum step_kind {
    STEP_NAME,  /* a member */
    STEP_EACH,  /* [*] */
    STEP_INDEX, /* [7] */
};

struct step {
    enum step_kind kind;
    struct str name; /* STEP_NAME; borrowed from the path's text */
    uint32_t index;  /* STEP_INDEX */
};

struct json_cut_path {
    char *text; /* owned */
    struct step steps[JSON_CUT_MAX_STEPS];
    size_t n_steps;
};

bool json_cut_is_path(const char *text)
{
    return strpbrk(text, ".[") != NULL;
}

/* ---- reading a path */

/* *p is behind "["; moves it behind "]". */
static const char *read_bracket(const char **p, struct step *ret)
{
    size_t n = strspn(*p, "0123456789");

    if (n == 0 && **p == '*') {
        *ret = (struct step) {.kind = STEP_EACH};
        n = 1;
    } else if (n > 0 && n <= MAX_INDEX_DIGITS) {
        *ret = (struct step) {.kind = STEP_INDEX, .index = (uint32_t) strtoul(*p, NULL, 10)};
    } else {
        return "between brackets goes the index of an element, or * for all";
    }
    if ((*p)[n] != ']') {
        return "a bracket is not closed";
    }
    *p += n + 1;
    return NULL;
}

static const char *read_step(const char **p, bool is_first, struct step *ret)
{
    size_t n;

    if (**p == '[' && !is_first) {
        *p += 1;
        return read_bracket(p, ret);
    }
    if (**p == '.' && !is_first) {
        *p += 1;
    }
    n = strcspn(*p, ".[]\\");
    if ((*p)[n] == ']' || (*p)[n] == '\\') {
        return "names with brackets or backslashes cannot be said";
    }
    if (n == 0) {
        return "a name is empty";
    }
    *ret = (struct step) {.kind = STEP_NAME, .name = {*p, n}};
    *p += n;
    return NULL;
}

/* NULL with *ret, whose steps borrow from text; or what is wrong. */
static const char *read_path(const char *text, struct json_cut_path *ret)
{
    const char *p = text, *why = NULL;

    for (ret->n_steps = 0; !why && (*p || ret->n_steps == 0);) {
        if (ret->n_steps == JSON_CUT_MAX_STEPS) {
            return "it goes too deep: 16 steps are the most";
        }
        why = read_step(&p, ret->n_steps == 0, &ret->steps[ret->n_steps]);
        ret->n_steps++;
    }
    if (!why && ret->steps[ret->n_steps - 1].kind != STEP_NAME) {
        return "elements of a list are not left out, only members of them";
    }
    return why;
}

const char *json_cut_check(const char *path)
{
    struct json_cut_path ignored;

    return read_path(path, &ignored);
}

int json_cut_add(struct json_cut *cut, const char *path)
{
    struct json_cut_path *more;

    if (json_cut_check(path)) {
        return -EINVAL;
    }
    if (cut->n_paths == JSON_CUT_MAX_PATHS) {
        return -ENOBUFS;
    }
    more = realloc(cut->paths, (cut->n_paths + 1) * sizeof *more);
    if (!more) {
        return -ENOMEM;
    }
    cut->paths = more;
    more += cut->n_paths;
    more->text = strdup(path);
    if (!more->text) {
        return -ENOMEM;
    }
    (void) read_path(more->text, more); /* checked above */
    cut->ends[more->n_steps - 1] |= UINT64_C(1) << cut->n_paths;
    cut->n_paths++;
    return 0;
}

void json_cut_done(struct json_cut *cut)
{
    for (size_t i = 0; i < cut->n_paths; i++) {
        free(cut->paths[i].text);
    }
    free(cut->paths);
    *cut = (struct json_cut) {0};
}

/* ---- cutting */

struct cutter {
    const struct json_cut *cut;
    char *to; /* where the next kept byte goes: never behind what has been read */
};

static void keep(struct cutter *k, const char *bytes, size_t n)
{
    assert(k->to <= bytes);
    if (k->to != bytes) {
        memmove(k->to, bytes, n);
    }
    k->to += n;
}

static void keep_char(struct cutter *k, char c)
{
    *k->to++ = c;
}

/* Those of the paths whose step at this level is the member (name present) or the element. */
static uint64_t follow(const struct json_cut *cut, uint64_t paths, size_t level, struct str name,
                       size_t index)
{
    uint64_t led = 0;

    for (uint64_t rest = paths; rest; rest &= rest - 1) {
        int i = __builtin_ctzll(rest);
        const struct step *step = &cut->paths[i].steps[level];
        bool is_here = false;

        switch (step->kind) {
        case STEP_NAME:
            is_here = name.ptr && json_name_is(name, step->name);
            break;
        case STEP_EACH:
            is_here = !name.ptr;
            break;
        case STEP_INDEX:
            is_here = !name.ptr && step->index == index;
            break;
        }
        led |= is_here ? UINT64_C(1) << i : 0;
    }
    return led;
}

/* value is not written over yet; paths: which lead to it, none of them ends above level. */
static void walk(struct cutter *k, struct str value, uint64_t paths, size_t level)
{
    enum json_type type = json_type(value);
    struct str name, member;
    struct json_iter it;
    bool is_first = true;

    if (paths == 0 || (type != JSON_OBJECT && type != JSON_ARRAY)) {
        keep(k, value.ptr, value.len);
        return;
    }
    json_iter_init(&it, value); /* it reads before it, and its closing bracket, only */
    keep_char(k, type == JSON_OBJECT ? '{' : '[');
    for (size_t i = 0; json_next(&it, &name, &member); i++) {
        uint64_t led = follow(k->cut, paths, level, name, i);

        if (led & k->cut->ends[level]) {
            continue;
        }
        if (!is_first) {
            keep_char(k, ',');
        }
        is_first = false;
        if (name.ptr) {
            keep(k, name.ptr - 1, name.len + 2); /* with its quotes */
            keep_char(k, ':');
        }
        walk(k, member, led, level + 1); /* at most JSON_CUT_MAX_STEPS levels */
    }
    keep_char(k, type == JSON_OBJECT ? '}' : ']');
}

void json_cut_apply(const struct json_cut *cut, struct buf *text)
{
    uint64_t all = cut->n_paths ? UINT64_MAX >> (JSON_CUT_MAX_PATHS - cut->n_paths) : 0;
    struct cutter k = {.cut = cut, .to = text->base + text->start};

    if (all == 0 || text->len == 0) {
        return;
    }
    walk(&k, buf_str(text), all, 0);
    buf_truncate(text, (size_t) (k.to - buf_ptr(text)));
}
