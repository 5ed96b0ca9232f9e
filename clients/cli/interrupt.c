/*
 * Ctrl-C. The handler cancels the current call itself (sluice_call_cancel() is made for that), so
 * that there is no moment between looking at a flag and falling asleep in which a signal gets lost.
 * The call then ends as cancelled calls do, with the daemon told. Somebody who presses it again
 * does not want to wait for that.
 *
 * The handler is installed without SA_RESTART: reading a line at the prompt ends with EINTR.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static _Atomic(sluice_call *) current_call;
static volatile sig_atomic_t was_seen;

static void on_interrupt(int signal_number)
{
    int saved = errno;
    sluice_call *call = atomic_load(&current_call);

    if (was_seen && call) {
        _exit(EXIT_INTERRUPTED);
    }
    was_seen = 1;
    if (call) {
        (void) sluice_call_cancel(call);
    }
    errno = saved;
}

void interrupt_install(void)
{
    struct sigaction sa;

    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = on_interrupt;
    (void) sigemptyset(&sa.sa_mask);
    (void) sigaction(SIGINT, &sa, NULL);
}

void interrupt_set_call(sluice_call *call)
{
    atomic_store(&current_call, call);
    if (call && was_seen) {
        (void) sluice_call_cancel(call); /* it came before there was a call */
    }
}

bool interrupt_was_seen(void)
{
    return was_seen != 0;
}

void interrupt_forget(void)
{
    was_seen = 0;
}
