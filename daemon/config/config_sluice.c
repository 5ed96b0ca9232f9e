/*
 * The sluice: key. One table says every key, its type, its bounds and where its value goes;
 * config/sluice.yaml shows the same keys with their defaults and a word on each, and a unit test
 * holds the two together.
 *
 * This part of the file is ours alone, so it is read strictly where LiteLLM's is read leniently: an
 * unknown key, a wrong type, a missing unit or a value out of bounds is an error that the daemon
 * does not start with (and that a reload refuses). A limit with a typing error would be no limit.
 *
 * Durations and sizes carry their unit (30s, 64MiB). The bounds are there to catch slips of the
 * unit, not to know better: the smallest values still work, the largest still fit into the
 * arithmetic.
 */
#include "config/config_sluice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "config/config_access.h"
#include "config/config_callers.h"
#include "config/config_upstreams.h"

#define SECOND USEC_PER_SEC
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define KIB    UINT64_C(1024)
#define MIB    (1024 * KIB)
#define GIB    (1024 * MIB)

enum type {
    TYPE_COUNT,           /* size_t */
    TYPE_UNSIGNED,        /* unsigned */
    TYPE_SIZE,            /* size_t, in bytes */
    TYPE_SIZE_OR_AUTO,    /* the same; auto is CONFIG_SIZE_AUTO */
    TYPE_DURATION,        /* uint64_t, in microseconds */
    TYPE_DURATION_OR_OFF, /* the same; off is 0 */
    TYPE_LEVEL_OR_OFF,    /* enum pressure_level; off is PRESSURE_L0 */
    TYPE_BOOL,
    TYPE_DIRECTORY, /* char *, "" for none */
    TYPE_GROUP,     /* char *: a control group, see read_control_group() */
    TYPE_LISTENS,
    TYPE_HOSTS,
    TYPE_ORIGINS,
    TYPE_KEYS,      /* config_access.c */
    TYPE_KEYS_FILE, /* the same, elsewhere */
    TYPE_CALLERS,   /* config_callers.c */
    TYPE_UPSTREAMS, /* config_upstreams.c */
};

struct key {
    const char *name; /* below sluice: */
    enum type type;
    size_t offset; /* of the value in struct config */
    uint64_t min, max;
};

#define AT(member) offsetof(struct config, member)

static const struct key keys[] = {
    {"listen", TYPE_LISTENS, 0, 0, CONFIG_MAX_LISTENS},

    {"limits.connections", TYPE_COUNT, AT(max_connections), 1, 65536},
    {"limits.connections_per_uid", TYPE_COUNT, AT(max_connections_per_uid), 1, 65536},
    {"limits.calls_per_connection", TYPE_COUNT, AT(max_calls_per_connection), 1, 1024},
    {"limits.head", TYPE_SIZE, AT(max_head_bytes), KIB, MIB},
    {"limits.body", TYPE_SIZE, AT(max_body_bytes), KIB, GIB},
    {"limits.buffered", TYPE_SIZE, AT(max_buffered_bytes), MIB, 2 * GIB},

    {"timeouts.head", TYPE_DURATION, AT(head_usec), SECOND / 10, 10 * MINUTE},
    {"timeouts.body", TYPE_DURATION, AT(body_usec), SECOND / 10, HOUR},
    {"timeouts.keep_alive", TYPE_DURATION, AT(keep_alive_usec), SECOND / 10, 24 * HOUR},
    {"timeouts.stalled_reader", TYPE_DURATION, AT(stalled_reader_usec), SECOND / 10, HOUR},
    {"timeouts.drain", TYPE_DURATION, AT(drain_usec), 0, HOUR},
    {"timeouts.heartbeat", TYPE_DURATION, AT(heartbeat_usec), SECOND / 10, 5 * MINUTE},
    {"timeouts.connect", TYPE_DURATION, AT(connect_usec), SECOND / 10, 5 * MINUTE},
    {"timeouts.first_byte", TYPE_DURATION, AT(first_byte_usec), SECOND / 10, 24 * HOUR},
    {"timeouts.gap", TYPE_DURATION, AT(gap_usec), SECOND / 10, 24 * HOUR},

    {"idle_exit", TYPE_DURATION_OR_OFF, AT(idle_exit_usec), 0, 24 * HOUR},

    {"slots", TYPE_UNSIGNED, AT(slots), 1, 1024},

    {"queue.length", TYPE_COUNT, AT(max_queued), 1, 65536},
    {"queue.per_caller", TYPE_COUNT, AT(max_queued_caller), 1, 65536},
    {"queue.class.interactive", TYPE_COUNT, AT(max_queued_class[CLASS_INTERACTIVE]), 0, 65536},
    {"queue.class.batch", TYPE_COUNT, AT(max_queued_class[CLASS_BATCH]), 0, 65536},
    {"queue.class.background", TYPE_COUNT, AT(max_queued_class[CLASS_BACKGROUND]), 0, 65536},
    {"queue.bytes", TYPE_SIZE, AT(max_queued_bytes), 64 * KIB, 2 * GIB},
    {"queue.wait.interactive", TYPE_DURATION, AT(max_wait_usec[CLASS_INTERACTIVE]), SECOND / 10,
     24 * HOUR},
    {"queue.wait.batch", TYPE_DURATION, AT(max_wait_usec[CLASS_BATCH]), SECOND / 10, 24 * HOUR},
    {"queue.wait.background", TYPE_DURATION, AT(max_wait_usec[CLASS_BACKGROUND]), SECOND / 10,
     24 * HOUR},
    {"queue.patience.interactive", TYPE_DURATION, AT(patience_usec[CLASS_INTERACTIVE]), SECOND / 10,
     24 * HOUR},
    {"queue.patience.batch", TYPE_DURATION, AT(patience_usec[CLASS_BATCH]), SECOND / 10, 24 * HOUR},
    {"queue.patience.background", TYPE_DURATION, AT(patience_usec[CLASS_BACKGROUND]), SECOND / 10,
     24 * HOUR},

    {"pressure.enabled", TYPE_BOOL, AT(pressure_enabled), 0, 0},
    {"pressure.kernel_root", TYPE_DIRECTORY, AT(kernel_root), 0, 0},
    {"pressure.group", TYPE_GROUP, AT(pressure_group), 0, 255},

    {"memory.enabled", TYPE_BOOL, AT(memory_enabled), 0, 0},
    {"memory.reserve", TYPE_SIZE_OR_AUTO, AT(memory_reserve_bytes), MIB, 1024 * GIB},
    {"memory.prompt_cache", TYPE_SIZE_OR_AUTO, AT(prompt_cache_bytes), 0, 1024 * GIB},
    {"memory.pin_threads", TYPE_BOOL, AT(pins_threads), 0, 0},

    {"spill.level", TYPE_LEVEL_OR_OFF, AT(spill.level), 0, 0},
    {"spill.predicted_wait", TYPE_DURATION_OR_OFF, AT(spill.predicted_wait_usec), 0, 24 * HOUR},

    {"http.allowed_hosts", TYPE_HOSTS, 0, 0, CONFIG_MAX_HOSTS},
    {"http.allowed_origins", TYPE_ORIGINS, 0, 0, CONFIG_MAX_HOSTS},

    {"upstreams", TYPE_UPSTREAMS, 0, 0, 0},

    {"keys", TYPE_KEYS, 0, 0, CONFIG_MAX_KEYS},
    {"keys_file", TYPE_KEYS_FILE, 0, 0, 0},
    {"callers", TYPE_CALLERS, 0, 0, CONFIG_MAX_CALLERS},
};

/* The names on the way to those. */
static const char *const groups[] = {"limits",         "timeouts",    "queue",    "queue.wait",
                                     "queue.patience", "queue.class", "pressure", "memory",
                                     "spill",          "http"};

/* ---------------------------------------------------------------- scalars */

static void *value_at(struct config *c, const struct key *key)
{
    return (char *) c + key->offset;
}

static void expected(struct config_reader *r, const struct config_node *at, const char *what)
{
    if (at->is_unresolved) {
        config_reader_error(r, at, true, "the environment variable %.64s is not set, or empty",
                            at->variable);
    } else {
        config_reader_error(r, at, true, "expected %s, found %s", what,
                            config_node_kind_name(at->kind));
    }
}

static const char *format_size(uint64_t n, char ret_text[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
    size_t i = 0;

    while (i + 1 < ARRAY_LEN(units) && n > 0 && n % 1024 == 0) {
        n /= 1024;
        i++;
    }
    (void) snprintf(ret_text, 32, "%llu%s", (unsigned long long) n, units[i]);
    return ret_text;
}

static void out_of_bounds(struct config_reader *r, const struct config_node *at,
                          const struct key *key)
{
    char min[32], max[32];

    if (key->type == TYPE_SIZE || key->type == TYPE_SIZE_OR_AUTO) {
        config_reader_error(r, at, true, "must be from %s to %s", format_size(key->min, min),
                            format_size(key->max, max));
    } else if (key->type == TYPE_DURATION || key->type == TYPE_DURATION_OR_OFF) {
        config_reader_error(r, at, true, "must be from %s to %s",
                            num_format_duration(key->min, min), num_format_duration(key->max, max));
    } else {
        config_reader_error(r, at, true, "must be from %llu to %llu", (unsigned long long) key->min,
                            (unsigned long long) key->max);
    }
}

/* Has a value text at all (and so is not a list, a map, nothing, or an unset variable)? */
static bool has_text(const struct config_node *at)
{
    return (at->kind == NODE_STRING || at->kind == NODE_INTEGER || at->kind == NODE_FLOAT) &&
           !at->is_unresolved;
}

static void read_count(struct config_reader *r, const struct config_node *at, const struct key *key)
{
    uint64_t v;

    /* a variable holds text, whatever it is meant to be */
    if ((at->kind != NODE_INTEGER && !at->variable) || !has_text(at)) {
        expected(r, at, "a whole number");
    } else if (num_parse_u64(str_from(at->text), &v) < 0 || v < key->min || v > key->max) {
        out_of_bounds(r, at, key);
    } else if (key->type == TYPE_UNSIGNED) {
        *(unsigned *) value_at(r->config, key) = (unsigned) v;
    } else {
        *(size_t *) value_at(r->config, key) = (size_t) v;
    }
}

static void read_size(struct config_reader *r, const struct config_node *at, const struct key *key)
{
    uint64_t v;

    if (!has_text(at)) {
        expected(r, at, "a size such as 64KiB or 32MiB");
    } else if (at->kind != NODE_STRING && strcmp(at->text, "0") != 0) {
        config_reader_error(r, at, true, "a size needs a unit: write %.32sKiB, %.32sMiB or %.32sB",
                            at->text, at->text, at->text);
    } else if (num_parse_size(str_from(at->text), &v) < 0) {
        config_reader_error(
            r, at, true,
            "\"%.32s\" is not a size; write a number and B, KiB, MiB, GiB, kB, MB or "
            "GB, such as 64KiB",
            config_node_shown(at));
    } else if (v < key->min || v > key->max || v > SIZE_MAX) {
        out_of_bounds(r, at, key);
    } else {
        *(size_t *) value_at(r->config, key) = (size_t) v;
    }
}

static void read_size_or_auto(struct config_reader *r, const struct config_node *at,
                              const struct key *key)
{
    if (at->kind == NODE_STRING && !at->is_unresolved && strcmp(at->text, "auto") == 0) {
        *(size_t *) value_at(r->config, key) = CONFIG_SIZE_AUTO;
    } else {
        read_size(r, at, key);
    }
}

static void read_duration(struct config_reader *r, const struct config_node *at,
                          const struct key *key)
{
    uint64_t v;

    if (!has_text(at)) {
        expected(r, at, "a duration such as 30s or 5m");
    } else if (at->kind != NODE_STRING && strcmp(at->text, "0") != 0) {
        config_reader_error(r, at, true, "a duration needs a unit: write %.32ss for seconds",
                            at->text);
    } else if (num_parse_duration(str_from(at->text), &v) < 0) {
        config_reader_error(
            r, at, true,
            "\"%.32s\" is not a duration; write a number and ms, s, m, h or d, such as "
            "30s",
            config_node_shown(at));
    } else if (v < key->min || v > key->max) {
        out_of_bounds(r, at, key);
    } else {
        *(uint64_t *) value_at(r->config, key) = v;
    }
}

/* A plain off is a boolean in YAML 1.1. */
static bool is_off(const struct config_node *at)
{
    return (at->kind == NODE_BOOL && strcmp(at->text, "false") == 0) ||
           (at->kind == NODE_STRING && !at->is_unresolved && strcmp(at->text, "off") == 0);
}

static void read_level(struct config_reader *r, const struct config_node *at, const struct key *key)
{
    enum pressure_level level = PRESSURE_L0;

    if (!is_off(at) && (at->kind != NODE_STRING || at->is_unresolved ||
                        pressure_level_from_name(at->text, &level) < 0 || level == PRESSURE_L0)) {
        expected(r, at, "elevated, high, critical, emergency or off");
        return;
    }
    *(enum pressure_level *) value_at(r->config, key) = level;
}

static void read_bool(struct config_reader *r, const struct config_node *at, const struct key *key)
{
    if (at->kind != NODE_BOOL) {
        expected(r, at, "true or false");
        return;
    }
    *(bool *) value_at(r->config, key) = strcmp(at->text, "true") == 0;
}

static void read_directory(struct config_reader *r, const struct config_node *at,
                           const struct key *key)
{
    char **slot = value_at(r->config, key);
    char *copy;

    if (at->kind != NODE_STRING || at->is_unresolved) {
        expected(r, at, "a path");
        return;
    }
    if (at->text[0] != '\0' && at->text[0] != '/') {
        config_reader_error(r, at, true, "expected an absolute path, or \"\" for none");
        return;
    }
    copy = config_reader_dup(r, at->text);
    if (copy) {
        free(*slot);
        *slot = copy;
    }
}

/* "auto", "none", a unit as systemctl(1) names it, or a path below /sys/fs/cgroup. */
static void read_control_group(struct config_reader *r, const struct config_node *at,
                               const struct key *key)
{
    static const char what[] = "auto, none, a unit such as ollama.service, or a path below "
                               "/sys/fs/cgroup";
    char **slot = value_at(r->config, key), *copy;
    bool is_path = at->kind == NODE_STRING && !at->is_unresolved && at->text[0] == '/';

    if (at->kind != NODE_STRING || at->is_unresolved) {
        expected(r, at, what);
        return;
    }
    if (strlen(at->text) > key->max || strstr(at->text, "..") ||
        (!is_path && strcmp(at->text, "auto") != 0 && strcmp(at->text, "none") != 0 &&
         (strchr(at->text, '/') || !strchr(at->text, '.')))) {
        config_reader_error(r, at, true, "expected %s", what);
        return;
    }
    copy = config_reader_dup(r, at->text);
    if (copy) {
        free(*slot);
        *slot = copy;
    }
}

/* ---------------------------------------------------------------- lists */

/* Appends lower-case text to a list of strings. */
static void add_string(struct config_reader *r, char ***list, size_t *n, const char *text)
{
    char **grown = realloc(*list, (*n + 1) * sizeof *grown);
    char *copy = config_reader_dup(r, text);

    if (grown) {
        *list = grown;
    }
    if (!grown || !copy) {
        r->is_out_of_memory = true;
        free(copy);
        return;
    }
    for (char *p = copy; *p; p++) {
        *p = *p >= 'A' && *p <= 'Z' ? (char) (*p - 'A' + 'a') : *p;
    }
    (*list)[(*n)++] = copy;
}

static bool is_host_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
}

/* "gateway.lan", "192.168.1.5", "[fd00::5]": how many bytes at the front are a host. */
static size_t host_span(const char *s)
{
    size_t n = 0;

    if (s[0] == '[') {
        n = 1 + strspn(s + 1, "0123456789abcdefABCDEF:.");
        return n > 2 && s[n] == ']' ? n + 1 : 0;
    }
    while (is_host_letter(s[n])) {
        n++;
    }
    return n;
}

static void read_host(struct config_reader *r, const struct config_node *at)
{
    size_t n = host_span(at->text);

    if (n == 0 || n > 253 || at->text[n] != '\0') {
        config_reader_error(r, at, true,
                            "expected a host name or address without port, such as gateway.lan or "
                            "[fd00::5]; loopback names are always allowed");
        return;
    }
    add_string(r, &r->config->allowed_hosts, &r->config->n_allowed_hosts, at->text);
}

/* RFC 6454 section 6.2: scheme "://" host [ ":" port ] */
static void read_origin(struct config_reader *r, const struct config_node *at)
{
    const char *host = strstr(at->text, "://");
    size_t n = host ? host_span(host + 3) : 0;
    const char *rest = n > 0 ? host + 3 + n : NULL;
    size_t scheme = host ? (size_t) (host - at->text) : 0;
    uint64_t port;

    if (!rest || scheme == 0 ||
        strspn(at->text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.") !=
            scheme ||
        (*rest == ':' && (num_parse_u64(str_from(rest + 1), &port) < 0 || port > 65535)) ||
        (*rest != ':' && *rest != '\0')) {
        config_reader_error(r, at, true,
                            "expected an origin as browsers send it, such as https://app.lan or "
                            "http://app.lan:3000; there is no wildcard");
        return;
    }
    add_string(r, &r->config->allowed_origins, &r->config->n_allowed_origins, at->text);
}

static void read_listen(struct config_reader *r, const struct config_node *at)
{
    struct config *c = r->config;
    struct str name, address;
    const char *problem = config_split_listen(str_from(at->text), &name, &address);

    if (problem) {
        config_reader_error(r, at, true, "%s", problem);
        return;
    }

    struct config_listen *grown = realloc(c->listens, (c->n_listens + 1) * sizeof *grown);
    struct config_listen listen = {
        .name = strndup(name.ptr, name.len),
        .address = strndup(address.ptr, address.len),
    };

    if (grown) {
        c->listens = grown;
    }
    if (!grown || !listen.name || !listen.address) {
        r->is_out_of_memory = true;
        free(listen.name);
        free(listen.address);
        return;
    }
    c->listens[c->n_listens++] = listen;
}

static void read_list(struct config_reader *r, const struct config_node *at, const struct key *key)
{
    if (at->kind == NODE_NULL) {
        return; /* every item commented out */
    }
    if (at->kind != NODE_LIST) {
        expected(r, at, "a list");
        return;
    }
    if (at->n_children > key->max) {
        config_reader_error(r, at, true, "more than %llu items", (unsigned long long) key->max);
        return;
    }
    config_node_for_each(item, at)
    {
        if (item->kind != NODE_STRING || item->is_unresolved) {
            expected(r, item, "a string");
        } else if (key->type == TYPE_LISTENS) {
            read_listen(r, item);
        } else if (key->type == TYPE_HOSTS) {
            read_host(r, item);
        } else {
            read_origin(r, item);
        }
    }
}

/* ---------------------------------------------------------------- the tree of keys */

static void read_value(struct config_reader *r, const struct config_node *at, const struct key *key)
{
    switch (key->type) {
    case TYPE_COUNT:
    case TYPE_UNSIGNED:
        read_count(r, at, key);
        return;
    case TYPE_SIZE:
        read_size(r, at, key);
        return;
    case TYPE_SIZE_OR_AUTO:
        read_size_or_auto(r, at, key);
        return;
    case TYPE_DURATION:
        read_duration(r, at, key);
        return;
    case TYPE_DURATION_OR_OFF:
        if (is_off(at)) {
            *(uint64_t *) value_at(r->config, key) = 0;
        } else {
            read_duration(r, at, key);
        }
        return;
    case TYPE_LEVEL_OR_OFF:
        read_level(r, at, key);
        return;
    case TYPE_BOOL:
        read_bool(r, at, key);
        return;
    case TYPE_DIRECTORY:
        read_directory(r, at, key);
        return;
    case TYPE_GROUP:
        read_control_group(r, at, key);
        return;
    case TYPE_LISTENS:
    case TYPE_HOSTS:
    case TYPE_ORIGINS:
        read_list(r, at, key);
        return;
    case TYPE_KEYS:
        config_access_read_list(r, at);
        return;
    case TYPE_KEYS_FILE:
        config_access_read_file(r, at);
        return;
    case TYPE_CALLERS:
        config_callers_read(r, at);
        return;
    case TYPE_UPSTREAMS:
        config_upstreams_read(r, at);
        return;
    }
}

/* "queue.wait" + "batch" */
#define NAME_MAX_BYTES 128

static void join(const char *prefix, const char *name, char ret_name[NAME_MAX_BYTES])
{
    (void) snprintf(ret_name, NAME_MAX_BYTES, "%s%s%.64s", prefix, prefix[0] ? "." : "", name);
}

static bool is_group(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        if (strcmp(groups[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static const char *last_word(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot ? dot + 1 : name;
}

/*
 * The nearest name; else one with the same last word in another group: "queue.wait" for
 * "timeouts.wait". NULL: none.
 */
static const char *suggest(const char *name)
{
    const char *elsewhere = NULL;

    for (size_t i = 0; i < ARRAY_LEN(keys) + ARRAY_LEN(groups); i++) {
        const char *candidate = i < ARRAY_LEN(keys) ? keys[i].name : groups[i - ARRAY_LEN(keys)];

        if (config_keys_are_near(name, candidate)) {
            return candidate;
        }
        if (!elsewhere && config_keys_are_near(last_word(name), last_word(candidate))) {
            elsewhere = candidate;
        }
    }
    return elsewhere;
}

static void refuse_unknown(struct config_reader *r, const struct config_node *at, const char *name)
{
    const char *near = suggest(name);

    if (near) {
        config_reader_error_at_key(r, at, true, "unknown key; did you mean sluice.%s?", near);
    } else {
        config_reader_error_at_key(r, at, true, "unknown key");
    }
}

static void read_group(struct config_reader *r, const struct config_node *group, const char *prefix)
{
    if (config_reader_is_unset(group)) {
        return;
    }
    if (group->kind != NODE_MAP) {
        expected(r, group, "a map");
        return;
    }
    config_node_for_each(child, group)
    {
        char name[NAME_MAX_BYTES];
        const struct key *found = NULL;

        join(prefix, child->key, name);
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
            found = strcmp(keys[i].name, name) == 0 ? &keys[i] : found;
        }
        if (found) {
            config_reader_note(r, child, FINDING_EXACT, "%s", "");
            read_value(r, child, found);
        } else if (is_group(name)) {
            read_group(r, child, name); /* at most three levels: the names have no more */
        } else {
            refuse_unknown(r, child, name);
        }
    }
}

void config_sluice_read(struct config_reader *r, const struct config_node *section)
{
    const struct config *c = r->config;

    read_group(r, section, "");
    if (c->max_buffered_bytes < c->max_body_bytes) {
        config_reader_error(
            r, section, true,
            "limits.buffered is smaller than limits.body: no body of that size could "
            "ever be read");
    }
}
