/*
 * From a command to the daemon and back: connect, start, wait, and say what failed. Thin, because
 * the library does the work; it is here so that every command says the same thing in the same
 * words.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "options.h"
#include "term.h"

#define N_LOOKS 10 /* within a second */

sluice_client *session_connect(const char *path, int *ret_exit_code)
{
    sluice_client *client;
    int r = sluice_connect(path, &client);

    if (r == 0) {
        return client;
    }
    *ret_exit_code = r == -EINTR ? complain_errno("connecting", r) : complain_unreachable(path, r);
    return NULL;
}

int session_set_waiting(sluice_request *req, const struct ask_options *o)
{
    int r = 0;

    if (o->class_of_service > 0) {
        r = sluice_request_set_int(req, SLUICE_INT_CLASS, o->class_of_service);
    }
    if (r == 0 && o->timeout_usec > 0) {
        r = sluice_request_set_int(req, SLUICE_INT_DEADLINE_USEC, (int64_t) o->timeout_usec);
    }
    return r;
}

sluice_call *session_start(sluice_client *client, sluice_request *req, const char *what,
                           int *ret_exit_code)
{
    sluice_call *call;
    int r = sluice_call_start(client, req, &call);

    sluice_request_free(req);
    if (r < 0) {
        *ret_exit_code = complain_errno(what, r);
        return NULL;
    }
    interrupt_set_call(call);
    return call;
}

void session_finish(sluice_call *call)
{
    interrupt_set_call(NULL); /* before it is freed: the handler must not meet it */
    sluice_call_free(call);
}

int session_next(sluice_call *call)
{
    int r;

    do {
        r = sluice_call_next(call);
    } while (r == -EINTR); /* an interrupt has cancelled the call: its end comes as an event */
    return r;
}

int session_next_within(sluice_call *call, uint64_t timeout_usec)
{
    sluice_client *client = sluice_call_client(call);
    int r;

    for (;;) {
        r = sluice_call_try_next(call);
        if (r != -EAGAIN) {
            return r;
        }
        r = sluice_client_wait(client, timeout_usec);
        if (r == 0) {
            return -EAGAIN;
        }
        if (r > 0 || r == -EINTR) {
            r = sluice_client_process(client); /* after a Ctrl-C: tells the daemon */
        }
        if (r < 0 && r != -ENOTCONN) { /* a lost connection is the last event of the call */
            return r;
        }
    }
}

sluice_call *session_ask(sluice_client *client, sluice_request *req, const char *what,
                         int *ret_exit_code)
{
    sluice_call *call = session_start(client, req, what, ret_exit_code);
    int ev = call ? session_next(call) : 0;

    if (!call) {
        return NULL;
    }
    if (ev == SLUICE_EVENT_REPLY) {
        interrupt_set_call(NULL);
        return call;
    }
    *ret_exit_code = ev < 0 ? complain_errno(what, ev) : complain_call(call, what);
    session_finish(call);
    return NULL;
}

static char *copy_or_complain(const char *text, int *ret_exit_code)
{
    char *copy = strdup(text);

    if (!copy) {
        *ret_exit_code = complain_errno("choosing a model", -ENOMEM);
    }
    return copy;
}

static char *first_model(sluice_client *client, int *ret_exit_code)
{
    sluice_request *req;
    int r = sluice_models_new(&req);

    if (r < 0) {
        *ret_exit_code = complain_errno("choosing a model", r);
        return NULL;
    }

    sluice_call *call = session_ask(client, req, "choosing a model", ret_exit_code);
    char *model = NULL;

    if (!call) {
        return NULL;
    }
    if (sluice_call_n_rows(call) == 0) {
        *ret_exit_code = complain_with(EXIT_FAILED, "model_not_found",
                                       "the daemon has no model; add one to model_list in its "
                                       "configuration");
    } else {
        model = copy_or_complain(sluice_call_row_text(call, 0, SLUICE_FIELD_MODEL), ret_exit_code);
    }
    session_finish(call);
    return model;
}

char *session_model(sluice_client *client, const char *named, int *ret_exit_code)
{
    const char *environment = getenv("SLUICE_MODEL");

    if (!named && environment && environment[0] != '\0') {
        named = environment;
    }
    if (named) {
        return copy_or_complain(named, ret_exit_code);
    }

    char *model = first_model(client, ret_exit_code);

    if (model) {
        term_style(stderr, STYLE_DIM);
        (void) fputs("model: ", stderr);
        term_print(stderr, model);
        (void) fputs(" (--model or SLUICE_MODEL chooses)\n", stderr);
        term_style(stderr, STYLE_PLAIN);
    }
    return model;
}

/* ---------------------------------------------------------------- what models take */

static bool is_asked(const sluice_call *call)
{
    for (size_t i = 0; i < sluice_call_n_rows(call); i++) {
        if (strcmp(sluice_call_row_text(call, i, SLUICE_FIELD_MEMORY_STATE), "asked") == 0) {
            return true;
        }
    }
    return false;
}

sluice_call *session_ask_memory(sluice_client *client, int (*ask)(sluice_request **req),
                                const char *what)
{
    const struct timespec pause = {.tv_nsec = 1000000000 / N_LOOKS};

    for (unsigned i = 0;; i++) {
        sluice_request *req;
        int code = ask(&req);
        sluice_call *call = code < 0 ? NULL : session_ask(client, req, what, &code);

        if (!call || i >= N_LOOKS || !is_asked(call)) {
            return call;
        }
        session_finish(call);
        (void) nanosleep(&pause, NULL); /* a signal only shortens it */
    }
}
