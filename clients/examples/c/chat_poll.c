/*
 * Several questions at once, in a loop of one's own around poll(2). The answers come side by side on
 * one connection; each is printed when it is whole. Ctrl-C cancels what still runs.
 *
 *     cc chat_poll.c $(pkg-config --cflags --libs libsluice) -o chat_poll
 *     ./chat_poll tinyllama "Why is the sky blue?" "Why is grass green?"
 *
 * The loop is the same in any program: wait until the client's descriptor has the events that the
 * client asks for, but no longer than until its timeout; process until nothing is left to do; then
 * take the events of the calls that have some. A program that watches other descriptors, too, adds
 * them to the same poll().
 */
#include <sluice.h>

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define QUESTIONS_MAX 16

struct answer {
    const char *question;
    char *text;
    size_t n_bytes;
};

/* What the signal handler may cancel: filled before the handler is set. */
static sluice_call *g_calls[QUESTIONS_MAX];

static void on_interrupt(int number)
{
    (void) number;
    for (size_t i = 0; i < QUESTIONS_MAX; i++) {
        if (g_calls[i]) {
            (void) sluice_call_cancel(
                g_calls[i]); /* one of the few functions that a handler may call */
        }
    }
}

/* Milliseconds until the client wants to be called without anything having come; -1: never. */
static int timeout_msec(const sluice_client *client)
{
    struct timespec now;
    uint64_t at_usec, now_usec;

    if (sluice_client_get_timeout_usec(client, &at_usec) < 0 || at_usec == UINT64_MAX) {
        return -1;
    }
    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    now_usec = (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
    if (at_usec <= now_usec) {
        return 0;
    }
    at_usec = (at_usec - now_usec + 999) / 1000; /* rounded up: waking too early would spin */
    return at_usec > INT_MAX ? INT_MAX : (int) at_usec;
}

/* 0, or -ENOMEM. */
static int append_text(struct answer *a, const char *text, size_t n_bytes)
{
    char *longer = realloc(a->text, a->n_bytes + n_bytes + 1);

    if (!longer) {
        return -ENOMEM;
    }
    memcpy(longer + a->n_bytes, text, n_bytes);
    a->text = longer;
    a->n_bytes += n_bytes;
    return 0;
}

/* Takes the events of one call. 1: the last one was among them; 0: more are to come; or -errno. */
static int take_events(sluice_call *call, int *n_failed)
{
    struct answer *a = sluice_call_userdata(call);
    const char *text;
    size_t n_bytes;
    int event, r;

    while ((event = sluice_call_try_next(call)) > 0) {
        switch (event) {
        case SLUICE_EVENT_TEXT:
            text = sluice_call_text(call, &n_bytes);
            r = sluice_call_channel(call) != SLUICE_CHANNEL_THINKING ? append_text(a, text, n_bytes)
                                                                     : 0;
            if (r < 0) {
                return r;
            }
            break;
        case SLUICE_EVENT_DONE:
            printf("== %s\n%.*s\n", a->question, (int) a->n_bytes, a->text ? a->text : "");
            fflush(stdout);
            return 1;
        case SLUICE_EVENT_FAILED:
            fprintf(stderr, "== %s\n%s (%s)\n", a->question, sluice_call_error_message(call),
                    sluice_call_error_code(call));
            (*n_failed)++;
            return 1;
        default: /* queued, started: nothing to show */
            break;
        }
    }
    return event == -EAGAIN ? 0 : event;
}

/* Until every call has had its last event. 0 or -errno. */
static int run(sluice_client *client, size_t n_open, int *n_failed)
{
    int r;

    while (n_open > 0) {
        struct pollfd p = {.fd = sluice_client_get_fd(client),
                           .events = (short) sluice_client_get_events(client)};
        sluice_call *call;

        if (poll(&p, 1, timeout_msec(client)) < 0 && errno != EINTR) {
            return -errno;
        }
        while ((r = sluice_client_process(client)) > 0) {
        }
        if (r < 0 && r != -ENOTCONN) {
            return r;
        }
        /* Also when the connection is lost: every call has a last event then, which says so. */
        while ((call = sluice_client_ready_call(client))) {
            r = take_events(call, n_failed);
            if (r < 0) {
                return r;
            }
            n_open -= (size_t) r;
        }
    }
    return 0;
}

/* 0 or -errno. */
static int start(sluice_client *client, const char *model, struct answer *a, sluice_call **ret_call)
{
    sluice_request *request = NULL;
    int r = sluice_chat_new(model, &request);

    if (r >= 0) {
        r = sluice_request_add_message(request, SLUICE_ROLE_USER, a->question, strlen(a->question));
    }
    if (r >= 0) {
        r = sluice_call_start(client, request, ret_call);
    }
    if (r >= 0) {
        sluice_call_set_userdata(*ret_call, a);
    }
    sluice_request_free(request);
    return r;
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    struct answer answers[QUESTIONS_MAX] = {{NULL, NULL, 0}};
    size_t n = argc > 2 ? (size_t) argc - 2 : 0;
    sluice_client *client = NULL;
    int n_failed = 0;
    int r;

    if (n < 1 || n > QUESTIONS_MAX) {
        fprintf(stderr, "usage: %s MODEL QUESTION...   (at most %d)\n", argv[0], QUESTIONS_MAX);
        return 2;
    }
    r = sluice_connect(NULL, &client);
    if (r < 0) {
        fprintf(stderr, "cannot connect: %s\n", sluice_connect_error());
        return 1;
    }
    for (size_t i = 0; i < n && r >= 0; i++) {
        answers[i].question = argv[i + 2];
        r = start(client, argv[1], &answers[i], &g_calls[i]);
    }
    if (r >= 0) {
        (void) sigaction(SIGINT, &action, NULL);
        r = run(client, n, &n_failed);
    }
    if (r < 0) {
        fprintf(stderr, "cannot ask: %s\n", strerror(-r));
    }
    (void) signal(SIGINT, SIG_DFL); /* the handler must not see calls that are freed */
    for (size_t i = 0; i < n; i++) {
        sluice_call_free(g_calls[i]);
        free(answers[i].text);
    }
    sluice_client_free(client);
    return r < 0 || n_failed > 0;
}
