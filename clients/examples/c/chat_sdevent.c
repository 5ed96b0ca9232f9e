/*
 * The same as chat.c inside sd-event, systemd's event loop: the answer is printed as it comes, and
 * Ctrl-C cancels it.
 *
 *     cc chat_sdevent.c $(pkg-config --cflags --libs libsluice libsystemd) -o chat_sdevent
 *     ./chat_sdevent tinyllama "Why is the sky blue?"
 *
 * A client is two sources of the loop, an io source for its descriptor and a timer for its timeout.
 * Both lead to turn(), which processes, takes events, and tells the loop what to wait for next. Any
 * other event loop is connected in the same way.
 */
#include <sluice.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>

struct app {
    sd_event *event;
    sd_event_source *io, *timer;
    sluice_client *client;
    sluice_call *call;
};

/* Prints what has arrived; the loop ends with the last event. 0 or -errno. */
static int take_events(struct app *app)
{
    const char *text;
    size_t n_bytes;
    int event;

    while ((event = sluice_call_try_next(app->call)) > 0) {
        if (event == SLUICE_EVENT_TEXT &&
            sluice_call_channel(app->call) != SLUICE_CHANNEL_THINKING) {
            text = sluice_call_text(app->call, &n_bytes);
            fwrite(text, 1, n_bytes, stdout);
            fflush(stdout);
        } else if (event == SLUICE_EVENT_DONE) {
            putchar('\n');
            return sd_event_exit(app->event, 0);
        } else if (event == SLUICE_EVENT_FAILED) {
            fprintf(stderr, "\n%s (%s)\n", sluice_call_error_message(app->call),
                    sluice_call_error_code(app->call));
            return sd_event_exit(app->event, 1);
        }
    }
    return event == -EAGAIN ? 0 : event;
}

/* What the loop waits for next. The bits of poll(2) and epoll(7) are the same. */
static int rearm(struct app *app)
{
    uint64_t at_usec;
    int r =
        sd_event_source_set_io_events(app->io, (uint32_t) sluice_client_get_events(app->client));

    if (r >= 0) {
        r = sluice_client_get_timeout_usec(app->client, &at_usec);
    }
    if (r >= 0) {
        r = sd_event_source_set_time(app->timer, at_usec);
    }
    if (r >= 0) {
        r = sd_event_source_set_enabled(app->timer,
                                        at_usec == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
    }
    return r;
}

static int turn(struct app *app)
{
    int r;

    while ((r = sluice_client_process(app->client)) > 0) {
    }
    if (r >= 0 || r == -ENOTCONN) { /* a lost connection is the call's last event */
        r = take_events(app);
    }
    if (r >= 0) {
        r = rearm(app);
    }
    /* sd-event would only switch the source off that returned an error: the loop ends instead. */
    return r < 0 ? sd_event_exit(app->event, r) : 0;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
    (void) s, (void) fd, (void) revents;
    return turn(userdata);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void) s, (void) usec;
    return turn(userdata);
}

static int on_interrupt(sd_event_source *s, const struct signalfd_siginfo *info, void *userdata)
{
    struct app *app = userdata;

    (void) s, (void) info;
    (void) sluice_call_cancel(app->call); /* its last event comes through the loop */
    return turn(app);
}

/* Loop, client and sources. 0 or -errno. */
static int connect_to_loop(struct app *app)
{
    sigset_t interrupt;
    int r = sluice_connect(NULL, &app->client);

    if (r < 0) {
        fprintf(stderr, "cannot connect: %s\n", sluice_connect_error());
        return r;
    }
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    (void) sigprocmask(SIG_BLOCK, &interrupt, NULL); /* sd-event takes blocked signals */
    r = sd_event_new(&app->event);
    if (r >= 0) {
        r = sd_event_add_io(app->event, &app->io, sluice_client_get_fd(app->client), 0, on_io, app);
    }
    if (r >= 0) {
        r = sd_event_add_time(app->event, &app->timer, CLOCK_MONOTONIC, UINT64_MAX, 1000, on_timer,
                              app);
    }
    if (r >= 0) {
        r = sd_event_add_signal(app->event, NULL, SIGINT, on_interrupt, app);
    }
    return r;
}

static int ask(struct app *app, const char *model, const char *question)
{
    sluice_request *request = NULL;
    int r = sluice_chat_new(model, &request);

    if (r >= 0) {
        r = sluice_request_add_message(request, SLUICE_ROLE_USER, question, strlen(question));
    }
    if (r >= 0) {
        r = sluice_call_start(app->client, request, &app->call);
    }
    sluice_request_free(request);
    return r;
}

int main(int argc, char **argv)
{
    struct app app = {NULL, NULL, NULL, NULL, NULL};
    int r;

    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL QUESTION\n", argv[0]);
        return 2;
    }
    r = connect_to_loop(&app);
    if (r >= 0) {
        r = ask(&app, argv[1], argv[2]);
    }
    if (r >= 0) {
        r = turn(&app); /* sends, and tells the loop what to wait for */
    }
    if (r >= 0) {
        r = sd_event_loop(app.event); /* what was given to sd_event_exit() */
    }
    if (r < 0) {
        fprintf(stderr, "%s: %s\n", argv[0], strerror(-r));
    }
    sd_event_source_unref(app.io);
    sd_event_source_unref(app.timer);
    sd_event_unref(app.event);
    sluice_call_free(app.call);
    sluice_client_free(app.client);
    return r != 0;
}
