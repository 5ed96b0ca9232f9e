/*
 * sluicectl status: what the daemon is doing, for people as a page, for programs as a document.
 */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "report.h"
#include "term.h"

static const struct option_row status_rows[] = {OPTION_JSON, OPTION_SOCKET, {.name = NULL}};

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

static void print_slots_and_state(const sluice_call *call, size_t row)
{
    char slots[48];

    (void) snprintf(
        slots, sizeof(slots), "%llu/%llu",
        (unsigned long long) sluice_call_row_number(call, row, SLUICE_FIELD_SLOTS_IN_USE),
        (unsigned long long) sluice_call_row_number(call, row, SLUICE_FIELD_SLOTS));
    (void) printf("%-6s  ", slots);
    if (sluice_call_row_number(call, row, SLUICE_FIELD_AVAILABLE)) {
        (void) printf("available");
        return;
    }
    (void) printf("off: ");
    term_print(stdout, sluice_call_row_text(call, row, SLUICE_FIELD_UNAVAILABLE_REASON));
}

static const struct table deployments_table = {
    .columns = deployment_columns, .rest = "SLOTS   STATE", .print_rest = print_slots_and_state};

static void print_page(const sluice_call *call)
{
    print_head(call);
    (void) printf("\n");
    report_table(&deployments_table, call);
}

static void print_document(const sluice_call *call)
{
    cJSON *document = json_object();

    report_add_members(document, call, status_members);
    report_add_rows(json_add_array(document, "deployments"), &deployments_table, call);
    json_print(document);
}

int run_status(const struct command *command, int argc, char **argv)
{
    struct common_options options = {.socket = NULL};
    sluice_request *req;
    int code = options_parse(command, status_rows, argc, argv, &options);

    code = code == OPTIONS_GO_ON ? options_want_words(command, argc, argv, &options, 0, 0) : code;
    if (code != OPTIONS_GO_ON) {
        return code;
    }

    int r = sluice_status_new(&req);
    sluice_call *call = report_ask(&options, command->name, r, req, &code);

    if (!call) {
        return code;
    }
    if (options.is_json) {
        print_document(call);
    } else {
        print_page(call);
    }
    report_done(call);
    return EXIT_OK;
}
