/*
 * sluicectl log: the finished calls in the journal, as a table, as JSON, or in numbers.
 *
 * sluiced is not asked and need not run: its records are read, which all have SLUICE_EVENT=call.
 */
#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "json.h"
#include "log_journal.h"
#include "log_since.h"
#include "log_summary.h"
#include "log_table.h"
#include "options.h"
#include "term.h"

#define DEFAULT_LINES 50 /* where neither --lines nor --since says how many */

struct log_options {
    struct common_options common;
    bool is_follow, is_failed, is_stats;
    const char *model, *uid, *since, *directory, *file;
    struct int_option lines;
};

#define AT(member) offsetof(struct log_options, member)

static const struct option_row log_rows[] = {
    {"follow", 'f', OPTION_FLAG, NULL, "go on with those that end from now on", AT(is_follow)},
    {"lines", 'n', OPTION_COUNT, "N", "the last N calls (default: 50, or all since a time)",
     AT(lines)},
    {"since", 0, OPTION_TEXT, "TIME",
     "those that ended since: \"2h\", \"10min ago\", today, \"2026-11-22 14:30\"", AT(since)},
    {"model", 'm', OPTION_TEXT, "MODEL", "calls to this model", AT(model)},
    {"uid", 'u', OPTION_TEXT, "USER", "calls of this user (number or name)", AT(uid)},
    {"failed", 0, OPTION_FLAG, NULL, "calls that did not complete", AT(is_failed)},
    {"stats", 0, OPTION_FLAG, NULL, "in numbers: outcomes, times, tokens (default: of all calls)",
     AT(is_stats)},
    {"directory", 'D', OPTION_TEXT, "DIR", "the journal in this directory", AT(directory)},
    {"file", 0, OPTION_TEXT, "FILE", "this journal file", AT(file)},
    {"json", 'j', OPTION_DOCUMENT, NULL,
     "print each call as a line of JSON; one document with --stats", AT(common.is_json)},
    {.name = NULL},
};

/* ---------------------------------------------------------------- what is asked */

static int usage(const char *text)
{
    return complain_with(EXIT_USAGE, "usage", "log: %s", text);
}

static int parse_uid(const char *text, uint64_t *ret)
{
    struct passwd *user;

    if (isdigit((unsigned char) text[0]) && strlen(text) <= 10 &&
        text[strspn(text, "0123456789")] == '\0') {
        *ret = strtoull(text, NULL, 10);
        return OPTIONS_GO_ON;
    }
    user = getpwnam(text);
    if (!user) {
        return complain_with(EXIT_USAGE, "usage", "log: there is no user \"%s\"", text);
    }
    *ret = user->pw_uid;
    return OPTIONS_GO_ON;
}

static uint64_t now_usec(void)
{
    struct timespec now;

    (void) clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

static int make_filter(const struct log_options *o, struct log_filter *ret)
{
    *ret = (struct log_filter) {.directory = o->directory,
                                .file = o->file,
                                .model = o->model,
                                .uid = LOG_ABSENT,
                                .is_failed_only = o->is_failed};
    if (o->directory && o->file) {
        return usage("--directory and --file are two journals");
    }
    if (o->is_follow && o->is_stats) {
        return usage("--stats needs an end, and --follow has none");
    }
    if (o->is_follow && o->file) {
        return usage("--follow watches a directory; --file is a single file");
    }
    if (o->since && !log_since_parse(o->since, now_usec(), &ret->since_usec)) {
        return complain_with(EXIT_USAGE, "usage",
                             "log: \"%s\" is no time: \"2h\", \"10min ago\", \"today\" or "
                             "\"2026-11-22 14:30\" are",
                             o->since);
    }
    return o->uid ? parse_uid(o->uid, &ret->uid) : OPTIONS_GO_ON;
}

/* ---------------------------------------------------------------- calls, one by one */

static void add_time(cJSON *object, uint64_t at_usec)
{
    time_t at = (time_t) (at_usec / 1000000);
    char seconds[32], text[48];
    struct tm tm;

    json_add_number(object, "at_usec", at_usec);
    if (gmtime_r(&at, &tm) && strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &tm) > 0) {
        (void) snprintf(text, sizeof(text), "%s.%06uZ", seconds, (unsigned) (at_usec % 1000000));
        json_add_text(object, "time", text);
    }
}

static void print_json(const struct log_call *call)
{
    cJSON *object = json_object();

    add_time(object, call->at_usec);
    for (const struct log_member *m = log_members; m->field; m++) {
        if (m->is_number && log_number(call, m) != LOG_ABSENT) {
            json_add_number(object, m->name, log_number(call, m));
        } else if (!m->is_number && log_text(call, m)[0]) {
            json_add_text(object, m->name, log_text(call, m));
        }
    }
    json_print(object);
}

/* The wanted calls up to the end of the journal. How many, or -errno; *n_shown grows by them. */
static int print_calls(sd_journal *j, const struct log_filter *filter, bool is_json,
                       uint64_t *n_shown)
{
    struct log_table table;
    struct log_call call;
    int r;

    log_table_init(&table, term_columns(stdout));
    while ((r = log_journal_next(j, filter, &call)) > 0) {
        if (is_json) {
            print_json(&call);
        } else {
            if (*n_shown == 0) {
                log_table_titles(&table);
            }
            log_table_row(&table, &call);
        }
        (*n_shown)++;
    }
    return r;
}

static int complain_read(int error)
{
    return complain_with(EXIT_FAILED, "journal_error", "the journal cannot be read: %s",
                         strerror(-error));
}

static int follow(sd_journal *j, const struct log_filter *filter, bool is_json, uint64_t n_shown)
{
    int r;

    while (output_flush()) {
        r = log_journal_wait(j);
        if (r == -EINTR && interrupt_was_seen()) {
            return EXIT_INTERRUPTED;
        }
        if (r >= 0 || r == -EINTR) {
            r = print_calls(j, filter, is_json, &n_shown);
        }
        if (r < 0) {
            return complain_read(r);
        }
    }
    return complain_output();
}

static int run_list(sd_journal *j, const struct log_filter *filter, const struct log_options *o)
{
    uint64_t n_shown = 0;
    int code = EXIT_OK, r;

    r = print_calls(j, filter, o->common.is_json, &n_shown);
    if (r < 0) {
        return complain_read(r);
    }
    if (n_shown == 0) {
        code = log_journal_explain_nothing(filter);
    }
    if (interrupt_was_seen()) {
        return EXIT_INTERRUPTED;
    }
    return o->is_follow && code == EXIT_OK ? follow(j, filter, o->common.is_json, n_shown) : code;
}

/* ---------------------------------------------------------------- numbers */

static void print_stats(const struct log_stats *s, bool is_json)
{
    if (is_json) {
        log_summary_print_json(s);
    } else if (s->all.n_calls > 0) {
        log_summary_print(s);
    }
}

static int run_stats(sd_journal *j, const struct log_filter *filter, bool is_json)
{
    struct log_stats stats = {.n_groups = 0};
    struct log_call call;
    int code = EXIT_OK, r;

    while ((r = log_journal_next(j, filter, &call)) > 0 &&
           (r = log_stats_add(&stats, &call)) == 0) {
    }
    log_stats_finish(&stats);
    if (r < 0) {
        code = complain_read(r);
    } else if (interrupt_was_seen()) {
        code = EXIT_INTERRUPTED;
    } else if (stats.all.n_calls == 0) {
        code = log_journal_explain_nothing(filter);
    }
    if (code == EXIT_OK) {
        print_stats(&stats, is_json);
    }
    log_stats_done(&stats);
    return code;
}

/* ---------------------------------------------------------------- the command */

int run_log(const struct command *command, int argc, char **argv)
{
    struct log_options options = {.model = NULL};
    struct log_filter filter;
    int code = options_parse(command, log_rows, argc, argv, &options.common);

    if (code == OPTIONS_GO_ON) {
        code = options_want_words(command, argc, argv, &options.common, 0, 0);
    }
    if (code == OPTIONS_GO_ON) {
        code = make_filter(&options, &filter);
    }
    if (code != OPTIONS_GO_ON) {
        return code;
    }

    sd_journal *j = log_journal_open(&filter, &code);
    bool is_all = options.is_stats || options.since;
    uint64_t n = options.lines.is_set ? (uint64_t) options.lines.value : is_all ? 0 : DEFAULT_LINES;
    int r = j ? log_journal_seek(j, &filter, n) : 0;

    if (j && r < 0) {
        code = complain_read(r);
    } else if (j) {
        code = options.is_stats ? run_stats(j, &filter, options.common.is_json)
                                : run_list(j, &filter, &options);
    }
    sd_journal_close(j);
    return code;
}
