#pragma once
/*
 * What the commands of sluicectl share: exit codes, the table of commands, the connection, and how
 * failures are told. One process runs one command; the pieces are few enough to live in one header,
 * each with its own .c file.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sluice.h"

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,       /* the call failed */
    EXIT_USAGE = 2,        /* the command line makes no sense */
    EXIT_UNREACHABLE = 3,  /* no daemon, or it went away */
    EXIT_TRY_LATER = 4,    /* refused for now: the message says when to try again */
    EXIT_INTERRUPTED = 130 /* Ctrl-C, as shells have it */
};

struct command {
    const char *name;
    const char *arguments; /* for the usage line */
    const char *summary;   /* one line of the list of commands */
    /* argv[0]: its name. An exit code */
    int (*run)(const struct command *command, int argc, char **argv);
};
extern const struct command commands[]; /* main.c; ends with a row without a name */

/* ---------------------------------------------------------------- messages (fault.c) */

/*
 * A failure is a sentence on stderr, and with --json a line on stdout as well, so that a program
 * that reads stdout finds JSON there whatever happens: {"error": {"code", "message", ...}}. Where
 * each line is an event, that object has "event": "failed" in front.
 */
enum fault_form { FAULT_TEXT, FAULT_DOCUMENT, FAULT_EVENT };
void fault_set_form(enum fault_form form);

/* "sluicectl: text" on stderr, with everything that could steer a terminal taken out. Advice and
 * warnings; what ends a command is told by complain_with(). */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The failure of a command: the sentence, with --json the line, and the exit code back. code: a
 * word for programs; the manual lists them. */
int complain_with(enum exit_code exit_code, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* From here on sentences of failures go into out, which is of size bytes and empty at first, and nowhere else; NULL: no more. For a
 * command that goes on after a failure and tells it in its own way. */
void fault_capture(char *out, size_t size);

/* Says what -errno a library function returned and gives the exit code for it. */
int complain_errno(const char *what, int error);

/* Says why a call failed (its current event is SLUICE_EVENT_FAILED) and gives the exit code. what:
 * "chat with \"m\"". */
int complain_call(const sluice_call *call, const char *what);

/* The exit code alone. */
int exit_code_of(const sluice_call *call);

/* Says why sluice_connect(path) failed with error, and what to do about it (reach.c). An exit
 * code. */
int complain_unreachable(const char *path, int error);

/* Sends what was printed to stdout on its way. False once that has failed: nobody reads, or a disk
 * is full; what prints on and on then ends. (A pipe without a reader ends the process by SIGPIPE,
 * as it ends any filter, unless that signal is ignored.) */
bool output_flush(void);

/* Says so; EXIT_FAILED. On stderr only: where JSON would go cannot be written to. */
int complain_output(void);

/* ---------------------------------------------------------------- connection (session.c) */

/* The client, or NULL after saying why; then *ret_exit_code. path NULL: where clients look by
 * default. */
sluice_client *session_connect(const char *path, int *ret_exit_code);

/* Tells a request how long it may wait, and as whom (options.h): 0 or -errno. */
struct ask_options;
int session_set_waiting(sluice_request *req, const struct ask_options *o);

/* Runs a call that answers once; frees req. The call with its REPLY, or NULL after saying why; then
 * *ret_exit_code. */
sluice_call *session_ask(sluice_client *client, sluice_request *req, const char *what,
                         int *ret_exit_code);

/* Starts req, as the call that Ctrl-C ends; frees req. Same results. */
sluice_call *session_start(sluice_client *client, sluice_request *req, const char *what,
                           int *ret_exit_code);

/* Takes the next event, waiting for it, until there is one: its type; 0 at the end; -errno other
 * than -EINTR. */
int session_next(sluice_call *call);

/* The same, but -EAGAIN when nothing has come for timeout_usec. */
int session_next_within(sluice_call *call, uint64_t timeout_usec);

/* Frees the call that session_start() made. Accepts NULL. */
void session_finish(sluice_call *call);

/*
 * What ask makes (sluice_models_new(), sluice_status_new()), once what models take of this device is
 * known: the daemon asks servers for it when it lists models, so what is not said yet is waited for, a
 * second at most. NULL after saying why.
 */
sluice_call *session_ask_memory(sluice_client *client, int (*ask)(sluice_request **req),
                                const char *what);

/*
 * The model to use: named, else $SLUICE_MODEL, else the first of the daemon's list, saying so on
 * stderr. Owned by the caller, free(). NULL after saying why; then *ret_exit_code.
 */
char *session_model(sluice_client *client, const char *named, int *ret_exit_code);

/* ---------------------------------------------------------------- Ctrl-C (interrupt.c) */

/* Ctrl-C ends the current call; a second one while it ends, the program. */
void interrupt_install(void);
void interrupt_set_call(sluice_call *call); /* NULL: none */
bool interrupt_was_seen(void);
void interrupt_forget(void);

/* ---------------------------------------------------------------- commands */

int run_cancel(const struct command *command, int argc, char **argv);
int run_chat(const struct command *command, int argc, char **argv);
int run_check_config(const struct command *command, int argc, char **argv);
int run_complete(const struct command *command, int argc, char **argv);
int run_doctor(const struct command *command, int argc, char **argv);
int run_drain(const struct command *command, int argc, char **argv);
int run_classify(const struct command *command, int argc, char **argv);
int run_explain(const struct command *command, int argc, char **argv);
int run_embed(const struct command *command, int argc, char **argv);
int run_rerank(const struct command *command, int argc, char **argv);
int run_load(const struct command *command, int argc, char **argv);
int run_log(const struct command *command, int argc, char **argv);
int run_key(const struct command *command, int argc, char **argv);
int run_models(const struct command *command, int argc, char **argv);
int run_ps(const struct command *command, int argc, char **argv);
int run_reload(const struct command *command, int argc, char **argv);
int run_run(const struct command *command, int argc, char **argv);
int run_show(const struct command *command, int argc, char **argv);
int run_status(const struct command *command, int argc, char **argv);
int run_top(const struct command *command, int argc, char **argv);
int run_unload(const struct command *command, int argc, char **argv);
int run_version(const struct command *command, int argc, char **argv);
