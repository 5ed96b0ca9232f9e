/*
 * See config_value.h. The reading of single values, without a word on what happens to a wrong one:
 * that differs (a deployment goes off, a routing key has no effect, a limit refuses the file), so
 * the reader of the key says it.
 *
 * Owns nothing. Must not report, and must not repeat a value: it may be a key in the wrong place.
 */
#include "config/config_value.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "config/config_routing.h"

static bool expected(const struct config_node *at, const char *what, char why[CONFIG_WHY_MAX])
{
    if (at->is_unresolved) {
        (void) snprintf(why, CONFIG_WHY_MAX, "the environment variable %.64s is not set, or empty",
                        at->variable);
    } else {
        (void) snprintf(why, CONFIG_WHY_MAX, "expected %s, found %s", what,
                        config_node_kind_name(at->kind));
    }
    return false;
}

/* A scalar that may be of another type than its text; an unset variable is none. */
static bool has_text(const struct config_node *at)
{
    return (at->kind == NODE_STRING || at->kind == NODE_INTEGER || at->kind == NODE_FLOAT) &&
           !at->is_unresolved;
}

bool config_value_flag(const struct config_node *at, bool *ret, char why[CONFIG_WHY_MAX])
{
    /* YAML 1.1's words: those that PyYAML takes where they stand unquoted */
    static const char *const trues[] = {"true", "yes", "on"};
    static const char *const falses[] = {"false", "no", "off"};

    for (size_t i = 0; i < ARRAY_LEN(trues); i++) {
        if ((at->kind == NODE_BOOL || has_text(at)) &&
            str_is_nocase(str_from(at->text), trues[i])) {
            *ret = true;
            return true;
        }
        if ((at->kind == NODE_BOOL || has_text(at)) &&
            str_is_nocase(str_from(at->text), falses[i])) {
            *ret = false;
            return true;
        }
    }
    return expected(at, "true or false", why);
}

bool config_value_count(const struct config_node *at, uint64_t least, uint64_t most, uint64_t *ret,
                        char why[CONFIG_WHY_MAX])
{
    uint64_t v;
    int64_t ignored;

    if (!has_text(at) || num_parse_i64(str_from(at->text), &ignored) == -EINVAL) {
        return expected(at, "a whole number", why);
    }
    if (num_parse_u64(str_from(at->text), &v) < 0 || v < least || v > most) {
        (void) snprintf(why, CONFIG_WHY_MAX, "must be a whole number from %llu to %llu",
                        (unsigned long long) least, (unsigned long long) most);
        return false;
    }
    *ret = v;
    return true;
}

bool config_value_number(const struct config_node *at, double most, double *ret,
                         char why[CONFIG_WHY_MAX])
{
    double v;

    if (!has_text(at) || num_parse_double(str_from(at->text), &v) < 0) {
        return expected(at, "a number", why);
    }
    if (!(v >= 0) || v > most) {
        (void) snprintf(why, CONFIG_WHY_MAX, "must be from 0 to %g", most);
        return false;
    }
    *ret = v;
    return true;
}

bool config_value_seconds(const struct config_node *at, bool may_be_zero, uint64_t *ret_usec,
                          char why[CONFIG_WHY_MAX])
{
    uint64_t usec;
    double seconds;

    if (has_text(at) && num_parse_double(str_from(at->text), &seconds) == 0) {
        bool is_zero = may_be_zero && seconds == 0;

        if (!is_zero && (!(seconds >= 0.001) || seconds > CONFIG_MAX_SECONDS)) {
            (void) snprintf(why, CONFIG_WHY_MAX, "must be %sfrom 0.001 to %d seconds",
                            may_be_zero ? "0, or " : "", CONFIG_MAX_SECONDS);
            return false;
        }
        *ret_usec = (uint64_t) (seconds * (double) USEC_PER_SEC + 0.5);
        return true;
    }
    if (has_text(at) && num_parse_duration(str_from(at->text), &usec) == 0) {
        (void) snprintf(why, CONFIG_WHY_MAX,
                        "LiteLLM's times are plain seconds; write %g without a unit",
                        (double) usec / (double) USEC_PER_SEC);
        return false;
    }
    return expected(at, "seconds as a number", why);
}

bool config_value_text(const struct config_node *at, const char **ret, char why[CONFIG_WHY_MAX])
{
    if (at->kind != NODE_STRING || at->is_unresolved) {
        return expected(at, "a string", why);
    }
    if (at->text[0] == '\0') {
        (void) snprintf(why, CONFIG_WHY_MAX, "expected a string, found an empty one");
        return false;
    }
    for (const char *p = at->text; *p; p++) {
        if ((unsigned char) *p < ' ' || *p == 0x7f) {
            (void) snprintf(why, CONFIG_WHY_MAX, "a control character in a name");
            return false;
        }
    }
    *ret = at->text;
    return true;
}

static bool add_name(struct config_reader *r, const struct config_node *at,
                     struct config_names *ret, char why[CONFIG_WHY_MAX])
{
    const char *text;

    if (!config_value_text(at, &text, why)) {
        return false;
    }
    if (strlen(text) > REQUEST_MODEL_MAX) {
        (void) snprintf(why, CONFIG_WHY_MAX, "expected 1 to %d bytes", REQUEST_MODEL_MAX);
        return false;
    }
    if (ret->n_items == CONFIG_MAX_NAMES) {
        (void) snprintf(why, CONFIG_WHY_MAX, "more than %d names", CONFIG_MAX_NAMES);
        return false;
    }
    if (config_names_add(ret, text) < 0) {
        r->is_out_of_memory = true;
    }
    return true;
}

bool config_value_names(struct config_reader *r, const struct config_node *at,
                        struct config_names *ret, const struct config_node **ret_at,
                        char why[CONFIG_WHY_MAX])
{
    *ret_at = at;
    if (at->kind == NODE_STRING) {
        return add_name(r, at, ret, why);
    }
    if (at->kind != NODE_LIST) {
        return expected(at, "a list of names", why);
    }
    config_node_for_each(item, at)
    {
        *ret_at = item;
        if (!add_name(r, item, ret, why)) {
            return false;
        }
    }
    return true;
}
