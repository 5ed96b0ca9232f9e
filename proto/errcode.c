/*
 * errors.def as a table. No state; must not know where errors come from or go to.
 */
#include "proto/errcode.h"

#include <assert.h>
#include <string.h>

static const struct errcode_info table[_ERRCODE_MAX] = {
#define X(nm, http, type, code, ttrpc, retry, mid, txt)                                            \
    [ERRCODE_##nm] = {.name = #nm,                                                                 \
                      .openai_type = type,                                                         \
                      .openai_code = code,                                                         \
                      .message_id = mid,                                                           \
                      .text = txt,                                                                 \
                      .http_status = http,                                                         \
                      .ttrpc_code = ttrpc,                                                         \
                      .is_retryable = retry},
#include "proto/errors.def"
#undef X
};

const struct errcode_info *errcode_info(enum errcode code)
{
    assert(code >= 0 && code < _ERRCODE_MAX);
    return &table[code];
}

enum errcode errcode_from_name(const char *name)
{
    for (int i = 0; i < _ERRCODE_MAX; i++) {
        if (strcmp(table[i].openai_code, name) == 0) {
            return (enum errcode) i;
        }
    }
    return ERRCODE_NONE;
}
