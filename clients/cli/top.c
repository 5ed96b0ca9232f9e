/*
 * sluicectl top: a live page of level, headroom, queue by class, models, callers and speed; in a pipe the
 * same as plain text, a block for each interval.
 *
 * It asks for the status at each interval and shows what has changed since the last one as a rate. A
 * watch (status --watch) tells changes only, of which a rate cannot be made: nothing would come
 * while nothing happens.
 *
 * Owns the last figures. The page is made as text and cut to the terminal by screen.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "deployments.h"
#include "report.h"
#include "screen.h"
#include "term.h"

#define DEFAULT_INTERVAL_USEC UINT64_C(2000000)
#define MIN_INTERVAL_USEC     UINT64_C(100000)
#define MAX_INTERVAL_USEC     UINT64_C(60000000)
#define ANSWER_LIMIT_USEC     UINT64_C(5000000)
#define MAX_ROWS              512 /* of a table: 256 deployments at most, 64 callers */
#define FIXED_ROWS            9   /* head, classes, and the blank line in front of each table */
#define TABLE_MIN_ROWS        2   /* a title, and a row or how many there are */

enum sort_key { SORT_WAITING, SORT_RUNNING, SORT_NAME, SORT_IDLE };

struct top_options {
    struct common_options common;
    uint64_t interval_usec;
    struct int_option n;
    const char *sort;
};

static const struct option_row top_rows[] = {
    {"interval", 'i', OPTION_DURATION, "TIME", "look that often, 100ms to 60s (default: 2s)",
     offsetof(struct top_options, interval_usec)},
    {"count", 'n', OPTION_COUNT, "N", "end after that many looks", offsetof(struct top_options, n)},
    {"sort", 0, OPTION_TEXT, "KEY", "order rows by waiting (default), running, name or idle",
     offsetof(struct top_options, sort)},
    OPTION_JSON_EVENTS,
    OPTION_SOCKET,
    {.name = NULL},
};

/* What rates are made of. */
struct figures {
    uint64_t at_usec, pieces, completed, failed, refused, spilled, uptime_usec;
};

struct top {
    const struct top_options *options;
    sluice_client *client;
    enum sort_key sort;
    bool is_live;
    struct figures last; /* at_usec 0: none yet */
    struct figures now;
    sluice_call *status; /* the newest; NULL before */
};

static unsigned long long number(const sluice_call *call, int field)
{
    return sluice_call_reply_number(call, field);
}

static unsigned long long n_spilled(const sluice_call *call)
{
    return number(call, SLUICE_FIELD_CALLS_SPILLED_LEVEL) +
           number(call, SLUICE_FIELD_CALLS_SPILLED_WAIT) +
           number(call, SLUICE_FIELD_CALLS_SPILLED_ROOM);
}

/* ---------------------------------------------------------------- asking */

/* EXIT_OK, or an exit code after saying why. */
static int look(struct top *t)
{
    sluice_request *req;
    sluice_call *call = NULL;
    int code = EXIT_FAILED, ev;
    int r = sluice_status_new(&req);

    if (r < 0) {
        return complain_errno("top", r);
    }
    r = sluice_call_start(t->client, req, &call);
    sluice_request_free(req);
    if (r < 0) {
        return complain_errno("top", r);
    }
    ev = session_next_within(call, ANSWER_LIMIT_USEC);
    if (ev == SLUICE_EVENT_REPLY) {
        sluice_call_free(t->status);
        t->status = call;
        t->last = t->now;
        t->now = (struct figures) {.at_usec = screen_now_usec(),
                                   .pieces = number(call, SLUICE_FIELD_PIECES_OUT),
                                   .completed = number(call, SLUICE_FIELD_CALLS_COMPLETED),
                                   .failed = number(call, SLUICE_FIELD_CALLS_FAILED),
                                   .refused = number(call, SLUICE_FIELD_CALLS_REFUSED),
                                   .spilled = n_spilled(call),
                                   .uptime_usec = number(call, SLUICE_FIELD_UPTIME_USEC)};
        return EXIT_OK;
    }
    screen_close(); /* what is said belongs on the terminal as it was */
    code = ev == -EAGAIN ? complain_with(EXIT_UNREACHABLE, "daemon_hangs",
                                         "top: sluiced does not answer any more")
           : ev < 0      ? complain_errno("top", ev)
                         : complain_call(call, "top");
    sluice_call_free(call);
    return code;
}

/* Per second since the last look; negative: not known yet. */
static double rate(const struct top *t, uint64_t now, uint64_t last)
{
    uint64_t usec = t->now.at_usec - t->last.at_usec;
    bool is_known = t->last.at_usec > 0 && usec > 0 && now >= last &&
                    t->now.uptime_usec >= t->last.uptime_usec; /* else it is another daemon */

    return is_known ? (double) (now - last) * 1e6 / (double) usec : -1;
}

/* ---------------------------------------------------------------- the head */

static void put_rate(FILE *f, double value, const char *unit)
{
    if (value < 0) {
        (void) fprintf(f, "- %s", unit);
    } else {
        (void) fprintf(f, "%.1f %s", value, unit);
    }
}

static void put_memory(FILE *f, const sluice_call *s)
{
    unsigned long long total = number(s, SLUICE_FIELD_MEMORY_BYTES) >> 20;

    (void) fprintf(f, "memory   L%llu ", number(s, SLUICE_FIELD_PRESSURE_LEVEL));
    term_print(f, number(s, SLUICE_FIELD_PRESSURE_LEVEL) == 0
                      ? "calm"
                      : sluice_call_reply_text(s, SLUICE_FIELD_PRESSURE_REASON));
    if (total > 0) {
        (void) fprintf(f, "; headroom %llu of %llu MiB",
                       number(s, SLUICE_FIELD_HEADROOM_BYTES) >> 20, total);
    }
    (void) fprintf(f, "; some %.1f %%, full %.1f %%\n",
                   (double) number(s, SLUICE_FIELD_PRESSURE_SOME_PERMILLE) / 10,
                   (double) number(s, SLUICE_FIELD_PRESSURE_FULL_PERMILLE) / 10);
}

/* Where calls have left the device. */
static void put_spills(const struct top *t, FILE *f)
{
    const sluice_call *s = t->status;

    if (t->now.spilled > 0) {
        (void) fprintf(f, "spilled  ");
        put_rate(f, rate(t, t->now.spilled, t->last.spilled), "calls/s; ");
        (void) fprintf(f, "by level %llu, by wait %llu, for memory %llu\n",
                       number(s, SLUICE_FIELD_CALLS_SPILLED_LEVEL),
                       number(s, SLUICE_FIELD_CALLS_SPILLED_WAIT),
                       number(s, SLUICE_FIELD_CALLS_SPILLED_ROOM));
    }
}

static void put_head(const struct top *t, FILE *f)
{
    const sluice_call *s = t->status;
    time_t now = time(NULL);
    struct tm local;
    char clock[16] = "", up[48];

    if (localtime_r(&now, &local)) {
        (void) strftime(clock, sizeof(clock), "%H:%M:%S", &local);
    }
    report_duration(up, sizeof(up), number(s, SLUICE_FIELD_UPTIME_USEC));
    (void) fprintf(f, "%s sluiced ", clock);
    term_print(f, sluice_call_reply_text(s, SLUICE_FIELD_VERSION));
    (void) fprintf(f, ", up %s, %llu connections%s\n", up, number(s, SLUICE_FIELD_CONNECTIONS),
                   number(s, SLUICE_FIELD_DRAINING) ? ", draining" : "");
    put_memory(f, s);
    (void) fprintf(f, "calls    ");
    put_rate(f, rate(t, t->now.pieces, t->last.pieces), "tokens/s; ");
    put_rate(f, rate(t, t->now.completed, t->last.completed), "completed/s, ");
    put_rate(f, rate(t, t->now.failed, t->last.failed), "failed/s, ");
    put_rate(f, rate(t, t->now.refused, t->last.refused), "refused/s\n");
    put_spills(t, f);
}

/* ---------------------------------------------------------------- tables */

static unsigned long long cell(const sluice_call *s, size_t row, int field)
{
    return sluice_call_row_number(s, row, field);
}

static void put_title(const struct top *t, FILE *f, const char *title)
{
    if (t->is_live) {
        (void) fputc(SCREEN_BOLD, f);
    }
    (void) fprintf(f, "%s\n", title);
}

static void put_classes(const struct top *t, FILE *f)
{
    char oldest[48];

    put_title(t, f, "CLASS         WAITING  RUNNING  OLDEST");
    sluice_call_select_rows(t->status, SLUICE_ROWS_CLASSES);
    for (size_t i = 0; i < sluice_call_n_rows(t->status); i++) {
        uint64_t usec = cell(t->status, i, SLUICE_FIELD_OLDEST_USEC);

        report_duration(oldest, sizeof(oldest), usec);
        term_column(f, sluice_call_row_text(t->status, i, SLUICE_FIELD_NAME), 12);
        (void) fprintf(f, "  %7llu  %7llu  %s\n", cell(t->status, i, SLUICE_FIELD_ROW_QUEUED),
                       cell(t->status, i, SLUICE_FIELD_ROW_RUNNING), usec > 0 ? oldest : "-");
    }
}

/* The order of rows; qsort(3) has no room for what is compared by. */
static const sluice_call *sorted_call;
static enum sort_key sorted_by;
static bool sorted_callers;

/* Larger goes first. */
static unsigned long long weight_of(size_t row)
{
    int running = sorted_callers ? SLUICE_FIELD_ROW_RUNNING : SLUICE_FIELD_SLOTS_IN_USE;

    switch (sorted_by) {
    case SORT_WAITING: /* a deployment has no queue of its own */
        return cell(sorted_call, row, sorted_callers ? SLUICE_FIELD_ROW_QUEUED : running);
    case SORT_RUNNING:
        return cell(sorted_call, row, running);
    case SORT_IDLE:
        return cell(sorted_call, row, SLUICE_FIELD_IDLE_USEC);
    case SORT_NAME:
        break;
    }
    return 0;
}

static int compare_rows(const void *left, const void *right)
{
    size_t a = *(const size_t *) left, b = *(const size_t *) right;
    int name = sorted_callers ? SLUICE_FIELD_NAME : SLUICE_FIELD_MODEL;
    unsigned long long x = weight_of(a), y = weight_of(b);
    int r = x == y ? strcmp(sluice_call_row_text(sorted_call, a, name),
                            sluice_call_row_text(sorted_call, b, name))
                   : (x < y) - (x > y);

    return r != 0 ? r : (a > b) - (a < b);
}

/* The rows that are selected now, in order: their number. */
static size_t sort_rows(const struct top *t, bool is_callers, size_t rows[MAX_ROWS])
{
    size_t n = sluice_call_n_rows(t->status);

    n = n < MAX_ROWS ? n : MAX_ROWS;
    for (size_t i = 0; i < n; i++) {
        rows[i] = i;
    }
    sorted_call = t->status;
    sorted_by = t->sort;
    sorted_callers = is_callers;
    qsort(rows, n, sizeof(rows[0]), compare_rows);
    return n;
}

static void put_more(FILE *f, size_t n_left)
{
    if (n_left > 0) {
        (void) fprintf(f, "... and %zu more\n", n_left);
    }
}

static void put_deployment(const struct top *t, FILE *f, size_t row)
{
    const sluice_call *s = t->status;

    term_column(f, sluice_call_row_text(s, row, SLUICE_FIELD_MODEL), 24);
    (void) fprintf(f, "  %2llu/%-2llu  %-6s  ", cell(s, row, SLUICE_FIELD_SLOTS_IN_USE),
                   cell(s, row, SLUICE_FIELD_SLOTS),
                   cell(s, row, SLUICE_FIELD_LOADED) ? "yes" : "-");
    if (cell(s, row, SLUICE_FIELD_AVAILABLE)) {
        (void) fprintf(f, "available\n");
    } else {
        (void) fprintf(f, "%s: ", cell(s, row, SLUICE_FIELD_PAUSED_USEC) > 0 ? "paused" : "off");
        term_print(f, sluice_call_row_text(s, row, SLUICE_FIELD_UNAVAILABLE_REASON));
        (void) fprintf(f, "\n");
    }
}

static void put_caller(const struct top *t, FILE *f, size_t row)
{
    const sluice_call *s = t->status;
    char idle[48];

    report_duration(idle, sizeof(idle), cell(s, row, SLUICE_FIELD_IDLE_USEC));
    term_column(f, sluice_call_row_text(s, row, SLUICE_FIELD_NAME), 24);
    (void) fprintf(f, "  %7llu  %7llu  %6llu  %s\n", cell(s, row, SLUICE_FIELD_ROW_QUEUED),
                   cell(s, row, SLUICE_FIELD_ROW_RUNNING), cell(s, row, SLUICE_FIELD_WEIGHT), idle);
}

/* At most n_room lines, the title and "more" included; none where a title is all that would fit. What is left out is more
 * than one row, as one fits where "more" does. Lines that were used. */
static size_t put_table(struct top *t, FILE *f, bool is_callers, size_t n_room)
{
    size_t rows[MAX_ROWS];
    size_t n, n_shown;

    if (n_room < TABLE_MIN_ROWS) {
        return 0;
    }
    sluice_call_select_rows(t->status, is_callers ? SLUICE_ROWS_CALLERS : SLUICE_ROWS_OWN);
    n = sort_rows(t, is_callers, rows);
    n_shown = n + 1 <= n_room ? n : n_room - TABLE_MIN_ROWS;
    put_title(t, f,
              is_callers ? "CALLER                    WAITING  RUNNING  WEIGHT  ASKED AGO"
                         : "MODEL                     SLOTS  MEMORY  STATE");
    for (size_t i = 0; i < n_shown; i++) {
        if (is_callers) {
            put_caller(t, f, rows[i]);
        } else {
            put_deployment(t, f, rows[i]);
        }
    }
    put_more(f, n - n_shown);
    sluice_call_select_rows(t->status, SLUICE_ROWS_OWN);
    return 1 + n_shown + (n > n_shown);
}

/* ---------------------------------------------------------------- pages */

static size_t n_rows_of(struct top *t, int rows)
{
    size_t n;

    sluice_call_select_rows(t->status, rows);
    n = sluice_call_n_rows(t->status);
    sluice_call_select_rows(t->status, SLUICE_ROWS_OWN);
    return n;
}

/* Lines of n_room that are kept for the callers: half of them where they need those, none where a title is all that would fit. */
static size_t n_kept_for_callers(struct top *t, size_t n_room)
{
    size_t n_callers = n_rows_of(t, SLUICE_ROWS_CALLERS) + 1;
    size_t n = n_callers < n_room / 2 ? n_callers : n_room / 2;

    return n < TABLE_MIN_ROWS ? 0 : n;
}

/* n_lines: of the page without the line of keys. Callers have what deployments leave, and what is kept for them. Where there is
 * room for no table it is longer than n_lines. */
static void put_page(struct top *t, FILE *f, size_t n_lines)
{
    size_t n_fixed = FIXED_ROWS + (t->now.spilled > 0);
    size_t n_room = n_lines > n_fixed ? n_lines - n_fixed : 0;
    size_t n_used;

    put_head(t, f);
    put_classes(t, f);
    (void) fputc('\n', f);
    n_used = put_table(t, f, false, n_room - n_kept_for_callers(t, n_room));
    (void) fputc('\n', f);
    (void) put_table(t, f, true, n_room - n_used);
}

static int draw(struct top *t)
{
    struct screen_size size = screen_size();
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    bool is_shown;

    if (!f) {
        return complain_errno("top", -ENOMEM);
    }
    put_page(t, f, size.rows - 1);
    if (fclose(f) != 0) {
        free(text);
        return complain_errno("top", -ENOMEM);
    }
    is_shown = screen_show(text, "q quit  order by: w waiting  r running  n name  i idle", size);
    free(text);
    return is_shown ? EXIT_OK : EXIT_FAILED;
}

static void add_rows(cJSON *document, struct top *t, const char *name, int rows,
                     const struct column *columns)
{
    const struct table table = {.columns = columns};

    sluice_call_select_rows(t->status, rows);
    report_add_rows(json_add_array(document, name), &table, t->status);
    sluice_call_select_rows(t->status, SLUICE_ROWS_OWN);
}

static void print_document(struct top *t)
{
    static const struct column members[] = {
        {NULL, "version", SLUICE_FIELD_VERSION, COLUMN_TEXT},
        {NULL, "uptime_usec", SLUICE_FIELD_UPTIME_USEC, COLUMN_NUMBER},
        {NULL, "pressure_level", SLUICE_FIELD_PRESSURE_LEVEL, COLUMN_NUMBER},
        {NULL, "pressure_reason", SLUICE_FIELD_PRESSURE_REASON, COLUMN_TEXT},
        {NULL, "headroom_bytes", SLUICE_FIELD_HEADROOM_BYTES, COLUMN_NUMBER},
        {NULL, "memory_bytes", SLUICE_FIELD_MEMORY_BYTES, COLUMN_NUMBER},
        {NULL, "calls_completed", SLUICE_FIELD_CALLS_COMPLETED, COLUMN_NUMBER},
        {NULL, "calls_failed", SLUICE_FIELD_CALLS_FAILED, COLUMN_NUMBER},
        {NULL, "calls_refused", SLUICE_FIELD_CALLS_REFUSED, COLUMN_NUMBER},
        {NULL, "calls_spilled_level", SLUICE_FIELD_CALLS_SPILLED_LEVEL, COLUMN_NUMBER},
        {NULL, "calls_spilled_wait", SLUICE_FIELD_CALLS_SPILLED_WAIT, COLUMN_NUMBER},
        {NULL, "calls_spilled_room", SLUICE_FIELD_CALLS_SPILLED_ROOM, COLUMN_NUMBER},
        {NULL, "pieces_out", SLUICE_FIELD_PIECES_OUT, COLUMN_NUMBER},
        {.name = NULL},
    };
    static const struct column classes[] = {
        {NULL, "name", SLUICE_FIELD_NAME, COLUMN_TEXT},
        {NULL, "calls_queued", SLUICE_FIELD_ROW_QUEUED, COLUMN_NUMBER},
        {NULL, "calls_running", SLUICE_FIELD_ROW_RUNNING, COLUMN_NUMBER},
        {NULL, "oldest_usec", SLUICE_FIELD_OLDEST_USEC, COLUMN_NUMBER},
        {.name = NULL},
    };
    static const struct column callers[] = {
        {NULL, "name", SLUICE_FIELD_NAME, COLUMN_TEXT},
        {NULL, "calls_queued", SLUICE_FIELD_ROW_QUEUED, COLUMN_NUMBER},
        {NULL, "calls_running", SLUICE_FIELD_ROW_RUNNING, COLUMN_NUMBER},
        {NULL, "weight", SLUICE_FIELD_WEIGHT, COLUMN_NUMBER},
        {NULL, "idle_usec", SLUICE_FIELD_IDLE_USEC, COLUMN_NUMBER},
        {.name = NULL},
    };
    cJSON *document = json_object();
    double tokens = rate(t, t->now.pieces, t->last.pieces);

    report_add_members(document, t->status, members);
    if (tokens >= 0) {
        json_add_double(document, "tokens_per_sec", tokens);
    }
    add_rows(document, t, "classes", SLUICE_ROWS_CLASSES, classes);
    add_rows(document, t, "deployments", SLUICE_ROWS_OWN, deployment_columns);
    add_rows(document, t, "callers", SLUICE_ROWS_CALLERS, callers);
    json_print(document);
}

/* Without a terminal: a block, or with --json a line. */
static int print(struct top *t)
{
    if (t->options->common.is_json) {
        print_document(t);
    } else {
        put_page(t, stdout, 2 * MAX_ROWS);
        (void) fputc('\n', stdout);
    }
    return output_flush() ? EXIT_OK : complain_output();
}

static int show(struct top *t)
{
    return t->is_live ? draw(t) : print(t);
}

/* ---------------------------------------------------------------- the loop */

/* False: it is to end. */
static bool obey(struct top *t, char key)
{
    switch (key) {
    case 'w':
        t->sort = SORT_WAITING;
        return true;
    case 'r':
        t->sort = SORT_RUNNING;
        return true;
    case 'n':
        t->sort = SORT_NAME;
        return true;
    case 'i':
        t->sort = SORT_IDLE;
        return true;
    default:
        return key != 'q' && key != '\004'; /* Ctrl-D */
    }
}

/* Until the next look is due: OPTIONS_GO_ON, or the exit code. */
static int pause_until(struct top *t, uint64_t until_usec)
{
    int code = EXIT_OK;
    char key = '\0';

    while (code == EXIT_OK) {
        switch (screen_wait(until_usec, &key)) {
        case SCREEN_TIME:
            return OPTIONS_GO_ON;
        case SCREEN_KEY:
            if (!obey(t, key)) {
                return EXIT_OK;
            }
            code = show(t);
            break;
        case SCREEN_RESIZED:
            code = t->is_live ? show(t) : EXIT_OK;
            break;
        case SCREEN_END:
            return EXIT_INTERRUPTED;
        }
    }
    return code;
}

static int run(struct top *t)
{
    uint64_t due = screen_now_usec();
    int code = OPTIONS_GO_ON;

    for (int64_t i = 0; code == OPTIONS_GO_ON; i++) {
        if (t->options->n.is_set && i == t->options->n.value) {
            return EXIT_OK;
        }
        code = look(t);
        code = code == EXIT_OK ? show(t) : code;
        if (code != EXIT_OK) {
            return code;
        }
        due += t->options->interval_usec;
        code = t->options->n.is_set && i + 1 == t->options->n.value ? EXIT_OK : pause_until(t, due);
    }
    return code;
}

static int parse_sort(const char *word, enum sort_key *ret_key)
{
    static const char *const names[] = {[SORT_WAITING] = "waiting",
                                        [SORT_RUNNING] = "running",
                                        [SORT_NAME] = "name",
                                        [SORT_IDLE] = "idle"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(word, names[i]) == 0) {
            *ret_key = (enum sort_key) i;
            return OPTIONS_GO_ON;
        }
    }
    return complain_with(EXIT_USAGE, "usage",
                         "top: --sort wants waiting, running, name or idle, not \"%s\"", word);
}

static int parse(const struct command *command, int argc, char **argv, struct top_options *options,
                 struct top *t)
{
    int code = options_parse(command, top_rows, argc, argv, &options->common);

    code = code == OPTIONS_GO_ON ? options_want_words(command, argc, argv, &options->common, 0, 0)
                                 : code;
    if (code != OPTIONS_GO_ON) {
        return code;
    }
    options->interval_usec =
        options->interval_usec > 0 ? options->interval_usec : DEFAULT_INTERVAL_USEC;
    if (options->interval_usec < MIN_INTERVAL_USEC || options->interval_usec > MAX_INTERVAL_USEC) {
        return complain_with(EXIT_USAGE, "usage", "top: --interval is to be from 100ms to 60s");
    }
    return options->sort ? parse_sort(options->sort, &t->sort) : OPTIONS_GO_ON;
}

int run_top(const struct command *command, int argc, char **argv)
{
    struct top_options options = {.interval_usec = 0};
    struct top t = {.options = &options, .sort = SORT_WAITING};
    int code = parse(command, argc, argv, &options, &t);

    if (code != OPTIONS_GO_ON) {
        return code;
    }
    t.client = session_connect(options.common.socket, &code);
    if (!t.client) {
        return code;
    }
    screen_watch_signals();
    t.is_live = !options.common.is_json && screen_open();
    code = run(&t);
    screen_close();
    sluice_call_free(t.status);
    sluice_client_free(t.client);
    return code;
}
