#pragma once
/* What the commands that ask once and print a table or a document have in common. */
#include <stddef.h>
#include <stdint.h>

#include "cli.h"
#include "json.h"
#include "options.h"

/*
 * Connects and asks. req: taken; r: what making it returned. The call with its REPLY, to be ended
 * with report_done(); NULL after saying why, then *ret_exit_code.
 */
sluice_call *report_ask(const struct common_options *options, const char *what, int r,
                        sluice_request *req, int *ret_exit_code);

/* A command of the kind "ask, then print": where its options and its exit code go. */
struct question {
    struct common_options options;
    int exit_code; /* while there is no reply */
};

/* Frees the call and its client. Accepts NULL. */
void report_done(sluice_call *call);

/* A column of a table, or a member of a JSON object: where its value comes from. */
struct column {
    const char *title; /* NULL: only in JSON */
    const char *name;  /* NULL: end of the list */
    int field;
    enum {
        COLUMN_TEXT,
        COLUMN_LINES, /* text: words, one a line; only in JSON */
        COLUMN_NUMBER,
        COLUMN_BOOL
    } form;
};

/* Rows of a reply that count; NULL: all. */
typedef bool (*row_filter_fn)(const sluice_call *call, size_t row, const void *ctx);

struct table {
    const struct column *columns;
    row_filter_fn is_wanted; /* or NULL */
    const void *ctx;         /* for is_wanted */
    const char *rest;        /* title of what the caller prints behind the columns */
    void (*print_rest)(const sluice_call *call, size_t row);
};

/* How many rows are wanted. */
size_t report_count(const struct table *table, const sluice_call *call);

/* Titles, then a line for each row: its text columns, aligned, and the rest. */
void report_table(const struct table *table, const sluice_call *call);

/* The same rows as objects of an array. */
void report_add_rows(cJSON *array, const struct table *table, const sluice_call *call);

/* Values of a row as members. */
void report_add_row(cJSON *object, const struct column *columns, const sluice_call *call,
                    size_t row);

/* Values of the reply itself as members. */
void report_add_members(cJSON *object, const sluice_call *call, const struct column *columns);

/* "3 d 4 h", "2 h 5 min", "7 min 3 s", "12 s" */
void report_duration(char *out, size_t size, uint64_t usec);
