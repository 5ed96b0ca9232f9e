#pragma once
/* The texts of a request that has a list of them: the words of the command line, or the lines of
 * stdin. */
#include <stddef.h>

#include "cli.h"
#include "prompt.h"

#define TEXTS_MAX 2048 /* of one request (sluice.proto) */

struct texts {
    struct prompt input; /* lines of stdin; owns what items point to then */
    const char **items;  /* owned array of borrowed texts, NUL-terminated */
    size_t n;
};

/* The words, or without words every line of stdin that is not empty. EXIT_OK, or an exit code after
 * saying why. texts_done() in both cases. */
int texts_take(struct texts *t, const char *what, int n_words, char *const *words);
void texts_done(struct texts *t);

/* Adds all to a request: 0 or -errno of sluice_request_add_input(). */
int texts_add(const struct texts *t, sluice_request *req);
