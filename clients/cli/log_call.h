#pragma once
/* A finished call, as its record in the journal has it. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-journal.h>

#define LOG_TEXT_BYTES 257        /* the daemon writes at most 256 bytes of a value */
#define LOG_ABSENT     UINT64_MAX /* a number that the record does not have */

struct log_call {
    uint64_t at_usec; /* since 1970 */
    /* "" where the record has none; what is no text is cut at the NUL and cleaned when it is shown */
    char id[LOG_TEXT_BYTES], kind[LOG_TEXT_BYTES], model[LOG_TEXT_BYTES];
    char deployment[LOG_TEXT_BYTES], provider[LOG_TEXT_BYTES], class_name[LOG_TEXT_BYTES];
    char frontend[LOG_TEXT_BYTES], outcome[LOG_TEXT_BYTES], key_id[LOG_TEXT_BYTES];
    uint64_t uid, pid, queue_usec, ttft_usec, total_usec, bytes_in, tokens_in, tokens_out;
};

/* One field of a record and its place above. */
struct log_member {
    const char *field; /* NULL: the end */
    const char *name;  /* in JSON */
    size_t offset;
    bool is_number;
};
extern const struct log_member log_members[];

/* The number at an offset of log_members. */
uint64_t log_number(const struct log_call *call, const struct log_member *m);
const char *log_text(const struct log_call *call, const struct log_member *m);

/* The journal's current record. 0, or -errno: it cannot be read, and *ret is not usable. */
int log_call_read(sd_journal *j, struct log_call *ret);

bool log_call_is_completed(const struct log_call *call);
