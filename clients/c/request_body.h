#pragma once
/* The inside of a request, for the two files that fill it: request.c (parts and bytes) and
 * request_values.c (options). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "request.h"
#include "sluice.pb-c.h"
#include "sluice.h"

union message {
    ProtobufCMessage base;
    Sluice__V1__ChatRequest chat;
    Sluice__V1__CompleteRequest complete;
    Sluice__V1__EmbedRequest embed;
    Sluice__V1__RerankRequest rerank;
    Sluice__V1__ClassifyRequest classify;
    Sluice__V1__ListModelsRequest models;
    Sluice__V1__GetInfoRequest info;
    Sluice__V1__StatusRequest status;
    Sluice__V1__CancelRequest cancel;
    Sluice__V1__WatchRequest watch;
    Sluice__V1__ReloadRequest reload;
    Sluice__V1__DrainRequest drain;
    Sluice__V1__UnloadRequest unload;
    Sluice__V1__LoadRequest load;
    Sluice__V1__ExplainRequest explain;
};

struct sluice_request {
    enum request_kind kind;
    size_t n_bytes; /* estimate of the packed size, never too small */
    int64_t class_of_service, deadline_usec;
    char id[REQUEST_ID_MAX_BYTES + 1];
    Sluice__V1__Sampling sampling;
    union message msg;
};

/* Bits for request_is_kind(). */
#define KIND(k) (1u << REQUEST_##k)

static inline bool request_is_kind(const sluice_request *req, unsigned kinds)
{
    return (kinds & 1u << req->kind) != 0;
}

/* An empty request; its message is still to be initialised. NULL: no memory. */
sluice_request *request_new(enum request_kind kind);

/* Replaces *slot, which belongs to the request. 0, -EMSGSIZE, -EILSEQ, -ENOMEM. */
int request_set_string(sluice_request *req, char **slot, const char *text, size_t n);

/* The message that was added last; NULL: none. */
Sluice__V1__Message *request_last_message(sluice_request *req);

/* 1 to 64 characters of [A-Za-z0-9._-]? */
bool request_is_id(const char *text, size_t n);
