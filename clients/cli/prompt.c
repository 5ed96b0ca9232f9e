/* See prompt.h. stdin is read to its end, up to what a request can hold. */
#include "prompt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "term.h"

#define READ_BYTES 65536

static int join_words(int n_words, char *const *words, struct prompt *ret)
{
    size_t n = 0;

    for (int i = 0; i < n_words; i++) {
        n += strlen(words[i]) + 1;
    }

    char *bytes = malloc(n + 1);
    char *at = bytes;

    if (!bytes) {
        return -ENOMEM;
    }
    for (int i = 0; i < n_words; i++) {
        at = stpcpy(at, words[i]);
        *at++ = ' ';
    }
    *ret = (struct prompt) {.bytes = bytes, .n = n - 1};
    return 0;
}

static int read_all(struct prompt *ret)
{
    struct prompt p = {.bytes = NULL};
    size_t cap = 0;

    for (;;) {
        if (cap - p.n < READ_BYTES) {
            char *grown = realloc(p.bytes, cap + cap / 2 + READ_BYTES);

            if (!grown) {
                free(p.bytes);
                return -ENOMEM;
            }
            p.bytes = grown;
            cap += cap / 2 + READ_BYTES;
        }

        ssize_t n = read(STDIN_FILENO, p.bytes + p.n, READ_BYTES);

        if (n <= 0 || p.n + (size_t) n > PROMPT_MAX_BYTES) {
            int r = n < 0 ? -errno : n > 0 ? -EMSGSIZE : 0;

            if (r < 0) {
                free(p.bytes);
                return r;
            }
            break;
        }
        p.n += (size_t) n;
    }
    *ret = p;
    return 0;
}

bool prompt_is_interactive(int n_words)
{
    return n_words == 0 && term_is_tty(stdin);
}

static void drop_line_ends(struct prompt *p)
{
    while (p->n > 0 && (p->bytes[p->n - 1] == '\n' || p->bytes[p->n - 1] == '\r')) {
        p->n--; /* the line end belongs to the pipe, not to the prompt */
    }
}

static int or_complain(const char *what, int r, struct prompt p, struct prompt *ret)
{
    if (r < 0) {
        return complain_errno(what, r);
    }
    if (p.n == 0) {
        free(p.bytes);
        return complain_with(EXIT_USAGE, "usage",
                             "%s: nothing was asked: give the text as words, or on standard input",
                             what);
    }
    *ret = p;
    return EXIT_OK;
}

int prompt_read(const char *what, int n_words, char *const *words, struct prompt *ret)
{
    struct prompt p = {.bytes = NULL};
    int r = n_words > 0 ? join_words(n_words, words, &p) : read_all(&p);

    if (n_words == 0) {
        drop_line_ends(&p);
    }
    return or_complain(what, r, p, ret);
}

/* Nobody waits for ever for a socket that a script happened to inherit. */
static bool is_fed(void)
{
    struct stat st;

    return fstat(STDIN_FILENO, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISREG(st.st_mode));
}

/* first, a line end, second; both are taken. */
static int append(struct prompt first, struct prompt second, struct prompt *ret)
{
    char *bytes = malloc(first.n + second.n + 2);

    if (bytes) {
        char *at = mempcpy(bytes, first.bytes, first.n);

        *at++ = '\n';
        memcpy(at, second.bytes, second.n);
        *ret = (struct prompt) {.bytes = bytes, .n = first.n + second.n + 1};
    }
    free(first.bytes);
    free(second.bytes);
    return bytes ? 0 : -ENOMEM;
}

int prompt_read_both(const char *what, int n_words, char *const *words, struct prompt *ret)
{
    struct prompt piped = {.bytes = NULL}, said, both = {.bytes = NULL};
    int r;

    if (n_words == 0 || !is_fed()) {
        return prompt_read(what, n_words, words, ret);
    }
    r = read_all(&piped);
    if (r < 0) {
        return complain_errno(what, r);
    }
    drop_line_ends(&piped);
    r = join_words(n_words, words, &said);
    if (r < 0 || piped.n == 0) {
        free(piped.bytes);
        return or_complain(what, r, said, ret);
    }
    r = append(piped, said, &both);
    return or_complain(what, r, both, ret);
}
