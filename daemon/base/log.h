#pragma once
/*
 * Log records with fields. They go to the journal when standard error is connected to it
 * ($JOURNAL_STREAM), else to standard error as logfmt or JSON lines. Nothing here waits for whoever
 * reads them: what the journal does not take at once is kept and then dropped, what standard error
 * does not take is dropped, and the next record says how many were (SLUICE_DROPPED_RECORDS).
 *
 * Field names are upper case without leading underscore (journald's rule), values are any bytes.
 * Callers never pass prompts, completions, keys or headers. base, core and wire do not log above
 * debug.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/str.h"

enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7
};
enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_TEXT, LOG_FORMAT_JSON, LOG_FORMAT_JOURNAL };

struct log_field {
    const char *name;
    struct str value;
};

#define LOG_MAX_FIELDS 32

/*
 * Chooses where records go. LOG_FORMAT_AUTO: the journal where standard error is it, else text.
 * journal_socket: journald's, NULL for the usual one; while none is there, records go to standard
 * error as text.
 */
void log_setup(enum log_format format, enum log_level max_level, const char *journal_socket);

bool log_is_enabled(enum log_level level);

/*
 * One record. message_id: 32 hex digits, or NULL/"". At most LOG_MAX_FIELDS fields are sent. Never
 * fails, never blocks on allocation.
 */
void log_record(enum log_level level, const char *message_id, struct str message,
                const struct log_field *fields, size_t n_fields);

/* A record without fields. */
void log_printf(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* As log_record(), with a text of at most 512 bytes. */
void log_vrecord(enum log_level level, const char *message_id, const struct log_field *fields,
                 size_t n_fields, const char *fmt, va_list ap) PRINTF_LIKE(5, 0);

/*
 * Records that wait for journald: on_waiting says that fd should be watched for EPOLLOUT, and
 * log_flush() then be called. It may be called again while fd is watched, always with the same fd,
 * and from within any of the functions above: it must not log. NULL: nobody watches, and they go
 * with the next record.
 */
void log_on_waiting(void (*on_waiting)(void *ctx, int fd), void *ctx);

/* Sends what waits, as far as journald takes it. True: fd need not be watched any more. */
bool log_flush(void);

/* How many records were dropped since the last one that said so. */
uint64_t log_n_dropped(void);

/*
 * At most `burst` records per `interval_usec` for each struct; the first record after a gap carries
 * how many were left out. Zero-initialise one per cause.
 */
struct log_limit {
    uint64_t window_at_usec;
    uint32_t n_in_window;
    uint32_t n_suppressed;
};
bool log_limit_pass(struct log_limit *limit, uint64_t now_usec, uint32_t *ret_suppressed);
