/*
 * sluicectl models (list, ls): which names clients may ask for. --names prints nothing else, for
 * scripts and for the completion of shells.
 *
 * What it takes of this device the daemon asks servers for when it lists models, and tells with the
 * next list (session_ask_memory()).
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

/* Is an account kept of what it takes of this device? */
static bool has_memory(const sluice_call *call, size_t row)
{
    return sluice_call_row_text(call, row, SLUICE_FIELD_MEMORY_STATE)[0] != '\0';
}

/* before: "", or "~" of what nobody has seen or said. */
static const char *mib(const char *before, uint64_t bytes, char *out, size_t size)
{
    if (bytes == 0) {
        return "-";
    }
    (void) snprintf(out, size, "%s%llu MiB", before, (unsigned long long) (bytes >> 20));
    return out;
}

static const char *need_of(const sluice_call *call, size_t row, char *out, size_t size)
{
    const char *source = sluice_call_row_text(call, row, SLUICE_FIELD_NEED_SOURCE);
    bool is_guess = strcmp(source, "computed") == 0 || strcmp(source, "reported") == 0;

    return mib(is_guess ? "~" : "", sluice_call_row_number(call, row, SLUICE_FIELD_NEED_BYTES), out,
               size);
}

/* In words of at most 10 characters. */
static const char *text_of(const sluice_call *call, size_t row, int field)
{
    const char *text = sluice_call_row_text(call, row, field);

    return text[0] != '\0' ? text : "-";
}

static void print_rest(const sluice_call *call, size_t row)
{
    char available[48], size[32], need[32];

    (void) snprintf(
        available, sizeof(available), "%llu of %llu",
        (unsigned long long) sluice_call_row_number(call, row, SLUICE_FIELD_AVAILABLE_DEPLOYMENTS),
        (unsigned long long) sluice_call_row_number(call, row, SLUICE_FIELD_DEPLOYMENTS));
    if (!has_memory(call, row)) {
        (void) printf("%-9s  %-9s  %-9s  %-7s  -", available, "-", "-", "-");
        return;
    }
    (void) printf(
        "%-9s  %-9s  %-9s  %-7s  ", available,
        mib("", sluice_call_row_number(call, row, SLUICE_FIELD_FILE_BYTES), size, sizeof(size)),
        need_of(call, row, need, sizeof(need)), text_of(call, row, SLUICE_FIELD_FITS));
    term_print(stdout, text_of(call, row, SLUICE_FIELD_MEMORY_STATE));
}

static const struct table models_table = {.columns = model_columns,
                                          .rest =
                                              "AVAILABLE  SIZE       NEED       FITS     MEMORY",
                                          .print_rest = print_rest};

static void print_names(const sluice_call *call)
{
    for (size_t i = 0; i < sluice_call_n_rows(call); i++) {
        term_print(stdout, sluice_call_row_text(call, i, SLUICE_FIELD_MODEL));
        (void) printf("\n");
    }
}

static const struct column memory_columns[] = {
    {NULL, "file_bytes", SLUICE_FIELD_FILE_BYTES, COLUMN_NUMBER},
    {NULL, "need_bytes", SLUICE_FIELD_NEED_BYTES, COLUMN_NUMBER},
    {NULL, "need_source", SLUICE_FIELD_NEED_SOURCE, COLUMN_TEXT},
    {NULL, "fits", SLUICE_FIELD_FITS, COLUMN_TEXT},
    {NULL, "memory_state", SLUICE_FIELD_MEMORY_STATE, COLUMN_TEXT},
    {NULL, "held_bytes", SLUICE_FIELD_HELD_BYTES, COLUMN_NUMBER},
    {.name = NULL},
};

static void print_document(const sluice_call *call)
{
    cJSON *document = json_object();
    cJSON *rows = json_add_array(document, "models"), *one;
    size_t row = 0;

    report_add_rows(rows, &models_table, call);
    cJSON_ArrayForEach(one, rows)
    {
        if (has_memory(call, row)) {
            report_add_row(one, memory_columns, call, row);
        }
        row++;
    }
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
    if (options.is_names && !options.common.is_json) {
        print_names(call);
        report_done(call);
        return EXIT_OK;
    }

    sluice_call *known = session_ask_memory(sluice_call_client(call), sluice_models_new, "models");
    const sluice_call *shown = known ? known : call;

    if (options.common.is_json) {
        print_document(shown);
    } else {
        report_table(&models_table, shown);
    }
    session_finish(known);
    report_done(call);
    return EXIT_OK;
}
