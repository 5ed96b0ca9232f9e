#pragma once
/* One streamed answer: taken event by event and shown, as live text, as plain text, or as one JSON
 * object a line. */
#include <stdbool.h>
#include <stddef.h>

#include "cli.h"

/* An answer that is kept for the conversation. Zero-initialised; bytes is owned, free(). */
struct stream_answer {
    char *bytes;
    size_t n, cap;
};
#define STREAM_ANSWER_MAX_BYTES ((size_t) 1 << 20) /* what is over is shown but not kept */

struct stream_options {
    bool is_json;
    bool is_verbose; /* the summary also where stdout is no terminal */
};

/*
 * Runs the call to its end. what: for messages. answer: NULL where nobody needs it. An exit code.
 */
int stream_run(sluice_call *call, const char *what, const struct stream_options *options,
               struct stream_answer *answer);
