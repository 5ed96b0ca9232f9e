/* See texts.h. Words are borrowed from argv; of stdin the lines are cut in place. */
#include "texts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int take_words(struct texts *t, const char *what, int n_words, char *const *words)
{
    t->items = calloc((size_t) n_words, sizeof(*t->items));
    if (!t->items) {
        return complain_errno(what, -ENOMEM);
    }
    for (int i = 0; i < n_words; i++) {
        t->items[t->n++] = words[i];
    }
    return EXIT_OK;
}

/* One text a line; blank lines are none. */
static int take_lines(struct texts *t, const char *what)
{
    char *save = NULL, *line;
    int code = prompt_read(what, 0, NULL, &t->input);

    if (code != EXIT_OK) {
        return code;
    }
    if (memchr(t->input.bytes, '\0', t->input.n)) {
        return complain_errno(what, -EILSEQ);
    }
    /* over the line end that was there, or into the room behind */
    t->input.bytes[t->input.n] = '\0';
    t->items = calloc(TEXTS_MAX, sizeof(*t->items));
    if (!t->items) {
        return complain_errno(what, -ENOMEM);
    }
    for (line = strtok_r(t->input.bytes, "\r\n", &save); line;
         line = strtok_r(NULL, "\r\n", &save)) {
        if (t->n == TEXTS_MAX) {
            return complain_with(EXIT_USAGE, "usage",
                                 "%s: more than %d lines; send them in several calls", what,
                                 TEXTS_MAX);
        }
        t->items[t->n++] = line;
    }
    return EXIT_OK;
}

int texts_take(struct texts *t, const char *what, int n_words, char *const *words)
{
    return n_words > 0 ? take_words(t, what, n_words, words) : take_lines(t, what);
}

void texts_done(struct texts *t)
{
    free(t->items);
    free(t->input.bytes);
}

int texts_add(const struct texts *t, sluice_request *req)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < t->n; i++) {
        r = sluice_request_add_input(req, t->items[i], strlen(t->items[i]));
    }
    return r;
}
