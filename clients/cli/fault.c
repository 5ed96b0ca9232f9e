/*
 * How sluicectl says what went wrong: what happened, to whom, and what to do about it, in one line
 * on stderr; with --json the same as a line on stdout; and the exit code that scripts go by.
 *
 * Owns the form in which failures are told, which is that of the one command that this process
 * runs, where they go, and why its output could not be written. Must not end the process.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "json.h"
#include "term.h"

#define MESSAGE_MAX_BYTES 1536

static enum fault_form form;
static char *captured; /* borrowed: where sentences go instead; NULL: to people */
static size_t captured_size;
static int output_errno; /* of the first write to stdout that failed */

void fault_set_form(enum fault_form new_form)
{
    form = new_form;
}

void fault_capture(char *out, size_t size)
{
    captured = out;
    captured_size = size;
    if (out) {
        out[0] = '\0';
    }
}

static void print_sentence(const char *text)
{
    if (captured) {
        (void) snprintf(captured, captured_size, "%s", text);
        return;
    }
    term_progress(NULL);
    (void) fflush(stdout);
    (void) fputs("sluicectl: ", stderr);
    term_print(stderr, text);
    (void) fputs("\n", stderr);
}

/* The line of --json: call's failure, or where that is NULL code and text. */
static void print_json(const sluice_call *call, const char *code, const char *text)
{
    if (form == FAULT_TEXT || captured) {
        return;
    }

    cJSON *document = json_object();

    if (form == FAULT_EVENT) {
        json_add_text(document, "event", "failed");
    }

    cJSON *error = json_add_object(document, "error");

    if (call) {
        json_add_failure(error, call);
    } else {
        json_add_text(error, "code", code);
        json_add_text(error, "message", text);
    }
    json_print(document);
}

void complain(const char *fmt, ...)
{
    char text[MESSAGE_MAX_BYTES];
    va_list ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    print_sentence(text);
}

int complain_with(enum exit_code exit_code, const char *code, const char *fmt, ...)
{
    char text[MESSAGE_MAX_BYTES];
    va_list ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    print_json(NULL, code, text);
    print_sentence(text);
    return (int) exit_code;
}

int complain_errno(const char *what, int error)
{
    if (error == -EINTR || interrupt_was_seen()) {
        print_json(NULL, "interrupted", what);
        return EXIT_INTERRUPTED;
    }
    switch (-error) {
    case EMSGSIZE:
        return complain_with(EXIT_FAILED, "too_large",
                             "%s: the request is larger than the 4 MiB that one message holds",
                             what);
    case EILSEQ:
        return complain_with(EXIT_FAILED, "not_text",
                             "%s: the text holds a NUL byte; only text can be sent", what);
    case ENOTCONN:
        return complain_with(
            EXIT_UNREACHABLE, "connection_lost",
            "%s: the connection to sluiced was lost; look at `journalctl -u sluice`", what);
    case ENOMEM:
        return complain_with(EXIT_FAILED, "out_of_memory", "%s: out of memory", what);
    default:
        return complain_with(EXIT_FAILED, "system_error", "%s: %s", what, strerror(-error));
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
    if (sluice_call_error_is_retryable(call) && (status == 409 || status == 429 || status == 503)) {
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
    } else if (is_code(call, "forbidden")) {
        (void) snprintf(out, size, "; that is for root and the user that sluiced runs as: `sudo`");
    } else if (is_code(call, "bad_configuration")) {
        (void) snprintf(out, size, "; `sluicectl check-config` shows all that is wrong");
    } else if (is_code(call, "not_implemented")) {
        (void) snprintf(out, size, "; is sluiced older than sluicectl? `sluicectl version`");
    } else if (is_code(call, "connection_lost")) {
        (void) snprintf(out, size, "; look at `journalctl -u sluice`");
    }
}

int complain_call(const sluice_call *call, const char *what)
{
    const char *param = sluice_call_error_param(call);
    const char *id = sluice_call_request_id(call);
    char advice[96];
    int code = exit_code_of(call);

    print_json(call, NULL, NULL);
    if (code == EXIT_INTERRUPTED) {
        return code;
    }
    advise(call, advice, sizeof(advice));
    complain("%s: %s (%s%s%s%s%s)%s", what, sluice_call_error_message(call),
             sluice_call_error_code(call), param[0] ? ", field " : "", param,
             id[0] ? ", request " : "", id, advice);
    return code;
}

bool output_flush(void)
{
    if (fflush(stdout) != 0 && output_errno == 0) {
        output_errno = errno;
    }
    return !ferror(stdout);
}

int complain_output(void)
{
    complain("cannot write the output: %s", output_errno ? strerror(output_errno) : "it was cut");
    return EXIT_FAILED;
}
