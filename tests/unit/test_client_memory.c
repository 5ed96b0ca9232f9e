/*
 * libsluice from inside: every allocation failing once, ids that run out, time that passes. The
 * failures are made by the linker in this program's own code, so the library's sources are compiled
 * into it, in one piece, instead of being linked as the shared library that other tests use.
 */
#include "clients/c/address.c"
#include "clients/c/call.c"
#include "clients/c/client.c"
#include "clients/c/conn.c"
#include "clients/c/event.c"
#include "clients/c/failure.c"
#include "clients/c/reply.c"
#include "clients/c/request.c"
#include "clients/c/request_control.c"
#include "clients/c/request_values.c"
#include "clients/c/traffic.c"
#include "clients/c/unpack.c"
#include "clients/c/version.c"

#include <check.h>

#include "libsluice_peer.h"

/*
 * Of support.h, whose other half (the daemon's model) has names that the library uses for its own.
 */
void for_each_failed_allocation(void (*fn)(void));
int test_main(const char *suite, void (*add_tests)(TCase *tc));

/* Check allocates in its own assertions, and would meet the failure: what runs armed asserts by
 * assert.h. */
#undef NDEBUG
#include <assert.h>

static uint8_t g_answer[1024], g_error[256], g_states[256]; /* frames on stream 1 */
static size_t g_answer_bytes, g_error_bytes, g_states_bytes;

static void make_frames(void)
{
    static const char detail[] = "\x0a\x0a"
                                 "queue_full";
    struct frame_response res = {.code = 14,
                                 .detail = {(const uint8_t *) detail, sizeof(detail) - 1}};
    uint8_t bytes[256], *at = g_answer;

    at += peer_frame(at, 1, FRAME_DATA, 0, bytes, peer_started_event(bytes, 1, "m", "d"));
    at += peer_frame(at, 1, FRAME_DATA, 0, bytes, peer_text_event(bytes, 2, "text"));
    at += peer_frame(at, 1, FRAME_DATA, 0, bytes, peer_done_event(bytes, 3));
    at += peer_frame(at, 1, FRAME_DATA, FRAME_REMOTE_CLOSED | FRAME_NO_DATA, NULL, 0);
    g_answer_bytes = (size_t) (at - g_answer);
    g_error_bytes =
        peer_frame(g_error, 1, FRAME_RESPONSE, 0, bytes, frame_encode_response(&res, bytes));
    at = g_states;
    for (int i = 0; i < 2; i++) {
        at += peer_frame(at, 1, FRAME_DATA, 0, bytes, peer_state(bytes, 5));
    }
    g_states_bytes = (size_t) (at - g_states);
}

/* Everything that builds a request; on the first failure gives up, as programs do. */
static sluice_request *build_chat(void)
{
    sluice_request *req = NULL;
    int r = sluice_chat_new("model", &req);

    r = r < 0 ? r : sluice_request_add_message(req, SLUICE_ROLE_USER, "text", 4);
    r = r < 0 ? r : sluice_request_add_image(req, "png", 3, "image/png");
    r = r < 0 ? r : sluice_request_add_image_url(req, "http://127.0.0.1/");
    r = r < 0 ? r : sluice_request_add_message(req, SLUICE_ROLE_ASSISTANT, "text", 4);
    r = r < 0 ? r : sluice_request_add_tool_call(req, "id", "name", "{}", 2);
    r = r < 0 ? r : sluice_request_add_message(req, SLUICE_ROLE_TOOL, "text", 4);
    r = r < 0 ? r : sluice_request_set_text(req, SLUICE_TEXT_MESSAGE_TOOL_CALL_ID, "id", 2);
    r = r < 0 ? r : sluice_request_add_stop(req, "stop", 4);
    r = r < 0 ? r : sluice_request_add_stop(req, "halt", 4);
    r = r < 0 ? r : sluice_request_set_text(req, SLUICE_TEXT_TOOLS_JSON, "[]", 2);
    r = r < 0 ? r : sluice_request_set_text(req, SLUICE_TEXT_TOOLS_JSON, "[1]", 3);
    assert(r == 0 || r == -ENOMEM);
    return r == 0 ? req : sluice_request_free(req);
}

static sluice_client *open_client(int *ret_fd)
{
    sluice_client *client = NULL;
    int fds[2];
    int r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);

    assert(r == 0);
    r = sluice_connect_fd(fds[0], &client);
    if (r < 0) {
        assert(r == -ENOMEM);
        (void) close(fds[0]);
        (void) close(fds[1]);
        return NULL;
    }
    *ret_fd = fds[1];
    return client;
}

static void put_frames(int fd, const uint8_t *bytes, size_t n)
{
    ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);

    assert(sent == (ssize_t) n);
}

/* Takes the answer to its end. -ENOMEM leaves the call as it was: the next try goes on. */
static void take_answer(sluice_call *call)
{
    int n_last = 0, n_tries = 0;
    int ev;

    do {
        ev = sluice_call_next(call);
        n_last += ev == SLUICE_EVENT_DONE || ev == SLUICE_EVENT_FAILED;
        assert(ev >= 0 || ev == -ENOMEM);
    } while (ev != 0 && n_tries++ < 100);
    assert(ev == 0 && n_last == 1);
    assert(sluice_call_event(call) == SLUICE_EVENT_DONE ||
           strcmp(sluice_call_error_code(call), "out_of_memory") == 0);
}

static void chat_once(void)
{
    sluice_request *req = build_chat();
    sluice_call *call = NULL;
    int fd = -1;
    sluice_client *client = req ? open_client(&fd) : NULL;

    if (client) {
        put_frames(fd, g_answer, g_answer_bytes);
        if (sluice_call_start(client, req, &call) == 0) {
            take_answer(call);
        }
        sluice_call_free(call);
        sluice_client_free(client);
        (void) close(fd);
    }
    sluice_request_free(req);
}

static void ask_once(void)
{
    sluice_request *req = NULL;
    sluice_call *call = NULL;
    int fd = -1;
    sluice_client *client = open_client(&fd);

    if (!client) {
        return;
    }
    put_frames(fd, g_error, g_error_bytes);
    if (sluice_models_new(&req) == 0 && sluice_call_start(client, req, &call) == 0) {
        int first = sluice_call_next(call);
        int second = sluice_call_next(call);

        assert(first == SLUICE_EVENT_FAILED && second == 0);
        assert(sluice_call_error_code(call)[0] != '\0');
    }
    sluice_call_free(call);
    sluice_request_free(req);
    sluice_client_free(client);
    (void) close(fd);
}

static void cancel_once(void)
{
    sluice_request *req = NULL;
    sluice_call *call = NULL;
    int fd = -1;
    sluice_client *client = open_client(&fd);

    if (!client) {
        return;
    }
    if (sluice_complete_new("m", "p", 1, &req) == 0 && sluice_call_start(client, req, &call) == 0) {
        int r = sluice_call_cancel(call);

        assert(r == 0);
        r = sluice_client_process(client);
        assert(r >= 0);
        (void) close(fd); /* whether Cancel could be sent or not, the call ends */
        fd = -1;
        r = sluice_call_next(call);
        assert(r == SLUICE_EVENT_FAILED);
    }
    sluice_call_free(call);
    sluice_request_free(req);
    sluice_client_free(client);
    if (fd >= 0) {
        (void) close(fd);
    }
}

static void embed_once(void)
{
    sluice_request *req = NULL;

    if (sluice_embed_new("m", &req) == 0) {
        for (int i = 0; i < 9; i++) {
            (void) !sluice_request_add_input(req, "text", 4);
        }
    }
    sluice_request_free(req);
    req = NULL;
    (void) !sluice_cancel_new("id", &req);
    req = sluice_request_free(req);
    (void) !sluice_unload_new("m", &req);
    req = sluice_request_free(req);
    (void) !sluice_reload_new(&req);
    req = sluice_request_free(req);
    (void) !sluice_drain_new(&req);
    sluice_request_free(req);
}

/* Two states, then the end of the connection. */
static void watch_once(void)
{
    sluice_request *req = NULL;
    sluice_call *call = NULL;
    int fd = -1;
    sluice_client *client = open_client(&fd);

    if (!client) {
        return;
    }
    put_frames(fd, g_states, g_states_bytes);
    (void) close(fd);
    if (sluice_watch_new(0, &req) == 0 && sluice_call_start(client, req, &call) == 0) {
        int ev, n_tries = 0;

        do {
            ev = sluice_call_next(call);
            assert(ev == SLUICE_EVENT_STATUS || ev == SLUICE_EVENT_FAILED || ev == -ENOMEM);
        } while (ev != SLUICE_EVENT_FAILED && n_tries++ < 100);
        assert(ev == SLUICE_EVENT_FAILED && sluice_call_next(call) == 0);
    }
    sluice_call_free(call);
    sluice_request_free(req);
    sluice_client_free(client);
}

START_TEST(everything_survives_every_failed_allocation)
{
    make_frames();
    for_each_failed_allocation(chat_once);
    for_each_failed_allocation(ask_once);
    for_each_failed_allocation(cancel_once);
    for_each_failed_allocation(embed_once);
    for_each_failed_allocation(watch_once);
}
END_TEST

START_TEST(stream_ids_run_out_loudly)
{
    sluice_request *req;
    sluice_call *call = NULL;
    int fd;
    sluice_client *client = open_client(&fd);

    ck_assert_ptr_nonnull(client);
    ck_assert_int_eq(sluice_models_new(&req), 0);
    client->next_stream_id = UINT32_MAX - 2; /* 2^31 calls later */
    ck_assert_int_eq(sluice_call_start(client, req, &call), 0);
    call = sluice_call_free(call);
    ck_assert_int_eq(sluice_call_start(client, req, &call), -EOVERFLOW);
    ck_assert_ptr_null(call);
    sluice_request_free(req);
    sluice_client_free(client);
    (void) close(fd);
}
END_TEST

/* The time at which the library gives a call up has come. */
static void assert_given_up(bool is_cancelled, const char *code)
{
    static struct peer_request r;
    sluice_request *req;
    sluice_call *call = NULL;
    int fd;
    sluice_client *client = open_client(&fd);
    struct peer p = {.client = client, .fd = fd};

    ck_assert_ptr_nonnull(client);
    ck_assert_int_eq(sluice_complete_new("m", "p", 1, &req), 0);
    ck_assert_int_eq(sluice_call_start(client, req, &call), 0);
    if (is_cancelled) {
        ck_assert_int_eq(sluice_call_cancel(call), 0);
        ck_assert_int_eq(sluice_client_process(client), 1);
    }
    call->give_up_at_usec = 1;
    ck_assert_int_eq(sluice_call_next(call), SLUICE_EVENT_FAILED);
    ck_assert_int_eq(sluice_call_next(call), 0);
    ck_assert_str_eq(sluice_call_error_code(call), code);
    ck_assert(peer_receive(&p, &r) && peer_is_method(&r, "Complete"));
    ck_assert(peer_receive(&p, &r) && peer_is_method(&r, "Cancel"));
    ck_assert(!peer_receive(&p, &r)); /* told once */
    sluice_call_free(call);
    sluice_request_free(req);
    peer_close(&p);
}

START_TEST(a_daemon_that_hangs_is_not_waited_for)
{
    assert_given_up(false, "deadline_exceeded");
    assert_given_up(true, "cancelled");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, everything_survives_every_failed_allocation);
    tcase_add_test(tc, stream_ids_run_out_loudly);
    tcase_add_test(tc, a_daemon_that_hangs_is_not_waited_for);
}

int main(void)
{
    return test_main("client_memory", add_tests);
}
