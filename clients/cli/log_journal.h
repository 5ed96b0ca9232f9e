#pragma once
/* The journal: which one, which records, and why there are none. */
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-journal.h>

#include "cli.h"
#include "log_call.h"

/* Which records are wanted. Strings are borrowed; NULL: any. */
struct log_filter {
    const char *directory, *file; /* instead of the system's journal */
    const char *model;
    uint64_t uid; /* LOG_ABSENT: any */
    bool is_failed_only;
    uint64_t since_usec; /* 0: from the beginning */
};

/* The journal with its matches, or NULL after saying why; then *ret_exit_code. sd_journal_close(). */
sd_journal *log_journal_open(const struct log_filter *filter, int *ret_exit_code);

/* So that log_journal_next() begins with the last n wanted calls (0: with all). 0 or -errno. */
int log_journal_seek(sd_journal *j, const struct log_filter *filter, uint64_t n);

/* The next wanted call: 1, 0 at the end, -errno. A record that cannot be read is passed over. */
int log_journal_next(sd_journal *j, const struct log_filter *filter, struct log_call *ret);

/* Sleeps until the journal has changed, or Ctrl-C. 0, -EINTR, or -errno. */
int log_journal_wait(sd_journal *j);

/* No call was found: says whether that is because the journal may not be read (EXIT_FAILED), or
 * because there is none (EXIT_OK). */
int log_journal_explain_nothing(const struct log_filter *filter);
