/*
 * sluicectl cancel, reload, drain and unload (stop): one request to the daemon, one line about what
 * became of it. The daemon decides who may; what it refuses is told with its own words and with
 * what helps (fault.c).
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

/* ---------------------------------------------------------------- for the administrator */

struct verb {
    int n_words; /* behind the options */
    int (*make)(char **words, sluice_request **ret);
};

/* Parses the command line and asks: the reply, or NULL with q->exit_code. */
static sluice_call *ask(const struct command *command, int argc, char **argv,
                        const struct verb *verb, struct question *q)
{
    sluice_request *req;
    int code = options_parse(command, plain_rows, argc, argv, &q->options);

    code = code == OPTIONS_GO_ON
               ? options_want_words(command, argc, argv, &q->options, verb->n_words, verb->n_words)
               : code;
    if (code != OPTIONS_GO_ON) {
        q->exit_code = code;
        return NULL;
    }

    int r = verb->make(argv + q->options.first_word, &req);

    return report_ask(&q->options, command->name, r, req, &q->exit_code);
}

static int make_reload(char **words, sluice_request **ret)
{
    return sluice_reload_new(ret);
}

int run_reload(const struct command *command, int argc, char **argv)
{
    static const struct verb verb = {.n_words = 0, .make = make_reload};
    struct question q = {.exit_code = EXIT_OK};
    sluice_call *call = ask(command, argc, argv, &verb, &q);

    if (!call) {
        return q.exit_code;
    }

    unsigned long long generation = sluice_call_reply_number(call, SLUICE_FIELD_CONFIG_GENERATION);
    unsigned long long n_models = sluice_call_reply_number(call, SLUICE_FIELD_MODELS);
    cJSON *document = json_object();
    char text[160];

    json_add_number(document, "config_generation", generation);
    json_add_number(document, "models", n_models);
    (void) snprintf(text, sizeof(text), "configuration %llu is in force, with %llu model%s",
                    generation, n_models, n_models == 1 ? "" : "s");
    tell(q.options.is_json, document, text);
    report_done(call);
    return EXIT_OK;
}

static int make_drain(char **words, sluice_request **ret)
{
    return sluice_drain_new(ret);
}

int run_drain(const struct command *command, int argc, char **argv)
{
    static const struct verb verb = {.n_words = 0, .make = make_drain};
    struct question q = {.exit_code = EXIT_OK};
    sluice_call *call = ask(command, argc, argv, &verb, &q);

    if (!call) {
        return q.exit_code;
    }

    unsigned long long n = sluice_call_reply_number(call, SLUICE_FIELD_CALLS_RUNNING);
    cJSON *document = json_object();
    char text[160];

    json_add_number(document, "calls_running", n);
    (void) snprintf(text, sizeof(text),
                    "no new calls are taken; sluiced ends when %llu running call%s ended", n,
                    n == 1 ? " has" : "s have");
    tell(q.options.is_json, document,
         n > 0 ? text : "no new calls are taken, and none runs: sluiced ends");
    report_done(call);
    return EXIT_OK;
}

static int make_unload(char **words, sluice_request **ret)
{
    return sluice_unload_new(words[0], ret);
}

int run_unload(const struct command *command, int argc, char **argv)
{
    static const struct verb verb = {.n_words = 1, .make = make_unload};
    struct question q = {.exit_code = EXIT_OK};
    sluice_call *call = ask(command, argc, argv, &verb, &q);

    if (!call) {
        return q.exit_code;
    }

    const char *model = argv[q.options.first_word];
    unsigned long long n = sluice_call_reply_number(call, SLUICE_FIELD_UNLOADED);
    unsigned long long n_left = sluice_call_reply_number(call, SLUICE_FIELD_UNCHANGED);
    cJSON *document = json_object();
    char text[320];

    json_add_text(document, "model", model);
    json_add_number(document, "unloaded", n);
    json_add_number(document, "unchanged", n_left);
    if (n > 0) {
        (void) snprintf(text, sizeof(text), "%.200s: unloaded from %llu deployment%s", model, n,
                        n == 1 ? "" : "s");
    } else {
        (void) snprintf(
            text, sizeof(text),
            "%.200s: nothing to unload: it was not loaded, or its server cannot be asked", model);
    }
    tell(q.options.is_json, document, text);
    report_done(call);
    return EXIT_OK;
}
