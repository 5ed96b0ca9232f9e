/*
 * Where records go. One place knows about the journal; everything else builds fields.
 *
 * A record is built on the stack (no allocation: it must work when memory is short) and leaves by
 * one datagram to journald (journal.h) or one write(). It is never waited for: a slow log must not
 * delay a call. What is dropped for that is counted, and the next record that gets through says how
 * many. (Standard error is left in its own blocking mode, as it may be shared with a shell; poll()
 * asks before the write.)
 */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/journal.h"

#define TEXT_MAX_BYTES   512  /* a formatted message */
#define LINE_MAX_BYTES   4096 /* a record on standard error */
#define FIELD_MAX_BYTES  256  /* a value */
#define IDENTIFIER       "sluiced"
#define DROPPED_FIELD    "SLUICE_DROPPED_RECORDS"
#define NUMBER_MAX_BYTES 24
#define LIMIT_BURST      5
#define LIMIT_USEC       (10 * USEC_PER_SEC)

static enum log_format g_format = LOG_FORMAT_TEXT;
/* standard error: a file takes every write at once, and poll() says so always */
static bool g_is_file;
static enum log_level g_max_level = LOG_LEVEL_INFO;
static uint64_t g_dropped; /* records that standard error did not take */
static struct journal g_journal;
static void (*g_on_waiting)(void *ctx, int fd);
static void *g_waiting_ctx;

/* $JOURNAL_STREAM is "dev:inode" of the socket that systemd connected (systemd.exec(5)). */
static bool stderr_is_journal(void)
{
    const char *e = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;

    return e && sscanf(e, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
           st.st_dev == (dev_t) dev && st.st_ino == (ino_t) ino;
}

void log_setup(enum log_format format, enum log_level max_level, const char *journal_socket)
{
    struct stat st;

    journal_done(&g_journal);
    if (journal_init(&g_journal, journal_socket ? journal_socket : JOURNAL_SOCKET) < 0) {
        format = LOG_FORMAT_TEXT; /* no such path: nobody could listen there */
    }

    if (format == LOG_FORMAT_AUTO) {
        format = stderr_is_journal() ? LOG_FORMAT_JOURNAL : LOG_FORMAT_TEXT;
    }
    g_format = format;
    g_max_level = max_level;
    g_is_file = fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode);
}

bool log_is_enabled(enum log_level level)
{
    return level <= g_max_level;
}

/*
 * A line under construction. What does not fit leaves is_full behind; a few bytes at the end are
 * kept for what closes the line.
 */
struct line {
    char bytes[LINE_MAX_BYTES];
    size_t len;
    bool is_full;
};

#define LINE_END_BYTES 8

static void line_add(struct line *l, const char *bytes, size_t n)
{
    if (n > sizeof l->bytes - LINE_END_BYTES - l->len) {
        l->is_full = true;
        return;
    }
    memcpy(l->bytes + l->len, bytes, n);
    l->len += n;
}

static void line_z(struct line *l, const char *z)
{
    line_add(l, z, strlen(z));
}

/*
 * JSON string content (RFC 8259 section 7); also what quoted logfmt values use. Bytes that are not
 * UTF-8 become '?'.
 */
static void line_escaped(struct line *l, struct str s)
{
    bool is_utf8 = str_is_utf8(s);

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char) s.ptr[i];
        char esc[8];

        if (c == '"' || c == '\\') {
            esc[0] = '\\';
            esc[1] = (char) c;
            line_add(l, esc, 2);
        } else if (c < 0x20 || c == 0x7f) {
            line_add(l, esc, (size_t) snprintf(esc, sizeof esc, "\\u%04x", c));
        } else {
            line_add(l, c >= 0x80 && !is_utf8 ? "?" : s.ptr + i, 1);
        }
    }
}

/* A pair is on the line as a whole or not at all. */
static void line_drop_if_full(struct line *l, size_t len_before)
{
    if (l->is_full) {
        l->len = len_before;
        l->is_full = false;
    }
}

static void line_json_pair(struct line *l, const char *name, struct str value)
{
    size_t len_before = l->len;

    line_z(l, l->len > 1 ? ",\"" : "\"");
    line_z(l, name);
    line_z(l, "\":\"");
    line_escaped(l, value);
    line_z(l, "\"");
    line_drop_if_full(l, len_before);
}

static bool needs_quotes(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char) s.ptr[i];

        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7f) {
            return true;
        }
    }
    return s.len == 0;
}

static void line_logfmt_pair(struct line *l, const char *name, struct str value)
{
    size_t len_before = l->len;

    line_z(l, " ");
    line_z(l, name);
    line_z(l, "=");
    if (needs_quotes(value)) {
        line_z(l, "\"");
        line_escaped(l, value);
        line_z(l, "\"");
    } else {
        line_add(l, value.ptr, value.len);
    }
    line_drop_if_full(l, len_before);
}

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return "error";
    case LOG_LEVEL_WARNING:
        return "warning";
    case LOG_LEVEL_NOTICE:
        return "notice";
    case LOG_LEVEL_INFO:
        return "info";
    case LOG_LEVEL_DEBUG:
        return "debug";
    }
    return "?";
}

static void write_line(struct line *l)
{
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};

    l->bytes[l->len++] = '\n';
    if ((!g_is_file && (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT))) ||
        write(STDERR_FILENO, l->bytes, l->len) < 0) {
        g_dropped++;
    }
}

/* The count of dropped records as text; absent when there is nothing to tell. */
static struct str dropped_text(uint64_t n, char text[NUMBER_MAX_BYTES])
{
    if (n == 0) {
        return STR_NONE;
    }
    return (struct str) {text,
                         (size_t) snprintf(text, NUMBER_MAX_BYTES, "%llu", (unsigned long long) n)};
}

static void forget_dropped(uint64_t n_told)
{
    uint64_t n = n_told < g_dropped ? n_told : g_dropped;

    g_dropped -= n;
    g_journal.n_dropped -= n_told - n;
}

static void add_dropped(struct line *l, bool json)
{
    uint64_t n_dropped = log_n_dropped();
    char text[NUMBER_MAX_BYTES];
    struct str n = dropped_text(n_dropped, text);

    if (n.ptr) {
        json ? line_json_pair(l, DROPPED_FIELD, n) : line_logfmt_pair(l, DROPPED_FIELD, n);
        forget_dropped(n_dropped);
    }
}

static void send_json(enum log_level level, const char *message_id, struct str message,
                      const struct log_field *fields, size_t n_fields)
{
    struct line l = {.len = 0};

    line_z(&l, "{");
    line_json_pair(&l, "level", str_from(level_name(level)));
    line_json_pair(&l, "message", message);
    if (message_id && message_id[0]) {
        line_json_pair(&l, "MESSAGE_ID", str_from(message_id));
    }
    for (size_t i = 0; i < n_fields; i++) {
        line_json_pair(&l, fields[i].name, fields[i].value);
    }
    add_dropped(&l, true);
    l.bytes[l.len++] = '}'; /* of LINE_END_BYTES */
    write_line(&l);
}

static void send_text(enum log_level level, struct str message, const struct log_field *fields,
                      size_t n_fields)
{
    struct line l = {.len = 0};

    line_z(&l, "sluiced: ");
    if (level <= LOG_LEVEL_WARNING) {
        line_z(&l, level_name(level));
        line_z(&l, ": ");
    }
    line_escaped(&l, message);
    for (size_t i = 0; i < n_fields; i++) {
        line_logfmt_pair(&l, fields[i].name, fields[i].value);
    }
    add_dropped(&l, false);
    write_line(&l);
}

/*
 * journalctl shows "[42B blob data]" for a message with bytes that a terminal might take amiss; they
 * become '?'. Other fields stay as they are.
 */
static struct str shown(struct str message, char clean[TEXT_MAX_BYTES])
{
    bool is_utf8 = str_is_utf8(message);

    for (size_t i = 0; i < message.len; i++) {
        unsigned char c = (unsigned char) message.ptr[i];

        clean[i] = c < ' ' || c == 0x7f || (c >= 0x80 && !is_utf8) ? '?' : (char) c;
    }
    return (struct str) {clean, message.len};
}

/* 0, or -errno of journal_send(). */
static int send_journal(enum log_level level, const char *message_id, struct str message,
                        const struct log_field *fields, size_t n_fields)
{
    const char priority = (char) ('0' + level);
    char clean[TEXT_MAX_BYTES], number[NUMBER_MAX_BYTES];
    uint64_t n_dropped = log_n_dropped();
    struct str dropped = dropped_text(n_dropped, number);
    struct journal_record rec;
    int r;

    rec.len = 0;
    journal_put(&rec, "PRIORITY", (struct str) {&priority, 1});
    journal_put(&rec, "SYSLOG_IDENTIFIER", STR_LIT(IDENTIFIER));
    if (message_id && message_id[0]) {
        journal_put(&rec, "MESSAGE_ID", str_from(message_id));
    }
    journal_put(&rec, "MESSAGE", shown(message, clean));
    for (size_t i = 0; i < n_fields; i++) {
        journal_put(&rec, fields[i].name, fields[i].value);
    }
    if (dropped.ptr) {
        journal_put(&rec, DROPPED_FIELD, dropped);
    }
    r = journal_send(&g_journal, (struct str) {rec.bytes, rec.len});
    if (r == 0) {
        forget_dropped(n_dropped);
    }
    if (g_on_waiting && journal_is_waiting(&g_journal)) {
        g_on_waiting(g_waiting_ctx, g_journal.fd);
    }
    return r;
}

void log_on_waiting(void (*on_waiting)(void *ctx, int fd), void *ctx)
{
    g_on_waiting = on_waiting;
    g_waiting_ctx = ctx;
}

bool log_flush(void)
{
    journal_flush(&g_journal);
    return !journal_is_waiting(&g_journal);
}

uint64_t log_n_dropped(void)
{
    return g_dropped + g_journal.n_dropped;
}

void log_record(enum log_level level, const char *message_id, struct str message,
                const struct log_field *fields, size_t n_fields)
{
    if (!log_is_enabled(level)) {
        return;
    }

    struct log_field clipped[LOG_MAX_FIELDS];

    n_fields = n_fields < LOG_MAX_FIELDS ? n_fields : LOG_MAX_FIELDS;
    for (size_t i = 0; i < n_fields; i++) {
        clipped[i] =
            (struct log_field) {fields[i].name, str_clip(fields[i].value, FIELD_MAX_BYTES)};
    }
    message = str_clip(message, TEXT_MAX_BYTES);
    switch (g_format) {
    case LOG_FORMAT_JOURNAL:
        if (send_journal(level, message_id, message, clipped, n_fields) == -ENOTCONN) {
            send_text(level, message, clipped, n_fields); /* somebody may still read this */
        }
        break;
    case LOG_FORMAT_JSON:
        send_json(level, message_id, message, clipped, n_fields);
        break;
    case LOG_FORMAT_AUTO:
    case LOG_FORMAT_TEXT:
        send_text(level, message, clipped, n_fields);
        break;
    }
}

void log_vrecord(enum log_level level, const char *message_id, const struct log_field *fields,
                 size_t n_fields, const char *fmt, va_list ap)
{
    char text[TEXT_MAX_BYTES];

    if (!log_is_enabled(level)) {
        return;
    }

    int n = vsnprintf(text, sizeof text, fmt, ap);
    struct str s = {text, n < 0 ? 0 : (size_t) n};

    if (s.len > sizeof text - 1) { /* vsnprintf() may have cut a character in two */
        s.len = sizeof text - 1;
        s.len -= str_utf8_tail(s);
    }
    log_record(level, message_id, s, fields, n_fields);
}

void log_printf(enum log_level level, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_vrecord(level, NULL, NULL, 0, fmt, ap);
    va_end(ap);
}

bool log_limit_pass(struct log_limit *limit, uint64_t now_usec, uint32_t *ret_suppressed)
{
    if (limit->n_in_window == 0 || now_usec >= limit->window_at_usec + LIMIT_USEC) {
        *ret_suppressed = limit->n_suppressed;
        *limit = (struct log_limit) {.window_at_usec = now_usec, .n_in_window = 1};
        return true;
    }
    if (limit->n_in_window < LIMIT_BURST) {
        limit->n_in_window++;
        *ret_suppressed = 0;
        return true;
    }
    limit->n_suppressed++;
    return false;
}
