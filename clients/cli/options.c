/*
 * See options.h. getopt_long() does the work; its tables are made from ours, so that what is read
 * and what --help shows cannot drift apart. Values are checked here for form only: what a model
 * allows, the daemon knows.
 */
#include "options.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROWS   24
#define FIRST_CODE 256 /* of getopt values: above every letter */

static const char *default_socket;
static bool default_is_json;

void options_set_socket(const char *path)
{
    default_socket = path;
}

void options_set_json(void)
{
    default_is_json = true;
    fault_set_form(FAULT_DOCUMENT); /* until the command says otherwise */
}

bool options_is_json(void)
{
    return default_is_json;
}

static void print_help(const struct command *command, const struct option_row *rows)
{
    (void) printf("Usage: sluicectl %s %s\n\n%s\n\nOptions:\n", command->name, command->arguments,
                  command->summary);
    for (const struct option_row *row = rows; row->name; row++) {
        char left[48], letter[8] = "    ";

        if (row->letter) {
            (void) snprintf(letter, sizeof(letter), "-%c, ", row->letter);
        }
        (void) snprintf(left, sizeof(left), "%s--%s%s%s", letter, row->name,
                        row->argument ? " " : "", row->argument ? row->argument : "");
        (void) printf("  %-27s %s\n", left, row->help);
    }
    (void) printf("  %-27s %s\n", "-h, --help", "show this");
}

static int usage_error(const struct command *command, const char *name, const char *text,
                       const char *want)
{
    return complain_with(EXIT_USAGE, "usage", "%s: \"%s\" is no value for --%s: %s is wanted",
                         command->name, text, name, want);
}

static bool parse_int(const char *text, int64_t *ret)
{
    char *end;

    errno = 0;

    long long value = strtoll(text, &end, 10);

    if (errno != 0 || end == text || *end != '\0') {
        return false;
    }
    *ret = value;
    return true;
}

static bool parse_double(const char *text, double *ret)
{
    char *end;

    errno = 0;

    double value = strtod(text, &end);

    if (errno != 0 || end == text || *end != '\0' || !isfinite(value)) {
        return false;
    }
    *ret = value;
    return true;
}

/* A positive number and its unit; one without a unit would leave open which (as in the
 * configuration). */
static bool parse_duration(const char *text, uint64_t *ret_usec)
{
    static const struct {
        const char *name;
        double usec;
    } units[] = {{"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"min", 60e6}, {"h", 3600e6}};
    char *end;
    double value = strtod(text, &end);

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        double usec = value * units[i].usec;

        if (end != text && strcmp(end, units[i].name) == 0 && usec >= 1 && usec < 1e18) {
            *ret_usec = (uint64_t) usec;
            return true;
        }
    }
    return false;
}

static bool parse_class(const char *text, int *ret)
{
    static const char *const names[] = {[SLUICE_CLASS_INTERACTIVE] = "interactive",
                                        [SLUICE_CLASS_BATCH] = "batch",
                                        [SLUICE_CLASS_BACKGROUND] = "background"};

    for (int i = SLUICE_CLASS_INTERACTIVE; i <= SLUICE_CLASS_BACKGROUND; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

/* Writes one value. OPTIONS_GO_ON or an exit code. */
static int store(const struct command *command, const struct option_row *row, void *values,
                 const char *text)
{
    void *at = (char *) values + row->offset;

    switch (row->type) {
    case OPTION_FLAG:
    case OPTION_DOCUMENT:
    case OPTION_EVENTS:
        *(bool *) at = true;
        return OPTIONS_GO_ON;
    case OPTION_TEXT:
        *(const char **) at = text;
        return OPTIONS_GO_ON;
    case OPTION_INT: {
        struct int_option *v = at;

        v->is_set = parse_int(text, &v->value);
        return v->is_set ? OPTIONS_GO_ON : usage_error(command, row->name, text, "a whole number");
    }
    case OPTION_COUNT: {
        struct int_option *v = at;

        v->is_set = parse_int(text, &v->value) && v->value >= 1 && v->value <= UINT32_MAX;
        return v->is_set ? OPTIONS_GO_ON
                         : usage_error(command, row->name, text, "a whole number from 1 on");
    }
    case OPTION_DOUBLE: {
        struct double_option *v = at;

        v->is_set = parse_double(text, &v->value);
        return v->is_set ? OPTIONS_GO_ON : usage_error(command, row->name, text, "a number");
    }
    case OPTION_DURATION:
        return parse_duration(text, at)
                   ? OPTIONS_GO_ON
                   : usage_error(command, row->name, text, "a duration like 30s, 500ms or 2min");
    case OPTION_CLASS:
        return parse_class(text, at)
                   ? OPTIONS_GO_ON
                   : usage_error(command, row->name, text, "interactive, batch or background");
    }
    return EXIT_USAGE;
}

/* getopt's tables out of ours; a row's code is its letter, or its number from FIRST_CODE on. */
static size_t make_tables(const struct option_row *rows, struct option *longs, char *shorts)
{
    size_t n = 0;

    *shorts++ = ':'; /* tell a missing argument from an unknown option */
    for (; rows[n].name; n++) {
        assert(n < MAX_ROWS);
        longs[n] = (struct option) {.name = rows[n].name,
                                    .has_arg = rows[n].argument ? required_argument : no_argument,
                                    .val = rows[n].letter ? rows[n].letter : FIRST_CODE + (int) n};
        if (rows[n].letter) {
            *shorts++ = rows[n].letter;
            if (rows[n].argument) {
                *shorts++ = ':';
            }
        }
    }
    longs[n] = (struct option) {.name = "help", .val = 'h'};
    longs[n + 1] = (struct option) {0};
    *shorts++ = 'h';
    *shorts = '\0';
    return n;
}

/*
 * Failures of the command line are told as JSON as well where that is wanted, wherever --json
 * stands in it. (A value of another option that looks like it changes no more than that.)
 */
static void find_json(const struct option_row *rows, int argc, char **argv,
                      struct common_options *values)
{
    enum fault_form form = FAULT_TEXT;

    for (const struct option_row *row = rows; row->name; row++) {
        form = row->type == OPTION_DOCUMENT ? FAULT_DOCUMENT
               : row->type == OPTION_EVENTS ? FAULT_EVENT
                                            : form;
    }
    values->is_json = default_is_json && form != FAULT_TEXT;

    bool is_wanted = values->is_json;

    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        is_wanted = is_wanted || strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "-j") == 0;
    }
    if (is_wanted && form != FAULT_TEXT) {
        fault_set_form(form);
    }
}

int options_parse(const struct command *command, const struct option_row *rows, int argc,
                  char **argv, struct common_options *values)
{
    struct option longs[MAX_ROWS + 2];
    char shorts[2 * MAX_ROWS + 4];
    size_t n = make_tables(rows, longs, shorts);
    int code;

    values->socket = default_socket;
    find_json(rows, argc, argv, values);
    opterr = 0;
    optind = 1;
    while ((code = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        int r = EXIT_USAGE;

        if (code == 'h') {
            print_help(command, rows);
            return EXIT_OK;
        }
        if (code == ':') {
            return complain_with(EXIT_USAGE, "usage",
                                 "%s: %s wants a value; sluicectl %s --help shows which",
                                 command->name, argv[optind - 1], command->name);
        }
        if (code == '?') {
            return complain_with(EXIT_USAGE, "usage",
                                 "%s: there is no option %s; sluicectl %s --help shows them all",
                                 command->name, argv[optind - 1], command->name);
        }
        for (size_t i = 0; i < n; i++) {
            if (longs[i].val == code) {
                r = store(command, &rows[i], values, optarg);
            }
        }
        if (r != OPTIONS_GO_ON) {
            return r;
        }
    }
    values->first_word = optind;
    return OPTIONS_GO_ON;
}

int options_want_words(const struct command *command, int argc, char **argv,
                       const struct common_options *values, int min, int max)
{
    int n = argc - values->first_word;

    if (n < min) {
        return complain_with(EXIT_USAGE, "usage", "%s: something is missing: sluicectl %s %s",
                             command->name, command->name, command->arguments);
    }
    if (n > max) {
        return complain_with(EXIT_USAGE, "usage",
                             "%s: \"%s\" is one word too many: sluicectl %s %s", command->name,
                             argv[values->first_word + max], command->name, command->arguments);
    }
    return OPTIONS_GO_ON;
}
