/*
 * sluicectl cancel: one request to the daemon, one line about what became of it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "report.h"
#include "term.h"

static const struct option_row plain_rows[] = {OPTION_JSON, OPTION_SOCKET, {.name = NULL}};

/* What happened, as a line of text or as document (taken). */
static void tell(bool is_json, cJSON *document, const char *text)
{
    if (is_json) {
        json_print(document);
        return;
    }
    cJSON_Delete(document);
    term_print(stdout, text);
    (void) printf("\n");
}

int run_cancel(const struct command *command, int argc, char **argv)
{
    struct common_options options = {.socket = NULL};
    sluice_request *req;
    int code = options_parse(command, plain_rows, argc, argv, &options);

    code = code == OPTIONS_GO_ON ? options_want_words(command, argc, argv, &options, 1, 1) : code;
    if (code != OPTIONS_GO_ON) {
        return code;
    }

    const char *id = argv[options.first_word];
    int r = sluice_cancel_new(id, &req);

    if (r == -EINVAL) {
        return complain_with(EXIT_USAGE, "usage",
                             "cancel: \"%s\" is no request id: those have 1 to 64 letters, digits, "
                             "dots, dashes and underscores",
                             id);
    }

    sluice_call *call = report_ask(&options, command->name, r, req, &code);

    if (!call) {
        return code;
    }
    if (sluice_call_reply_number(call, SLUICE_FIELD_FOUND)) {
        cJSON *document = json_object();
        char text[160];

        json_add_text(document, "request_id", id);
        json_add_bool(document, "cancelled", true);
        (void) snprintf(text, sizeof(text), "cancelled %s", id);
        tell(options.is_json, document, text);
        code = EXIT_OK;
    } else {
        code = complain_with(EXIT_FAILED, "not_found",
                             "cancel: no call %s of yours is running or waiting", id);
    }
    report_done(call);
    return code;
}
