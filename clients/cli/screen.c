/*
 * See screen.h. Plain ANSI (ECMA-48) and two sequences that all terminals of today know: ?1049 for a
 * page of one's own beside what was there, ?25 for the cursor.
 *
 * Signals are blocked but while ppoll(2) waits, so none gets lost between looking and sleeping, and
 * none comes in the middle of a sequence. Their handlers only note them.
 *
 * Owns the terminal's settings between screen_open() and screen_close().
 */
#include "screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "term.h"

#define USEC_PER_SEC UINT64_C(1000000)
#define ENTER        "\033[?1049h\033[?25l"
#define LEAVE        "\033[?25h\033[?1049l"

static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static struct termios before; /* while is_open */
static bool is_open;
static sigset_t while_waiting; /* the mask of ppoll() */
static volatile sig_atomic_t is_end, is_resized, is_stop;

static void on_signal(int number)
{
    is_resized |= number == SIGWINCH || number == SIGCONT;
    is_stop |= number == SIGTSTP;
    is_end |= number != SIGWINCH && number != SIGCONT && number != SIGTSTP;
}

void screen_watch_signals(void)
{
    static const int others[] = {SIGWINCH, SIGCONT, SIGTSTP};
    struct sigaction sa;
    sigset_t all;

    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = on_signal;
    (void) sigemptyset(&sa.sa_mask);
    (void) sigemptyset(&all);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        (void) sigaction(ends[i], &sa, NULL);
        (void) sigaddset(&all, ends[i]);
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        (void) sigaction(others[i], &sa, NULL);
        (void) sigaddset(&all, others[i]);
    }
    (void) sigprocmask(SIG_BLOCK, &all, &while_waiting);
}

/* ---------------------------------------------------------------- the terminal */

bool screen_open(void)
{
    struct termios raw;

    if (!term_is_live(stdout) || tcgetattr(STDIN_FILENO, &before) < 0) {
        return false;
    }
    raw = before;
    raw.c_lflag &= ~(tcflag_t) (ICANON | ECHO); /* Ctrl-C and Ctrl-Z stay signals */
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0) {
        return false;
    }
    if (!is_open) {
        (void) atexit(screen_close); /* more than once does no harm */
    }
    is_open = true;
    (void) fputs(ENTER, stdout);
    (void) fflush(stdout);
    return true;
}

void screen_close(void)
{
    if (is_open) {
        is_open = false;
        (void) fputs(LEAVE, stdout);
        (void) fflush(stdout);
        (void) tcsetattr(STDIN_FILENO, TCSANOW, &before);
    }
}

struct screen_size screen_size(void)
{
    struct screen_size size = {.rows = 24, .columns = 80};
    struct winsize w;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_row > 0 && w.ws_col > 0) {
        size.rows = w.ws_row;
        size.columns = w.ws_col;
    }
    return size;
}

/* Bytes of the first n_columns characters of a line of n bytes. */
static size_t cut(const char *line, size_t n, size_t n_columns)
{
    size_t n_seen = 0;

    for (size_t i = 0; i < n; i++) {
        n_seen += ((uint8_t) line[i] & 0xc0) != 0x80;
        if (n_seen > n_columns) {
            return i;
        }
    }
    return n;
}

/* The first n bytes of line, as far as they fit. */
static void show_line(const char *line, size_t n, size_t n_columns)
{
    bool is_bold = *line == SCREEN_BOLD;

    (void) printf("%s%.*s\033[0m\033[K", is_bold ? "\033[1m" : "",
                  (int) cut(line + is_bold, n - is_bold, n_columns), line + is_bold);
}

bool screen_show(const char *text, const char *foot, struct screen_size size)
{
    const char *at = text;

    (void) fputs("\033[H", stdout);
    for (size_t row = 1; row < size.rows && *at != '\0'; row++) {
        size_t n = strcspn(at, "\n");

        show_line(at, n, size.columns);
        (void) fputc('\n', stdout);
        at += n + (at[n] == '\n');
    }
    show_line(foot, strlen(foot), size.columns); /* no newline: it would scroll the page */
    (void) fputs("\033[J", stdout);
    return fflush(stdout) == 0;
}

/* ---------------------------------------------------------------- waiting */

uint64_t screen_now_usec(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * USEC_PER_SEC + (uint64_t) t.tv_nsec / 1000;
}

/* Ctrl-Z: the terminal is the shell's until SIGCONT. */
static void stop(void)
{
    bool was_open = is_open;

    is_stop = 0;
    screen_close();
    (void) raise(SIGSTOP);
    if (was_open) {
        (void) screen_open();
    }
    is_resized = 1;
}

/* A key, or the end of the terminal. */
static enum screen_event read_key(char *ret_key)
{
    ssize_t n = read(STDIN_FILENO, ret_key, 1);

    return n == 1 ? SCREEN_KEY : SCREEN_END;
}

enum screen_event screen_wait(uint64_t until_usec, char *ret_key)
{
    for (;;) {
        uint64_t now = screen_now_usec();
        uint64_t left = until_usec > now ? until_usec - now : 0;
        struct timespec limit = {.tv_sec = (time_t) (left / USEC_PER_SEC),
                                 .tv_nsec = (long) (left % USEC_PER_SEC) * 1000};
        struct pollfd in = {.fd = is_open ? STDIN_FILENO : -1, .events = POLLIN};
        int r = ppoll(&in, 1, &limit, &while_waiting);

        if (is_end) {
            return SCREEN_END;
        }
        if (is_stop) {
            stop();
        }
        if (is_resized) {
            is_resized = 0;
            return SCREEN_RESIZED;
        }
        if (r > 0) {
            return read_key(ret_key);
        }
        if (r == 0) {
            return SCREEN_TIME;
        }
        if (errno != EINTR) {
            return SCREEN_END;
        }
    }
}
