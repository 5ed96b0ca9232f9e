#pragma once
/*
 * What a client asked for, on its way to a model server of OpenAI's dialect: JSON written with '
 * for ", decoded as the frontend does.
 */
#include "support.h"

#include <errno.h>
#include <stdio.h>

#include "wire/json.h"
#include "wire/openai_request.h"
#include "wire/openai_upstream.h"

#define BUDGET (8 * 1024 * 1024)

static struct problem g_problem;

/* ' to ", into one of a few buffers in turn. */
static inline struct str json(const char *z)
{
    static char texts[16][65536];
    static unsigned next;
    char *text = texts[next++ % ARRAY_LEN(texts)];
    size_t n = strlen(z);

    ck_assert(n < sizeof texts[0]);
    for (size_t i = 0; i <= n; i++) {
        text[i] = (char) (z[i] == '\'' ? '"' : z[i]);
    }
    return (struct str) {text, n};
}

static inline struct request *decode(enum request_kind kind, const char *body)
{
    struct request *req = request_new(kind, BUDGET);

    ck_assert(req);
    ck_assert_int_eq(openai_decode_request(req, json(body), &g_problem), 0);
    (void) snprintf(req->id, sizeof req->id, "r1");
    return req;
}
