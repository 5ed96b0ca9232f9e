/*
 * Fuzzes libsluice from the socket up: whatever a peer sends, every call ends exactly once, nothing
 * blocks, nothing leaks. The first byte says in how large pieces the rest arrives.
 *
 * The library's sources are compiled in, because the harness is to see them with the fuzzer's
 * instrumentation.
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

#undef NDEBUG
#include <assert.h>

#define N_CALLS 4 /* chat on stream 1, status on 3, info on 5, watch on 7 */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

struct watched {
    sluice_call *call;
    int n_last;
    volatile uint64_t sum; /* so that every value that a getter returns is read */
};

static void read_bytes(struct watched *w, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        w->sum += ((const uint8_t *) bytes)[i];
    }
}

static void read_string(struct watched *w, const char *text)
{
    read_bytes(w, text, strlen(text));
}

static void read_all(struct watched *w)
{
    const sluice_call *c = w->call;
    size_t n;
    const void *p = sluice_call_text(c, &n);

    read_bytes(w, p, n);
    p = sluice_call_logprobs_json(c, &n);
    read_bytes(w, p, n);
    p = sluice_call_tool_arguments(c, &n);
    read_bytes(w, p, n);
    p = sluice_call_embedding(c, &n);
    read_bytes(w, p, n * sizeof(float));
    p = sluice_call_result_json(c, &n);
    read_bytes(w, p, n);
    w->sum += sluice_call_result_index(c) + (sluice_call_result_score(c) > 0 ? 1 : 0);
    p = sluice_call_descriptor_set(c, &n);
    read_bytes(w, p, n);
    read_string(w, sluice_call_model(c));
    read_string(w, sluice_call_deployment(c));
    read_string(w, sluice_call_tool_id(c));
    read_string(w, sluice_call_tool_name(c));
    read_string(w, sluice_call_error_code(c));
    read_string(w, sluice_call_error_message(c));
    read_string(w, sluice_call_error_param(c));
    w->sum += sluice_call_output_tokens(c) + sluice_call_total_usec(c);
    for (size_t i = 0; i < sluice_call_n_choices(c); i++) {
        read_string(w, sluice_finish_reason_name(sluice_call_finish_reason(c, i)));
    }
    for (int field = 0; field < 64; field++) {
        read_string(w, sluice_call_reply_text(c, field));
        w->sum += sluice_call_reply_number(c, field);
        for (size_t row = 0; row < sluice_call_n_rows(c) && row < 8; row++) {
            read_string(w, sluice_call_row_text(c, row, field));
            w->sum += sluice_call_row_number(c, row, field);
        }
    }
}

/* Takes what is there. */
static void take_events(struct watched *w)
{
    int ev;

    while ((ev = sluice_call_try_next(w->call)) > 0) {
        read_all(w);
        w->n_last +=
            ev == SLUICE_EVENT_DONE || ev == SLUICE_EVENT_FAILED || ev == SLUICE_EVENT_REPLY;
    }
    assert(ev == 0 || ev == -EAGAIN);
    assert(w->n_last == (ev == 0));
}

static sluice_call *start(sluice_client *client, enum request_kind kind)
{
    sluice_request *req = NULL;
    sluice_call *call = NULL;
    int r = kind == REQUEST_CHAT     ? sluice_chat_new("m", &req)
            : kind == REQUEST_STATUS ? sluice_status_new(&req)
            : kind == REQUEST_WATCH  ? sluice_watch_new(0, &req)
                                     : sluice_info_new(&req);

    assert(r == 0);
    if (kind == REQUEST_CHAT) {
        r = sluice_request_add_message(req, SLUICE_ROLE_USER, "x", 1);
        assert(r == 0);
    }
    r = sluice_call_start(client, req, &call);
    assert(r == 0);
    sluice_request_free(req);
    return call;
}

static void process(sluice_client *client, struct watched *calls)
{
    int r;

    do {
        r = sluice_client_process(client);
        for (size_t i = 0; i < N_CALLS; i++) {
            take_events(&calls[i]);
        }
    } while (r > 0);
    assert(r == 0 || r == -ENOTCONN);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct watched calls[N_CALLS] = {{.call = NULL}};
    sluice_client *client = NULL;
    int fds[2];
    size_t piece = n > 0 && bytes[0] > 0 ? bytes[0] : 4096;
    int r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);

    assert(r == 0);
    r = sluice_connect_fd(fds[0], &client);
    assert(r == 0);
    calls[0].call = start(client, REQUEST_CHAT);
    calls[1].call = start(client, REQUEST_STATUS);
    calls[2].call = start(client, REQUEST_INFO);
    calls[3].call = start(client, REQUEST_WATCH);
    for (size_t at = 1; at < n; at += piece) {
        size_t left = n - at;

        (void) !send(fds[1], bytes + at, left < piece ? left : piece, MSG_NOSIGNAL | MSG_DONTWAIT);
        process(client, calls);
    }
    (void) close(fds[1]);
    process(client, calls);
    for (size_t i = 0; i < N_CALLS; i++) {
        assert(calls[i].n_last == 1);
        sluice_call_free(calls[i].call);
    }
    sluice_client_free(client);
    return 0;
}
