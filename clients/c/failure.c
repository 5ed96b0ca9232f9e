/*
 * See failure.h. Texts are copied into fixed fields, cut where they are too long and never in the
 * middle of a character, so that an error can be told when there is no memory left for anything.
 *
 * Rows of errors.def that the library uses keep their code, statuses and advice from there. The
 * three of its own stand here, since no daemon ever sends them.
 */
#include "failure.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "macros.h"
#include "proto/errcode.h"
#include "sluice.pb-c.h"
#include "unpack.h"

/* google.rpc.Code values that are looked at by name. */
enum { RPC_INTERNAL = 13, RPC_UNAVAILABLE = 14, RPC_DATA_LOSS = 15 };

static const struct {
    const char *code, *message;
    int http_status, rpc_status;
    bool is_retryable;
} own_failures[] = {
    [FAILURE_CONNECTION_LOST] = {"connection_lost", "the connection to sluiced was lost", 503,
                                 RPC_UNAVAILABLE, true},
    [FAILURE_ANSWER_CUT] = {"answer_cut", "the answer ended before its end", 502, RPC_DATA_LOSS,
                            true},
    [FAILURE_BAD_ANSWER] = {"bad_answer", "the answer does not follow the protocol", 502,
                            RPC_INTERNAL, false},
};

static const enum errcode shared_failures[_FAILURE_MAX] = {
    [FAILURE_STALLED_READER] = ERRCODE_STALLED_READER,
    [FAILURE_OUT_OF_MEMORY] = ERRCODE_OUT_OF_MEMORY,
    [FAILURE_CANCELLED] = ERRCODE_CANCELLED,
    [FAILURE_DEADLINE] = ERRCODE_DEADLINE_EXCEEDED,
};

/* What google.rpc.Code says where there is no detail. Not in the list: internal_error. */
static const struct {
    int rpc_status;
    enum errcode code;
} by_rpc_status[] = {
    {1, ERRCODE_CANCELLED},         {3, ERRCODE_INVALID_REQUEST},
    {4, ERRCODE_DEADLINE_EXCEEDED}, {5, ERRCODE_NOT_FOUND},
    {7, ERRCODE_FORBIDDEN},         {8, ERRCODE_UPSTREAM_RATE_LIMITED},
    {12, ERRCODE_NOT_IMPLEMENTED},  {14, ERRCODE_UPSTREAM_OVERLOADED},
    {16, ERRCODE_INVALID_API_KEY},
};

/* As much of the bytes as fits, whole characters only, up to a NUL. */
static void copy_text(char *to, size_t size, const void *bytes, size_t n)
{
    const char *end = n > 0 ? memchr(bytes, '\0', n) : NULL;

    n = end ? (size_t) (end - (const char *) bytes) : n;
    if (n >= size) {
        for (n = size - 1; n > 0 && (((const uint8_t *) bytes)[n] & 0xc0) == 0x80;) {
            n--;
        }
    }
    if (n > 0) {
        memcpy(to, bytes, n);
    }
    to[n] = '\0';
}

static void copy_name(char *to, size_t size, const char *z)
{
    copy_text(to, size, z, strlen(z));
}

static void set_row(struct failure *f, enum errcode code)
{
    const struct errcode_info *info = errcode_info(code);

    *f = (struct failure) {.http_status = info->http_status,
                           .rpc_status = info->ttrpc_code,
                           .is_retryable = info->is_retryable != 0};
    copy_name(f->code, sizeof(f->code), info->openai_code);
    copy_name(f->message, sizeof(f->message), info->text);
}

void failure_set(struct failure *f, enum failure_kind kind, const char *why)
{
    assert(kind > FAILURE_NONE && kind < _FAILURE_MAX);
    if (kind < ARRAY_LEN(own_failures)) {
        *f = (struct failure) {.http_status = own_failures[kind].http_status,
                               .rpc_status = own_failures[kind].rpc_status,
                               .is_retryable = own_failures[kind].is_retryable};
        copy_name(f->code, sizeof(f->code), own_failures[kind].code);
        copy_name(f->message, sizeof(f->message), own_failures[kind].message);
    } else {
        set_row(f, shared_failures[kind]);
    }
    if (why) {
        size_t n = strlen(f->message);

        (void) snprintf(f->message + n, sizeof(f->message) - n, ": %s", why);
    }
}

static void set_detail(struct failure *f, const Sluice__V1__ErrorDetail *detail)
{
    enum errcode code = errcode_from_name(detail->code);

    if (detail->code[0] != '\0') {
        copy_name(f->code, sizeof(f->code), detail->code);
    }
    if (code != ERRCODE_NONE) {
        f->is_retryable = errcode_info(code)->is_retryable != 0;
    }
    if (detail->http_status > 0 && detail->http_status <= 999) {
        f->http_status = (int) detail->http_status;
    }
    f->retry_after_usec = detail->retry_after_usec;
    f->is_retryable = f->is_retryable || detail->retry_after_usec > 0;
    copy_name(f->param, sizeof(f->param), detail->param);
}

void failure_set_status(struct failure *f, const struct frame_response *res)
{
    enum errcode code = ERRCODE_INTERNAL;

    assert(res->code != 0);
    for (size_t i = 0; i < ARRAY_LEN(by_rpc_status); i++) {
        code = by_rpc_status[i].rpc_status == res->code ? by_rpc_status[i].code : code;
    }
    set_row(f, code);
    f->rpc_status = res->code;
    if (res->message.len > 0) {
        copy_text(f->message, sizeof(f->message), res->message.ptr, res->message.len);
    }
    if (res->detail.len == 0) {
        return;
    }

    /*
     * Only our daemon sends details here; one that does not decode, or for which there is no
     * memory, adds nothing.
     */
    ProtobufCMessage *msg = unpack_message(&sluice__v1__error_detail__descriptor, res->detail.ptr,
                                           res->detail.len, NULL);

    if (msg) {
        set_detail(f, (const Sluice__V1__ErrorDetail *) msg);
        protobuf_c_message_free_unpacked(msg, NULL);
    }
}
