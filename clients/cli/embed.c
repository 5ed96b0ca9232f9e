/*
 * sluicectl embed: texts in, vectors out. One JSON array a line; on a terminal with two texts or
 * more, how alike they are, which is what somebody who looks at embeddings by eye wants to know.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "json.h"
#include "options.h"
#include "progress.h"
#include "term.h"
#include "texts.h"

#define MAX_SHOWN       12 /* columns of the table that fit a terminal */
#define MAX_LABEL_CHARS 24

struct embed_options {
    struct ask_options ask;
    struct int_option dimensions;
};

static const struct option_row embed_rows[] = {
    OPTION_ASK_MODEL,
    {"dimensions", 'd', OPTION_COUNT, "N", "length of the vectors, where the model can",
     offsetof(struct embed_options, dimensions)},
    OPTION_ASK_CLASS,
    OPTION_ASK_TIMEOUT,
    OPTION_JSON,
    OPTION_SOCKET,
    {.name = NULL},
};

struct vector {
    float *values; /* owned; NULL until it came */
    size_t n;
};

/* The texts and what became of them. */
struct work {
    struct texts texts;
    struct vector *vectors; /* owned; one for each text */
    char what[160];
};

static void work_done(struct work *w)
{
    for (size_t i = 0; w->vectors && i < w->texts.n; i++) {
        free(w->vectors[i].values);
    }
    free(w->vectors);
    texts_done(&w->texts);
}

static int make_request(const struct work *w, const char *model, const struct embed_options *o,
                        sluice_request **ret)
{
    sluice_request *req;
    int r = sluice_embed_new(model, &req);

    if (r < 0) {
        return r;
    }
    r = texts_add(&w->texts, req);
    if (r == 0 && o->dimensions.is_set) {
        r = sluice_request_set_int(req, SLUICE_INT_DIMENSIONS, o->dimensions.value);
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

static int keep_vector(struct work *w, const sluice_call *call)
{
    uint32_t i = sluice_call_embedding_index(call);
    size_t n;
    const float *values = sluice_call_embedding(call, &n);

    if (i >= w->texts.n || w->vectors[i].values || n == 0) {
        return complain_with(EXIT_FAILED, "bad_answer",
                             "%s: vector %u was not asked for, or came twice or empty", w->what, i);
    }
    w->vectors[i].values = malloc(n * sizeof(float));
    if (!w->vectors[i].values) {
        return complain_errno(w->what, -ENOMEM);
    }
    memcpy(w->vectors[i].values, values, n * sizeof(float));
    w->vectors[i].n = n;
    return EXIT_OK;
}

static int receive(struct work *w, sluice_call *call, bool is_watched)
{
    struct progress progress = {.is_wanted = is_watched};
    int code = EXIT_OK;
    int ev;

    while (code == EXIT_OK && (ev = progress_next(&progress, call)) > 0) {
        if (ev == SLUICE_EVENT_EMBEDDING) {
            code = keep_vector(w, call);
        }
        if (ev == SLUICE_EVENT_FAILED) {
            code = complain_call(call, w->what);
        }
    }
    if (code == EXIT_OK && ev < 0) {
        return complain_errno(w->what, ev);
    }
    for (size_t i = 0; code == EXIT_OK && i < w->texts.n; i++) {
        if (!w->vectors[i].values) {
            code = complain_with(EXIT_FAILED, "bad_answer", "%s: no vector came for text %zu",
                                 w->what, i + 1);
        }
    }
    return code;
}

static void add_vector(cJSON *array, const struct vector *v)
{
    for (size_t i = 0; i < v->n; i++) {
        json_add_float(array, v->values[i]);
    }
}

static void print_document(const struct work *w, const sluice_call *call)
{
    cJSON *document = json_object();
    cJSON *list;

    json_add_text(document, "model", sluice_call_model(call));
    json_add_text(document, "deployment", sluice_call_deployment(call));
    list = json_add_array(document, "embeddings");
    for (size_t i = 0; i < w->texts.n; i++) {
        add_vector(json_add_array(list, NULL), &w->vectors[i]);
    }
    json_add_done(document, call);
    json_print(document);
}

static double cosine(const struct vector *a, const struct vector *b)
{
    double dot = 0, aa = 0, bb = 0;

    for (size_t i = 0; i < a->n && i < b->n; i++) {
        dot += (double) a->values[i] * (double) b->values[i];
        aa += (double) a->values[i] * (double) a->values[i];
        bb += (double) b->values[i] * (double) b->values[i];
    }
    return aa > 0 && bb > 0 ? dot / sqrt(aa * bb) : 0;
}

/* The first characters of a text. */
static void print_label(const char *text)
{
    char label[4 * MAX_LABEL_CHARS + 8];
    size_t n = 0;
    int n_chars = 0;

    for (; text[n] != '\0' && n < sizeof(label) - 4; n++) {
        n_chars += ((unsigned char) text[n] & 0xc0) != 0x80;
        if (n_chars > MAX_LABEL_CHARS) {
            break;
        }
        label[n] = text[n];
    }
    label[n] = '\0';
    term_column(stdout, label, MAX_LABEL_CHARS);
}

static void print_similarities(const struct work *w)
{
    (void) printf("\ncosine similarity\n");
    if (w->texts.n > MAX_SHOWN) {
        (void) printf("(of the first %d texts)\n", MAX_SHOWN);
    }
    for (size_t i = 0; i < w->texts.n && i < MAX_SHOWN; i++) {
        (void) printf("%2zu  ", i + 1);
        print_label(w->texts.items[i]);
        for (size_t k = 0; k <= i; k++) {
            (void) printf("  %6.3f", cosine(&w->vectors[i], &w->vectors[k]));
        }
        (void) printf("\n");
    }
}

static void print_all(const struct work *w, const sluice_call *call, bool is_json)
{
    if (is_json) {
        print_document(w, call);
        return;
    }
    for (size_t i = 0; i < w->texts.n; i++) {
        cJSON *array = json_array();

        add_vector(array, &w->vectors[i]);
        json_print(array);
    }
    if (w->texts.n > 1 && term_is_tty(stdout)) {
        print_similarities(w);
    }
}

/* ---------------------------------------------------------------- the command */

static int embed(struct work *w, sluice_client *client, const char *model,
                 const struct embed_options *o)
{
    sluice_request *req;
    int r = make_request(w, model, o, &req);
    int code = EXIT_FAILED;

    if (r < 0) {
        return complain_errno(w->what, r);
    }
    w->vectors = calloc(w->texts.n, sizeof(*w->vectors));
    if (!w->vectors) {
        sluice_request_free(req);
        return complain_errno(w->what, -ENOMEM);
    }

    sluice_call *call = session_start(client, req, w->what, &code);

    if (!call) {
        return code;
    }
    code = receive(w, call, !o->ask.common.is_json && term_is_tty(stdout));
    if (code == EXIT_OK) {
        print_all(w, call, o->ask.common.is_json);
    }
    session_finish(call);
    return code;
}

int run_embed(const struct command *command, int argc, char **argv)
{
    struct embed_options options = {.ask.model = NULL};
    struct work work = {.what = "embed"};
    sluice_client *client = NULL;
    char *model = NULL;
    int code = options_parse(command, embed_rows, argc, argv, &options.ask.common);

    if (code != OPTIONS_GO_ON) {
        return code;
    }

    int n_words = argc - options.ask.common.first_word;

    code = texts_take(&work.texts, work.what, n_words, argv + options.ask.common.first_word);
    if (code == EXIT_OK) {
        client = session_connect(options.ask.common.socket, &code);
    }
    if (client) {
        model = session_model(client, options.ask.model, &code);
    }
    if (model) {
        (void) snprintf(work.what, sizeof(work.what), "embeddings by \"%s\"", model);
        code = embed(&work, client, model, &options);
    }
    work_done(&work);
    free(model);
    sluice_client_free(client);
    return code;
}
