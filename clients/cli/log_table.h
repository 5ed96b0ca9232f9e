#pragma once
/* Finished calls as lines of a table that fits the terminal. */
#include "log_call.h"

#define LOG_COLUMNS 11

struct log_table {
    int widths[LOG_COLUMNS]; /* 0: there is no room for this column */
    bool is_cut;             /* texts are cut to their column: on a terminal */
};

/* width: of the terminal in characters; 0: no terminal, and everything is printed in full. */
void log_table_init(struct log_table *t, int width);
void log_table_titles(const struct log_table *t);
void log_table_row(const struct log_table *t, const struct log_call *call);

/* A duration in at most six characters: "850us", "12ms", "1.2s", "2m05s". */
const char *log_duration(uint64_t usec, char ret_text[32]);
