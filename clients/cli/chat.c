/*
 * sluicectl chat, run and complete.
 *
 * With words or a pipe it is one question and one answer. On a terminal without words it is a
 * conversation: everything said is kept and sent again with each turn, since the daemon keeps
 * nothing. A turn that fails is taken back; one that was interrupted stays with what there was of
 * the answer.
 *
 * run is chat as fingers know it from Ollama: the model is the first word, and what a pipe holds
 * stands before the words of the prompt.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "options.h"
#include "prompt.h"
#include "stream.h"
#include "term.h"

struct chat_options {
    struct ask_options ask;
    const char *system, *effort;
    struct int_option max_tokens, seed;
    struct double_option temperature, top_p;
    bool is_verbose;
};

#define OPTIONS_SAMPLING                                                                           \
    {"max-tokens",     'n',                                                                        \
     OPTION_COUNT,     "N",                                                                        \
     "longest answer", offsetof(struct chat_options, max_tokens)},                                 \
        {"temperature",                                                                            \
         't',                                                                                      \
         OPTION_DOUBLE,                                                                            \
         "X",                                                                                      \
         "0 for the likeliest answer, up to 2 for variety",                                        \
         offsetof(struct chat_options, temperature)},                                              \
        {"top-p",                                                                                  \
         0,                                                                                        \
         OPTION_DOUBLE,                                                                            \
         "X",                                                                                      \
         "sample from the likeliest tokens of this total probability",                             \
         offsetof(struct chat_options, top_p)},                                                    \
        {"seed",                                                                                   \
         0,                                                                                        \
         OPTION_INT,                                                                               \
         "N",                                                                                      \
         "the same seed gives the same answer, where the model server can",                        \
         offsetof(struct chat_options, seed)},                                                     \
        OPTION_ASK_CLASS, OPTION_ASK_TIMEOUT

#define OPTIONS_CHAT                                                                               \
    {"system",                                                                                     \
     'S',                                                                                          \
     OPTION_TEXT,                                                                                  \
     "TEXT",                                                                                       \
     "what the model is told before the conversation",                                             \
     offsetof(struct chat_options, system)},                                                       \
    {                                                                                              \
        "effort", 0, OPTION_TEXT, "LEVEL", "reasoning: none, minimal, low, medium, high or max",   \
            offsetof(struct chat_options, effort)                                                  \
    }

#define OPTION_VERBOSE                                                                             \
    {"verbose",                                                                                    \
     'v',                                                                                          \
     OPTION_FLAG,                                                                                  \
     NULL,                                                                                         \
     "print the summary on standard error, also where the answer goes into a pipe",                \
     offsetof(struct chat_options, is_verbose)}

static const struct option_row chat_rows[] = {
    OPTION_ASK_MODEL,   OPTIONS_SAMPLING, OPTIONS_CHAT,   OPTION_VERBOSE,
    OPTION_JSON_EVENTS, OPTION_SOCKET,    {.name = NULL},
};

static const struct option_row run_rows[] = {
    OPTIONS_SAMPLING,   OPTIONS_CHAT,  OPTION_VERBOSE,
    OPTION_JSON_EVENTS, OPTION_SOCKET, {.name = NULL},
};

static const struct option_row complete_rows[] = {
    OPTION_ASK_MODEL,   OPTIONS_SAMPLING, OPTION_VERBOSE,
    OPTION_JSON_EVENTS, OPTION_SOCKET,    {.name = NULL},
};

/* One conversation and where it goes. */
struct chat {
    const struct chat_options *options;
    sluice_client *client; /* owned; NULL while the daemon is away */
    char *model;           /* owned */
    struct turn *turns;    /* owned */
    size_t n_turns, cap;
    char what[160]; /* "chat with \"m\"": for messages */
};

struct turn {
    int role;
    char *text; /* owned */
    size_t n;
};

/* ---------------------------------------------------------------- requests */

static int set_sampling(sluice_request *req, const struct chat_options *o)
{
    int r = 0;

    if (o->max_tokens.is_set) {
        r = sluice_request_set_int(req, SLUICE_INT_MAX_TOKENS, o->max_tokens.value);
    }
    if (r == 0 && o->seed.is_set) {
        r = sluice_request_set_int(req, SLUICE_INT_SEED, o->seed.value);
    }
    if (r == 0 && o->temperature.is_set) {
        r = sluice_request_set_double(req, SLUICE_DOUBLE_TEMPERATURE, o->temperature.value);
    }
    if (r == 0 && o->top_p.is_set) {
        r = sluice_request_set_double(req, SLUICE_DOUBLE_TOP_P, o->top_p.value);
    }
    r = r == 0 ? session_set_waiting(req, &o->ask) : r;
    if (r == 0 && o->effort) {
        r = sluice_request_set_text(req, SLUICE_TEXT_REASONING_EFFORT, o->effort,
                                    strlen(o->effort));
    }
    return r;
}

static int make_request(const struct chat *chat, sluice_request **ret)
{
    const struct chat_options *o = chat->options;
    sluice_request *req;
    int r = sluice_chat_new(chat->model, &req);

    if (r < 0) {
        return r;
    }
    r = set_sampling(req, o);
    if (r == 0 && o->system) {
        r = sluice_request_add_message(req, SLUICE_ROLE_SYSTEM, o->system, strlen(o->system));
    }
    for (size_t i = 0; r == 0 && i < chat->n_turns; i++) {
        const struct turn *t = &chat->turns[i];

        r = sluice_request_add_message(req, t->role, t->text, t->n);
    }
    if (r < 0) {
        sluice_request_free(req);
        return r;
    }
    *ret = req;
    return 0;
}

static struct stream_options stream_options_of(const struct chat_options *o)
{
    return (struct stream_options) {.is_json = o->ask.common.is_json, .is_verbose = o->is_verbose};
}

/* One answer to what the conversation holds. */
static int ask(struct chat *chat, struct stream_answer *answer)
{
    struct stream_options how = stream_options_of(chat->options);
    sluice_request *req;
    int r = make_request(chat, &req);
    int code = EXIT_FAILED;

    if (r < 0) {
        return complain_errno(chat->what, r);
    }

    sluice_call *call = session_start(chat->client, req, chat->what, &code);

    if (!call) {
        return code;
    }
    code = stream_run(call, chat->what, &how, answer);
    session_finish(call);
    return code;
}

/* ---------------------------------------------------------------- the conversation's memory */

/* Takes text. */
static int add_turn(struct chat *chat, int role, char *text, size_t n)
{
    if (chat->n_turns == chat->cap) {
        size_t cap = chat->cap > 0 ? 2 * chat->cap : 16;
        struct turn *grown = realloc(chat->turns, cap * sizeof(*grown));

        if (!grown) {
            free(text);
            return -ENOMEM;
        }
        chat->turns = grown;
        chat->cap = cap;
    }
    chat->turns[chat->n_turns++] = (struct turn) {.role = role, .text = text, .n = n};
    return 0;
}

static void drop_last_turn(struct chat *chat)
{
    free(chat->turns[--chat->n_turns].text);
}

static void drop_turns(struct chat *chat)
{
    while (chat->n_turns > 0) {
        drop_last_turn(chat);
    }
}

/* ---------------------------------------------------------------- the conversation */

/* Connects again where the daemon was restarted meanwhile. */
static int ensure_connection(struct chat *chat)
{
    int code = EXIT_OK;

    if (chat->client && sluice_client_is_connected(chat->client) &&
        sluice_client_process(chat->client) >= 0) {
        return EXIT_OK;
    }
    sluice_client_free(chat->client);
    chat->client = session_connect(chat->options->ask.common.socket, &code);
    return code;
}

/* One turn: what was said (taken), and the answer. Failures are told and forgotten. */
static void converse(struct chat *chat, char *text, size_t n)
{
    struct stream_answer answer = {.bytes = NULL};

    if (add_turn(chat, SLUICE_ROLE_USER, text, n) < 0) {
        (void) complain_errno(chat->what, -ENOMEM);
        return;
    }

    int code = ensure_connection(chat);

    code = code == EXIT_OK ? ask(chat, &answer) : code;
    if (code == EXIT_FAILED && chat->n_turns > 2) {
        complain("/clear starts a new conversation");
    }
    if ((code == EXIT_OK || code == EXIT_INTERRUPTED) && answer.n > 0) {
        if (add_turn(chat, SLUICE_ROLE_ASSISTANT, answer.bytes, answer.n) < 0) {
            drop_last_turn(chat);
        }
        return;
    }
    free(answer.bytes);
    drop_last_turn(chat);
}

static void show_prompt(const struct chat *chat)
{
    term_style(stderr, STYLE_BOLD);
    (void) fputs(">>> ", stderr);
    term_style(stderr, STYLE_PLAIN);
    (void) fflush(stderr);
}

/* A line without its end; the caller's, free(). NULL at the end of input; "" after Ctrl-C. */
static char *read_line(size_t *ret_n)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n = getline(&line, &cap, stdin);

    if (n < 0 && errno == EINTR && interrupt_was_seen()) {
        clearerr(stdin);
        (void) fputs("\n(Ctrl-D or /bye ends the conversation)\n", stderr);
        n = 0;
    }
    if (n < 0) {
        free(line);
        return NULL;
    }
    while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) {
        n--;
    }
    *ret_n = (size_t) n;
    return line ? line : calloc(1, 1);
}

static bool is_word(const char *line, size_t n, const char *word)
{
    return n == strlen(word) && memcmp(line, word, n) == 0;
}

static int hold_conversation(struct chat *chat)
{
    char *line;
    size_t n;

    for (;;) {
        interrupt_forget();
        show_prompt(chat);
        errno = 0;
        line = read_line(&n);
        if (!line) {
            (void) fputs("\n", stderr);
            return EXIT_OK;
        }
        interrupt_forget();
        if (is_word(line, n, "/bye") || is_word(line, n, "/exit")) {
            free(line);
            return EXIT_OK;
        }
        if (is_word(line, n, "/clear")) {
            drop_turns(chat);
        } else if (n > 0 && line[0] == '/') {
            (void) fputs("/clear starts anew, /bye ends\n", stderr);
        } else if (n > 0) {
            converse(chat, line, n); /* takes it */
            continue;
        }
        free(line);
    }
}

static int ask_once(struct chat *chat, int n_words, char *const *words, bool is_pipe_read)
{
    struct prompt prompt;
    int code = is_pipe_read ? prompt_read_both(chat->what, n_words, words, &prompt)
                            : prompt_read(chat->what, n_words, words, &prompt);

    if (code != EXIT_OK) {
        return code;
    }
    if (add_turn(chat, SLUICE_ROLE_USER, prompt.bytes, prompt.n) < 0) {
        return complain_errno(chat->what, -ENOMEM);
    }
    return ask(chat, NULL);
}

/* A conversation, or one question. is_run: the words come after what a pipe says, not instead. */
static int talk(const struct chat_options *options, int n_words, char *const *words, bool is_run)
{
    struct chat chat = {.options = options};
    int code;

    chat.client = session_connect(options->ask.common.socket, &code);
    if (chat.client) {
        chat.model = session_model(chat.client, options->ask.model, &code);
    }
    if (chat.model) {
        (void) snprintf(chat.what, sizeof(chat.what), "chat with \"%s\"", chat.model);
        code = prompt_is_interactive(n_words) ? hold_conversation(&chat)
                                              : ask_once(&chat, n_words, words, is_run);
    }
    drop_turns(&chat);
    free(chat.turns);
    free(chat.model);
    sluice_client_free(chat.client);
    return code;
}

int run_chat(const struct command *command, int argc, char **argv)
{
    struct chat_options options = {.ask.model = NULL};
    int code = options_parse(command, chat_rows, argc, argv, &options.ask.common);
    int first = options.ask.common.first_word;

    return code == OPTIONS_GO_ON ? talk(&options, argc - first, argv + first, false) : code;
}

int run_run(const struct command *command, int argc, char **argv)
{
    struct chat_options options = {.ask.model = NULL};
    int code = options_parse(command, run_rows, argc, argv, &options.ask.common);

    code = code == OPTIONS_GO_ON
               ? options_want_words(command, argc, argv, &options.ask.common, 1, argc)
               : code;
    if (code != OPTIONS_GO_ON) {
        return code;
    }

    int first = options.ask.common.first_word + 1;

    options.ask.model = argv[first - 1];
    return talk(&options, argc - first, argv + first, true);
}

/* ---------------------------------------------------------------- complete */

static int complete(sluice_client *client, const char *model, const struct chat_options *options,
                    const struct prompt *prompt)
{
    struct stream_options how = stream_options_of(options);
    char what[160];
    sluice_request *req;
    int r = sluice_complete_new(model, prompt->bytes, prompt->n, &req);
    int code = EXIT_FAILED;

    (void) snprintf(what, sizeof(what), "completion by \"%s\"", model);
    if (r < 0) {
        return complain_errno(what, r);
    }
    r = set_sampling(req, options);
    if (r < 0) {
        sluice_request_free(req);
        return complain_errno(what, r);
    }

    sluice_call *call = session_start(client, req, what, &code);

    if (!call) {
        return code;
    }
    code = stream_run(call, what, &how, NULL);
    session_finish(call);
    return code;
}

int run_complete(const struct command *command, int argc, char **argv)
{
    struct chat_options options = {.ask.model = NULL};
    struct prompt prompt = {.bytes = NULL};
    char *model = NULL;
    int code = options_parse(command, complete_rows, argc, argv, &options.ask.common);

    if (code != OPTIONS_GO_ON) {
        return code;
    }
    code = prompt_read("complete", argc - options.ask.common.first_word,
                       argv + options.ask.common.first_word, &prompt);
    if (code != EXIT_OK) {
        return code;
    }

    sluice_client *client = session_connect(options.ask.common.socket, &code);

    if (client) {
        model = session_model(client, options.ask.model, &code);
    }
    if (model) {
        code = complete(client, model, &options, &prompt);
    }
    free(prompt.bytes);
    free(model);
    sluice_client_free(client);
    return code;
}
