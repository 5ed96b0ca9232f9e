/* See prompt.h. stdin is read to its end, up to what a request can hold. */
#include "prompt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

int prompt_read(const char *what, int n_words, char *const *words, struct prompt *ret)
{
    struct prompt p = {.bytes = NULL};
    int r = n_words > 0 ? join_words(n_words, words, &p) : read_all(&p);

    if (r < 0) {
        return complain_errno(what, r);
    }
    while (n_words == 0 && p.n > 0 && (p.bytes[p.n - 1] == '\n' || p.bytes[p.n - 1] == '\r')) {
        p.n--; /* the line end belongs to the pipe, not to the prompt */
    }
    if (p.n == 0) {
        free(p.bytes);
        complain("%s: nothing was asked: give the text as words, or on standard input", what);
        return EXIT_USAGE;
    }
    *ret = p;
    return EXIT_OK;
}
