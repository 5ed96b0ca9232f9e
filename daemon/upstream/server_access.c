/* See server_access.h. Owns copies only, so that a load may outlive the deployment that asked for it. */
#include "upstream/server_access.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int server_access_init(struct server_access *ret, const char *bearer, const struct kv *headers,
                       const char *ca_file)
{
    struct server_access a = {.bearer = bearer ? strdup(bearer) : NULL,
                              .ca_file = ca_file ? strdup(ca_file) : NULL};

    if ((bearer && !a.bearer) || (ca_file && !a.ca_file) ||
        (headers && kv_copy(headers, &a.headers) < 0)) {
        server_access_done(&a);
        return -ENOMEM;
    }
    *ret = a;
    return 0;
}

int server_access_copy(const struct server_access *from, struct server_access *ret)
{
    return server_access_init(ret, from->bearer, &from->headers, from->ca_file);
}

void server_access_done(struct server_access *a)
{
    if (a->bearer) {
        explicit_bzero(a->bearer, strlen(a->bearer));
    }
    kv_wipe(&a->headers);
    kv_done(&a->headers);
    free(a->bearer);
    free(a->ca_file);
    *a = (struct server_access) {0};
}
