#pragma once
/* Requests, seen from inside: their kinds, and their bytes. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sluice.h"

#define REQUEST_ID_MAX_BYTES 64

enum request_kind {
    REQUEST_CHAT,
    REQUEST_COMPLETE,
    REQUEST_EMBED,
    REQUEST_RERANK,
    REQUEST_CLASSIFY,
    REQUEST_MODELS,
    REQUEST_INFO,
    REQUEST_STATUS,
    REQUEST_CANCEL,
    REQUEST_WATCH,
    REQUEST_RELOAD,
    REQUEST_DRAIN,
    REQUEST_UNLOAD,
    REQUEST_LOAD,
    REQUEST_EXPLAIN,
    _REQUEST_KIND_MAX
};

struct request_method {
    const char *service, *method;
    bool is_stream; /* answered by events, has a request id */
};
const struct request_method *request_method(enum request_kind kind);

enum request_kind request_kind(const sluice_request *req);
uint64_t request_deadline_usec(const sluice_request *req); /* 0: none */
const char *request_id(const sluice_request *req);         /* "": the library makes one */

/* The message as bytes, with this request id. *ret_bytes is the caller's, free(). -EINVAL: nothing
 * to ask; -EMSGSIZE, -ENOMEM. */
int request_pack(const sluice_request *req, const char *id, uint8_t **ret_bytes, size_t *ret_n);
