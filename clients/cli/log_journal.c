/*
 * See log_journal.h.
 *
 * libsystemd opens what it may read and says nothing of the rest: a user who is in no group that may
 * read the system's journal sees an empty one. So where nothing is found, the files themselves are
 * asked. While the journal is followed SIGINT is let through in ppoll() only: sd_journal_wait()
 * goes on after EINTR, and Ctrl-C would be lost.
 */
#include "log_journal.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FIELD_MAX_BYTES 1024 /* read of a field; the daemon writes 256 and a name */

static int complain_journal(const char *what, int error)
{
    return complain_with(EXIT_FAILED, "journal_error", "the journal cannot be %s: %s", what,
                         strerror(-error));
}

static int add_matches(sd_journal *j, const struct log_filter *filter)
{
    char text[NAME_MAX + 32];
    int r = sd_journal_add_match(j, "SLUICE_EVENT=call", 0);

    if (r >= 0 && filter->model) {
        int n = snprintf(text, sizeof(text), "SLUICE_MODEL=%s", filter->model);

        r = n < (int) sizeof(text) ? sd_journal_add_match(j, text, 0) : -ENAMETOOLONG;
    }
    if (r >= 0 && filter->uid != LOG_ABSENT) {
        (void) snprintf(text, sizeof(text), "SLUICE_UID=%llu", (unsigned long long) filter->uid);
        r = sd_journal_add_match(j, text, 0);
    }
    return r;
}

sd_journal *log_journal_open(const struct log_filter *filter, int *ret_exit_code)
{
    const char *files[] = {filter->file, NULL};
    sd_journal *j = NULL;
    int r = filter->file        ? sd_journal_open_files(&j, files, 0)
            : filter->directory ? sd_journal_open_directory(&j, filter->directory, 0)
                                : sd_journal_open(&j, SD_JOURNAL_LOCAL_ONLY);

    if (r >= 0) {
        (void) sd_journal_set_data_threshold(j, FIELD_MAX_BYTES);
        r = add_matches(j, filter);
    }
    if (r < 0) {
        *ret_exit_code = complain_journal("opened", r);
        sd_journal_close(j);
        return NULL;
    }
    return j;
}

static bool is_wanted(const struct log_filter *filter, const struct log_call *call)
{
    return call->at_usec >= filter->since_usec &&
           !(filter->is_failed_only && log_call_is_completed(call));
}

/* Back over n wanted calls. 1: there, 0: there are fewer, -errno. */
static int seek_back(sd_journal *j, const struct log_filter *filter, uint64_t n)
{
    struct log_call call;
    int r = sd_journal_seek_tail(j);

    while (r >= 0 && (r = sd_journal_previous(j)) > 0) {
        if (log_call_read(j, &call) < 0) {
            continue;
        }
        if (call.at_usec < filter->since_usec) {
            return 1; /* what follows is in the time that is asked for */
        }
        n -= is_wanted(filter, &call);
        if (n == 0) {
            return sd_journal_previous(j);
        }
    }
    return r;
}

int log_journal_seek(sd_journal *j, const struct log_filter *filter, uint64_t n)
{
    int r;

    if (n == 0 && filter->since_usec > 0) {
        return sd_journal_seek_realtime_usec(j, filter->since_usec);
    }
    r = n > 0 ? seek_back(j, filter, n) : 0;
    return r == 0 ? sd_journal_seek_head(j) : r < 0 ? r : 0;
}

int log_journal_next(sd_journal *j, const struct log_filter *filter, struct log_call *ret)
{
    int r;

    while ((r = sd_journal_next(j)) > 0) {
        if (interrupt_was_seen()) {
            return 0;
        }
        if (log_call_read(j, ret) >= 0 && is_wanted(filter, ret)) {
            return 1;
        }
    }
    return r;
}

static struct timespec time_left(uint64_t until_usec)
{
    struct timespec now;
    uint64_t now_usec, left;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    now_usec = (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
    left = until_usec > now_usec ? until_usec - now_usec : 0;
    return (struct timespec) {.tv_sec = (time_t) (left / 1000000),
                              .tv_nsec = (long) (left % 1000000 * 1000)};
}

int log_journal_wait(sd_journal *j)
{
    struct pollfd p = {.fd = sd_journal_get_fd(j), .events = (short) sd_journal_get_events(j)};
    uint64_t until_usec = UINT64_MAX;
    sigset_t interrupt, before;
    struct timespec left;
    int r;

    if (p.fd < 0) {
        return p.fd;
    }
    r = sd_journal_get_timeout(j, &until_usec);
    if (r < 0) {
        return r;
    }
    left = time_left(until_usec);
    (void) sigemptyset(&interrupt);
    (void) sigaddset(&interrupt, SIGINT);
    (void) sigprocmask(SIG_BLOCK, &interrupt, &before);
    r = 0;
    if (interrupt_was_seen()) {
        r = -EINTR;
    } else if (ppoll(&p, 1, until_usec == UINT64_MAX ? NULL : &left, &before) < 0) {
        r = -errno;
    }
    (void) sigprocmask(SIG_SETMASK, &before, NULL);
    if (r == 0) {
        r = sd_journal_process(j);
    }
    return r < 0 ? r : 0;
}

/* ---------------------------------------------------------------- nothing there */

struct access {
    size_t n_files, n_denied;
};

static void look_at(const char *pattern, struct access *a)
{
    glob_t found = {.gl_pathc = 0};

    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            a->n_files++;
            a->n_denied += access(found.gl_pathv[i], R_OK) < 0 && errno == EACCES;
        }
    }
    globfree(&found);
}

static void look_into(const char *directory, struct access *a)
{
    char pattern[PATH_MAX];

    a->n_denied += access(directory, R_OK | X_OK) < 0 && errno == EACCES;
    (void) snprintf(pattern, sizeof(pattern), "%s/*.journal", directory);
    look_at(pattern, a);
    (void) snprintf(pattern, sizeof(pattern), "%s/*/*.journal", directory);
    look_at(pattern, a);
}

int log_journal_explain_nothing(const struct log_filter *filter)
{
    struct access a = {0};

    if (filter->file) {
        look_at(filter->file, &a);
    } else if (filter->directory) {
        look_into(filter->directory, &a);
    } else {
        look_into("/var/log/journal", &a);
        look_into("/run/log/journal", &a);
    }
    if (a.n_denied > 0) {
        return complain_with(EXIT_FAILED, "permission_denied",
                             "you may not read the system's journal: that takes root, or the group "
                             "systemd-journal or adm (usermod -aG systemd-journal USER)");
    }
    if (a.n_files == 0) {
        return complain_with(EXIT_FAILED, "no_journal",
                             "there is no journal here; where sluiced logs to standard error, its "
                             "records are wherever that goes");
    }
    complain("no finished call was found");
    return EXIT_OK;
}
