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

static bool is_same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool server_access_is_same(const struct server_access *a, const struct server_access *b)
{
    if (!is_same_text(a->bearer, b->bearer) || !is_same_text(a->ca_file, b->ca_file) ||
        a->headers.n_items != b->headers.n_items) {
        return false;
    }
    for (size_t i = 0; i < a->headers.n_items; i++) {
        const char *other = kv_find(&b->headers, a->headers.items[i].name);

        if (!other || strcmp(other, a->headers.items[i].value) != 0) {
            return false;
        }
    }
    return true;
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
