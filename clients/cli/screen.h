#pragma once
/*
 * A page that fills the terminal and is redrawn, and the keys that are typed at it. The terminal is
 * given back as it was at every end of the process that can be caught, and while it is stopped
 * (Ctrl-Z).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Takes the terminal of stdin and stdout; false: there is none, and nothing is changed. */
bool screen_open(void);
void screen_close(void); /* idempotent */

struct screen_size {
    size_t rows, columns;
};
struct screen_size screen_size(void);

/* Shows text as the page, and foot, a line, as its last one: what of text does not fit above that is cut, at the right and at
 * the bottom. A line that begins with SCREEN_BOLD is bold. False: the terminal takes no more. */
#define SCREEN_BOLD '\001'
bool screen_show(const char *text, const char *foot, struct screen_size size);

enum screen_event {
    SCREEN_TIME,    /* until_usec is there */
    SCREEN_KEY,     /* *ret_key */
    SCREEN_RESIZED, /* or continued after a stop: the page is to be drawn again */
    SCREEN_END      /* a signal that ends programs, or the terminal is gone */
};

/* Waits for what comes first; until_usec by screen_now_usec(). Also without screen_open(), for time and end. */
enum screen_event screen_wait(uint64_t until_usec, char *ret_key);
uint64_t screen_now_usec(void);

/* Watches the signals that end, stop and resize. Before screen_open(). */
void screen_watch_signals(void);
