/*
 * sluicectl key: keys that nobody can guess, and their hashes.
 *
 * slu_<id>_<secret>: the id by which people and logs call the key without knowing it (32 random bits
 * in hexadecimal, or --id), and 256 random bits in base64url (RFC 4648, section 5; 43 characters, no
 * padding), which are the key. All characters may stand in a header, in YAML and in a shell without
 * quotes. The kernel's generator makes them (getrandom(2)). Nothing is stored: what is printed is
 * the only copy, and this process wipes its own. The configuration gets the SHA-256.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <termios.h>
#include <unistd.h>

#include "base/sha256.h"
#include "cli.h"
#include "json.h"
#include "options.h"
#include "term.h"

#define ID_BYTES     4
#define ID_MAX       48 /* of --id: what sluiced takes, REQUEST_KEY_ID_MAX */
#define SECRET_BYTES 32
#define SECRET_CHARS 43
#define KEY_MAX      (4 + ID_MAX + 1 + SECRET_CHARS) /* "slu_", id, "_", secret */
#define GIVEN_MAX    4096                            /* of a key to hash: as sluiced's master key */
#define MAX_KEYS     1000                            /* of one run */

struct key_options {
    struct common_options common;
    const char *id;
    struct int_option count;
};

static const struct option_row key_rows[] = {
    {"id", 'i', OPTION_TEXT, "ID", "new: what to call it (default: 8 random characters)",
     offsetof(struct key_options, id)},
    {"count", 'n', OPTION_COUNT, "N", "new: make that many (default: 1)",
     offsetof(struct key_options, count)},
    OPTION_JSON,
    {.name = NULL},
};

struct key {
    char id[ID_MAX + 1];
    char text[KEY_MAX + 1];
    char sha256[SHA256_HEX_CHARS + 1];
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

static int hash(const char *text, size_t n, char ret[SHA256_HEX_CHARS + 1])
{
    uint8_t digest[SHA256_BYTES];
    int r = sha256_of(text, n, digest);

    if (r == 0) {
        (void) sha256_format(digest, ret);
    }
    return r;
}

/* id NULL: a random one. */
static int make_key(const char *id, struct key *ret)
{
    uint8_t random[ID_BYTES + SECRET_BYTES];
    char secret[SECRET_CHARS + 1];
    int r = fill_random(random, sizeof(random));

    if (r < 0) {
        return r;
    }
    if (id) {
        (void) snprintf(ret->id, sizeof(ret->id), "%s", id);
    } else {
        (void) snprintf(ret->id, sizeof(ret->id), "%02x%02x%02x%02x", random[0], random[1],
                        random[2], random[3]);
    }
    write_base64url(random + ID_BYTES, SECRET_BYTES, secret);
    (void) snprintf(ret->text, sizeof(ret->text), "slu_%s_%s", ret->id, secret);
    explicit_bzero(random, sizeof(random));
    explicit_bzero(secret, sizeof(secret));
    return hash(ret->text, strlen(ret->text), ret->sha256);
}

/* ---------------------------------------------------------------- key new */

/* Beside the key and not with it: stdout holds nothing but keys. */
static void say_entry(const struct key *key)
{
    term_style(stderr, STYLE_DIM);
    (void) fprintf(stderr, "    - id: %s\n      sha256: %s\n", key->id, key->sha256);
    term_style(stderr, STYLE_PLAIN);
}

static void say_where_it_goes(void)
{
    term_style(stderr, STYLE_DIM);
    (void) fputs("That is for sluice.keys of sluiced's configuration. The key above is the only "
                 "copy.\n",
                 stderr);
    if (term_is_tty(stderr)) {
        (void) fputs("As the master key, without limits, set there instead\n"
                     "    general_settings: { master_key: os.environ/SLUICE_KEY }\n"
                     "and SLUICE_KEY in the environment of sluiced, or a systemd credential of "
                     "that name.\n",
                     stderr);
    }
    term_style(stderr, STYLE_PLAIN);
}

static void add_json(cJSON *keys, const struct key *key)
{
    cJSON *item = json_add_object(keys, NULL);

    json_add_text(item, "id", key->id);
    json_add_text(item, "key", key->text);
    json_add_text(item, "sha256", key->sha256);
}

static int make_keys(const struct key_options *options)
{
    int64_t n = options->count.is_set ? options->count.value : 1;
    cJSON *document = options->common.is_json ? json_object() : NULL;
    cJSON *keys = document ? json_add_array(document, "keys") : NULL;
    /* who names a key wants its entry; who only makes one in a pipe did not ask for words */
    bool says_entry = !document && (options->id || term_is_tty(stderr));

    for (int64_t i = 0; i < n; i++) {
        struct key key;
        int r = make_key(options->id, &key);

        if (r < 0) {
            cJSON_Delete(document);
            return complain_errno("key new", r);
        }
        if (keys) {
            add_json(keys, &key);
        } else {
            (void) puts(key.text);
        }
        if (says_entry) {
            (void) fflush(stdout);
            say_entry(&key);
        }
        explicit_bzero(&key, sizeof(key));
    }
    if (document) {
        json_print(document);
    } else if (says_entry) {
        say_where_it_goes();
    }
    return EXIT_OK;
}

static bool is_id(const char *text)
{
    size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

    return n > 0 && n <= ID_MAX && text[n] == '\0';
}

static int run_new(const struct key_options *options)
{
    if (options->id && !is_id(options->id)) {
        return complain_with(EXIT_USAGE, "usage",
                             "key: an id is 1 to %d letters, digits, dots, dashes or underlines",
                             ID_MAX);
    }
    if (options->count.is_set && options->count.value > (options->id ? 1 : MAX_KEYS)) {
        return complain_with(EXIT_USAGE, "usage", "key: at most %d at a time%s",
                             options->id ? 1 : MAX_KEYS, options->id ? " with --id" : "");
    }
    return make_keys(options);
}

/* ---------------------------------------------------------------- key hash */

/*
 * Whether the terminal shows what is typed. Signals wait as long: one would leave it without an
 * echo. false: standard input is no terminal.
 */
static bool set_echo(bool on)
{
    const tcflag_t flags = ECHO | ISIG;
    struct termios t;

    if (tcgetattr(STDIN_FILENO, &t) < 0) {
        return false;
    }
    t.c_lflag = on ? t.c_lflag | flags : t.c_lflag & ~flags;
    return tcsetattr(STDIN_FILENO, TCSAFLUSH, &t) == 0;
}

/* All of the one line that there is, without its end: how many bytes; -1: more than that. */
static int read_line(char ret[GIVEN_MAX])
{
    int n = 0, c;

    (void) setvbuf(stdin, NULL, _IONBF, 0); /* no copy in a buffer */
    while ((c = getc(stdin)) != EOF && c != '\n') {
        if (n == GIVEN_MAX) {
            return -1;
        }
        ret[n++] = (char) c;
    }
    return c == '\n' && !isatty(STDIN_FILENO) && getc(stdin) != EOF ? -1 : n;
}

static int ask_for_line(char ret[GIVEN_MAX])
{
    bool is_silent = set_echo(false);
    int n;

    if (is_silent) {
        (void) fputs("key: ", stderr);
    }
    n = read_line(ret);
    if (is_silent) {
        (void) set_echo(true);
        (void) fputc('\n', stderr);
    }
    return n;
}

/* What can be sent in a header: a blank or a newline in it was not meant. */
static bool is_key(const char *text, int n)
{
    for (int i = 0; i < n; i++) {
        if (text[i] <= ' ' || text[i] >= 0x7f) {
            return false;
        }
    }
    return n > 0;
}

static int run_hash(const struct key_options *options)
{
    char line[GIVEN_MAX], text[SHA256_HEX_CHARS + 1];
    int n, r;

    if (options->id || options->count.is_set) {
        return complain_with(EXIT_USAGE, "usage", "key hash: --id and --count are of `key new`");
    }
    n = ask_for_line(line);
    if (!is_key(line, n)) {
        explicit_bzero(line, sizeof(line));
        return complain_with(EXIT_FAILED, "usage",
                             "key hash: expected one key on standard input: a line of at most %d "
                             "ASCII characters without blanks",
                             GIVEN_MAX);
    }
    r = hash(line, (size_t) n, text);
    explicit_bzero(line, sizeof(line));
    if (r < 0) {
        return complain_errno("key hash", r);
    }
    if (options->common.is_json) {
        cJSON *document = json_object();

        json_add_text(document, "sha256", text);
        json_print(document);
    } else {
        (void) puts(text);
    }
    return EXIT_OK;
}

int run_key(const struct command *command, int argc, char **argv)
{
    struct key_options options = {.count = {.is_set = false}};
    int code = options_parse(command, key_rows, argc, argv, &options.common);
    const char *verb;

    code = code == OPTIONS_GO_ON ? options_want_words(command, argc, argv, &options.common, 1, 1)
                                 : code;
    if (code != OPTIONS_GO_ON) {
        return code;
    }
    verb = argv[options.common.first_word];
    if (strcmp(verb, "new") == 0) {
        return run_new(&options);
    }
    if (strcmp(verb, "hash") == 0) {
        return run_hash(&options);
    }
    return complain_with(EXIT_USAGE, "usage",
                         "key: there are only `sluicectl key new` and `sluicectl key hash`");
}
