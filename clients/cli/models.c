/*
 * sluicectl models (list, ls): which names clients may ask for. --names prints nothing else, for
 * scripts and for the completion of shells.
 */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "report.h"
#include "term.h"

struct models_options {
    struct common_options common;
    bool is_names;
};

static const struct option_row model_rows[] = {
    {"names", 'q', OPTION_FLAG, NULL, "print the names only, one a line",
     offsetof(struct models_options, is_names)},
    OPTION_JSON,
    OPTION_SOCKET,
    {.name = NULL},
};

static const struct column model_columns[] = {
    {"MODEL", "name", SLUICE_FIELD_MODEL, COLUMN_TEXT},
    {"PROVIDER", "provider", SLUICE_FIELD_PROVIDER, COLUMN_TEXT},
    {NULL, "deployments", SLUICE_FIELD_DEPLOYMENTS, COLUMN_NUMBER},
    {NULL, "available_deployments", SLUICE_FIELD_AVAILABLE_DEPLOYMENTS, COLUMN_NUMBER},
    {.name = NULL},
};

static void print_available(const sluice_call *call, size_t row)
{
    (void) printf(
        "%llu of %llu",
        (unsigned long long) sluice_call_row_number(call, row, SLUICE_FIELD_AVAILABLE_DEPLOYMENTS),
        (unsigned long long) sluice_call_row_number(call, row, SLUICE_FIELD_DEPLOYMENTS));
}

static const struct table models_table = {
    .columns = model_columns, .rest = "AVAILABLE", .print_rest = print_available};

static void print_names(const sluice_call *call)
{
    for (size_t i = 0; i < sluice_call_n_rows(call); i++) {
        term_print(stdout, sluice_call_row_text(call, i, SLUICE_FIELD_MODEL));
        (void) printf("\n");
    }
}

static void print_document(const sluice_call *call)
{
    cJSON *document = json_object();

    report_add_rows(json_add_array(document, "models"), &models_table, call);
    json_print(document);
}

int run_models(const struct command *command, int argc, char **argv)
{
    struct models_options options = {.is_names = false};
    sluice_request *req;
    int code = options_parse(command, model_rows, argc, argv, &options.common);

    code = code == OPTIONS_GO_ON ? options_want_words(command, argc, argv, &options.common, 0, 0)
                                 : code;
    if (code != OPTIONS_GO_ON) {
        return code;
    }

    int r = sluice_models_new(&req);
    sluice_call *call = report_ask(&options.common, command->name, r, req, &code);

    if (!call) {
        return code;
    }
    if (options.common.is_json) {
        print_document(call);
    } else if (options.is_names) {
        print_names(call);
    } else {
        report_table(&models_table, call);
    }
    report_done(call);
    return EXIT_OK;
}
