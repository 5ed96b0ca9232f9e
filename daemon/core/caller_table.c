/*
 * See caller_table.h.
 *
 * Invariants: entry 0 is "others" and always used; no two used entries have the same name; an entry
 * with something waiting or running is never given to another.
 *
 * Must not: read files or clocks, know tickets, models or the queue beyond its lanes.
 */
#include "core/caller_table.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"

#define MINUTE_USEC (60 * USEC_PER_SEC)

/* Share of retries from which a client is told to wait twice as long, and of how many attempts. */
#define RETRIES_MUCH_PERMILLE 300
#define RETRIES_MUCH_ATTEMPTS 10

/* Of how many new calls, at most, it is counted how many were refused. */
#define REFUSALS_KEPT 64

/* A moving average gives the last call a fifth. */
#define ESTIMATE_SHARE 5

/* ---------------------------------------------------------------- who it is */

static bool is_named(const struct caller_table *t, const struct caller_name *name);

static struct str last_part(struct str path)
{
    size_t i = path.len;

    while (i > 0 && path.ptr[i - 1] != '/') {
        i--;
    }
    return (struct str) {path.ptr + i, path.len - i};
}

static bool ends_with(struct str s, const char *end)
{
    size_t n = strlen(end);

    return s.len > n && memcmp(s.ptr + s.len - n, end, n) == 0;
}

static bool starts_with(struct str s, const char *start)
{
    size_t n = strlen(start);

    return s.len >= n && memcmp(s.ptr, start, n) == 0;
}

/* The innermost unit of a path of slices, units and what a unit makes below itself. */
static struct str unit_of(struct str path)
{
    while (path.len > 0) {
        struct str part = last_part(path);

        if (ends_with(part, ".service") || ends_with(part, ".scope")) {
            return part;
        }
        path.len -= part.len;
        path.len -= path.len > 0; /* its slash */
    }
    return STR_NONE;
}

/* The path in one line of /proc/PID/cgroup that systemd has made: "0::PATH", or of its own tree. */
static struct str path_of(struct str line)
{
    static const char own[] = ":name=systemd:";
    const char *at = memmem(line.ptr, line.len, own, sizeof own - 1);

    if (starts_with(line, "0::")) {
        return (struct str) {line.ptr + 3, line.len - 3};
    }
    if (!at) {
        return STR_NONE;
    }
    at += sizeof own - 1;
    return (struct str) {at, (size_t) (line.ptr + line.len - at)};
}

static bool take_unit(struct str path, char ret_unit[CALLER_NAME_BYTES], bool *ret_is_system)
{
    struct str unit = unit_of(path);

    if (!unit.ptr || unit.len >= CALLER_NAME_BYTES || memchr(unit.ptr, '\0', unit.len)) {
        return false;
    }
    memcpy(ret_unit, unit.ptr, unit.len);
    ret_unit[unit.len] = '\0';
    *ret_is_system = starts_with(path, "/system.slice/");
    return true;
}

bool caller_unit_parse(struct str cgroup, char ret_unit[CALLER_NAME_BYTES], bool *ret_is_system)
{
    while (cgroup.len > 0) {
        const char *nl = memchr(cgroup.ptr, '\n', cgroup.len);
        struct str line = {cgroup.ptr, nl ? (size_t) (nl - cgroup.ptr) : cgroup.len};

        if (take_unit(path_of(line), ret_unit, ret_is_system)) {
            return true;
        }
        cgroup.ptr += line.len + (nl != NULL);
        cgroup.len -= line.len + (nl != NULL);
    }
    return false;
}

struct caller_name caller_name_of(const struct caller_table *t, const struct caller *who)
{
    struct caller_name unit = {.kind = CALLER_UNIT, .name = who->unit};

    if (who->key_id[0]) {
        return (struct caller_name) {.kind = CALLER_KEY, .name = who->key_id};
    }
    if (who->unit[0] && (who->is_system_unit || is_named(t, &unit))) {
        return unit;
    }
    if (who->has_uid) {
        return (struct caller_name) {.kind = CALLER_UID, .uid = who->uid};
    }
    return (struct caller_name) {.kind = CALLER_OTHERS};
}

/* ---------------------------------------------------------------- names */

static bool is_same(enum caller_kind kind, uint32_t uid, const char *name,
                    const struct caller_name *other)
{
    if (kind != other->kind) {
        return false;
    }
    switch (kind) {
    case CALLER_OTHERS:
        return true;
    case CALLER_UID:
        return uid == other->uid;
    case CALLER_UNIT:
    case CALLER_KEY:
        return strncmp(name, other->name, CALLER_NAME_BYTES - 1) == 0;
    }
    return false;
}

bool caller_name_is_same(const struct caller_name *a, const struct caller_name *b)
{
    return is_same(a->kind, a->uid, a->name, b);
}

const char *caller_name_describe(const struct caller_name *name,
                                 char ret_text[CALLER_DESCRIPTION_BYTES])
{
    switch (name->kind) {
    case CALLER_OTHERS:
        break;
    case CALLER_UID:
        (void) snprintf(ret_text, CALLER_DESCRIPTION_BYTES, "uid %u", (unsigned) name->uid);
        return ret_text;
    case CALLER_UNIT:
        (void) snprintf(ret_text, CALLER_DESCRIPTION_BYTES, "unit %s", name->name);
        return ret_text;
    case CALLER_KEY:
        (void) snprintf(ret_text, CALLER_DESCRIPTION_BYTES, "key %s", name->name);
        return ret_text;
    }
    return "others";
}

/* ---------------------------------------------------------------- rules */

static const struct caller_rule *rule_of(const struct caller_table *t,
                                         const struct caller_name *name)
{
    for (size_t i = 0; i < t->n_rules; i++) {
        const struct caller_rule *r = &t->rules[i];

        if (is_same(r->kind, r->uid, r->name, name)) {
            return r;
        }
    }
    return NULL;
}

static bool is_named(const struct caller_table *t, const struct caller_name *name)
{
    return rule_of(t, name) != NULL;
}

static struct caller_name name_of(const struct caller_entry *c)
{
    return (struct caller_name) {.kind = c->kind, .uid = c->uid, .name = c->name};
}

/* What the rules say of an entry; its virtual times go on as they are. */
static void obey(const struct caller_table *t, struct caller_entry *c)
{
    static const struct caller_rule none = {.class = CLASS_INTERACTIVE};
    struct caller_name name = name_of(c);
    const struct caller_rule *r = rule_of(t, &name);

    r = r ? r : &none;
    c->class = r->class;
    c->max_running = r->max_running;
    c->max_queued = r->max_queued;
    for (int i = 0; i < _CLASS_MAX; i++) {
        unsigned weight = r->weight < FAIR_WEIGHT_MAX ? r->weight : FAIR_WEIGHT_MAX;

        c->lanes[i].weight = weight > 0 ? weight : 1;
    }
}

/* ---------------------------------------------------------------- the table */

static void fill(const struct caller_table *t, struct caller_entry *c,
                 const struct caller_name *name, uint64_t now_usec)
{
    *c = (struct caller_entry) {
        .kind = name->kind, .uid = name->uid, .is_used = true, .seen_at_usec = now_usec};
    if (name->name) {
        (void) snprintf(c->name, sizeof c->name, "%s", name->name);
    }
    for (int i = 0; i < _CLASS_MAX; i++) {
        fair_lane_init(&c->lanes[i], (enum call_class) i, 1);
    }
    obey(t, c);
}

void caller_table_init(struct caller_table *t)
{
    *t = (struct caller_table) {0};
    fill(t, &t->entries[0], &(struct caller_name) {.kind = CALLER_OTHERS}, 0);
}

void caller_table_set_rules(struct caller_table *t, const struct caller_rule *rules, size_t n_rules)
{
    t->rules = rules;
    t->n_rules = n_rules;
    for (size_t i = 0; i < CALLER_MAX; i++) {
        if (t->entries[i].is_used) {
            obey(t, &t->entries[i]);
        }
    }
}

struct caller_entry *caller_table_find(struct caller_table *t, const struct caller_name *name)
{
    for (size_t i = 0; i < CALLER_MAX; i++) {
        struct caller_entry *c = &t->entries[i];

        if (c->is_used && is_same(c->kind, c->uid, c->name, name)) {
            return c;
        }
    }
    return NULL;
}

unsigned caller_entry_n_queued(const struct caller_entry *c)
{
    unsigned n = 0;

    for (int i = 0; i < _CLASS_MAX; i++) {
        n += c->lanes[i].n_items;
    }
    return n;
}

static bool is_busy(const struct caller_entry *c)
{
    return c->n_running > 0 || caller_entry_n_queued(c) > 0;
}

/* An entry that nobody needs: a free one, else that of who was not seen for longest. */
static struct caller_entry *find_room(struct caller_table *t)
{
    struct caller_entry *oldest = NULL;

    for (size_t i = 1; i < CALLER_MAX; i++) {
        struct caller_entry *c = &t->entries[i];

        if (!c->is_used) {
            return c;
        }
        if (!is_busy(c) && (!oldest || c->seen_at_usec < oldest->seen_at_usec)) {
            oldest = c;
        }
    }
    return oldest;
}

struct caller_entry *caller_table_take(struct caller_table *t, const struct caller_name *name,
                                       uint64_t now_usec)
{
    struct caller_entry *c = caller_table_find(t, name);

    if (!c) {
        c = find_room(t);
        if (!c) {
            return &t->entries[0];
        }
        fill(t, c, name, now_usec);
    }
    c->seen_at_usec = now_usec;
    return c;
}

const char *caller_entry_describe(const struct caller_entry *c,
                                  char ret_text[CALLER_DESCRIPTION_BYTES])
{
    struct caller_name name = name_of(c);

    return caller_name_describe(&name, ret_text);
}

/* ---------------------------------------------------------------- what is known of it */

void caller_entry_note_service(struct caller_entry *c, enum call_class class, uint32_t serial,
                               uint64_t usec)
{
    struct caller_estimate *all = c->estimates[class], e = {.serial = serial};
    uint64_t msec = usec / 1000 < UINT32_MAX / 2 ? (usec + 999) / 1000 : UINT32_MAX / 2;
    size_t i = 0;

    while (i + 1 < CALLER_ESTIMATES && all[i].serial != serial) {
        i++;
    }
    if (all[i].serial == serial && all[i].call_msec > 0) {
        msec = ((uint64_t) all[i].call_msec * (ESTIMATE_SHARE - 1) + msec) / ESTIMATE_SHARE;
    }
    e.call_msec = msec > 0 ? (uint32_t) msec : 1;
    memmove(all + 1, all, i * sizeof *all); /* the one used last stands first */
    all[0] = e;
}

uint64_t caller_entry_service(const struct caller_entry *c, enum call_class class, uint32_t serial)
{
    for (size_t i = 0; i < CALLER_ESTIMATES; i++) {
        if (c->estimates[class][i].serial == serial) {
            return c->estimates[class][i].call_msec * UINT64_C(1000);
        }
    }
    return 0;
}

void caller_entry_note_attempt(struct caller_entry *c, bool is_retry, uint64_t now_usec)
{
    uint64_t n_minutes = usec_since(now_usec, c->minute_at_usec) / MINUTE_USEC;

    if (n_minutes > 0) {
        c->n_attempts[1] = n_minutes == 1 ? c->n_attempts[0] : 0;
        c->n_retries[1] = n_minutes == 1 ? c->n_retries[0] : 0;
        c->n_attempts[0] = c->n_retries[0] = 0;
        c->minute_at_usec += n_minutes * MINUTE_USEC;
    }
    c->n_attempts[0]++;
    c->n_retries[0] += is_retry;
}

bool caller_entry_retries_much(const struct caller_entry *c)
{
    uint64_t n = (uint64_t) c->n_attempts[0] + c->n_attempts[1];
    uint64_t n_retries = (uint64_t) c->n_retries[0] + c->n_retries[1];

    return n >= RETRIES_MUCH_ATTEMPTS && n_retries * 1000 > n * RETRIES_MUCH_PERMILLE;
}

void caller_entry_note_new(struct caller_entry *c, enum call_class class, bool is_refused,
                           uint64_t patience_usec, uint64_t now_usec)
{
    struct caller_refusals *r = &c->refusals[class];

    if (usec_since(now_usec, r->last_at_usec) > patience_usec) {
        *r = (struct caller_refusals) {0};
    }
    if (is_refused) {
        r->since_usec = r->since_usec > 0 ? r->since_usec : now_usec;
        r->last_at_usec = now_usec;
    }
    if (r->since_usec == 0) {
        return;
    }
    r->n_new++;
    r->n_refused += is_refused;
    if (r->n_new >= REFUSALS_KEPT) {
        r->n_new /= 2;
        r->n_refused /= 2;
    }
}

bool caller_entry_is_crowded_out(const struct caller_entry *c, enum call_class class,
                                 uint64_t patience_usec, uint64_t now_usec)
{
    const struct caller_refusals *r = &c->refusals[class];

    return r->since_usec > 0 && usec_since(now_usec, r->last_at_usec) <= patience_usec &&
           usec_since(now_usec, r->since_usec) > patience_usec && 2 * r->n_refused > r->n_new;
}

/* Programs sleep longer than they were told. */
static uint64_t late_usec(const struct caller_promise *p)
{
    return p->wait_usec / 2 + USEC_PER_SEC;
}

void caller_entry_promise(struct caller_entry *c, enum call_class class, uint64_t wait_usec,
                          uint64_t now_usec)
{
    struct caller_promise *oldest = c->promises[class];

    for (size_t i = 1; i < CALLER_PROMISES; i++) {
        struct caller_promise *p = &c->promises[class][i];

        oldest = p->due_at_usec < oldest->due_at_usec ? p : oldest;
    }
    *oldest = (struct caller_promise) {now_usec + wait_usec, wait_usec};
}

unsigned caller_entry_n_promised(const struct caller_entry *c, enum call_class class,
                                 uint64_t now_usec)
{
    unsigned n = 0;

    for (size_t i = 0; i < CALLER_PROMISES; i++) {
        const struct caller_promise *p = &c->promises[class][i];

        n += p->due_at_usec != 0 && now_usec <= p->due_at_usec + late_usec(p);
    }
    return n;
}

uint64_t caller_entry_keeps_promise(struct caller_entry *c, enum call_class class,
                                    uint64_t now_usec)
{
    for (size_t i = 0; i < CALLER_PROMISES; i++) {
        struct caller_promise *p = &c->promises[class][i];
        uint64_t early_usec = p->wait_usec / 10;

        if (p->due_at_usec != 0 && now_usec + early_usec >= p->due_at_usec &&
            now_usec <= p->due_at_usec + late_usec(p)) {
            p->due_at_usec = 0;
            return p->wait_usec;
        }
    }
    return 0;
}
