/*
 * Reads the keys of clients. One table says what an entry may hold.
 *
 * As strict as all of sluice: a limit with a typing error would be no limit, and a key of which
 * half is understood would open more than was meant. So every mistake refuses the whole
 * configuration, with its place; in a list that lies outside of the file the text says the place,
 * as a finding has only lines of the file itself.
 *
 * A list of keys holds no secret that is worth much (a digest of 256 random bits), but who can
 * write it can let himself in, and who can read it can try guesses of keys that people made up: a
 * file that others may read or write is refused.
 *
 * Owns nothing: the values belong to struct config, the nodes to the reader's arena. Must not read
 * a clock: whether a key has expired is asked at each request.
 */
#include "config/config_access.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/num.h"
#include "base/sha256.h"
#include "config/config_yaml.h"

_Static_assert(CONFIG_SHA256_BYTES == SHA256_BYTES, "config.h says it without libcrypto's header");

/* One list, wherever it lies. */
struct key_list {
    struct config_reader *r;
    const struct config_node *at; /* outside of the file: where the file names it; NULL: nowhere */
    const char *source;           /* NULL: the file itself; else what people call the place */
};

struct field {
    const char *name;
    void (*read)(struct key_list *l, const struct config_node *at, struct config_access_key *key);
};

static void PRINTF_LIKE(3, 4)
    wrong(struct key_list *l, const struct config_node *at, const char *fmt, ...)
{
    char text[CONFIG_TEXT_MAX], path[CONFIG_NODE_PATH_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!l->source) {
        config_reader_error(l->r, at, true, "%s", text);
        return;
    }
    config_node_path(at, path);
    config_reader_error(l->r, l->at, true, "%.128s:%u:%u: %.64s: %s", l->source, at->line,
                        at->column, path, text);
}

/* Text, as which also counts what a variable holds. */
static bool expect_text(struct key_list *l, const struct config_node *at, const char *what)
{
    if (at->is_unresolved) {
        wrong(l, at, "the environment variable %.64s is not set, or empty", at->variable);
        return false;
    }
    if (at->kind != NODE_STRING) {
        wrong(l, at, "expected %s, found %s", what, config_node_kind_name(at->kind));
        return false;
    }
    return true;
}

/* ---------------------------------------------------------------- the members of an entry */

static bool is_id(const char *text)
{
    size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

    return n > 0 && n <= REQUEST_KEY_ID_MAX && text[n] == '\0';
}

static void read_id(struct key_list *l, const struct config_node *at, struct config_access_key *key)
{
    if (!expect_text(l, at, "a string")) {
        return;
    }
    if (!is_id(at->text)) {
        wrong(l, at, "expected 1 to %d letters, digits, dots, dashes or underlines",
              REQUEST_KEY_ID_MAX);
        return;
    }
    key->id = config_reader_dup(l->r, at->text);
}

static void read_sha256(struct key_list *l, const struct config_node *at,
                        struct config_access_key *key)
{
    if (!expect_text(l, at, "64 hexadecimal digits")) {
        return;
    }
    if (sha256_parse(at->text, key->sha256) < 0) {
        wrong(l, at, "expected 64 hexadecimal digits, as `sluicectl key hash` prints them%s",
              strlen(at->text) == SHA256_HEX_CHARS ? "" : "; never write the key itself here");
    }
}

/* A star at either end stands for any text; a star alone for every model. */
static bool is_pattern(const char *text)
{
    size_t n = strlen(text);
    const char *star = n > 0 ? strchr(text + 1, '*') : NULL;

    return n > 0 && n <= REQUEST_MODEL_MAX && (!star || star == text + n - 1);
}

static void add_model(struct key_list *l, const struct config_node *at,
                      struct config_access_key *key)
{
    struct config_names *models = &key->models;
    char **grown = realloc(models->items, (models->n_items + 1) * sizeof *grown);
    char *copy = config_reader_dup(l->r, at->text);

    if (grown) {
        models->items = grown;
    }
    if (!grown || !copy) {
        l->r->is_out_of_memory = true;
        free(copy);
        return;
    }
    models->items[models->n_items++] = copy;
}

static void read_models(struct key_list *l, const struct config_node *at,
                        struct config_access_key *key)
{
    if (at->kind != NODE_LIST) {
        wrong(l, at, "expected a list, found %s", config_node_kind_name(at->kind));
        return;
    }
    if (at->n_children == 0 || at->n_children > CONFIG_MAX_NAMES) {
        wrong(l, at, "expected 1 to %d names; left out, the key may use every model",
              CONFIG_MAX_NAMES);
        return;
    }
    config_node_for_each(item, at)
    {
        if (!expect_text(l, item, "the name of a model")) {
            continue;
        }
        if (!is_pattern(item->text)) {
            wrong(l, item, "expected the name of a model, up to %d bytes; * only at its ends",
                  REQUEST_MODEL_MAX);
            continue;
        }
        add_model(l, item, key);
    }
}

static void read_class(struct key_list *l, const struct config_node *at,
                       struct config_access_key *key)
{
    if (expect_text(l, at, "interactive, batch or background") &&
        call_class_from_name(str_from(at->text), &key->class) < 0) {
        wrong(l, at, "expected interactive, batch or background");
    }
}

/* A whole number from 1 to max; 0 where it is none. */
static uint64_t read_number(struct key_list *l, const struct config_node *at, uint64_t max)
{
    uint64_t v;

    if (at->kind != NODE_INTEGER && (!at->variable || at->is_unresolved)) {
        wrong(l, at, "expected a whole number, found %s", config_node_kind_name(at->kind));
        return 0;
    }
    if (num_parse_u64(str_from(at->text), &v) < 0 || v < 1 || v > max) {
        wrong(l, at, "must be from 1 to %llu", (unsigned long long) max);
        return 0;
    }
    return v;
}

static void read_weight(struct key_list *l, const struct config_node *at,
                        struct config_access_key *key)
{
    key->weight = (unsigned) read_number(l, at, CONFIG_KEY_WEIGHT_MAX);
}

static void read_rpm(struct key_list *l, const struct config_node *at,
                     struct config_access_key *key)
{
    key->rpm = read_number(l, at, CONFIG_KEY_RATE_MAX);
}

static void read_tpm(struct key_list *l, const struct config_node *at,
                     struct config_access_key *key)
{
    key->tpm = read_number(l, at, CONFIG_KEY_RATE_MAX);
}

static void read_parallel(struct key_list *l, const struct config_node *at,
                          struct config_access_key *key)
{
    key->max_parallel = (unsigned) read_number(l, at, CONFIG_KEY_PARALLEL_MAX);
}

/* ---------------------------------------------------------------- dates */

/* n digits and the character behind them ('\0' for none); moves on. -1: something else. */
static int take_digits(const char **at, size_t n, char behind)
{
    const char *p = *at;
    int v = 0;

    for (size_t i = 0; i < n; i++, p++) {
        if (*p < '0' || *p > '9') {
            return -1;
        }
        v = v * 10 + (*p - '0');
    }
    if (behind != '\0' && *p++ != behind) {
        return -1;
    }
    *at = p;
    return v;
}

/* RFC 3339 section 5.6, full-date. */
static bool take_date(const char **at, struct tm *ret)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = take_digits(at, 4, '-');
    int month = year < 0 ? -1 : take_digits(at, 2, '-');
    int day = month < 0 ? -1 : take_digits(at, 2, '\0');
    bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    if (year < 1970 || month < 1 || month > 12 || day < 1 ||
        day > days[month - 1] + (month == 2 && is_leap)) {
        return false;
    }
    *ret = (struct tm) {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
    return true;
}

/* partial-time; a leap second is the first of the next minute, fractions count for nothing */
static bool take_time(const char **at, struct tm *tm)
{
    tm->tm_hour = take_digits(at, 2, ':');
    tm->tm_min = tm->tm_hour < 0 ? -1 : take_digits(at, 2, ':');
    tm->tm_sec = tm->tm_min < 0 ? -1 : take_digits(at, 2, '\0');
    if (tm->tm_sec >= 0 && **at == '.') {
        size_t n = strspn(*at + 1, "0123456789");

        *at += 1 + n;
        if (n == 0) {
            return false;
        }
    }
    return tm->tm_sec >= 0 && tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec <= 60;
}

/* time-offset: how far that clock is ahead of UTC. */
static bool take_offset(const char **at, int64_t *ret_sec)
{
    char sign = **at;

    (*at)++;
    if (sign == 'Z' || sign == 'z') {
        *ret_sec = 0;
        return true;
    }

    int hours = sign == '+' || sign == '-' ? take_digits(at, 2, ':') : -1;
    int minutes = hours < 0 ? -1 : take_digits(at, 2, '\0');

    if (minutes < 0 || hours > 23 || minutes > 59) {
        return false;
    }
    *ret_sec = (sign == '-' ? -1 : 1) * (int64_t) (hours * 3600 + minutes * 60);
    return true;
}

/* "2027-01-31" (its first moment, UTC) or "2027-01-31T12:00:00+01:00". 0: neither. */
static uint64_t parse_instant(const char *text)
{
    const char *at = text;
    int64_t offset_sec = 0;
    struct tm tm;

    if (!take_date(&at, &tm)) {
        return 0;
    }
    if (*at != '\0') {
        if (*at != 'T' && *at != 't' && *at != ' ') {
            return 0;
        }
        at++;
        if (!take_time(&at, &tm) || !take_offset(&at, &offset_sec) || *at != '\0') {
            return 0;
        }
    }

    int64_t sec = (int64_t) timegm(&tm) - offset_sec;

    return sec > 0 ? (uint64_t) sec : 0;
}

static void read_expires(struct key_list *l, const struct config_node *at,
                         struct config_access_key *key)
{
    static const char what[] = "a date such as 2027-01-31, or with a time: 2027-01-31T12:00:00Z";

    if (!expect_text(l, at, what)) {
        return;
    }
    key->expires_at_sec = parse_instant(at->text);
    if (key->expires_at_sec == 0) {
        wrong(l, at, "expected %s", what);
    }
}

/* ---------------------------------------------------------------- a list */

static const struct field fields[] = {
    {"id", read_id},       {"sha256", read_sha256},         {"models", read_models},
    {"class", read_class}, {"weight", read_weight},         {"rpm", read_rpm},
    {"tpm", read_tpm},     {"max_parallel", read_parallel}, {"expires", read_expires},
};

static void read_field(struct key_list *l, const struct config_node *at,
                       struct config_access_key *key)
{
    const char *near = NULL;

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (strcmp(fields[i].name, at->key) == 0) {
            fields[i].read(l, at, key);
            return;
        }
        near = config_keys_are_near(at->key, fields[i].name) ? fields[i].name : near;
    }
    if (near) {
        wrong(l, at, "unknown key \"%.64s\"; did you mean \"%s\"?", at->key, near);
    } else if (config_keys_are_near(at->key, "key") || config_keys_are_near(at->key, "api_key")) {
        wrong(l, at, "no key is written here, only its sha256: `sluicectl key hash` prints it");
    } else {
        wrong(l, at, "unknown key \"%.64s\"", at->key);
    }
}

/* Was its sha256 one? Nobody has a key whose digest is zero. */
static bool has_digest(const struct config_access_key *key)
{
    static const uint8_t none[SHA256_BYTES];

    return !sha256_is_equal(key->sha256, none);
}

/* A key that is there twice would have the limits of one of the two, by accident. */
static void refuse_twins(struct key_list *l, const struct config_node *at,
                         const struct config_access_key *key)
{
    const struct config *c = l->r->config;

    for (const struct config_access_key *k = c->keys; k < key; k++) {
        if (k->id && strcmp(k->id, key->id) == 0) {
            wrong(l, at, "another key has the id \"%s\"", key->id);
        }
        if (sha256_is_equal(k->sha256, key->sha256)) {
            wrong(l, at, "the key \"%s\" has the same sha256", k->id ? k->id : "?");
        }
    }
}

/* A new one at the end of the configuration's; NULL: out of memory. */
static struct config_access_key *append(struct key_list *l)
{
    struct config *c = l->r->config;
    struct config_access_key *grown = realloc(c->keys, (c->n_keys + 1) * sizeof *grown);

    if (!grown) {
        l->r->is_out_of_memory = true;
        return NULL;
    }
    c->keys = grown;
    c->keys[c->n_keys] = (struct config_access_key) {.class = CLASS_INTERACTIVE,
                                                     .weight = CONFIG_KEY_WEIGHT_DEFAULT};
    return &c->keys[c->n_keys++];
}

static void read_entry(struct key_list *l, const struct config_node *at)
{
    const struct config_node *sha256 = config_node_find(at, "sha256");
    struct config_access_key *key;

    if (at->kind != NODE_MAP) {
        wrong(l, at, "expected a map with id and sha256 in it, found %s",
              config_node_kind_name(at->kind));
        return;
    }
    if (!config_node_find(at, "id") || !sha256) {
        wrong(l, at, "%s is missing", sha256 ? "id" : "sha256");
    }
    key = append(l);
    if (!key) {
        return;
    }
    config_node_for_each(member, at)
    {
        read_field(l, member, key);
    }
    if (key->id && has_digest(key)) {
        refuse_twins(l, at, key);
    }
}

static void read_list(struct key_list *l, const struct config_node *list)
{
    if (list->kind != NODE_LIST) {
        wrong(l, list, "expected a list of keys, found %s", config_node_kind_name(list->kind));
        return;
    }
    if (l->r->config->n_keys + list->n_children > CONFIG_MAX_KEYS) {
        wrong(l, list, "more than %d keys", CONFIG_MAX_KEYS);
        return;
    }
    config_node_for_each(item, list)
    {
        read_entry(l, item);
    }
}

void config_access_read_list(struct config_reader *r, const struct config_node *at)
{
    struct key_list l = {.r = r};

    if (at->kind == NODE_NULL) { /* every entry commented out */
        wrong(&l, at, "no key is listed, so none would be asked for; if that is meant, write []");
        return;
    }
    read_list(&l, at);
}

/* ---------------------------------------------------------------- a list elsewhere */

static void read_text(struct key_list *l, struct str text)
{
    struct config_reader *r = l->r;
    struct config_yaml_error err;
    struct config_node *root = NULL;
    int k = config_yaml_parse(text, r->arena, &root, &err);

    if (k == -EBADMSG) {
        config_reader_error(r, l->at, true, "%.128s:%u:%u: %s", l->source, err.line, err.column,
                            err.text);
    } else if (k < 0) {
        r->is_out_of_memory = true;
    } else if (!root || root->kind == NODE_NULL || (root->kind == NODE_LIST && !root->first)) {
        config_reader_error(r, l->at, true, "%.128s holds no key: nobody could call", l->source);
    } else {
        read_list(l, root);
    }
}

static int read_whole(int fd, struct buf *ret)
{
    ssize_t n;

    do {
        char *room = buf_room(ret) > 0 ? buf_reserve(ret, buf_room(ret)) : NULL;

        if (!room) {
            return buf_room(ret) > 0 ? -ENOMEM : -EFBIG;
        }
        n = read(fd, room, buf_room(ret));
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        buf_commit(ret, n > 0 ? (size_t) n : 0);
    } while (n != 0);
    return 0;
}

/* The text of the file; false after saying what is wrong with it. */
static bool open_and_read(struct config_reader *r, const struct config_node *at, struct buf *ret)
{
    /* a FIFO must not hold the daemon until somebody writes */
    CLEANUP(fd_closep) int fd = open(at->text, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    int k;

    if (fd < 0 || fstat(fd, &st) < 0) {
        config_reader_error(r, at, true, "cannot read it: %s", strerror(errno));
        return false;
    }
    if (!S_ISREG(st.st_mode)) {
        config_reader_error(r, at, true, "it is no regular file");
        return false;
    }
    if (st.st_mode & S_IRWXO) {
        config_reader_error(r, at, true,
                            "others may read or write it (mode %04o): chmod o-rwx it, and let "
                            "sluiced's group read it",
                            (unsigned) st.st_mode & 07777);
        return false;
    }
    k = read_whole(fd, ret);
    r->is_out_of_memory = r->is_out_of_memory || k == -ENOMEM;
    if (k == -EFBIG) {
        config_reader_error(r, at, true, "it is larger than %d KiB", CONFIG_KEYS_FILE_MAX / 1024);
    } else if (k < 0 && k != -ENOMEM) {
        config_reader_error(r, at, true, "cannot read it: %s", strerror(-k));
    }
    return k == 0;
}

void config_access_read_file(struct config_reader *r, const struct config_node *at)
{
    struct key_list l = {.r = r, .at = at, .source = at->text};
    CLEANUP(buf_wipe) struct buf text;

    buf_init(&text, CONFIG_KEYS_FILE_MAX + 1);
    if (at->kind != NODE_STRING || at->is_unresolved) {
        config_reader_error(r, at, true, "expected a path, found %s",
                            at->is_unresolved ? "a variable that is not set"
                                              : config_node_kind_name(at->kind));
    } else if (at->text[0] == '\0') {
        return;
    } else if (at->text[0] != '/') {
        config_reader_error(r, at, true, "expected an absolute path, or \"\" for none");
    } else if (open_and_read(r, at, &text)) {
        read_text(&l, buf_str(&text));
    }
}

void config_access_finish(struct config_reader *r)
{
    struct key_list l = {.r = r, .source = "the credential " CONFIG_KEYS_CREDENTIAL};
    const struct config *c = r->config;
    const char *text = NULL;
    uint8_t master[SHA256_BYTES];

    if (credentials_find(r->credentials, CONFIG_KEYS_CREDENTIAL, &text) == 0) {
        config_reader_note(r, NULL, FINDING_EXACT, "keys are read from %s", l.source);
        read_text(&l, str_from(text));
    }
    if (!c->master_key) {
        return;
    }
    if (sha256_of(c->master_key, strlen(c->master_key), master) < 0) {
        r->is_out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < c->n_keys; i++) {
        if (sha256_is_equal(c->keys[i].sha256, master)) {
            config_reader_error(r, NULL, true,
                                "the key \"%s\" is the master key, which has no limits",
                                c->keys[i].id ? c->keys[i].id : "?");
        }
    }
}

bool config_access_has_keys(const struct config_reader *r)
{
    const struct config_node *ours = config_node_find(r->root, "sluice");
    const struct config_node *list = config_node_find(ours, "keys");
    const struct config_node *file = config_node_find(ours, "keys_file");
    const char *text = NULL;

    return (list && list->n_children > 0) || (file && file->text && file->text[0] != '\0') ||
           credentials_find(r->credentials, CONFIG_KEYS_CREDENTIAL, &text) == 0;
}
