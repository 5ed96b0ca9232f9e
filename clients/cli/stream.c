/*
 * See stream.h.
 *
 * A terminal gets tokens as they come, thinking dim, a line about the queue that disappears, and a
 * summary. A pipe gets the answer and nothing else: no thinking, no summary, a newline at the end.
 * Text goes to stdout, talk about it to stderr. A refusal is shown as the answer that it is.
 */
#include "stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "progress.h"
#include "term.h"

struct shown {
    struct term_text text; /* of the channel that is being shown */
    bool is_live;          /* stdout is a terminal */
    bool is_verbose;
    bool is_thinking; /* that channel */
    bool has_text;
    bool is_line_begun; /* the last byte was no newline */
    struct stream_answer *answer;
};

static void keep(struct stream_answer *a, const char *bytes, size_t n)
{
    if (!a || n > STREAM_ANSWER_MAX_BYTES - a->n) {
        return;
    }
    if (a->n + n > a->cap) {
        size_t cap = a->cap > 0 ? a->cap : 1024;

        while (cap < a->n + n) {
            cap *= 2;
        }

        char *grown = realloc(a->bytes, cap);

        if (!grown) {
            return;
        }
        a->bytes = grown;
        a->cap = cap;
    }
    if (n > 0) {
        memcpy(a->bytes + a->n, bytes, n);
        a->n += n;
    }
}

/* Ends a channel: its colour and its last line. */
static void end_channel(struct shown *s)
{
    if (s->is_live) {
        term_end(stdout, &s->text);
    }
    if (s->is_thinking) {
        term_style(stdout, STYLE_PLAIN);
    }
    if (s->is_line_begun) {
        (void) fputs("\n", stdout);
    }
    s->is_line_begun = false;
}

static void show_text(struct shown *s, const sluice_call *call)
{
    bool is_thinking = sluice_call_channel(call) == SLUICE_CHANNEL_THINKING;
    size_t n;
    const char *text = sluice_call_text(call, &n);

    if (n == 0 || (is_thinking && !s->is_live)) {
        return;
    }
    if (is_thinking != s->is_thinking) {
        end_channel(s);
        s->is_thinking = is_thinking;
        if (is_thinking) {
            term_style(stdout, STYLE_DIM);
        }
    }
    if (s->is_live) {
        term_write(stdout, &s->text, text, n);
    } else {
        (void) fwrite(text, 1, n, stdout);
    }
    (void) output_flush();
    s->has_text = true;
    s->is_line_begun = text[n - 1] != '\n';
    if (!is_thinking) {
        keep(s->answer, text, n);
    }
}

static double seconds(uint64_t usec)
{
    return (double) usec / 1e6;
}

/* "42 tokens, 31.2 tok/s, first token 0.21 s, total 1.56 s, queued 0.02 s, deployment" */
static void show_summary(const sluice_call *call)
{
    uint64_t total_usec = sluice_call_total_usec(call);
    uint64_t first_usec = sluice_call_first_token_usec(call);
    uint64_t n_tokens = sluice_call_output_tokens(call);

    term_style(stderr, STYLE_DIM);
    if (sluice_call_has_usage(call)) {
        (void) fprintf(stderr, "%llu tokens, ", (unsigned long long) n_tokens);
    }
    if (n_tokens > 1 && first_usec > 0 && total_usec > first_usec) {
        /* the first token is what the wait before it was for: the others show the speed */
        (void) fprintf(stderr, "%.1f tok/s, ",
                       (double) (n_tokens - 1) / seconds(total_usec - first_usec));
    }
    if (first_usec > 0) {
        (void) fprintf(stderr, "first token %.2f s, ", seconds(first_usec));
    }
    (void) fprintf(stderr, "total %.2f s, queued %.2f s, ", seconds(total_usec),
                   seconds(sluice_call_queue_usec(call)));
    term_print(stderr, sluice_call_deployment(call));
    if (sluice_call_finish_reason(call, 0) == SLUICE_FINISH_LENGTH) {
        (void) fputs(", cut at the token limit", stderr);
    }
    (void) fputs("\n", stderr);
    term_style(stderr, STYLE_PLAIN);
}

static void show_event(struct shown *s, const sluice_call *call)
{
    switch ((enum sluice_event) sluice_call_event(call)) {
    case SLUICE_EVENT_QUEUED: /* progress.c's */
    case SLUICE_EVENT_STARTED:
        break;
    case SLUICE_EVENT_TEXT:
        show_text(s, call);
        break;
    case SLUICE_EVENT_DONE:
        end_channel(s);
        if (s->is_live || s->is_verbose) {
            (void) fflush(stdout);
            show_summary(call);
        }
        break;
    case SLUICE_EVENT_TOOL_CALL: /* no tools are offered here */
    case SLUICE_EVENT_RESULT:
    case SLUICE_EVENT_EMBEDDING:
    case SLUICE_EVENT_REPLY:
    case SLUICE_EVENT_STATUS:
    case SLUICE_EVENT_FAILED:
        break;
    }
}

int stream_run(sluice_call *call, const char *what, const struct stream_options *options,
               struct stream_answer *answer)
{
    struct shown shown = {
        .is_live = term_is_tty(stdout), .is_verbose = options->is_verbose, .answer = answer};
    struct progress progress = {.is_wanted = shown.is_live && !options->is_json};
    struct term_text carry = {.n_held = 0};
    int ev;

    while ((ev = progress_next(&progress, call)) > 0) {
        if (!output_flush()) {
            (void) sluice_call_cancel(call); /* nobody reads */
        } else if (options->is_json && ev != SLUICE_EVENT_FAILED) {
            json_print(json_event(call, &carry));
        } else if (!options->is_json) {
            show_event(&shown, call);
        }
    }
    if (ev == 0 && sluice_call_event(call) == SLUICE_EVENT_DONE) {
        return EXIT_OK;
    }
    end_channel(&shown);
    if (!output_flush()) {
        return complain_output();
    }
    return ev < 0 ? complain_errno(what, ev) : complain_call(call, what);
}
