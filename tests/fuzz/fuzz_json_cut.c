/*
 * json_cut: paths, one a line, up to an empty line; behind it JSON. What is left is valid JSON, no
 * longer than before, holds nothing that a path leads to, loses nothing in a second cut, and is the
 * same text where no path began at a member that was there.
 */
#include "wire/json_cut.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* Does the rest of a checked path lead to something in value? Slowly, and in another way. */
static bool leads(const char *path, struct str value)
{
    size_t n = strcspn(path, ".[");
    struct str name, member;
    struct json_iter it;
    size_t i = 0;

    if (*path == '\0') {
        return true;
    }
    if (*path == '.') {
        return leads(path + 1, value);
    }
    json_iter_init(&it, value);
    for (; json_next(&it, &name, &member); i++) {
        if (*path == '[' && !name.ptr) {
            bool is_it = path[1] == '*' || strtoul(path + 1, NULL, 10) == i;

            if (is_it && leads(strchr(path, ']') + 1, member)) {
                return true;
            }
        } else if (*path != '[' && name.ptr && json_name_is(name, (struct str) {path, n}) &&
                   leads(path + n, member)) {
            return true;
        }
    }
    return false;
}

static void check(struct json_cut *cut, char *const *paths, size_t n_paths, struct str json)
{
    bool is_met = false;
    struct buf text;
    size_t len;

    buf_init(&text, json.len + 1);
    assert(buf_append_str(&text, json) == 0);
    for (size_t i = 0; i < n_paths; i++) {
        is_met = is_met || leads(paths[i], json);
    }
    json_cut_apply(cut, &text);
    assert(json_check(buf_str(&text), NULL) == 0);
    assert(text.len <= json.len && (!is_met || text.len < json.len));
    for (size_t i = 0; i < n_paths; i++) {
        assert(!leads(paths[i], buf_str(&text)));
    }
    len = text.len;
    json_cut_apply(cut, &text);
    assert(text.len == len);
    buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *copy = strndup((const char *) bytes, n), *at = copy, *paths[JSON_CUT_MAX_PATHS];
    struct json_cut cut = {0};
    size_t n_paths = 0;

    assert(copy);
    while (*at && *at != '\n' && n_paths < JSON_CUT_MAX_PATHS) {
        char *end = at + strcspn(at, "\n");
        bool is_last = *end == '\0';

        *end = '\0';
        if (json_cut_add(&cut, at) == 0) {
            paths[n_paths++] = at;
        } else {
            assert(json_cut_check(at));
        }
        at = is_last ? end : end + 1;
    }
    if (*at == '\n') {
        at++;
    }
    if (json_check(str_from(at), NULL) == 0) {
        check(&cut, paths, n_paths, str_from(at));
    }
    json_cut_done(&cut);
    free(copy);
    return 0;
}
