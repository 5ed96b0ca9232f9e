#pragma once
/* The terminal: whether there is one, colours, and text that cannot do anything to it. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum style { STYLE_PLAIN, STYLE_DIM, STYLE_BOLD, STYLE_RED };

/* Is this stream a terminal? */
bool term_is_tty(FILE *f);

/* May escape sequences be written to it: a terminal, with a TERM that is not "dumb", and without
 * NO_COLOR? */
bool term_is_live(FILE *f);

/* Empties the screen; the next output is its first line. Only where term_is_live(). */
void term_clear(FILE *f);

/* Switches the style, where term_is_live(); else nothing. */
void term_style(FILE *f, enum style style);

/*
 * Text of others, piece by piece: what is not UTF-8 and every control character but newline and tab
 * becomes U+FFFD. A piece may end inside a character; the rest of it is kept in `held`.
 * Zero-initialised; one for each stream of text.
 */
struct term_text {
    uint8_t held[4];
    size_t n_held;
};
void term_write(FILE *f, struct term_text *t, const char *bytes, size_t n);
void term_end(FILE *f, struct term_text *t); /* what is held is no character any more */

/* A whole string as part of one line: newlines and tabs become blanks, so that a name cannot pass
 * for another row of a table. */
void term_print(FILE *f, const char *text);

/* The same as a string. Owned, free(); NULL: no memory. */
char *term_clean_line(const char *text);

/* What term_write() prints, as a string for JSON: control characters stay when keep_control (JSON escapes them),
 * but for NUL. Owned, free(); NULL: no memory. */
char *term_clean(struct term_text *t, const char *bytes, size_t n, bool keep_control);

/* Pads text with spaces to width columns (characters, not bytes). */
void term_column(FILE *f, const char *text, int width);
int term_width(const char *text);

/* Characters in a line of this stream: of the terminal, or as $COLUMNS says. 0: it is no terminal. */
int term_columns(FILE *f);

/* A line on stderr that the next output replaces ("waiting, 3 before you"); only on a terminal.
 * NULL: gone. */
void term_progress(const char *text);
