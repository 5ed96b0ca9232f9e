/*
 * See log_table.h. Rows come one by one, some of them later (--follow): so the widths depend on the
 * terminal and not on the rows. On a narrow one the columns that say least go first.
 */
#include "log_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "term.h"

#define GAP 2 /* blanks between columns */

enum column_id { AT, MODEL, UID, CLASS, OUTCOME, QUEUE, TTFT, TOTAL, TOKENS_IN, TOKENS_OUT, ID };

static const struct {
    const char *title;
    int min, max; /* width; what grows does so evenly */
    int rank;     /* the highest goes first where there is no room */
    bool is_right;
} columns[LOG_COLUMNS] = {
    [AT] = {"TIME", 14, 14, 3, false},
    [MODEL] = {"MODEL", 12, 32, 1, false},
    [UID] = {"UID", 5, 5, 9, true},
    [CLASS] = {"CLASS", 11, 11, 10, false},
    [OUTCOME] = {"OUTCOME", 12, 24, 2, false},
    [QUEUE] = {"QUEUE", 6, 6, 7, true},
    [TTFT] = {"TTFT", 6, 6, 6, true},
    [TOTAL] = {"TOTAL", 6, 6, 4, true},
    [TOKENS_IN] = {"IN", 6, 6, 8, true},
    [TOKENS_OUT] = {"OUT", 6, 6, 5, true},
    [ID] = {"ID", 12, 36, 11, false},
};

static int total_width(const struct log_table *t)
{
    int sum = -GAP;

    for (int i = 0; i < LOG_COLUMNS; i++) {
        sum += t->widths[i] > 0 ? t->widths[i] + GAP : 0;
    }
    return sum;
}

static void drop_one(struct log_table *t)
{
    int worst = MODEL;

    for (int i = 0; i < LOG_COLUMNS; i++) {
        worst = t->widths[i] > 0 && columns[i].rank > columns[worst].rank ? i : worst;
    }
    t->widths[worst] = worst == MODEL ? t->widths[worst] : 0;
}

static void grow(struct log_table *t, int room)
{
    bool has_grown = true;

    while (room > 0 && has_grown) {
        has_grown = false;
        for (int i = 0; i < LOG_COLUMNS && room > 0; i++) {
            if (t->widths[i] > 0 && t->widths[i] < columns[i].max) {
                t->widths[i]++;
                room--;
                has_grown = true;
            }
        }
    }
}

void log_table_init(struct log_table *t, int width)
{
    t->is_cut = width > 0;
    for (int i = 0; i < LOG_COLUMNS; i++) {
        t->widths[i] = t->is_cut ? columns[i].min : columns[i].max;
    }
    if (!t->is_cut) {
        return;
    }
    for (int i = 0; i < LOG_COLUMNS && total_width(t) > width; i++) {
        drop_one(t);
    }
    grow(t, width - total_width(t));
}

/* Where the column that many characters wide ends in text, which is clean UTF-8. */
static size_t clip(const char *text, int width)
{
    size_t at = 0;

    for (int n = 0; text[at] && n < width; n++) {
        do {
            at++;
        } while (((unsigned char) text[at] & 0xc0) == 0x80);
    }
    return at;
}

static void print_cell(const struct log_table *t, int column, const char *text, bool is_last)
{
    char *clean = term_clean_line(text);
    const char *shown = clean ? clean : "?";
    int width = t->widths[column], n = term_width(shown);
    bool is_cut = t->is_cut && n > width;
    int pad = n < width ? width - n : 0;

    if (columns[column].is_right) {
        (void) printf("%*s", pad, "");
    }
    (void) printf("%.*s%s", (int) clip(shown, is_cut ? width - 1 : n), shown, is_cut ? "…" : "");
    if (!is_last) {
        (void) printf("%*s", columns[column].is_right ? GAP : pad + GAP, "");
    }
    free(clean);
}

static int last_column(const struct log_table *t)
{
    int last = 0;

    for (int i = 0; i < LOG_COLUMNS; i++) {
        last = t->widths[i] > 0 ? i : last;
    }
    return last;
}

static void print_line(const struct log_table *t, const char *const cells[LOG_COLUMNS],
                       enum style outcome_style)
{
    int last = last_column(t);

    for (int i = 0; i < LOG_COLUMNS; i++) {
        if (t->widths[i] == 0) {
            continue;
        }
        if (i == OUTCOME) {
            term_style(stdout, outcome_style);
        }
        print_cell(t, i, cells[i], i == last);
        if (i == OUTCOME && outcome_style != STYLE_PLAIN) {
            term_style(stdout, STYLE_PLAIN);
        }
    }
    (void) printf("\n");
}

void log_table_titles(const struct log_table *t)
{
    const char *cells[LOG_COLUMNS];

    for (int i = 0; i < LOG_COLUMNS; i++) {
        cells[i] = columns[i].title;
    }
    term_style(stdout, STYLE_BOLD);
    print_line(t, cells, STYLE_PLAIN);
    term_style(stdout, STYLE_PLAIN);
}

const char *log_duration(uint64_t usec, char ret_text[32])
{
    unsigned long long s = usec / 1000000;

    if (usec == LOG_ABSENT) {
        return "-";
    }
    if (usec < 1000) {
        (void) snprintf(ret_text, 32, "%lluus", (unsigned long long) usec);
    } else if (usec < 1000000) {
        (void) snprintf(ret_text, 32, "%llums", (unsigned long long) usec / 1000);
    } else if (s < 100) {
        (void) snprintf(ret_text, 32, "%llu.%llus", s, (unsigned long long) usec / 100000 % 10);
    } else if (s < 6000) {
        (void) snprintf(ret_text, 32, "%llum%02llus", s / 60, s % 60);
    } else if (s < 360000) {
        (void) snprintf(ret_text, 32, "%lluh%02llum", s / 3600, s / 60 % 60);
    } else {
        (void) snprintf(ret_text, 32, "%llud", s / 86400);
    }
    return ret_text;
}

static const char *number(uint64_t value, char ret_text[32])
{
    if (value == LOG_ABSENT) {
        return "-";
    }
    (void) snprintf(ret_text, 32, "%llu", (unsigned long long) value);
    return ret_text;
}

static const char *text(const char *value)
{
    return value[0] ? value : "-";
}

static const char *at_text(uint64_t at_usec, char ret_text[32])
{
    time_t at = (time_t) (at_usec / 1000000);
    struct tm tm;

    return localtime_r(&at, &tm) && strftime(ret_text, 32, "%m-%d %H:%M:%S", &tm) > 0 ? ret_text
                                                                                      : "-";
}

void log_table_row(const struct log_table *t, const struct log_call *call)
{
    char at[32], uid[32], queue[32], ttft[32], total[32], in[32], out[32];
    const char *const cells[LOG_COLUMNS] = {
        [AT] = at_text(call->at_usec, at),
        [MODEL] = text(call->model),
        [UID] = number(call->uid, uid),
        [CLASS] = text(call->class_name),
        [OUTCOME] = text(call->outcome),
        [QUEUE] = log_duration(call->queue_usec, queue),
        [TTFT] = log_duration(call->ttft_usec, ttft),
        [TOTAL] = log_duration(call->total_usec, total),
        [TOKENS_IN] = number(call->tokens_in, in),
        [TOKENS_OUT] = number(call->tokens_out, out),
        [ID] = text(call->id),
    };

    print_line(t, cells, log_call_is_completed(call) ? STYLE_PLAIN : STYLE_RED);
}
