/*
 * sluicectl load: a model into the memory of its server. It may take minutes, for its turn and for the
 * load: a terminal is told how long it has been already.
 */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "report.h"
#include "term.h"

#define TICK_USEC 1000000 /* between two looks at the clock */

static const struct option_row load_rows[] = {OPTION_JSON, OPTION_SOCKET, {.name = NULL}};

static const struct column members[] = {
    {NULL, "was_there", SLUICE_FIELD_WAS_THERE, COLUMN_BOOL},
    {NULL, "load_usec", SLUICE_FIELD_LOAD_USEC, COLUMN_NUMBER},
    {NULL, "need_bytes", SLUICE_FIELD_NEED_BYTES, COLUMN_NUMBER},
    {.name = NULL},
};

static time_t now_sec(void)
{
    struct timespec ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail with this clock */
    return ts.tv_sec;
}

/* The next event; meanwhile a line on a terminal. */
static int wait_for_it(sluice_call *call, const char *model, bool is_shown)
{
    time_t began = now_sec();
    char text[120];
    int ev;

    while ((ev = session_next_within(call, TICK_USEC)) == -EAGAIN) {
        if (is_shown) {
            (void) snprintf(text, sizeof(text), "loading %.60s, %lld s", model,
                            (long long) (now_sec() - began));
            term_progress(text);
        }
    }
    if (is_shown) {
        term_progress(NULL);
    }
    return ev;
}

static void print_line(const sluice_call *call, const char *model)
{
    double sec = (double) sluice_call_reply_number(call, SLUICE_FIELD_LOAD_USEC) / 1e6;
    unsigned long long mib = sluice_call_reply_number(call, SLUICE_FIELD_NEED_BYTES) >> 20;

    term_print(stdout, model);
    if (sluice_call_reply_number(call, SLUICE_FIELD_WAS_THERE)) {
        (void) printf(": it is in memory already");
    } else {
        (void) printf(": loaded in %.1f s", sec);
    }
    if (mib > 0) {
        (void) printf(", about %llu MiB", mib);
    }
    (void) printf("\n");
}

static void tell(const sluice_call *call, const char *model, bool is_json)
{
    cJSON *document;

    if (!is_json) {
        print_line(call, model);
        return;
    }
    document = json_object();
    json_add_text(document, "model", model);
    report_add_members(document, call, members);
    json_print(document);
}

int run_load(const struct command *command, int argc, char **argv)
{
    struct common_options options = {.socket = NULL};
    int code = options_parse(command, load_rows, argc, argv, &options);

    code = code == OPTIONS_GO_ON ? options_want_words(command, argc, argv, &options, 1, 1) : code;
    if (code != OPTIONS_GO_ON) {
        return code;
    }

    const char *model = argv[options.first_word];
    sluice_client *client = session_connect(options.socket, &code);
    sluice_request *req = NULL;
    int r = client ? sluice_load_new(model, &req) : 0;

    if (!client) {
        return code;
    }
    if (r < 0) {
        sluice_client_free(client);
        return complain_errno(command->name, r);
    }

    sluice_call *call = session_start(client, req, command->name, &code);

    if (call) {
        int ev = wait_for_it(call, model, term_is_tty(stderr) && !options.is_json);

        code = ev < 0                     ? complain_errno(command->name, ev)
               : ev == SLUICE_EVENT_REPLY ? EXIT_OK
                                          : complain_call(call, command->name);
        if (code == EXIT_OK) {
            tell(call, model, options.is_json);
        }
        session_finish(call);
    }
    sluice_client_free(client);
    return code;
}
