/*
 * See term.h. Models, model servers and other users' names are not trusted: an answer may hold
 * escape sequences that retitle the window, type into the shell or hide text. So whatever comes
 * from outside goes through one decoder before a terminal sees it. It works byte by byte, because
 * streams split characters, and it knows UTF-8 exactly (RFC 3629), because an overlong or
 * C1-encoded escape is an escape too.
 */
#include "term.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

bool term_is_tty(FILE *f)
{
    return isatty(fileno(f)) == 1;
}

bool term_is_live(FILE *f)
{
    const char *no = getenv("NO_COLOR");
    const char *term = getenv("TERM");

    /* a terminal that does not say what it is understands no sequences */
    return term_is_tty(f) && !(no && no[0] != '\0') && term && term[0] != '\0' &&
           strcmp(term, "dumb") != 0;
}

void term_style(FILE *f, enum style style)
{
    static const char *const codes[] = {[STYLE_PLAIN] = "\033[0m",
                                        [STYLE_DIM] = "\033[2m",
                                        [STYLE_BOLD] = "\033[1m",
                                        [STYLE_RED] = "\033[31m"};

    if (term_is_live(f)) {
        (void) fputs(codes[style], f);
    }
}

void term_clear(FILE *f)
{
    if (term_is_live(f)) {
        (void) fputs("\033[H\033[2J", f);
    }
}

/* ---------------------------------------------------------------- characters */

/* Length of the character that byte begins, 0: none begins so. */
static size_t length_by_first(uint8_t byte)
{
    return byte < 0x80                    ? 1
           : byte >= 0xc2 && byte <= 0xdf ? 2
           : byte >= 0xe0 && byte <= 0xef ? 3
           : byte >= 0xf0 && byte <= 0xf4 ? 4
                                          : 0;
}

/* May byte stand at position at (>= 1) of a character that begins with first? */
static bool can_follow(uint8_t first, size_t at, uint8_t byte)
{
    uint8_t low = 0x80, high = 0xbf;

    if (at == 1) {
        low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : low;
        high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : high;
    }
    return byte >= low && byte <= high;
}

static bool is_control(const uint8_t *c, size_t n)
{
    return (n == 1 && ((c[0] < 0x20 && c[0] != '\n' && c[0] != '\t') || c[0] == 0x7f)) ||
           (n == 2 && c[0] == 0xc2 && c[1] < 0xa0); /* C1: U+0080 to U+009F */
}

/* Where a decoded character goes: a stream or a string. */
struct target {
    FILE *f;   /* or NULL and */
    char *out; /* three bytes for each byte in */
    size_t n;
    bool keep_control;
    bool is_line; /* of text that may have lines a blank is left of each newline and tab */
};

static void put(struct target *to, const void *bytes, size_t n)
{
    if (to->f) {
        (void) fwrite(bytes, 1, n, to->f);
        return;
    }
    memcpy(to->out + to->n, bytes, n);
    to->n += n;
}

static void put_character(struct target *to, const uint8_t *c, size_t n)
{
    bool is_bad = to->keep_control ? c[0] == '\0' : is_control(c, n);

    if (to->is_line && (c[0] == '\n' || c[0] == '\t')) {
        put(to, " ", 1);
        return;
    }
    put(to, is_bad ? REPLACEMENT : (const char *) c, is_bad ? strlen(REPLACEMENT) : n);
}

static void decode(struct target *to, struct term_text *t, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = (uint8_t) bytes[i];

        if (t->n_held > 0 && !can_follow(t->held[0], t->n_held, byte)) {
            put(to, REPLACEMENT, strlen(REPLACEMENT));
            t->n_held = 0;
        }
        if (t->n_held == 0 && length_by_first(byte) == 0) {
            put(to, REPLACEMENT, strlen(REPLACEMENT));
            continue;
        }
        t->held[t->n_held++] = byte;
        if (t->n_held == length_by_first(t->held[0])) {
            put_character(to, t->held, t->n_held);
            t->n_held = 0;
        }
    }
}

void term_write(FILE *f, struct term_text *t, const char *bytes, size_t n)
{
    decode(&(struct target) {.f = f}, t, bytes, n);
}

void term_end(FILE *f, struct term_text *t)
{
    if (t->n_held > 0) {
        (void) fputs(REPLACEMENT, f);
        t->n_held = 0;
    }
}

void term_print(FILE *f, const char *text)
{
    struct term_text t = {.n_held = 0};

    decode(&(struct target) {.f = f, .is_line = true}, &t, text, strlen(text));
    term_end(f, &t);
}

char *term_clean_line(const char *text)
{
    struct term_text t = {.n_held = 0};
    struct target to = {.out = malloc(3 * strlen(text) + strlen(REPLACEMENT) + 1), .is_line = true};

    if (!to.out) {
        return NULL;
    }
    decode(&to, &t, text, strlen(text));
    if (t.n_held > 0) {
        put(&to, REPLACEMENT, strlen(REPLACEMENT));
    }
    to.out[to.n] = '\0';
    return to.out;
}

char *term_clean(struct term_text *t, const char *bytes, size_t n, bool keep_control)
{
    /* A held character can grow by a replacement of its own; each byte becomes at most three. */
    struct target to = {.out = malloc(3 * n + 2 * sizeof(t->held) + 1),
                        .keep_control = keep_control};

    if (!to.out) {
        return NULL;
    }
    decode(&to, t, bytes, n);
    to.out[to.n] = '\0';
    return to.out;
}

/* ---------------------------------------------------------------- columns and progress */

int term_width(const char *text)
{
    int n = 0;

    for (; *text; text++) {
        n += ((uint8_t) *text & 0xc0) != 0x80;
    }
    return n;
}

void term_column(FILE *f, const char *text, int width)
{
    int pad = width - term_width(text);

    term_print(f, text);
    (void) fprintf(f, "%*s", pad > 0 ? pad : 0, "");
}

int term_columns(FILE *f)
{
    const char *env = getenv("COLUMNS");
    long n = env ? strtol(env, NULL, 10) : 0;
    struct winsize size;

    if (!term_is_tty(f)) {
        return 0;
    }
    if (n <= 0 && ioctl(fileno(f), TIOCGWINSZ, &size) == 0) {
        n = size.ws_col;
    }
    return n > 0 && n < 10000 ? (int) n : 80;
}

void term_progress(const char *text)
{
    static bool is_shown;

    if (!term_is_live(stderr) || (!text && !is_shown)) {
        return;
    }
    (void) fputs("\r\033[K", stderr);
    if (text) {
        term_style(stderr, STYLE_DIM);
        term_print(stderr, text);
        term_style(stderr, STYLE_PLAIN);
    }
    (void) fflush(stderr);
    is_shown = text != NULL;
}
