/*
 * See stream.h.
 *
 * A terminal gets tokens as they come, thinking dim, a line about the queue that disappears, and a
 * summary. A pipe gets the answer and nothing else: no thinking, no summary, a newline at the end.
 * Text goes to stdout, talk about it to stderr.
 */
#include "stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "json.h"
#include "term.h"

#define TICK_USEC 1000000 /* between two looks at the clock */

struct shown {
    struct term_text text; /* of the channel that is being shown */
    bool is_live;          /* stdout is a terminal */
    bool is_verbose;
    bool is_thinking; /* that channel */
    bool has_text;
    bool is_line_begun; /* the last byte was no newline */
    struct stream_answer *answer;
    uint32_t position;   /* in the queue; 0: it is being worked on */
    uint64_t since_usec; /* that is so; CLOCK_MONOTONIC. 0: neither, or text has come */
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
    s->since_usec = 0;
    term_progress(NULL);
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

static uint64_t now_usec(void)
{
    struct timespec ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail with this clock */
    return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

/* What is waited for, and how long already: a model that has to be loaded takes its time. */
static void show_progress(const struct shown *s)
{
    unsigned long long sec = (now_usec() - s->since_usec) / 1000000;
    char text[96], time[32] = "";

    if (sec > 0) {
        (void) snprintf(time, sizeof(time), ", %llu s", sec);
    }
    if (s->position > 0) {
        (void) snprintf(text, sizeof(text), "waiting for a slot, position %u%s", s->position, time);
    } else {
        (void) snprintf(text, sizeof(text), "working%s%s", sec > 0 ? time : " ...",
                        sec > 2 ? ": the model may have to be loaded first" : "");
    }
    term_progress(text);
}

static void begin_progress(struct shown *s, uint32_t position)
{
    if (s->is_live) {
        s->position = position;
        s->since_usec = now_usec();
        show_progress(s);
    }
}

/* session_next(), with the seconds counted where somebody looks. */
static int next(struct shown *s, sluice_call *call)
{
    int r;

    if (s->since_usec == 0) {
        return session_next(call);
    }
    while ((r = session_next_within(call, TICK_USEC)) == -EAGAIN) {
        show_progress(s);
    }
    return r;
}

static void show_event(struct shown *s, const sluice_call *call)
{
    switch ((enum sluice_event) sluice_call_event(call)) {
    case SLUICE_EVENT_QUEUED:
        begin_progress(s, sluice_call_queue_position(call));
        break;
    case SLUICE_EVENT_STARTED:
        begin_progress(s, 0);
        break;
    case SLUICE_EVENT_TEXT:
        show_text(s, call);
        break;
    case SLUICE_EVENT_DONE:
        term_progress(NULL);
        end_channel(s);
        if (s->is_live || s->is_verbose) {
            (void) fflush(stdout);
            show_summary(call);
        }
        break;
    case SLUICE_EVENT_TOOL_CALL: /* no tools are offered here */
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
    struct term_text carry = {.n_held = 0};
    int ev;

    while ((ev = next(&shown, call)) > 0) {
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
    term_progress(NULL);
    end_channel(&shown);
    if (!output_flush()) {
        return complain_output();
    }
    return ev < 0 ? complain_errno(what, ev) : complain_call(call, what);
}
