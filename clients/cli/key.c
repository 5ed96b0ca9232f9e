/*
 * sluicectl key new: keys that nobody can guess.
 *
 * slu_<id>_<secret>: 32 random bits in hexadecimal, by which people and logs may call the key
 * without knowing it, and 256 random bits in base64url (RFC 4648, section 5; 43 characters, no
 * padding), which are the key. All characters may stand in a header, in YAML and in a shell without
 * quotes. The kernel's generator makes them (getrandom(2)). Nothing is stored: what is printed is
 * the only copy, and this process wipes its own.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "cli.h"
#include "json.h"
#include "options.h"
#include "term.h"

#define ID_BYTES     4
#define SECRET_BYTES 32
#define KEY_CHARS    (4 + 2 * ID_BYTES + 1 + 43) /* "slu_", id, "_", secret */
#define MAX_KEYS     1000                        /* of one run */

struct key_options {
    struct common_options common;
    struct int_option count;
};

static const struct option_row key_rows[] = {
    {"count", 'n', OPTION_COUNT, "N", "make that many (default: 1)",
     offsetof(struct key_options, count)},
    OPTION_JSON,
    {.name = NULL},
};

struct key {
    char id[2 * ID_BYTES + 1];
    char text[KEY_CHARS + 1];
};

static int fill_random(uint8_t *out, size_t n)
{
    size_t at = 0;

    while (at < n) {
        ssize_t got = getrandom(out + at, n - at, 0);

        if (got < 0 && errno != EINTR) {
            return -errno;
        }
        at += got > 0 ? (size_t) got : 0;
    }
    return 0;
}

/* n bytes as base64url without padding; out has room for it and a NUL. */
static void write_base64url(const uint8_t *bytes, size_t n, char *out)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    for (size_t bit = 0; bit < 8 * n; bit += 6) {
        unsigned window =
            (unsigned) bytes[bit / 8] << 8 | (bit / 8 + 1 < n ? bytes[bit / 8 + 1] : 0);

        *out++ = alphabet[window >> (10 - bit % 8) & 0x3f];
    }
    *out = '\0';
}

static int make_key(struct key *ret)
{
    uint8_t random[ID_BYTES + SECRET_BYTES];
    char secret[KEY_CHARS];
    int r = fill_random(random, sizeof(random));

    if (r < 0) {
        return r;
    }
    (void) snprintf(ret->id, sizeof(ret->id), "%02x%02x%02x%02x", random[0], random[1], random[2],
                    random[3]);
    write_base64url(random + ID_BYTES, SECRET_BYTES, secret);
    (void) snprintf(ret->text, sizeof(ret->text), "slu_%s_%.43s", ret->id, secret);
    explicit_bzero(random, sizeof(random));
    explicit_bzero(secret, sizeof(secret));
    return 0;
}

/* To a person, beside the key and not in it: stdout holds nothing but keys. */
static void say_where_it_goes(void)
{
    if (!term_is_tty(stderr)) {
        return;
    }
    term_style(stderr, STYLE_DIM);
    (void) fputs("\nThis is the only copy. To make sluiced ask for it, set in its configuration\n"
                 "    general_settings: { master_key: os.environ/SLUICE_KEY }\n"
                 "and SLUICE_KEY in the environment of sluiced, or a systemd credential of that "
                 "name.\n",
                 stderr);
    term_style(stderr, STYLE_PLAIN);
}

static int make_keys(const struct key_options *options)
{
    int64_t n = options->count.is_set ? options->count.value : 1;
    cJSON *document = options->common.is_json ? json_object() : NULL;
    cJSON *keys = document ? json_add_array(document, "keys") : NULL;

    for (int64_t i = 0; i < n; i++) {
        struct key key;
        int r = make_key(&key);

        if (r < 0) {
            cJSON_Delete(document);
            return complain_errno("key new", r);
        }
        if (keys) {
            cJSON *item = json_add_object(keys, NULL);

            json_add_text(item, "id", key.id);
            json_add_text(item, "key", key.text);
        } else {
            (void) puts(key.text);
        }
        explicit_bzero(&key, sizeof(key));
    }
    if (document) {
        json_print(document);
    } else {
        (void) fflush(stdout);
        say_where_it_goes();
    }
    return EXIT_OK;
}

int run_key(const struct command *command, int argc, char **argv)
{
    struct key_options options = {.count = {.is_set = false}};
    int code = options_parse(command, key_rows, argc, argv, &options.common);

    code = code == OPTIONS_GO_ON ? options_want_words(command, argc, argv, &options.common, 1, 1)
                                 : code;
    if (code != OPTIONS_GO_ON) {
        return code;
    }
    if (strcmp(argv[options.common.first_word], "new") != 0) {
        return complain_with(EXIT_USAGE, "usage", "key: there is only `sluicectl key new`");
    }
    if (options.count.is_set && options.count.value > MAX_KEYS) {
        return complain_with(EXIT_USAGE, "usage", "key: at most %d at a time", MAX_KEYS);
    }
    return make_keys(&options);
}
