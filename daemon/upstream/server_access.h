#pragma once
/*
 * How a deployment speaks to its model server, beside the address: which key, which further headers,
 * whose certificates. Every exchange takes it along, those that load and unload included: a server
 * behind a door opens for none of them without.
 */
#include <stdbool.h>

#include "base/kv.h"
#include "base/macros.h"

struct server_access {
    char *bearer;      /* owned, or NULL: the API key */
    struct kv headers; /* name -> value, sent with every request; values may be keys */
    char *ca_file;     /* owned, or NULL: PEM, trusted instead of the system's certificates */
};

/* A deep copy; headers may be NULL. 0 or -ENOMEM, with *ret untouched. */
int server_access_init(struct server_access *ret, const char *bearer, const struct kv *headers,
                       const char *ca_file) MUST_USE;
int server_access_copy(const struct server_access *from, struct server_access *ret) MUST_USE;

/* Would a server see the same caller, and prove itself to the same authorities? */
bool server_access_is_same(const struct server_access *a, const struct server_access *b);

/* Overwrites what may be a secret. Accepts a zeroed struct, leaves one behind. */
void server_access_done(struct server_access *a);
