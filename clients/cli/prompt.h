#pragma once
/* What the person or the pipe says. */
#include <stdbool.h>
#include <stddef.h>

#include "cli.h"

#define PROMPT_MAX_BYTES ((size_t) 4 << 20) /* a message cannot carry more */

/* Text with its length; owned, free(bytes). */
struct prompt {
    char *bytes;
    size_t n;
};

/* The words joined by spaces, or with no words all of stdin. EXIT_OK or an exit code after saying
 * why. */
int prompt_read(const char *what, int n_words, char *const *words, struct prompt *ret);

/* As above, with what a pipe or a file on stdin holds standing before the words, a line apart. Any
 * other stdin (a terminal, a socket, /dev/null) is read only where there are no words. */
int prompt_read_both(const char *what, int n_words, char *const *words, struct prompt *ret);

/* Are there neither words nor a pipe, so that a conversation is meant? */
bool prompt_is_interactive(int n_words);
