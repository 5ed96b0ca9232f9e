#pragma once
/* The table of errors.def in C. Linked by the daemon and by libsluice. */

enum errcode {
#define X(name, http, type, code, ttrpc, retry, message_id, text) ERRCODE_##name,
#include "proto/errors.def"
#undef X
    _ERRCODE_MAX,
    ERRCODE_NONE = -1, /* no error: verdicts and results that may carry one */
};

struct errcode_info {
    const char *name;        /* "MODEL_NOT_FOUND" */
    const char *openai_type; /* "invalid_request_error" */
    const char *openai_code; /* "model_not_found" */
    const char *message_id;  /* 32 hex digits, or "" */
    const char *text;        /* a sentence without a full stop */
    int http_status;
    int ttrpc_code; /* google.rpc.Code */
    int is_retryable;
};

/* The row of code; never NULL for 0 <= code < _ERRCODE_MAX, anything else is a bug (assert). */
const struct errcode_info *errcode_info(enum errcode code);

/* The code whose openai_code is name, or ERRCODE_NONE. The first row wins where two share one. */
enum errcode errcode_from_name(const char *name);
