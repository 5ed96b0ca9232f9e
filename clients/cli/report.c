/*
 * See report.h. A table is as wide as its widest value; what comes from a server goes through the
 * terminal's decoder. JSON has every column, also those that the table leaves out or writes
 * another way.
 */
#include "report.h"

#include <stdio.h>

#include "term.h"

sluice_call *report_ask(const struct common_options *options, const char *what, int r,
                        sluice_request *req, int *ret_exit_code)
{
    if (r < 0) {
        *ret_exit_code = complain_errno(what, r);
        return NULL;
    }

    sluice_client *client = session_connect(options->socket, ret_exit_code);

    if (!client) {
        sluice_request_free(req);
        return NULL;
    }

    sluice_call *call = session_ask(client, req, what, ret_exit_code);

    if (!call) {
        sluice_client_free(client);
    }
    return call;
}

void report_done(sluice_call *call)
{
    if (call) {
        sluice_client *client = sluice_call_client(call);

        session_finish(call);
        sluice_client_free(client);
    }
}

/* ---------------------------------------------------------------- tables */

static bool is_wanted(const struct table *table, const sluice_call *call, size_t row)
{
    return !table->is_wanted || table->is_wanted(call, row, table->ctx);
}

size_t report_count(const struct table *table, const sluice_call *call)
{
    size_t n = 0;

    for (size_t i = 0; i < sluice_call_n_rows(call); i++) {
        n += is_wanted(table, call, i);
    }
    return n;
}

static int column_width(const struct table *table, const sluice_call *call, const struct column *c)
{
    int width = term_width(c->title);

    for (size_t i = 0; i < sluice_call_n_rows(call); i++) {
        int n = is_wanted(table, call, i) ? term_width(sluice_call_row_text(call, i, c->field)) : 0;

        width = n > width ? n : width;
    }
    return width + 2;
}

/* The text columns of a row, or their titles. */
static void print_columns(const struct table *table, const sluice_call *call, const size_t *row)
{
    for (const struct column *c = table->columns; c->name; c++) {
        if (c->title) {
            term_column(stdout, row ? sluice_call_row_text(call, *row, c->field) : c->title,
                        column_width(table, call, c));
        }
    }
}

void report_table(const struct table *table, const sluice_call *call)
{
    term_style(stdout, STYLE_BOLD);
    print_columns(table, call, NULL);
    (void) printf("%s\n", table->rest);
    term_style(stdout, STYLE_PLAIN);
    for (size_t i = 0; i < sluice_call_n_rows(call); i++) {
        if (is_wanted(table, call, i)) {
            print_columns(table, call, &i);
            table->print_rest(call, i);
            (void) printf("\n");
        }
    }
}

/* ---------------------------------------------------------------- JSON */

static void add_member(cJSON *object, const struct column *c, const char *text, uint64_t number)
{
    switch (c->form) {
    case COLUMN_TEXT:
        json_add_text(object, c->name, text);
        break;
    case COLUMN_LINES:
        json_add_lines(object, c->name, text);
        break;
    case COLUMN_NUMBER:
        json_add_number(object, c->name, number);
        break;
    case COLUMN_BOOL:
        json_add_bool(object, c->name, number != 0);
        break;
    }
}

void report_add_row(cJSON *object, const struct column *columns, const sluice_call *call,
                    size_t row)
{
    for (const struct column *c = columns; c->name; c++) {
        add_member(object, c, sluice_call_row_text(call, row, c->field),
                   sluice_call_row_number(call, row, c->field));
    }
}

void report_add_rows(cJSON *array, const struct table *table, const sluice_call *call)
{
    for (size_t i = 0; i < sluice_call_n_rows(call); i++) {
        if (!is_wanted(table, call, i)) {
            continue;
        }

        report_add_row(json_add_object(array, NULL), table->columns, call, i);
    }
}

void report_add_members(cJSON *object, const sluice_call *call, const struct column *columns)
{
    for (const struct column *c = columns; c->name; c++) {
        add_member(object, c, sluice_call_reply_text(call, c->field),
                   sluice_call_reply_number(call, c->field));
    }
}

/* ---------------------------------------------------------------- durations */

void report_duration(char *out, size_t size, uint64_t usec)
{
    unsigned long long s = usec / 1000000;

    if (s >= 86400) {
        (void) snprintf(out, size, "%llu d %llu h", s / 86400, s % 86400 / 3600);
    } else if (s >= 3600) {
        (void) snprintf(out, size, "%llu h %llu min", s / 3600, s % 3600 / 60);
    } else if (s >= 60) {
        (void) snprintf(out, size, "%llu min %llu s", s / 60, s % 60);
    } else {
        (void) snprintf(out, size, "%llu s", s);
    }
}
