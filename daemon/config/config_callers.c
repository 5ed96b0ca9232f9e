/*
 * Reads sluice.callers. As strict as all of sluice: a weight of nobody, or of somebody else, would
 * be found out under load only.
 *
 * Owns nothing: the values belong to struct config, the nodes to the reader's arena.
 */
#include "config/config_callers.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/num.h"
#include "config/config_access.h"

struct field {
    const char *name;
    void (*read)(struct config_reader *r, const struct config_node *at, struct config_caller *c);
};

/* ---------------------------------------------------------------- the members of an entry */

static bool expect_text(struct config_reader *r, const struct config_node *at, const char *what)
{
    if (at->kind == NODE_STRING && !at->is_unresolved) {
        return true;
    }
    config_reader_error(r, at, true, "expected %s, found %s", what,
                        config_node_kind_name(at->kind));
    return false;
}

/* A whole number in these bounds; false: it is none, which was said. */
static bool read_number(struct config_reader *r, const struct config_node *at, uint64_t min,
                        uint64_t max, uint64_t *ret)
{
    if (at->kind != NODE_INTEGER && (!at->variable || at->is_unresolved)) {
        config_reader_error(r, at, true, "expected a whole number, found %s",
                            config_node_kind_name(at->kind));
        return false;
    }
    if (num_parse_u64(str_from(at->text), ret) < 0 || *ret < min || *ret > max) {
        config_reader_error(r, at, true, "must be from %llu to %llu", (unsigned long long) min,
                            (unsigned long long) max);
        return false;
    }
    return true;
}

static void read_uid(struct config_reader *r, const struct config_node *at, struct config_caller *c)
{
    uint64_t v;

    if (read_number(r, at, 0, UINT32_MAX - 1, &v)) { /* the last is "no uid" (setreuid(2)) */
        c->uid = (uint32_t) v;
    }
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), n_end = strlen(end);

    return n > n_end && strcmp(text + n - n_end, end) == 0;
}

static bool is_unit(const char *text)
{
    return strlen(text) <= REQUEST_UNIT_MAX && !strchr(text, '/') &&
           (ends_with(text, ".service") || ends_with(text, ".scope"));
}

static void read_unit(struct config_reader *r, const struct config_node *at,
                      struct config_caller *c)
{
    if (!expect_text(r, at, "the name of a unit")) {
        return;
    }
    if (!is_unit(at->text)) {
        config_reader_error(r, at, true,
                            "expected the name of a unit that ends in .service or .scope, up to %d "
                            "bytes",
                            REQUEST_UNIT_MAX);
        return;
    }
    c->name = config_reader_dup(r, at->text);
}

static void read_key(struct config_reader *r, const struct config_node *at, struct config_caller *c)
{
    if (expect_text(r, at, "the id of a key")) {
        c->name = config_reader_dup(r, at->text);
    }
}

static void read_class(struct config_reader *r, const struct config_node *at,
                       struct config_caller *c)
{
    if (expect_text(r, at, "interactive, batch or background") &&
        call_class_from_name(str_from(at->text), &c->class) < 0) {
        config_reader_error(r, at, true, "expected interactive, batch or background");
    }
}

static void read_unsigned(struct config_reader *r, const struct config_node *at, uint64_t max,
                          unsigned *ret)
{
    uint64_t v;

    if (read_number(r, at, 1, max, &v)) {
        *ret = (unsigned) v;
    }
}

static void read_weight(struct config_reader *r, const struct config_node *at,
                        struct config_caller *c)
{
    read_unsigned(r, at, CONFIG_CALLER_WEIGHT_MAX, &c->weight);
}

static void read_running(struct config_reader *r, const struct config_node *at,
                         struct config_caller *c)
{
    read_unsigned(r, at, CONFIG_CALLER_RUNNING_MAX, &c->max_running);
}

static void read_queued(struct config_reader *r, const struct config_node *at,
                        struct config_caller *c)
{
    read_unsigned(r, at, CONFIG_CALLER_QUEUED_MAX, &c->max_queued);
}

static void read_rpm(struct config_reader *r, const struct config_node *at, struct config_caller *c)
{
    (void) read_number(r, at, 1, CONFIG_KEY_RATE_MAX, &c->rpm);
}

static void read_tpm(struct config_reader *r, const struct config_node *at, struct config_caller *c)
{
    (void) read_number(r, at, 1, CONFIG_KEY_RATE_MAX, &c->tpm);
}

static void read_parallel(struct config_reader *r, const struct config_node *at,
                          struct config_caller *c)
{
    read_unsigned(r, at, CONFIG_KEY_PARALLEL_MAX, &c->max_parallel);
}

static const struct field fields[] = {
    {"uid", read_uid},       {"unit", read_unit},
    {"key", read_key},       {"weight", read_weight},
    {"class", read_class},   {"running", read_running},
    {"queued", read_queued}, {"rpm", read_rpm},
    {"tpm", read_tpm},       {"max_parallel", read_parallel},
};

static void read_field(struct config_reader *r, const struct config_node *at,
                       struct config_caller *c)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (strcmp(fields[i].name, at->key) == 0) {
            fields[i].read(r, at, c);
            return;
        }
    }
    config_reader_error_at_key(r, at, true,
                               "unknown key \"%.64s\"; a caller has uid, unit or key, and weight, "
                               "class, running, queued, rpm, tpm, max_parallel",
                               at->key);
}

/* ---------------------------------------------------------------- the list */

static struct config_caller *append(struct config_reader *r)
{
    struct config *c = r->config;
    struct config_caller *grown = realloc(c->callers, (c->n_callers + 1) * sizeof *grown);

    if (!grown) {
        r->is_out_of_memory = true;
        return NULL;
    }
    c->callers = grown;
    c->callers[c->n_callers] = (struct config_caller) {.weight = 1, .class = CLASS_INTERACTIVE};
    return &c->callers[c->n_callers++];
}

/* Which of the three an entry is about. false: none, or several, which was said. */
static bool kind_of(struct config_reader *r, const struct config_node *at, enum caller_kind *ret)
{
    static const struct {
        const char *name;
        enum caller_kind kind;
    } kinds[] = {{"uid", CALLER_UID}, {"unit", CALLER_UNIT}, {"key", CALLER_KEY}};
    unsigned n = 0;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (config_node_find(at, kinds[i].name)) {
            *ret = kinds[i].kind;
            n++;
        }
    }
    if (n != 1) {
        config_reader_error(r, at, true, "expected one of uid, unit and key, found %u of them", n);
    }
    return n == 1;
}

static bool is_same(const struct config_caller *a, const struct config_caller *b)
{
    return a->kind == b->kind && a->uid == b->uid &&
           (a->kind == CALLER_UID || (a->name && b->name && strcmp(a->name, b->name) == 0));
}

static void refuse_twins(struct config_reader *r, const struct config_node *at,
                         const struct config_caller *c)
{
    for (const struct config_caller *other = r->config->callers; other < c; other++) {
        if (is_same(other, c)) {
            config_reader_error(r, at, true, "this caller stands in the list twice");
        }
    }
}

/* Its account is that of sluice.keys: of two limits nobody could say which holds. */
static void refuse_limits_of_key(struct config_reader *r, const struct config_node *at)
{
    static const char *const names[] = {"rpm", "tpm", "max_parallel"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct config_node *member = config_node_find(at, names[i]);

        if (member) {
            config_reader_error_at_key(r, member, true,
                                       "how much a key may use is said with it, in sluice.keys");
        }
    }
}

static void read_entry(struct config_reader *r, const struct config_node *at)
{
    enum caller_kind kind;
    struct config_caller *c;

    if (at->kind != NODE_MAP) {
        config_reader_error(r, at, true, "expected a map with uid, unit or key in it, found %s",
                            config_node_kind_name(at->kind));
        return;
    }
    if (!kind_of(r, at, &kind)) {
        return;
    }
    c = append(r);
    if (!c) {
        return;
    }
    c->kind = kind;
    config_node_for_each(member, at)
    {
        read_field(r, member, c);
    }
    if (kind == CALLER_KEY) {
        refuse_limits_of_key(r, at);
    }
    refuse_twins(r, at, c);
}

void config_callers_read(struct config_reader *r, const struct config_node *at)
{
    if (at->kind == NODE_NULL) { /* every entry commented out */
        return;
    }
    if (at->kind != NODE_LIST) {
        config_reader_error(r, at, true, "expected a list of callers, found %s",
                            config_node_kind_name(at->kind));
        return;
    }
    if (at->n_children > CONFIG_MAX_CALLERS) {
        config_reader_error(r, at, true, "more than %d callers", CONFIG_MAX_CALLERS);
        return;
    }
    config_node_for_each(item, at)
    {
        read_entry(r, item);
    }
}
