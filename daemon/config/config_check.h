#pragma once
/*
 * sluiced --check-config: what every key of a file does here, for people, for programs, and as an
 * exit status for scripts.
 */
#include <stdbool.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/macros.h"
#include "config/config.h"

struct config_check {
    const char *path;
    bool is_json;   /* one document instead of one line for each finding */
    bool is_strict; /* a key that does something near and not the same is a failure too */
};

/*
 * The document, with a newline behind it:
 *     {"file", "verdict", "usable", "deployments",
 *      "summary": {"exact", "approximated", "ignored", "unsupported", "errors"},
 *      "findings": [{"file", "line", "column", "kind", "path", "text", "fatal"}, ...]}
 * verdict: see config_check_verdict(); usable: sluiced takes the file; line and column 0: the file
 * as a whole. 0, -ENOMEM, -ENOBUFS (of out).
 */
int config_check_json(const struct config *c, const struct config_check *check,
                      struct buf *out) MUST_USE;

/*
 * "ok"; "not exact" (only where strict: a key is approximated); "unsupported" (a key asks for what
 * is not served); "degraded" (it can be used, with deployments switched off or mistaken keys without
 * effect); "refused". What is only ignored is ok: a client notices nothing.
 */
const char *config_check_verdict(const struct config *c, bool is_strict);

/*
 * Reads the file and says what is in it, on out; what keeps it from being read, on err (in JSON:
 * on out, {"file", "verdict": "unreadable", "error": {"code", "message"}}). EXIT_SUCCESS where the
 * verdict is ok, else EXIT_FAILURE.
 */
int config_check_run(const struct config_check *check, FILE *out, FILE *err);
