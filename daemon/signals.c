/* See signals.h. */
#include "signals.h"

#include <errno.h>
#include <signal.h>

int signals_add(sd_event *event, const struct signals_row *rows, size_t n, void *ctx)
{
    sigset_t mask;

    (void) signal(SIGPIPE, SIG_IGN); /* libcurl with NOSIGNAL leaves it to us */
    sigemptyset(&mask);
    for (size_t i = 0; i < n; i++) {
        sigaddset(&mask, rows[i].signal);
    }
    if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0) {
        return -errno;
    }
    for (size_t i = 0; i < n; i++) {
        int r = sd_event_add_signal(event, NULL, rows[i].signal, rows[i].handler, ctx);

        if (r < 0) {
            return r;
        }
    }
    return 0;
}
