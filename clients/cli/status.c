/*
 * sluicectl status: what the daemon is doing, for people as a page, for programs as a document.
 * With --watch the same again whenever it has changed: the daemon looks and tells, nothing is
 * polled from here.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "deployments.h"
#include "report.h"
#include "term.h"

struct status_options {
    struct common_options common;
    uint64_t interval_usec; /* 0: the daemon's own, a second */
    bool is_watch;
};

static const struct option_row status_rows[] = {
    {"watch", 'w', OPTION_FLAG, NULL,
     "go on: a live page on a terminal, else a line for each change",
     offsetof(struct status_options, is_watch)},
    {"interval", 'i', OPTION_DURATION, "TIME",
     "watch, and look that often for changes, 100ms to 60s (default: 1s)",
     offsetof(struct status_options, interval_usec)},
    OPTION_JSON,
    OPTION_SOCKET,
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
    {NULL, "pressure_reason", SLUICE_FIELD_PRESSURE_REASON, COLUMN_TEXT},
    {NULL, "headroom_bytes", SLUICE_FIELD_HEADROOM_BYTES, COLUMN_NUMBER},
    {NULL, "memory_bytes", SLUICE_FIELD_MEMORY_BYTES, COLUMN_NUMBER},
    {NULL, "connections", SLUICE_FIELD_CONNECTIONS, COLUMN_NUMBER},
    {NULL, "calls_queued", SLUICE_FIELD_CALLS_QUEUED, COLUMN_NUMBER},
    {NULL, "calls_running", SLUICE_FIELD_CALLS_RUNNING, COLUMN_NUMBER},
    {NULL, "calls_completed", SLUICE_FIELD_CALLS_COMPLETED, COLUMN_NUMBER},
    {NULL, "calls_failed", SLUICE_FIELD_CALLS_FAILED, COLUMN_NUMBER},
    {NULL, "calls_cancelled", SLUICE_FIELD_CALLS_CANCELLED, COLUMN_NUMBER},
    {NULL, "calls_refused", SLUICE_FIELD_CALLS_REFUSED, COLUMN_NUMBER},
    {NULL, "tickets", SLUICE_FIELD_TICKETS, COLUMN_NUMBER},
    {NULL, "reservations", SLUICE_FIELD_RESERVATIONS, COLUMN_NUMBER},
    {NULL, "reserved_bytes", SLUICE_FIELD_RESERVED_BYTES, COLUMN_NUMBER},
    {NULL, "model_loads", SLUICE_FIELD_MODEL_LOADS, COLUMN_NUMBER},
    {NULL, "model_unloads", SLUICE_FIELD_MODEL_UNLOADS, COLUMN_NUMBER},
    {NULL, "loads_stopped", SLUICE_FIELD_LOADS_STOPPED, COLUMN_NUMBER},
    {NULL, "unloads_stuck", SLUICE_FIELD_UNLOADS_STUCK, COLUMN_NUMBER},
    {NULL, "quarantines", SLUICE_FIELD_QUARANTINES, COLUMN_NUMBER},
    {NULL, "calls_spilled_level", SLUICE_FIELD_CALLS_SPILLED_LEVEL, COLUMN_NUMBER},
    {NULL, "calls_spilled_wait", SLUICE_FIELD_CALLS_SPILLED_WAIT, COLUMN_NUMBER},
    {NULL, "calls_spilled_room", SLUICE_FIELD_CALLS_SPILLED_ROOM, COLUMN_NUMBER},
    {.name = NULL},
};

static unsigned long long number(const sluice_call *call, int field)
{
    return sluice_call_reply_number(call, field);
}

/* What the level is made of; behind its name. */
static void print_memory(const sluice_call *call, unsigned long long level)
{
    unsigned long long total = number(call, SLUICE_FIELD_MEMORY_BYTES);

    if (level > 0) {
        term_print(stdout, sluice_call_reply_text(call, SLUICE_FIELD_PRESSURE_REASON));
        (void) printf("; ");
    }
    if (total > 0) {
        (void) printf("%llu of %llu MiB left, ", number(call, SLUICE_FIELD_HEADROOM_BYTES) >> 20,
                      total >> 20);
    }
    (void) printf("some %.1f %%, full %.1f %%, source ",
                  (double) number(call, SLUICE_FIELD_PRESSURE_SOME_PERMILLE) / 10,
                  (double) number(call, SLUICE_FIELD_PRESSURE_FULL_PERMILLE) / 10);
    term_print(stdout, sluice_call_reply_text(call, SLUICE_FIELD_PRESSURE_SOURCE));
    (void) printf(")\n");
}

/* Nothing while nothing was ever loaded. */
static void print_models(const sluice_call *call)
{
    unsigned long long n_reserved = number(call, SLUICE_FIELD_RESERVATIONS);
    unsigned long long n_bad = number(call, SLUICE_FIELD_LOADS_STOPPED) +
                               number(call, SLUICE_FIELD_UNLOADS_STUCK) +
                               number(call, SLUICE_FIELD_QUARANTINES);

    if (number(call, SLUICE_FIELD_MODEL_LOADS) + n_reserved + n_bad == 0) {
        return;
    }
    (void) printf("models    since start %llu loaded, %llu unloaded to make room",
                  number(call, SLUICE_FIELD_MODEL_LOADS), number(call, SLUICE_FIELD_MODEL_UNLOADS));
    if (n_bad > 0) {
        (void) printf(", %llu loads stopped, %llu unloads stuck, %llu quarantines",
                      number(call, SLUICE_FIELD_LOADS_STOPPED),
                      number(call, SLUICE_FIELD_UNLOADS_STUCK),
                      number(call, SLUICE_FIELD_QUARANTINES));
    }
    if (n_reserved > 0) {
        (void) printf("; %llu MiB reserved", number(call, SLUICE_FIELD_RESERVED_BYTES) >> 20);
    }
    (void) printf("\n");
}

/* Nothing while none ever left. */
static void print_spills(const sluice_call *call)
{
    unsigned long long by_level = number(call, SLUICE_FIELD_CALLS_SPILLED_LEVEL);
    unsigned long long by_wait = number(call, SLUICE_FIELD_CALLS_SPILLED_WAIT);
    unsigned long long for_room = number(call, SLUICE_FIELD_CALLS_SPILLED_ROOM);

    if (by_level + by_wait + for_room > 0) {
        (void) printf("spilled   since start %llu by level, %llu by predicted wait, %llu for want "
                      "of memory\n",
                      by_level, by_wait, for_room);
    }
}

static void print_head(const sluice_call *call)
{
    static const char *const levels[] = {"calm", "elevated", "high",
                                         "critical: new calls are refused",
                                         "emergency: new calls are refused"};
    unsigned long long level = number(call, SLUICE_FIELD_PRESSURE_LEVEL);
    char up[48];

    (void) printf("sluiced ");
    term_print(stdout, sluice_call_reply_text(call, SLUICE_FIELD_VERSION));
    report_duration(up, sizeof(up), number(call, SLUICE_FIELD_UPTIME_USEC));
    (void) printf(", up %s, configuration %llu%s\n", up,
                  number(call, SLUICE_FIELD_CONFIG_GENERATION),
                  number(call, SLUICE_FIELD_DRAINING) ? ", draining: no new calls" : "");
    (void) printf(
        "calls     %llu running, %llu waiting; since start %llu completed, %llu failed, %llu "
        "cancelled, %llu refused\n",
        number(call, SLUICE_FIELD_CALLS_RUNNING), number(call, SLUICE_FIELD_CALLS_QUEUED),
        number(call, SLUICE_FIELD_CALLS_COMPLETED), number(call, SLUICE_FIELD_CALLS_FAILED),
        number(call, SLUICE_FIELD_CALLS_CANCELLED), number(call, SLUICE_FIELD_CALLS_REFUSED));
    print_spills(call);
    (void) printf("clients   %llu connections\n", number(call, SLUICE_FIELD_CONNECTIONS));
    (void) printf("memory    L%llu %s (", level,
                  level < sizeof(levels) / sizeof(levels[0]) ? levels[level] : "");
    print_memory(call, level);
    print_models(call);
}

static void print_slots_and_state(const sluice_call *call, size_t row)
{
    deployments_print_slots(call, row);
    deployments_print_state(call, row);
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

/* ---------------------------------------------------------------- watching */

/* A page that replaces the one before. Written in one go: half a page would flicker. */
static void redraw(const sluice_call *call)
{
    term_clear(stdout);
    print_page(call);
    term_style(stdout, STYLE_DIM);
    (void) printf("\nCtrl-C ends\n");
    term_style(stdout, STYLE_PLAIN);
}

/* A line for each state, as vmstat(8) has it: for pipes, files and plain terminals. */
static void print_line(const sluice_call *call, bool is_first)
{
    time_t now = time(NULL);
    struct tm local;
    char clock[16] = "";

    if (is_first) {
        (void) printf("TIME      RUNNING  WAITING  CLIENTS  MEMORY  COMPLETED  FAILED  CANCELLED  "
                      "REFUSED\n");
    }
    if (localtime_r(&now, &local)) {
        (void) strftime(clock, sizeof(clock), "%H:%M:%S", &local);
    }
    (void) printf(
        "%-8s  %7llu  %7llu  %7llu      L%llu  %9llu  %6llu  %9llu  %7llu%s\n", clock,
        number(call, SLUICE_FIELD_CALLS_RUNNING), number(call, SLUICE_FIELD_CALLS_QUEUED),
        number(call, SLUICE_FIELD_CONNECTIONS), number(call, SLUICE_FIELD_PRESSURE_LEVEL),
        number(call, SLUICE_FIELD_CALLS_COMPLETED), number(call, SLUICE_FIELD_CALLS_FAILED),
        number(call, SLUICE_FIELD_CALLS_CANCELLED), number(call, SLUICE_FIELD_CALLS_REFUSED),
        number(call, SLUICE_FIELD_DRAINING) ? "  draining" : "");
}

/* Takes states until the end, which Ctrl-C or the daemon makes. */
static int follow(sluice_call *call, bool is_json)
{
    bool is_live = !is_json && term_is_live(stdout), is_first = true;
    int ev;

    while ((ev = session_next(call)) > 0) {
        if (!output_flush()) {
            (void) sluice_call_cancel(call); /* nobody reads */
        } else if (ev == SLUICE_EVENT_STATUS && is_json) {
            print_document(call);
        } else if (ev == SLUICE_EVENT_STATUS && is_live) {
            redraw(call);
        } else if (ev == SLUICE_EVENT_STATUS) {
            print_line(call, is_first);
        }
        is_first = false;
        (void) output_flush();
    }
    if (!output_flush()) {
        return complain_output();
    }
    return ev < 0 ? complain_errno("status", ev) : complain_call(call, "status");
}

static int watch(const struct status_options *options)
{
    sluice_request *req;
    int r = sluice_watch_new(options->interval_usec, &req);
    int code = EXIT_FAILED;

    if (r == -EINVAL) {
        return complain_with(EXIT_USAGE, "usage", "status: --interval is to be from 100ms to 60s");
    }
    if (r < 0) {
        return complain_errno("status", r);
    }

    sluice_client *client = session_connect(options->common.socket, &code);

    if (!client) {
        sluice_request_free(req);
        return code;
    }

    sluice_call *call = session_start(client, req, "status", &code);

    if (call) {
        code = follow(call, options->common.is_json);
    }
    session_finish(call);
    sluice_client_free(client);
    return code;
}

/* ---------------------------------------------------------------- the command */

int run_status(const struct command *command, int argc, char **argv)
{
    struct status_options options = {.is_watch = false};
    sluice_request *req;
    int code = options_parse(command, status_rows, argc, argv, &options.common);

    code = code == OPTIONS_GO_ON ? options_want_words(command, argc, argv, &options.common, 0, 0)
                                 : code;
    if (code != OPTIONS_GO_ON) {
        return code;
    }
    if (options.is_watch || options.interval_usec > 0) {
        return watch(&options);
    }

    int r = sluice_status_new(&req);
    sluice_call *call = report_ask(&options.common, command->name, r, req, &code);

    if (!call) {
        return code;
    }
    if (options.common.is_json) {
        print_document(call);
    } else {
        print_page(call);
    }
    report_done(call);
    return EXIT_OK;
}
