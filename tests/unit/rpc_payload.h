#pragma once
/*
 * Payloads of RPC requests written by hand, byte by byte, as a hostile client would: the fields of
 * sluice.proto, the request that is decoded from g_payload, and what was wrong with it.
 */
#include "support.h"

#include <errno.h>

#include "wire/rpc_msg.h"

#define MAX_PAYLOAD (4 << 20)

/* ---- protobuf by hand */

static inline void put_varint(struct buf *b, uint64_t v)
{
    do {
        uint8_t c = (uint8_t) (v & 0x7f) | (v > 0x7f ? 0x80 : 0);

        ck_assert_int_eq(buf_append(b, &c, 1), 0);
        v >>= 7;
    } while (v > 0);
}

static inline void put_number(struct buf *b, unsigned field, uint64_t v)
{
    put_varint(b, field << 3);
    put_varint(b, v);
}

static inline void put_double(struct buf *b, unsigned field, double v)
{
    put_varint(b, field << 3 | 1);
    ck_assert_int_eq(buf_append(b, &v, sizeof v), 0); /* little-endian machines only, as CI is */
}

static inline void put_bytes(struct buf *b, unsigned field, struct str s)
{
    put_varint(b, field << 3 | 2);
    put_varint(b, s.len);
    ck_assert_int_eq(buf_append_str(b, s), 0);
}

static inline void put_text(struct buf *b, unsigned field, const char *z)
{
    put_bytes(b, field, str_from(z));
}

/* Ends the message in inner and puts it into b as a field. */
static inline void put_message(struct buf *b, unsigned field, struct buf *inner)
{
    put_bytes(b, field, buf_str(inner));
    buf_clear(inner);
}

/* Field numbers of sluice.proto. */
enum {
    CHAT_OPTIONS = 1,
    CHAT_MODEL,
    CHAT_MESSAGES,
    CHAT_SAMPLING,
    CHAT_TOOLS,
    CHAT_CHOICE,
    CHAT_FORMAT,
    CHAT_EFFORT
};
enum { MSG_ROLE = 1, MSG_TEXT, MSG_IMAGES, MSG_CALLS, MSG_CALL_ID, MSG_NAME, MSG_THINKING };
enum { COMPLETE_PROMPT = 3, COMPLETE_SUFFIX, COMPLETE_SAMPLING };
enum { EMBED_INPUTS = 3, EMBED_DIMENSIONS };
enum { RERANK_QUERY = 3, RERANK_DOCUMENTS, RERANK_TOP_N, RERANK_EXTRA };
enum { CLASSIFY_INPUTS = 3, CLASSIFY_EXTRA };

/*
 * Repeats two bytes until the payload is 2 MiB long; Check would write each assertion of such a
 * loop to a file.
 */
static inline void put_bomb(struct buf *b, const char *field)
{
    size_t n = 2 << 20;
    char *to = buf_reserve(b, n);

    ck_assert_ptr_nonnull(to);
    for (size_t i = 0; i < n; i++) {
        to[i] = field[i % 2];
    }
    buf_commit(b, n);
}

static struct buf g_payload, g_inner, g_innermost;
static struct request *g_req;
static struct problem g_problem;

static inline void setup(void)
{
    buf_init(&g_payload, MAX_PAYLOAD);
    buf_init(&g_inner, MAX_PAYLOAD);
    buf_init(&g_innermost, MAX_PAYLOAD);
}

static inline void teardown(void)
{
    buf_done(&g_payload);
    buf_done(&g_inner);
    buf_done(&g_innermost);
    g_req = request_free(g_req);
}

static inline int decode(enum request_kind kind)
{
    struct buf *b = &g_payload;

    g_req = request_free(g_req);
    g_req = request_new(kind, 4 * b->len + 4096 * 256 + 64 * 1024);
    if (!g_req) {
        return -ENOMEM;
    }
    memset(&g_problem, 0, sizeof g_problem);
    g_problem.code = ERRCODE_NONE;
    return rpc_decode_request(g_req, buf_str(b), &g_problem);
}

/* A message of one role and text, into g_payload. */
static inline void put_chat_message(unsigned role, const char *text)
{
    put_number(&g_inner, MSG_ROLE, role);
    put_text(&g_inner, MSG_TEXT, text);
    put_message(&g_payload, CHAT_MESSAGES, &g_inner);
}

static inline void put_small_chat(void)
{
    put_text(&g_payload, CHAT_MODEL, "tiny");
    put_chat_message(2, "hi");
}

#define ck_assert_refused(kind, name)                                                              \
    do {                                                                                           \
        ck_assert_int_eq(decode(kind), -EBADMSG);                                                  \
        ck_assert_int_eq(g_problem.code, ERRCODE_INVALID_REQUEST);                                 \
        ck_assert_str_eq(g_problem.param, (name));                                                 \
        ck_assert(g_problem.text[0] != '\0');                                                      \
    } while (0)
