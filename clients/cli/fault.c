/*
 * How sluicectl says what went wrong: what happened, to whom, and what to do about it, in one line
 * on stderr; and the exit code that scripts go by.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "term.h"

#define MESSAGE_MAX_BYTES 1536

void complain(const char *fmt, ...)
{
    char text[MESSAGE_MAX_BYTES];
    va_list ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    term_progress(NULL);
    (void) fflush(stdout);
    (void) fputs("sluicectl: ", stderr);
    term_print(stderr, text);
    (void) fputs("\n", stderr);
}

int complain_errno(const char *what, int error)
{
    if (error == -EINTR || interrupt_was_seen()) {
        return EXIT_INTERRUPTED;
    }
    switch (-error) {
    case EMSGSIZE:
        complain("%s: the request is larger than the 4 MiB that one message holds", what);
        return EXIT_FAILED;
    case EILSEQ:
        complain("%s: the text holds a NUL byte; only text can be sent", what);
        return EXIT_FAILED;
    case ENOTCONN:
        complain("%s: the connection to sluiced was lost", what);
        return EXIT_UNREACHABLE;
    default:
        complain("%s: %s", what, strerror(-error));
        return EXIT_FAILED;
    }
}

static bool is_code(const sluice_call *call, const char *code)
{
    return strcmp(sluice_call_error_code(call), code) == 0;
}

int exit_code_of(const sluice_call *call)
{
    int status = sluice_call_error_http_status(call);

    if (is_code(call, "cancelled") && interrupt_was_seen()) {
        return EXIT_INTERRUPTED;
    }
    if (is_code(call, "connection_lost")) {
        return EXIT_UNREACHABLE;
    }
    if (sluice_call_error_is_retryable(call) && (status == 429 || status == 503)) {
        return EXIT_TRY_LATER;
    }
    return EXIT_FAILED;
}

/* What to do about it, to follow the message. */
static void advise(const sluice_call *call, char *out, size_t size)
{
    uint64_t retry_usec = sluice_call_error_retry_after_usec(call);

    out[0] = '\0';
    if (retry_usec > 0) {
        (void) snprintf(out, size, "; try again in %llu s",
                        (unsigned long long) (retry_usec / 1000000 + (retry_usec % 1000000 > 0)));
    } else if (exit_code_of(call) == EXIT_TRY_LATER) {
        (void) snprintf(out, size, "; try again later");
    } else if (is_code(call, "model_not_found")) {
        (void) snprintf(out, size, "; `sluicectl models` lists the models");
    } else if (is_code(call, "connection_lost")) {
        (void) snprintf(out, size, "; look at `journalctl -u sluiced`");
    }
}

int complain_call(const sluice_call *call, const char *what)
{
    const char *param = sluice_call_error_param(call);
    const char *id = sluice_call_request_id(call);
    char advice[96];
    int code = exit_code_of(call);

    if (code == EXIT_INTERRUPTED) {
        return code;
    }
    advise(call, advice, sizeof(advice));
    complain("%s: %s (%s%s%s%s%s)%s", what, sluice_call_error_message(call),
             sluice_call_error_code(call), param[0] ? ", field " : "", param,
             id[0] ? ", request " : "", id, advice);
    return code;
}
