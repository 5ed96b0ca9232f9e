/*
 * sluicectl rerank and classify: texts in, a line for each result out, as the daemon tells them:
 * ranks best first, labels in the order of the texts.
 *
 * Labels and the rest of what a model server says are text of others: on a terminal they can do
 * nothing, and with --json they are carried as they are.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "json.h"
#include "options.h"
#include "progress.h"
#include "term.h"
#include "texts.h"

struct result_options {
    struct ask_options ask;
    struct int_option top_n; /* rerank */
};

static const struct option_row rerank_rows[] = {
    OPTION_ASK_MODEL,
    {"top-n", 'n', OPTION_COUNT, "N", "the best ones only", offsetof(struct result_options, top_n)},
    OPTION_ASK_CLASS,
    OPTION_ASK_TIMEOUT,
    OPTION_JSON,
    OPTION_SOCKET,
    {.name = NULL},
};

static const struct option_row classify_rows[] = {
    OPTION_ASK_MODEL, OPTION_ASK_CLASS, OPTION_ASK_TIMEOUT,
    OPTION_JSON,      OPTION_SOCKET,    {.name = NULL},
};

/* A command at work. */
struct work {
    const char *query; /* NULL: classify */
    struct texts texts;
    struct result_options options;
    cJSON *results; /* --json; owned until it is part of the document; NULL: lines */
    char what[160];
};

/* ---------------------------------------------------------------- in */

static int make_request(const struct work *w, const char *model, sluice_request **ret)
{
    const struct result_options *o = &w->options;
    sluice_request *req;
    int r = w->query ? sluice_rerank_new(model, w->query, strlen(w->query), &req)
                     : sluice_classify_new(model, &req);

    if (r < 0) {
        return r;
    }
    r = texts_add(&w->texts, req);
    if (r == 0 && o->top_n.is_set) {
        r = sluice_request_set_int(req, SLUICE_INT_TOP_N, o->top_n.value);
    }
    r = r == 0 ? session_set_waiting(req, &o->ask) : r;
    if (r < 0) {
        sluice_request_free(req);
        return r;
    }
    *ret = req;
    return 0;
}

/* ---------------------------------------------------------------- out */

static void add_result(const struct work *w, const sluice_call *call, const char *text)
{
    cJSON *object = json_add_object(w->results, NULL);
    size_t n;
    const char *said = sluice_call_result_json(call, &n);

    json_add_number(object, "index", sluice_call_result_index(call));
    json_add_double(object, "score", sluice_call_result_score(call));
    json_add_text(object, w->query ? "document" : "text", text);
    json_add_json(object, "said", said, n);
}

/* What the server said, on one line; true where it has a label, which is printed instead. */
static bool print_said(const sluice_call *call)
{
    size_t n;
    const char *said = sluice_call_result_json(call, &n);
    cJSON *parsed = cJSON_ParseWithLength(said, n);
    const char *label = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(parsed, "label"));
    char *line = label ? NULL : strndup(said, n);

    if (line) {
        cJSON_Minify(line);
    }
    term_print(stdout, label ? label : line ? line : "");
    free(line);
    cJSON_Delete(parsed);
    return label != NULL;
}

static void print_result(const struct work *w, const sluice_call *call, const char *text)
{
    if (!w->query && !print_said(call)) {
        (void) printf("\n");
        return;
    }
    (void) printf("%s%.6g\t", w->query ? "" : "\t", sluice_call_result_score(call));
    term_print(stdout, text);
    (void) printf("\n");
}

static int take_result(const struct work *w, const sluice_call *call)
{
    uint32_t i = sluice_call_result_index(call);

    if (i >= w->texts.n) {
        return complain_with(EXIT_FAILED, "bad_answer", "%s: result %u was not asked for", w->what,
                             i);
    }
    if (w->results) {
        add_result(w, call, w->texts.items[i]);
    } else {
        print_result(w, call, w->texts.items[i]);
    }
    return EXIT_OK;
}

static int receive(const struct work *w, sluice_call *call)
{
    struct progress progress = {.is_wanted = !w->results && term_is_tty(stdout)};
    int code = EXIT_OK;
    int ev;

    while (code == EXIT_OK && (ev = progress_next(&progress, call)) > 0) {
        if (ev == SLUICE_EVENT_RESULT) {
            code = take_result(w, call);
        }
        if (ev == SLUICE_EVENT_FAILED) {
            code = complain_call(call, w->what);
        }
    }
    return code == EXIT_OK && ev < 0 ? complain_errno(w->what, ev) : code;
}

/* ---------------------------------------------------------------- the commands */

static void print_document(const struct work *w, const sluice_call *call)
{
    cJSON *document = json_object();

    json_add_text(document, "model", sluice_call_model(call));
    json_add_text(document, "deployment", sluice_call_deployment(call));
    (void) cJSON_AddItemToObject(document, "results", w->results);
    json_add_done(document, call);
    json_print(document);
}

static int ask(struct work *w, sluice_client *client, const char *model)
{
    sluice_request *req;
    int r = make_request(w, model, &req);
    int code = EXIT_FAILED;

    if (r < 0) {
        return complain_errno(w->what, r);
    }

    sluice_call *call = session_start(client, req, w->what, &code);

    if (!call) {
        return code;
    }
    w->results = w->options.ask.common.is_json ? json_array() : NULL;
    code = receive(w, call);
    if (code == EXIT_OK && w->results) {
        print_document(w, call);
    } else {
        cJSON_Delete(w->results);
    }
    session_finish(call);
    return code;
}

/* Behind the options and the query. */
static int run(struct work *w, int n_words, char *const *words)
{
    sluice_client *client = NULL;
    char *model = NULL;
    int code = texts_take(&w->texts, w->what, n_words, words);

    if (code == EXIT_OK) {
        client = session_connect(w->options.ask.common.socket, &code);
    }
    if (client) {
        model = session_model(client, w->options.ask.model, &code);
    }
    if (model) {
        (void) snprintf(w->what, sizeof(w->what), "%s by \"%s\"", w->query ? "ranks" : "labels",
                        model);
        code = ask(w, client, model);
    }
    texts_done(&w->texts);
    free(model);
    sluice_client_free(client);
    return code;
}

int run_rerank(const struct command *command, int argc, char **argv)
{
    struct work w = {.what = "rerank"};
    int code = options_parse(command, rerank_rows, argc, argv, &w.options.ask.common);
    int first = w.options.ask.common.first_word;

    if (code == OPTIONS_GO_ON) {
        code = options_want_words(command, argc, argv, &w.options.ask.common, 1, argc);
    }
    if (code != OPTIONS_GO_ON) {
        return code;
    }
    w.query = argv[first];
    return run(&w, argc - first - 1, argv + first + 1);
}

int run_classify(const struct command *command, int argc, char **argv)
{
    struct work w = {.what = "classify"};
    int code = options_parse(command, classify_rows, argc, argv, &w.options.ask.common);
    int first = w.options.ask.common.first_word;

    return code == OPTIONS_GO_ON ? run(&w, argc - first, argv + first) : code;
}
