/*
 * sluicectl ps and sluicectl show, and what status says about deployments.
 *
 * ps lists what holds memory or works, as `ollama ps` does, but for every provider: of servers that
 * are not Ollama's only the slots in use are known here. show tells all about one model, down to
 * the reason why a deployment serves nobody.
 */
#include "deployments.h"

#include <stdio.h>
#include <string.h>

#include "term.h"

static const struct option_row plain_rows[] = {OPTION_JSON, OPTION_SOCKET, {.name = NULL}};

const struct column deployment_columns[] = {
    {"MODEL", "model", SLUICE_FIELD_MODEL, COLUMN_TEXT},
    {"DEPLOYMENT", "id", SLUICE_FIELD_DEPLOYMENT, COLUMN_TEXT},
    {"PROVIDER", "provider", SLUICE_FIELD_PROVIDER, COLUMN_TEXT},
    {NULL, "upstream_model", SLUICE_FIELD_UPSTREAM_MODEL, COLUMN_TEXT},
    {NULL, "api_base", SLUICE_FIELD_API_BASE, COLUMN_TEXT},
    {NULL, "slots", SLUICE_FIELD_SLOTS, COLUMN_NUMBER},
    {NULL, "slots_in_use", SLUICE_FIELD_SLOTS_IN_USE, COLUMN_NUMBER},
    {NULL, "available", SLUICE_FIELD_AVAILABLE, COLUMN_BOOL},
    {NULL, "unavailable_reason", SLUICE_FIELD_UNAVAILABLE_REASON, COLUMN_TEXT},
    {NULL, "loaded", SLUICE_FIELD_LOADED, COLUMN_BOOL},
    {NULL, "idle_usec", SLUICE_FIELD_IDLE_USEC, COLUMN_NUMBER},
    {NULL, "server_version", SLUICE_FIELD_SERVER_VERSION, COLUMN_TEXT},
    {NULL, "order", SLUICE_FIELD_ORDER, COLUMN_NUMBER},
    {NULL, "weight_permille", SLUICE_FIELD_WEIGHT_PERMILLE, COLUMN_NUMBER},
    {NULL, "tags", SLUICE_FIELD_TAGS, COLUMN_LINES},
    {NULL, "local_only", SLUICE_FIELD_LOCAL_ONLY, COLUMN_BOOL},
    {NULL, "paused_usec", SLUICE_FIELD_PAUSED_USEC, COLUMN_NUMBER},
    {NULL, "aliases", SLUICE_FIELD_ALIASES, COLUMN_LINES},
    {NULL, "memory_state", SLUICE_FIELD_MEMORY_STATE, COLUMN_TEXT},
    {NULL, "need_bytes", SLUICE_FIELD_NEED_BYTES, COLUMN_NUMBER},
    {NULL, "need_source", SLUICE_FIELD_NEED_SOURCE, COLUMN_TEXT},
    {NULL, "fits", SLUICE_FIELD_FITS, COLUMN_TEXT},
    {NULL, "file_bytes", SLUICE_FIELD_FILE_BYTES, COLUMN_NUMBER},
    {NULL, "held_bytes", SLUICE_FIELD_HELD_BYTES, COLUMN_NUMBER},
    {.name = NULL},
};

static unsigned long long number(const sluice_call *call, size_t row, int field)
{
    return sluice_call_row_number(call, row, field);
}

void deployments_print_slots(const sluice_call *call, size_t row)
{
    char slots[48];

    (void) snprintf(slots, sizeof(slots), "%llu/%llu", number(call, row, SLUICE_FIELD_SLOTS_IN_USE),
                    number(call, row, SLUICE_FIELD_SLOTS));
    (void) printf("%-6s  ", slots);
}

void deployments_print_state(const sluice_call *call, size_t row)
{
    if (number(call, row, SLUICE_FIELD_AVAILABLE)) {
        (void) printf("available%s", number(call, row, SLUICE_FIELD_LOADED) ? ", in memory" : "");
        return;
    }
    (void) printf("%s: ", number(call, row, SLUICE_FIELD_PAUSED_USEC) > 0 ? "paused" : "off");
    term_print(stdout, sluice_call_row_text(call, row, SLUICE_FIELD_UNAVAILABLE_REASON));
}

/* "in use", "never", "12 s" */
static const char *idle(const sluice_call *call, size_t row, char *out, size_t size)
{
    uint64_t usec = sluice_call_row_number(call, row, SLUICE_FIELD_IDLE_USEC);

    if (number(call, row, SLUICE_FIELD_SLOTS_IN_USE) > 0) {
        return "in use";
    }
    if (usec == 0) {
        return "never";
    }
    report_duration(out, size, usec);
    return out;
}

/* ---------------------------------------------------------------- asking */

/* The reply to a status, for a command with n_words words; NULL with q->exit_code. */
static sluice_call *ask(const struct command *command, int argc, char **argv, int n_words,
                        struct question *q)
{
    sluice_request *req;
    int code = options_parse(command, plain_rows, argc, argv, &q->options);

    code = code == OPTIONS_GO_ON
               ? options_want_words(command, argc, argv, &q->options, n_words, n_words)
               : code;
    if (code != OPTIONS_GO_ON) {
        q->exit_code = code;
        return NULL;
    }

    int r = sluice_status_new(&req);

    return report_ask(&q->options, command->name, r, req, &q->exit_code);
}

static void print_document(const struct table *table, const sluice_call *call, const char *model)
{
    cJSON *document = json_object();

    if (model) {
        json_add_text(document, "model", model);
    }
    report_add_rows(json_add_array(document, "deployments"), table, call);
    json_print(document);
}

/* ---------------------------------------------------------------- ps */

static bool is_alive(const sluice_call *call, size_t row, const void *ctx)
{
    return number(call, row, SLUICE_FIELD_LOADED) != 0 ||
           number(call, row, SLUICE_FIELD_SLOTS_IN_USE) > 0;
}

static void print_use(const sluice_call *call, size_t row)
{
    char text[48];

    deployments_print_slots(call, row);
    (void) printf("%-6s  %s", number(call, row, SLUICE_FIELD_LOADED) ? "yes" : "-",
                  idle(call, row, text, sizeof(text)));
}

int run_ps(const struct command *command, int argc, char **argv)
{
    static const struct table table = {.columns = deployment_columns,
                                       .is_wanted = is_alive,
                                       .rest = "SLOTS   LOADED  IDLE",
                                       .print_rest = print_use};
    struct question q = {.exit_code = EXIT_OK};
    sluice_call *call = ask(command, argc, argv, 0, &q);

    if (!call) {
        return q.exit_code;
    }
    if (q.options.is_json) {
        print_document(&table, call, NULL);
    } else {
        report_table(&table, call);
    }
    report_done(call);
    return EXIT_OK;
}

/* ---------------------------------------------------------------- show */

/* What was asked for: a model, or another name that leads to one. */
struct asked {
    const char *name;
    bool is_alias; /* a deployment has it among its aliases: those go before models, as for calls */
};

static bool has_alias(const sluice_call *call, size_t row, const char *name)
{
    const char *at = sluice_call_row_text(call, row, SLUICE_FIELD_ALIASES);
    size_t n = strlen(name);

    for (; at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strcspn(at, "\n") == n && n > 0 && memcmp(at, name, n) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_asked_for(const sluice_call *call, size_t row, const void *ctx)
{
    const struct asked *asked = ctx;

    return asked->is_alias
               ? has_alias(call, row, asked->name)
               : strcmp(sluice_call_row_text(call, row, SLUICE_FIELD_MODEL), asked->name) == 0;
}

/* The model of the first deployment that is asked for; "" without. */
static const char *model_of(const sluice_call *call, const struct asked *asked)
{
    for (size_t i = 0; i < sluice_call_n_rows(call); i++) {
        if (is_asked_for(call, i, asked)) {
            return sluice_call_row_text(call, i, SLUICE_FIELD_MODEL);
        }
    }
    return "";
}

static void print_line(const char *name, const char *value)
{
    (void) printf("    %-10s ", name);
    term_print(stdout, value[0] != '\0' ? value : "-");
    (void) printf("\n");
}

/* "a, b" of "a\nb" */
static void print_words(const char *name, const char *lines)
{
    (void) printf("    %-10s %s", name, lines[0] != '\0' ? "" : "-");
    while (*lines) {
        struct term_text t = {.n_held = 0};
        size_t n = strcspn(lines, "\n");

        term_write(stdout, &t, lines, n);
        term_end(stdout, &t);
        lines += n + (lines[n] == '\n');
        (void) printf("%s", *lines ? ", " : "");
    }
    (void) printf("\n");
}

/* What decides who of the model's deployments is asked. */
static void print_terms(const sluice_call *call, size_t row)
{
    uint64_t order = number(call, row, SLUICE_FIELD_ORDER);
    uint64_t permille = number(call, row, SLUICE_FIELD_WEIGHT_PERMILLE);
    char text[48] = "";

    if (order > 0) {
        (void) snprintf(text, sizeof(text), "%llu", (unsigned long long) order);
    }
    print_line("order", text);
    text[0] = '\0';
    if (permille > 0) {
        (void) snprintf(text, sizeof(text), "%.10g", (double) permille / 1000);
    }
    print_line("weight", text);
    print_words("tags", sluice_call_row_text(call, row, SLUICE_FIELD_TAGS));
    print_words("aliases", sluice_call_row_text(call, row, SLUICE_FIELD_ALIASES));
}

static void print_deployment(const sluice_call *call, size_t row)
{
    char text[48];

    (void) printf("\n  ");
    term_style(stdout, STYLE_BOLD);
    term_print(stdout, sluice_call_row_text(call, row, SLUICE_FIELD_DEPLOYMENT));
    term_style(stdout, STYLE_PLAIN);
    (void) printf("\n");
    print_line("provider", sluice_call_row_text(call, row, SLUICE_FIELD_PROVIDER));
    print_line("model", sluice_call_row_text(call, row, SLUICE_FIELD_UPSTREAM_MODEL));
    print_line("server", sluice_call_row_text(call, row, SLUICE_FIELD_API_BASE));
    print_line("version", sluice_call_row_text(call, row, SLUICE_FIELD_SERVER_VERSION));
    (void) snprintf(text, sizeof(text), "%llu of %llu in use",
                    number(call, row, SLUICE_FIELD_SLOTS_IN_USE),
                    number(call, row, SLUICE_FIELD_SLOTS));
    print_line("slots", text);
    print_line("idle", idle(call, row, text, sizeof(text)));
    print_terms(call, row);
    (void) printf("    %-10s ", "state");
    deployments_print_state(call, row);
    (void) printf("\n");
}

static void print_model(const struct table *table, const sluice_call *call,
                        const struct asked *asked)
{
    size_t n = report_count(table, call);

    term_print(stdout, asked->name);
    if (asked->is_alias) {
        (void) printf(", another name for ");
        term_print(stdout, model_of(call, asked));
    }
    (void) printf(", %zu deployment%s\n", n, n == 1 ? "" : "s");
    for (size_t i = 0; i < sluice_call_n_rows(call); i++) {
        if (is_asked_for(call, i, asked)) {
            print_deployment(call, i);
        }
    }
}

int run_show(const struct command *command, int argc, char **argv)
{
    struct question q = {.exit_code = EXIT_OK};
    sluice_call *call = ask(command, argc, argv, 1, &q);
    int code = EXIT_OK;

    if (!call) {
        return q.exit_code;
    }

    struct asked asked = {.name = argv[q.options.first_word], .is_alias = true};
    struct table table = {.columns = deployment_columns, .is_wanted = is_asked_for, .ctx = &asked};

    asked.is_alias = report_count(&table, call) > 0;
    if (report_count(&table, call) == 0) {
        code = complain_with(EXIT_FAILED, "model_not_found",
                             "show: there is no model \"%s\"; `sluicectl models` lists them",
                             asked.name);
    } else if (q.options.is_json) {
        print_document(&table, call, model_of(call, &asked));
    } else {
        print_model(&table, call, &asked);
    }
    report_done(call);
    return code;
}
