#pragma once
/* Where a model server is: api_base taken apart once, joined with a path for each request. */
#include <stdbool.h>

#include "base/macros.h"
#include "base/str.h"

struct server_address {
    /*
     * owned: "http://host:port/prefix" without trailing slash; "http://localhost" for a Unix socket
     */
    char *base;
    char *unix_path; /* owned, or NULL */
    bool is_local;   /* a Unix socket, or an address of this machine (base/own_host.h) */
};

/* "http://...", "https://...", "unix:/path[:/prefix]". 0, -EINVAL, -ENOMEM. */
int server_address_init(struct server_address *a, const char *api_base) MUST_USE;
void server_address_done(struct server_address *a);

/*
 * What may be shown of an api_base, whether it is a good one or not: without user, password, query
 * and fragment; "" for NULL, and where it cannot be told what is what. To be freed by the caller;
 * NULL: out of memory.
 */
char *server_address_shown(const char *api_base);

/*
 * base and path joined; to be freed by the caller; NULL: out of memory. A path that begins with
 * "../" stands beside the version ("/v1") that base may end with. A base that ends with the path
 * already, as some write it into their configuration, is taken as it is.
 */
char *server_address_url(const struct server_address *a, const char *path);
