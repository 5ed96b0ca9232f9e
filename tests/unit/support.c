/*
 * Allocation failure by the linker: every unit test is linked with --wrap for the allocator, so
 * that the n-th call from code of ours fails once. Shared libraries keep the real one. Check itself
 * is a static archive on Debian and allocates at each assertion, which support.h therefore leads
 * through here.
 */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned g_countdown;
static bool g_failed;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
/* visible: the linker also looks at what shared libraries of ours refer to */
#define WRAPPED __attribute__((visibility("default")))
WRAPPED void *__wrap_malloc(size_t n);
WRAPPED void *__wrap_calloc(size_t n, size_t m);
WRAPPED void *__wrap_realloc(void *p, size_t n);
WRAPPED char *__wrap_strdup(const char *s);
WRAPPED char *__wrap_strndup(const char *s, size_t n);

static bool must_fail(void)
{
    if (g_countdown == 0 || --g_countdown > 0) {
        return false;
    }
    g_failed = true;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t n)
{
    return must_fail() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t m)
{
    return must_fail() ? NULL : __real_calloc(n, m);
}

void *__wrap_realloc(void *p, size_t n)
{
    return must_fail() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
    return must_fail() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
    return must_fail() ? NULL : __real_strndup(s, n);
}

void fail_allocation(unsigned n)
{
    g_countdown = n;
    g_failed = false;
}

bool allocation_failed(void)
{
    return g_failed;
}

void test_mark_point(const char *file, int line)
{
    unsigned countdown = g_countdown;

    g_countdown = 0;
    (_mark_point)(file, line); /* not the macro of this name */
    g_countdown = countdown;
}

void for_each_failed_allocation(void (*fn)(void))
{
    for (unsigned n = 1; n <= 10000; n++) {
        fail_allocation(n);
        fn();

        bool met = g_failed;

        fail_allocation(0);
        if (!met) {
            return;
        }
    }
    ck_abort_msg("still failing after 10000 allocations");
}

static const char *channel_name(enum event_channel channel)
{
    switch (channel) {
    case CHANNEL_ANSWER:
        return "answer";
    case CHANNEL_THINKING:
        return "thinking";
    case CHANNEL_REFUSAL:
        return "refusal";
    }
    return "?";
}

static enum sink_answer record(struct event_sink *sink, const struct event *ev)
{
    struct recording_sink *s = CONTAINER_OF(sink, struct recording_sink, sink);
    int r = 0;

    ck_assert_int_eq(event_grammar_step(&s->grammar, ev), 0);
    s->n_events++;
    if (ev->fingerprint.ptr) {
        r = buf_printf(&s->lines, "BY %.*s\n", STR_ARG(ev->fingerprint));
        ck_assert_int_eq(r, 0);
    }
    switch (ev->type) {
    case EVENT_QUEUED:
        r = buf_printf(&s->lines, "QUEUED %u\n", ev->queued.position);
        break;
    case EVENT_STARTED:
        r = buf_printf(&s->lines, "STARTED %.*s %.*s", STR_ARG(ev->started.model),
                       STR_ARG(ev->started.deployment));
        if (r == 0 && ev->started.n_retries + ev->started.n_fallbacks > 0) {
            r = buf_printf(&s->lines, " %u %u", ev->started.n_retries, ev->started.n_fallbacks);
        }
        if (r == 0 && ev->started.spilled) {
            r = buf_printf(&s->lines, " spilled %s", ev->started.spilled);
        }
        r = r < 0 ? r : buf_append_z(&s->lines, "\n");
        break;
    case EVENT_TEXT:
        r = buf_printf(&s->lines, "TEXT %u %s ", ev->text.choice, channel_name(ev->text.channel));
        r = r < 0 ? r : buf_append_str(&s->lines, ev->text.bytes);
        r = r < 0 ? r
                  : buf_printf(&s->lines, "%s%.*s\n", ev->text.logprobs.ptr ? " " : "",
                               STR_ARG(ev->text.logprobs));
        break;
    case EVENT_TOOL_CALL:
        r = buf_printf(&s->lines, "TOOL_CALL %u %u %.*s %.*s %.*s\n", ev->tool_call.choice,
                       ev->tool_call.index, STR_ARG(ev->tool_call.id), STR_ARG(ev->tool_call.name),
                       STR_ARG(ev->tool_call.arguments));
        break;
    case EVENT_EMBEDDING:
        r = buf_printf(&s->lines, "EMBEDDING %u", ev->embedding.index);
        for (size_t i = 0; r == 0 && i < ev->embedding.n_values; i++) {
            r = buf_printf(&s->lines, " %g", (double) ev->embedding.values[i]);
        }
        r = r < 0 ? r : buf_append_z(&s->lines, "\n");
        break;
    case EVENT_RESULT:
        r = buf_printf(&s->lines, "RESULT %u %g %.*s\n", ev->result.index, ev->result.score,
                       STR_ARG(ev->result.json));
        break;
    case EVENT_USAGE:
        r = buf_printf(&s->lines, "USAGE %llu %llu %llu", (unsigned long long) ev->usage.tokens_in,
                       (unsigned long long) ev->usage.tokens_cached,
                       (unsigned long long) ev->usage.tokens_out);
        if (r == 0 && ev->usage.tokens_reasoning > 0) {
            r = buf_printf(&s->lines, " %llu", (unsigned long long) ev->usage.tokens_reasoning);
        }
        r = r < 0 ? r : buf_append_z(&s->lines, "\n");
        break;
    case EVENT_END:
        r = buf_append_z(&s->lines, "END");
        for (size_t i = 0; r == 0 && i < ev->end.n_choices; i++) {
            r = buf_printf(&s->lines, " %s", finish_reason_name(ev->end.reasons[i]));
        }
        r = r < 0 ? r : buf_append_z(&s->lines, "\n");
        break;
    case EVENT_FAILED: {
        struct str text = event_failed_text(ev);

        s->code = ev->failed.code;
        r = buf_printf(&s->lines, "FAILED %s %.*s\n", errcode_info(ev->failed.code)->name,
                       STR_ARG(text));
        break;
    }
    }
    s->is_over = s->is_over || event_is_terminal(ev);
    ck_assert(r == 0 || r == -ENOMEM); /* -ENOMEM: an armed failure hit the recorder */
    return s->say_full ? SINK_FULL : SINK_ROOM;
}

void recording_sink_init(struct recording_sink *s)
{
    *s = (struct recording_sink) {.sink = {.deliver = record}, .code = ERRCODE_NONE};
    buf_init(&s->lines, 1024 * 1024);
}

void recording_sink_done(struct recording_sink *s)
{
    buf_done(&s->lines);
}

const char *recording_sink_text(struct recording_sink *s)
{
    return buf_z(&s->lines);
}

int memory_file(const char *text)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t) strlen(text));
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

int test_main(const char *suite, void (*add_tests)(TCase *tc))
{
    Suite *s = suite_create(suite);
    TCase *tc = tcase_create(suite);

    tcase_set_timeout(tc, 60);
    add_tests(tc);
    suite_add_tcase(s, tc);

    SRunner *runner = srunner_create(s);

    srunner_set_fork_status(runner, CK_NOFORK); /* sanitizers see leaks of all tests at exit */
    srunner_run_all(runner, CK_NORMAL);

    int failed = srunner_ntests_failed(runner);

    srunner_free(runner);
    return failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
