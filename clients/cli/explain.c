/*
 * sluicectl explain: why a call for a model would be admitted, queued or refused now, or where a call
 * stands that there is. The daemon says it, out of the functions that decide; nothing happens by it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "report.h"
#include "term.h"

struct explain_options {
    struct common_options common;
    int class_of_service;
};

static const struct option_row explain_rows[] = {
    {"class", 'c', OPTION_CLASS, "CLASS",
     "of the call that would come: interactive (default), batch or background",
     offsetof(struct explain_options, class_of_service)},
    OPTION_JSON,
    OPTION_SOCKET,
    {.name = NULL},
};

static const struct column members[] = {
    {NULL, "verdict", SLUICE_FIELD_VERDICT, COLUMN_TEXT},
    {NULL, "code", SLUICE_FIELD_CODE, COLUMN_TEXT},
    {NULL, "wait_usec", SLUICE_FIELD_WAIT_USEC, COLUMN_NUMBER},
    {NULL, "position", SLUICE_FIELD_POSITION, COLUMN_NUMBER},
    {NULL, "text", SLUICE_FIELD_TEXT, COLUMN_TEXT},
    {.name = NULL},
};

static void print_text(const char *text)
{
    struct term_text t = {.n_held = 0};

    term_write(stdout, &t, text, strlen(text));
    term_end(stdout, &t);
}

int run_explain(const struct command *command, int argc, char **argv)
{
    struct explain_options options = {.class_of_service = 0};
    sluice_request *req;
    int code = options_parse(command, explain_rows, argc, argv, &options.common);

    code = code == OPTIONS_GO_ON ? options_want_words(command, argc, argv, &options.common, 1, 1)
                                 : code;
    if (code != OPTIONS_GO_ON) {
        return code;
    }

    const char *word = argv[options.common.first_word];
    int r = sluice_explain_new(word, word, options.class_of_service, &req);

    if (r == -EINVAL) { /* no id: then only a model can be meant */
        r = sluice_explain_new(word, "", options.class_of_service, &req);
    }
    if (r == -EINVAL) {
        return complain_with(EXIT_USAGE, "usage",
                             "explain: a model or a request id is to be named");
    }

    sluice_call *call = report_ask(&options.common, command->name, r, req, &code);

    if (!call) {
        return code;
    }
    if (options.common.is_json) {
        cJSON *document = json_object();

        report_add_members(document, call, members);
        json_print(document);
    } else {
        print_text(sluice_call_reply_text(call, SLUICE_FIELD_TEXT));
    }
    report_done(call);
    return EXIT_OK;
}
