#pragma once
/*
 * The table of messages.def in C, and the records that it is for: what an operator may act on.
 * Everything else that is logged has no MESSAGE_ID.
 */
#include "base/log.h"

struct log_fields;

enum message_code {
#define X(name, event, message_id) MESSAGE_##name,
#include "messages.def"
#undef X
    _MESSAGE_MAX,
};

struct message_info {
    const char *event;      /* "upstream_down" */
    const char *message_id; /* 32 hex digits */
};

const struct message_info *message_info(enum message_code m);

/*
 * Writes the record of m, at most a few in ten seconds (log_limit): how many were left out is a
 * field of the next one, SLUICE_SUPPRESSED. limit: of the cause, where one message has several (one
 * for each model server); NULL: the message's own. fields may be NULL.
 */
void message_write(enum message_code m, enum log_level level, struct log_limit *limit,
                   const struct log_fields *fields, const char *fmt, ...) PRINTF_LIKE(5, 6);
