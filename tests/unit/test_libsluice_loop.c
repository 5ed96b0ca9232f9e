/*
 * libsluice in somebody's event loop: one descriptor to watch, a socket that is full or closed, the
 * child after a fork, and limits of a connection.
 */
#include "libsluice_calls.h"

#include <poll.h>
#include <sys/wait.h>

/* Reads and forgets what the client sent. */
static uint64_t drain(struct peer *p)
{
    static uint8_t sink[1 << 16];
    uint64_t total = 0;
    ssize_t n;

    while ((n = recv(p->fd, sink, sizeof(sink), MSG_DONTWAIT)) > 0) {
        total += (uint64_t) n;
    }
    return total;
}

START_TEST(a_socket_that_takes_nothing_does_not_stop_reading)
{
    static char prompt[1 << 20];
    struct peer p;
    sluice_request *req;
    sluice_call *call[20];
    size_t n = 0;
    int r = 0;

    memset(prompt, 'p', sizeof(prompt));
    peer_open(&p);
    ck_assert_int_eq(sluice_complete_new("m", prompt, sizeof(prompt), &req), 0);
    while (n < ARRAY_LEN(call) && (r = sluice_call_start(p.client, req, &call[n])) == 0) {
        n++;
    }
    ck_assert_int_eq(r, -ENOBUFS); /* 16 MiB wait */
    ck_assert_uint_ge(n, 15);
    sluice_request_free(req);

    peer_send_text(&p, 1, 1, "read all the same");
    ck_assert_int_eq(step(&p, call[0]), SLUICE_EVENT_TEXT);

    /* cancels are always taken, and everything goes out in the end */
    ck_assert_int_eq(sluice_call_cancel(call[0]), 0);
    (void) peer_process(&p);

    uint64_t total = drain(&p);

    while (sluice_client_counter(p.client, SLUICE_COUNTER_FRAMES_SENT) < n + 1) {
        ck_assert_int_eq(sluice_client_wait(p.client, UINT64_MAX), 1); /* room to send wakes it */
        (void) peer_process(&p);
        total += drain(&p);
    }
    ck_assert_uint_eq(total, sluice_client_counter(p.client, SLUICE_COUNTER_BYTES_SENT));
    for (size_t i = 0; i < n; i++) {
        sluice_call_free(call[i]);
    }
    peer_close(&p);
}
END_TEST

START_TEST(what_was_sent_before_the_end_is_read)
{
    struct frame_response error = {.code = 14};
    struct peer p;

    peer_open(&p);
    peer_send_response(&p, 1, &error);
    peer_hang_up(&p);

    /*
     * sending fails (nobody is there), but the answer that lies in the socket already is the call's
     */
    sluice_call *call = start_models(&p);

    assert_failed(&p, call, "upstream_overloaded");
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(a_child_process_is_refused)
{
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_chat(&p);
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        sluice_request *req;
        sluice_call *other;
        int bad = 0;

        bad |= sluice_client_process(p.client) != -ECHILD;
        bad |= sluice_client_wait(p.client, 0) != -ECHILD;
        bad |= sluice_client_get_fd(p.client) != -ECHILD;
        bad |= sluice_call_next(call) != -ECHILD;
        bad |= sluice_call_try_next(call) != -ECHILD;
        bad |= sluice_call_cancel(call) != -ECHILD;
        bad |= sluice_models_new(&req) != 0 || sluice_call_start(p.client, req, &other) != -ECHILD;
        sluice_request_free(req);
        sluice_call_free(call);
        sluice_client_free(p.client);
        _exit(bad);
    }

    int status = -1;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert(!was_cancelled(&p, call)); /* freeing in the child told nobody anything */
    peer_send_done(&p, 1, 1);
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_DONE);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(descriptors_are_checked)
{
    sluice_client *client = NULL;
    int fds[2];

    ck_assert_int_eq(sluice_connect_fd(-1, &client), -EBADF);
    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(sluice_connect_fd(fds[0], &client), -EINVAL);
    ck_assert_str_ne(sluice_connect_error(), "");
    ck_assert_int_eq(close(fds[0]), 0); /* still ours */
    ck_assert_int_eq(close(fds[1]), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
    ck_assert_int_eq(sluice_connect_fd(fds[0], &client), -EINVAL);
    ck_assert_int_eq(close(fds[0]), 0);
    ck_assert_int_eq(close(fds[1]), 0);
    ck_assert_ptr_null(client);
}
END_TEST

START_TEST(there_is_one_descriptor_to_watch)
{
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_chat(&p);
    struct pollfd pfd = {.fd = sluice_client_get_fd(p.client),
                         .events = (short) sluice_client_get_events(p.client)};

    ck_assert_int_eq(pfd.events, POLLIN);
    ck_assert_int_eq(fcntl(pfd.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(poll(&pfd, 1, 0), 0);
    ck_assert_int_eq(sluice_client_wait(p.client, 0), 0);
    peer_send_text(&p, 1, 1, "x");
    ck_assert_int_eq(poll(&pfd, 1, 0), 1);
    ck_assert_int_eq(sluice_client_process(p.client), 1);
    ck_assert_int_eq(sluice_client_process(p.client), 0);
    ck_assert_int_eq(poll(&pfd, 1, 0), 0);
    peer_hang_up(&p);
    ck_assert_int_eq(poll(&pfd, 1, 0), 1);
    ck_assert_int_eq(sluice_client_process(p.client), 1);
    ck_assert_int_eq(sluice_client_process(p.client), -ENOTCONN);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(calls_have_a_limit)
{
    struct peer p;
    sluice_request *req;
    sluice_call *calls[1024], *one_more;

    peer_open(&p);
    ck_assert_int_eq(sluice_models_new(&req), 0);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        ck_assert_int_eq(sluice_call_start(p.client, req, &calls[i]), 0);
    }
    ck_assert_int_eq(sluice_call_start(p.client, req, &one_more), -EBUSY);
    calls[5] = sluice_call_free(calls[5]);
    ck_assert_int_eq(sluice_call_start(p.client, req, &calls[5]), 0);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        sluice_call_free(calls[i]);
    }
    sluice_request_free(req);
    peer_close(&p);
}
END_TEST

START_TEST(versions_are_told)
{
    unsigned major, minor, patch;

    ck_assert_int_eq(sscanf(sluice_version_string(), "%u.%u.%u", &major, &minor, &patch), 3);
    ck_assert_uint_eq(sluice_version(), major << 16 | minor << 8 | patch);
    ck_assert_uint_eq(sluice_abi() >> 16, SLUICE_ABI_MAJOR);
    ck_assert_uint_ge(sluice_abi() & 0xffff, SLUICE_ABI_MINOR);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_socket_that_takes_nothing_does_not_stop_reading);
    tcase_add_test(tc, what_was_sent_before_the_end_is_read);
    tcase_add_test(tc, a_child_process_is_refused);
    tcase_add_test(tc, descriptors_are_checked);
    tcase_add_test(tc, there_is_one_descriptor_to_watch);
    tcase_add_test(tc, calls_have_a_limit);
    tcase_add_test(tc, versions_are_told);
}

TEST_MAIN("libsluice_loop", add_tests)
