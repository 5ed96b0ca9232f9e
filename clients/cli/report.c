/*
 * sluicectl models, status and version: one question, one answer, a table for people or a document
 * for programs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "json.h"
#include "options.h"
#include "term.h"

static const struct option_row rows_of_all[] = {OPTION_JSON, OPTION_SOCKET, {.name = NULL}};

/* A column of a table or a member of a JSON object: where its value comes from. */
struct column {
    const char *title; /* NULL: only in JSON */
    const char *name;
    int field;
    enum { COLUMN_TEXT, COLUMN_NUMBER, COLUMN_BOOL } form;
};

static const struct column model_columns[] = {
    {"MODEL", "name", SLUICE_FIELD_MODEL, COLUMN_TEXT},
    {"PROVIDER", "provider", SLUICE_FIELD_PROVIDER, COLUMN_TEXT},
    {NULL, "deployments", SLUICE_FIELD_DEPLOYMENTS, COLUMN_NUMBER},
    {NULL, "available_deployments", SLUICE_FIELD_AVAILABLE_DEPLOYMENTS, COLUMN_NUMBER},
    {.name = NULL},
};

static const struct column deployment_columns[] = {
    {"MODEL", "model", SLUICE_FIELD_MODEL, COLUMN_TEXT},
    {"DEPLOYMENT", "id", SLUICE_FIELD_DEPLOYMENT, COLUMN_TEXT},
    {"PROVIDER", "provider", SLUICE_FIELD_PROVIDER, COLUMN_TEXT},
    {NULL, "slots", SLUICE_FIELD_SLOTS, COLUMN_NUMBER},
    {NULL, "slots_in_use", SLUICE_FIELD_SLOTS_IN_USE, COLUMN_NUMBER},
    {NULL, "available", SLUICE_FIELD_AVAILABLE, COLUMN_BOOL},
    {NULL, "unavailable_reason", SLUICE_FIELD_UNAVAILABLE_REASON, COLUMN_TEXT},
    {.name = NULL},
};

static const struct column status_members[] = {
    {NULL, "version", SLUICE_FIELD_VERSION, COLUMN_TEXT},
    {NULL, "uptime_usec", SLUICE_FIELD_UPTIME_USEC, COLUMN_NUMBER},
    {NULL, "draining", SLUICE_FIELD_DRAINING, COLUMN_BOOL},
    {NULL, "config_generation", SLUICE_FIELD_CONFIG_GENERATION, COLUMN_NUMBER},
    {NULL, "pressure_level", SLUICE_FIELD_PRESSURE_LEVEL, COLUMN_NUMBER},
    {NULL, "pressure_source", SLUICE_FIELD_PRESSURE_SOURCE, COLUMN_TEXT},
    {NULL, "pressure_some_permille", SLUICE_FIELD_PRESSURE_SOME_PERMILLE, COLUMN_NUMBER},
    {NULL, "pressure_full_permille", SLUICE_FIELD_PRESSURE_FULL_PERMILLE, COLUMN_NUMBER},
    {NULL, "connections", SLUICE_FIELD_CONNECTIONS, COLUMN_NUMBER},
    {NULL, "calls_queued", SLUICE_FIELD_CALLS_QUEUED, COLUMN_NUMBER},
    {NULL, "calls_running", SLUICE_FIELD_CALLS_RUNNING, COLUMN_NUMBER},
    {NULL, "calls_completed", SLUICE_FIELD_CALLS_COMPLETED, COLUMN_NUMBER},
    {NULL, "calls_failed", SLUICE_FIELD_CALLS_FAILED, COLUMN_NUMBER},
    {NULL, "calls_cancelled", SLUICE_FIELD_CALLS_CANCELLED, COLUMN_NUMBER},
    {NULL, "calls_refused", SLUICE_FIELD_CALLS_REFUSED, COLUMN_NUMBER},
    {NULL, "tickets", SLUICE_FIELD_TICKETS, COLUMN_NUMBER},
    {.name = NULL},
};

/* ---------------------------------------------------------------- tables */

static int column_width(const sluice_call *call, const struct column *c)
{
    int width = term_width(c->title);

    for (size_t i = 0; i < sluice_call_n_rows(call); i++) {
        int n = term_width(sluice_call_row_text(call, i, c->field));

        width = n > width ? n : width;
    }
    return width + 2;
}

/* The text columns of a row, or their titles. */
static void print_columns(const sluice_call *call, const struct column *columns, const size_t *row)
{
    for (const struct column *c = columns; c->name; c++) {
        if (c->title) {
            term_column(stdout, row ? sluice_call_row_text(call, *row, c->field) : c->title,
                        column_width(call, c));
        }
    }
}

static void print_titles(const sluice_call *call, const struct column *columns, const char *rest)
{
    term_style(stdout, STYLE_BOLD);
    print_columns(call, columns, NULL);
    (void) printf("%s\n", rest);
    term_style(stdout, STYLE_PLAIN);
}

/* ---------------------------------------------------------------- JSON */

static void add_member(cJSON *object, const struct column *c, const char *text, uint64_t number)
{
    switch (c->form) {
    case COLUMN_TEXT:
        json_add_text(object, c->name, text);
        break;
    case COLUMN_NUMBER:
        json_add_number(object, c->name, number);
        break;
    case COLUMN_BOOL:
        json_add_bool(object, c->name, number != 0);
        break;
    }
}

static void add_rows(cJSON *array, const sluice_call *call, const struct column *columns)
{
    for (size_t i = 0; i < sluice_call_n_rows(call); i++) {
        cJSON *object = json_add_object(array, NULL);

        for (const struct column *c = columns; c->name; c++) {
            add_member(object, c, sluice_call_row_text(call, i, c->field),
                       sluice_call_row_number(call, i, c->field));
        }
    }
}

static void add_members(cJSON *object, const sluice_call *call, const struct column *columns)
{
    for (const struct column *c = columns; c->name; c++) {
        add_member(object, c, sluice_call_reply_text(call, c->field),
                   sluice_call_reply_number(call, c->field));
    }
}

/* ---------------------------------------------------------------- models */

static void print_models(const sluice_call *call)
{
    print_titles(call, model_columns, "AVAILABLE");
    for (size_t i = 0; i < sluice_call_n_rows(call); i++) {
        print_columns(call, model_columns, &i);
        (void) printf(
            "%llu of %llu\n",
            (unsigned long long) sluice_call_row_number(call, i,
                                                        SLUICE_FIELD_AVAILABLE_DEPLOYMENTS),
            (unsigned long long) sluice_call_row_number(call, i, SLUICE_FIELD_DEPLOYMENTS));
    }
}

static void report_models(const sluice_call *call, bool is_json)
{
    if (!is_json) {
        print_models(call);
        return;
    }

    cJSON *document = json_object();

    add_rows(json_add_array(document, "models"), call, model_columns);
    json_print(document);
}

/* ---------------------------------------------------------------- status */

/* "3 d 4 h", "2 h 5 min", "7 min 3 s", "12 s" */
static void print_duration(uint64_t usec)
{
    unsigned long long s = usec / 1000000;

    if (s >= 86400) {
        (void) printf("%llu d %llu h", s / 86400, s % 86400 / 3600);
    } else if (s >= 3600) {
        (void) printf("%llu h %llu min", s / 3600, s % 3600 / 60);
    } else if (s >= 60) {
        (void) printf("%llu min %llu s", s / 60, s % 60);
    } else {
        (void) printf("%llu s", s);
    }
}

static unsigned long long number(const sluice_call *call, int field)
{
    return sluice_call_reply_number(call, field);
}

static void print_head(const sluice_call *call)
{
    static const char *const levels[] = {"calm", "elevated", "high",
                                         "critical: new calls are refused",
                                         "emergency: new calls are refused"};
    unsigned long long level = number(call, SLUICE_FIELD_PRESSURE_LEVEL);

    (void) printf("sluiced ");
    term_print(stdout, sluice_call_reply_text(call, SLUICE_FIELD_VERSION));
    (void) printf(", up ");
    print_duration(sluice_call_reply_number(call, SLUICE_FIELD_UPTIME_USEC));
    (void) printf(", configuration %llu%s\n", number(call, SLUICE_FIELD_CONFIG_GENERATION),
                  number(call, SLUICE_FIELD_DRAINING) ? ", draining: no new calls" : "");
    (void) printf(
        "calls     %llu running, %llu waiting; since start %llu completed, %llu failed, %llu "
        "cancelled, %llu refused\n",
        number(call, SLUICE_FIELD_CALLS_RUNNING), number(call, SLUICE_FIELD_CALLS_QUEUED),
        number(call, SLUICE_FIELD_CALLS_COMPLETED), number(call, SLUICE_FIELD_CALLS_FAILED),
        number(call, SLUICE_FIELD_CALLS_CANCELLED), number(call, SLUICE_FIELD_CALLS_REFUSED));
    (void) printf("clients   %llu connections\n", number(call, SLUICE_FIELD_CONNECTIONS));
    (void) printf("memory    L%llu %s (some %.1f %%, full %.1f %%, source ", level,
                  level < sizeof(levels) / sizeof(levels[0]) ? levels[level] : "",
                  (double) number(call, SLUICE_FIELD_PRESSURE_SOME_PERMILLE) / 10,
                  (double) number(call, SLUICE_FIELD_PRESSURE_FULL_PERMILLE) / 10);
    term_print(stdout, sluice_call_reply_text(call, SLUICE_FIELD_PRESSURE_SOURCE));
    (void) printf(")\n");
}

static void print_deployments(const sluice_call *call)
{
    print_titles(call, deployment_columns, "SLOTS   STATE");
    for (size_t i = 0; i < sluice_call_n_rows(call); i++) {
        char slots[48];

        print_columns(call, deployment_columns, &i);
        (void) snprintf(
            slots, sizeof(slots), "%llu/%llu",
            (unsigned long long) sluice_call_row_number(call, i, SLUICE_FIELD_SLOTS_IN_USE),
            (unsigned long long) sluice_call_row_number(call, i, SLUICE_FIELD_SLOTS));
        (void) printf("%-6s  ", slots);
        if (sluice_call_row_number(call, i, SLUICE_FIELD_AVAILABLE)) {
            (void) printf("available\n");
            continue;
        }
        (void) printf("off: ");
        term_print(stdout, sluice_call_row_text(call, i, SLUICE_FIELD_UNAVAILABLE_REASON));
        (void) printf("\n");
    }
}

static void report_status(const sluice_call *call, bool is_json)
{
    if (!is_json) {
        print_head(call);
        (void) printf("\n");
        print_deployments(call);
        return;
    }

    cJSON *document = json_object();

    add_members(document, call, status_members);
    add_rows(json_add_array(document, "deployments"), call, deployment_columns);
    json_print(document);
}

/* ---------------------------------------------------------------- the commands */

static int no_words(const struct command *command, int argc, char **argv, int first)
{
    if (first < argc) {
        complain("%s: \"%s\" is one word too many", command->name, argv[first]);
        return EXIT_USAGE;
    }
    return OPTIONS_GO_ON;
}

/* Asks and reports. */
static int run_report(const struct command *command, int argc, char **argv,
                      int (*make)(sluice_request **),
                      void (*report)(const sluice_call *call, bool is_json))
{
    struct common_options options = {.socket = NULL};
    sluice_request *req;
    int code = options_parse(command, rows_of_all, argc, argv, &options);

    code = code == OPTIONS_GO_ON ? no_words(command, argc, argv, options.first_word) : code;
    if (code != OPTIONS_GO_ON) {
        return code;
    }

    sluice_client *client = session_connect(options.socket, &code);

    if (!client) {
        return code;
    }

    int r = make(&req);
    sluice_call *call = r == 0 ? session_ask(client, req, command->name, &code) : NULL;

    if (call) {
        report(call, options.is_json);
        code = EXIT_OK;
    } else if (r < 0) {
        code = complain_errno(command->name, r);
    }
    session_finish(call);
    sluice_client_free(client);
    return code;
}

int run_models(const struct command *command, int argc, char **argv)
{
    return run_report(command, argc, argv, sluice_models_new, report_models);
}

int run_status(const struct command *command, int argc, char **argv)
{
    return run_report(command, argc, argv, sluice_status_new, report_status);
}

/* ---------------------------------------------------------------- version */

/* The daemon's version; "" where none answers: a program may ask for its own version without a
 * daemon. */
static void daemon_version(const char *path, char *ret, size_t size)
{
    sluice_client *client;
    sluice_request *req;

    ret[0] = '\0';
    if (sluice_connect(path, &client) < 0) {
        return;
    }
    if (sluice_info_new(&req) == 0) {
        int code;
        sluice_call *call = session_ask(client, req, "version", &code);

        if (call) {
            (void) snprintf(ret, size, "%s", sluice_call_reply_text(call, SLUICE_FIELD_VERSION));
        }
        session_finish(call);
    }
    sluice_client_free(client);
}

static void print_version(const char *daemon)
{
    uint32_t abi = sluice_abi();

    (void) printf("sluicectl %s\nlibsluice %s (interface %u.%u)\nsluiced   ", SLUICE_VERSION,
                  sluice_version_string(), abi >> 16, abi & 0xffff);
    if (daemon[0] != '\0') {
        term_print(stdout, daemon);
        (void) printf("\n");
    } else {
        (void) printf("not reachable at ");
        term_print(stdout, sluice_connect_error());
        (void) printf("\n");
    }
}

int run_version(const struct command *command, int argc, char **argv)
{
    struct common_options options = {.socket = NULL};
    char daemon[64];
    int code = options_parse(command, rows_of_all, argc, argv, &options);

    code = code == OPTIONS_GO_ON ? no_words(command, argc, argv, options.first_word) : code;
    if (code != OPTIONS_GO_ON) {
        return code;
    }
    daemon_version(options.socket, daemon, sizeof(daemon));
    if (!options.is_json) {
        print_version(daemon);
        return EXIT_OK;
    }

    cJSON *document = json_object();

    json_add_text(document, "sluicectl", SLUICE_VERSION);
    json_add_text(document, "libsluice", sluice_version_string());
    if (daemon[0] != '\0') {
        json_add_text(document, "sluiced", daemon);
    }
    json_print(document);
    return EXIT_OK;
}
