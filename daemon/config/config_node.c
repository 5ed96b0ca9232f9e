/*
 * The tree of a configuration file: paths for messages, scalars as PyYAML resolves them, values as
 * JSON.
 *
 * LiteLLM reads its file with PyYAML's SafeLoader, which is YAML 1.1: yes and on are booleans, 010
 * is eight, 1:30 is ninety and 1e5 is text, as its float needs a dot and a signed exponent. A file
 * that moves here must keep its meaning, so config_node_resolve() follows PyYAML's resolver
 * (yaml/resolver.py) and constructor (yaml/constructor.py) and not YAML 1.2. Two things differ:
 * dates stay text, and what JSON has no number for is refused instead of passed on, since every
 * value that is passed on becomes JSON.
 *
 * Owns nothing: nodes live in the arena of whoever parsed them. Must not read a file, the
 * environment or a clock, and must not log.
 */
#include "config/config_node.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "config/config_yaml.h"
#include "wire/json.h"

struct config_node *config_node_find(const struct config_node *node, const char *key)
{
    if (!node || node->kind != NODE_MAP) {
        return NULL;
    }
    config_node_for_each(child, node)
    {
        if (strcmp(child->key, key) == 0) {
            return child;
        }
    }
    return NULL;
}

const struct config_node *config_node_find_unresolved(const struct config_node *node)
{
    if (node->is_unresolved) {
        return node;
    }
    config_node_for_each(child, node)
    {
        const struct config_node *found =
            config_node_find_unresolved(child); /* at most 32 levels */

        if (found) {
            return found;
        }
    }
    return NULL;
}

void config_node_path(const struct config_node *node, char ret_path[CONFIG_NODE_PATH_MAX])
{
    const struct config_node *steps[CONFIG_YAML_MAX_DEPTH + 1];
    size_t n = 0, len = 0;

    for (; node && node->parent && n <= CONFIG_YAML_MAX_DEPTH; node = node->parent) {
        steps[n++] = node;
    }
    ret_path[0] = '\0';
    while (n-- > 0 && len + 1 < CONFIG_NODE_PATH_MAX) {
        size_t room = CONFIG_NODE_PATH_MAX - len;
        int wrote = steps[n]->key ? snprintf(ret_path + len, room, "%s%.64s", len > 0 ? "." : "",
                                             steps[n]->key)
                                  : snprintf(ret_path + len, room, "[%zu]", steps[n]->index);

        len += wrote < 0 ? 0 : (size_t) wrote;
    }
}

const char *config_node_shown(const struct config_node *node)
{
    return node->variable ? "os.environ/..." : node->text;
}

const char *config_node_kind_name(enum config_node_kind kind)
{
    switch (kind) {
    case NODE_NULL:
        return "nothing";
    case NODE_BOOL:
        return "true or false";
    case NODE_INTEGER:
        return "a whole number";
    case NODE_FLOAT:
        return "a number";
    case NODE_STRING:
        return "a string";
    case NODE_LIST:
        return "a list";
    case NODE_MAP:
        return "a map";
    }
    return "?";
}

/* ---------------------------------------------------------------- scalars */

static bool is_one_of(struct str s, const char *const *words, size_t n_words)
{
    for (size_t i = 0; i < n_words; i++) {
        if (str_is(s, words[i])) {
            return true;
        }
    }
    return false;
}

/* How many bytes at the front of s are of set. */
static size_t span(struct str s, const char *set)
{
    size_t n = 0;

    while (n < s.len && s.ptr[n] != '\0' && strchr(set, s.ptr[n])) {
        n++;
    }
    return n;
}

static bool consists_of(struct str s, const char *set)
{
    return s.len > 0 && span(s, set) == s.len;
}

static struct str skip(struct str s, size_t n)
{
    return (struct str) {s.ptr + n, s.len - n};
}

static int put_text(struct arena *a, struct str s, char **ret_text)
{
    char *copy = arena_alloc(a, s.len + 1);

    if (!copy) {
        return -ENOMEM;
    }
    memcpy(copy, s.ptr ? s.ptr : "", s.len);
    *ret_text = copy;
    return 0;
}

/* digits and underscores in a base, as a decimal number */
static int put_based(struct arena *a, bool is_negative, struct str digits, unsigned base,
                     char **ret_text)
{
    char text[24];
    uint64_t v = 0;

    for (size_t i = 0; i < digits.len; i++) {
        char c = digits.ptr[i];
        unsigned d = c >= 'a'               ? (unsigned) (c - 'a' + 10)
                     : c >= 'A' && c != '_' ? (unsigned) (c - 'A' + 10)
                                            : (unsigned) (c - '0');

        if (c == '_') {
            continue;
        }
        if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, d, &v)) {
            return -ERANGE;
        }
    }
    (void) snprintf(text, sizeof text, "%s%llu", is_negative && v > 0 ? "-" : "",
                    (unsigned long long) v);
    return put_text(a, str_from(text), ret_text);
}

/* "1:30:00" is 5400. -EINVAL: not that form; -ERANGE: with a fraction, or too large. */
static int put_base60(struct arena *a, bool is_negative, struct str s, char **ret_text)
{
    char text[24];
    uint64_t v = 0, part;
    bool has_colon = false;

    if (s.len == 0 || s.ptr[0] == '0') {
        return -EINVAL;
    }
    for (;;) {
        size_t n = span(s, has_colon ? "0123456789" : "0123456789_");

        if (n == 0 || (has_colon && (n > 2 || (n == 2 && s.ptr[0] > '5'))) || n > 15) {
            return -EINVAL;
        }
        if (num_parse_u64((struct str) {s.ptr, n}, &part) < 0) {
            return -EINVAL; /* an underscore: nobody writes a base-60 number that way */
        }
        if (__builtin_mul_overflow(v, 60U, &v) || __builtin_add_overflow(v, part, &v)) {
            return -ERANGE;
        }
        s = skip(s, n);
        if (s.len == 0 || s.ptr[0] != ':') {
            break;
        }
        has_colon = true;
        s = skip(s, 1);
    }
    if (!has_colon || (s.len > 0 && s.ptr[0] != '.')) {
        return -EINVAL;
    }
    if (s.len > 0) {
        return consists_of(skip(s, 1), "0123456789_") || s.len == 1 ? -ERANGE : -EINVAL;
    }
    (void) snprintf(text, sizeof text, "%s%llu", is_negative ? "-" : "", (unsigned long long) v);
    return put_text(a, str_from(text), ret_text);
}

/* 0, -EINVAL: not an integer, -ERANGE, -ENOMEM */
static int put_integer(struct arena *a, struct str s, char **ret_text)
{
    bool is_negative = s.len > 0 && s.ptr[0] == '-';

    if (is_negative || (s.len > 0 && s.ptr[0] == '+')) {
        s = skip(s, 1);
    }
    if (str_has_prefix(s, "0b") && consists_of(skip(s, 2), "01_")) {
        return put_based(a, is_negative, skip(s, 2), 2, ret_text);
    }
    if (str_has_prefix(s, "0x") && consists_of(skip(s, 2), "0123456789abcdefABCDEF_")) {
        return put_based(a, is_negative, skip(s, 2), 16, ret_text);
    }
    if (s.len > 1 && s.ptr[0] == '0' && consists_of(s, "01234567_")) {
        return put_based(a, is_negative, s, 8, ret_text);
    }
    if (!consists_of(s, "0123456789_") || s.ptr[0] == '_' || (s.ptr[0] == '0' && s.len > 1)) {
        return put_base60(a, is_negative, s, ret_text);
    }

    /* Python's integers have no limit, and JSON's have none either: the digits stay as they are */
    char *to = arena_alloc(a, s.len + 2);

    if (!to) {
        return -ENOMEM;
    }
    *ret_text = to;
    if (is_negative) {
        *to++ = '-';
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '_') {
            *to++ = s.ptr[i];
        }
    }
    return 0;
}

/*
 * Copies digits without underscores, and without leading zeros when is_whole; writes a zero where
 * nothing is left.
 */
static char *put_digits(char *to, struct str digits, bool is_whole)
{
    char *from = to;

    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] == '_' || (is_whole && to == from && digits.ptr[i] == '0')) {
            continue;
        }
        *to++ = digits.ptr[i];
    }
    if (to == from) {
        *to++ = '0';
    }
    return to;
}

/* 0, -EINVAL: not a float, -ERANGE, -ENOMEM */
static int put_float(struct arena *a, struct str s, char **ret_text)
{
    static const char *const infinite[] = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"};
    bool has_sign = s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+');
    bool is_negative = has_sign && s.ptr[0] == '-';
    double ignored;

    s = has_sign ? skip(s, 1) : s;
    if (is_one_of(s, infinite, has_sign ? 3 : ARRAY_LEN(infinite))) {
        return -ERANGE;
    }

    struct str whole = {s.ptr, span(s, "0123456789_")};

    s = skip(s, whole.len);
    if (s.len == 0 || s.ptr[0] != '.' || (whole.len == 0 && has_sign) ||
        (whole.len > 0 && whole.ptr[0] == '_')) {
        return -EINVAL;
    }
    s = skip(s, 1);

    struct str fraction = {s.ptr, span(s, "0123456789_")};
    struct str exponent = skip(s, fraction.len);

    if (whole.len == 0 && (fraction.len == 0 || fraction.ptr[0] == '_')) {
        return -EINVAL;
    }
    if (exponent.len > 0 &&
        (exponent.len < 3 || !strchr("eE", exponent.ptr[0]) || !strchr("+-", exponent.ptr[1]) ||
         !consists_of(skip(exponent, 2), "0123456789"))) {
        return -EINVAL;
    }

    char *start = arena_alloc(a, whole.len + fraction.len + exponent.len + 5), *to = start;

    if (!start) {
        return -ENOMEM;
    }
    if (is_negative) {
        *to++ = '-';
    }
    to = put_digits(to, whole, true);
    *to++ = '.';
    to = put_digits(to, fraction, false);
    if (exponent.len > 0) {
        memcpy(to, exponent.ptr, exponent.len);
    }
    *ret_text = start;
    return num_parse_double(str_from(start), &ignored);
}

int config_node_resolve(struct str plain, struct arena *a, enum config_node_kind *ret_kind,
                        char **ret_text)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    static const char *const trues[] = {"true", "True", "TRUE", "yes", "Yes",
                                        "YES",  "on",   "On",   "ON"};
    static const char *const falses[] = {"false", "False", "FALSE", "no", "No",
                                         "NO",    "off",   "Off",   "OFF"};
    int r;

    if (is_one_of(plain, nulls, ARRAY_LEN(nulls))) {
        *ret_kind = NODE_NULL;
        return put_text(a, STR_LIT("null"), ret_text);
    }
    if (is_one_of(plain, trues, ARRAY_LEN(trues))) {
        *ret_kind = NODE_BOOL;
        return put_text(a, STR_LIT("true"), ret_text);
    }
    if (is_one_of(plain, falses, ARRAY_LEN(falses))) {
        *ret_kind = NODE_BOOL;
        return put_text(a, STR_LIT("false"), ret_text);
    }
    r = put_integer(a, plain, ret_text);
    if (r != -EINVAL) {
        *ret_kind = NODE_INTEGER;
        return r;
    }
    r = put_float(a, plain, ret_text);
    if (r != -EINVAL) {
        *ret_kind = NODE_FLOAT;
        return r;
    }
    *ret_kind = NODE_STRING;
    return put_text(a, plain, ret_text);
}

/* ---------------------------------------------------------------- the tree */

void config_node_unlink(struct config_node *child)
{
    struct config_node *parent = child->parent, *before = NULL;

    config_node_for_each(other, parent)
    {
        if (other == child) {
            break;
        }
        before = other;
    }
    if (before) {
        before->next = child->next;
    } else {
        parent->first = child->next;
    }
    if (parent->last == child) {
        parent->last = before;
    }
    parent->n_children--;
    child->next = NULL;
    child->parent = NULL;
}

void config_node_append(struct config_node *parent, struct config_node *child)
{
    child->parent = parent;
    child->next = NULL;
    if (parent->last) {
        parent->last->next = child;
    } else {
        parent->first = child;
    }
    parent->last = child;
    parent->n_children++;
}

/* ---------------------------------------------------------------- JSON */

int config_node_write_json(const struct config_node *node, struct buf *out)
{
    bool is_map = node->kind == NODE_MAP;
    int r;

    if (node->kind == NODE_STRING) {
        return json_write_string(out, str_from(node->text));
    }
    if (!is_map && node->kind != NODE_LIST) {
        return buf_append_z(out, node->text);
    }
    r = buf_append_char(out, is_map ? '{' : '[');
    config_node_for_each(child, node)
    {
        if (r == 0 && child != node->first) {
            r = buf_append_char(out, ',');
        }
        if (r == 0 && is_map) {
            r = json_write_string(out, str_from(child->key));
            r = r < 0 ? r : buf_append_char(out, ':');
        }
        if (r == 0) {
            r = config_node_write_json(child, out); /* at most CONFIG_YAML_MAX_DEPTH levels */
        }
    }
    return r < 0 ? r : buf_append_char(out, is_map ? '}' : ']');
}

void config_node_wipe(struct config_node *node)
{
    if (!node) {
        return;
    }
    if (node->text) {
        explicit_bzero(node->text, strlen(node->text));
    }
    config_node_for_each(child, node)
    {
        config_node_wipe(child);
    }
}
