#pragma once
/*
 * What model servers say when something is wrong, whatever dialect they speak: their sentences
 * recognised, and made fit for our log and our client. Shared by the dialects' error codecs, which
 * know where in an answer the sentence stands and what only their servers say.
 */
#include <stdbool.h>

#include "base/str.h"
#include "wire/problem.h"

/* Does text hold the phrase, in any case? */
bool server_words_say(struct str text, const char *phrase);

/* A body that is no JSON, trimmed; absent where it is a web page. */
struct str server_words_plain(struct str body);

/*
 * CONTEXT_LENGTH, CONTENT_FILTER or UPSTREAM_OUT_OF_MEMORY where the sentence tells of it, else
 * ERRCODE_NONE: servers say them with whatever status.
 */
enum errcode server_words_code(struct str sentence);

/* What an HTTP status means when the sentence says nothing more exact. 3xx and the like: garbage. */
enum errcode server_words_status(int status);

/*
 * Appends foreign text to p->text as far as there is room: one line, control characters and runs of
 * blanks as one blank, no half character at the end, "[redacted]" for words that look like keys
 * (vendors repeat the key that they refuse).
 */
void server_words_append(struct problem *p, struct str text);
