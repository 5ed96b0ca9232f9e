/* See http_access.h. */
#include "frontend/http_access.h"

#include <stdint.h>

static bool host_is(struct str host, const char *name)
{
    size_t n = strlen(name);

    if (host.len < n || !str_is_nocase((struct str) {host.ptr, n}, name)) {
        return false;
    }
    /*
     * any port: the attack that this stops comes with a foreign name, and forwarded ports differ
     * from ours
     */
    return host.len == n || host.ptr[n] == ':';
}

static bool host_is_allowed(const struct frontends *f, struct str host)
{
    static const char *const loopback[] = {"localhost", "127.0.0.1", "[::1]"};

    for (size_t i = 0; i < ARRAY_LEN(loopback); i++) {
        if (host_is(host, loopback[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < f->params.n_allowed_hosts; i++) {
        if (host_is(host, f->params.allowed_hosts[i])) {
            return true;
        }
    }
    return false;
}

static bool origin_is_allowed(const struct frontends *f, struct str origin)
{
    for (size_t i = 0; i < f->params.n_allowed_origins; i++) {
        if (str_is_nocase(origin, f->params.allowed_origins[i])) {
            return true;
        }
    }
    return false;
}

static bool is_json(struct str type)
{
    static const char json[] = "application/json";
    size_t n = sizeof json - 1;

    return type.len >= n && str_is_nocase((struct str) {type.ptr, n}, json) &&
           (type.len == n || type.ptr[n] == ';' || type.ptr[n] == ' ');
}

struct http_access http_access_check(const struct frontends *f, const struct http1_head *head,
                                     bool is_tcp)
{
    struct http_access a = {.code = ERRCODE_NONE, .allowed_origin = STR_NONE};
    struct str host = http1_header(head, "host");
    struct str origin = http1_header(head, "origin");
    struct str site = http1_header(head, "sec-fetch-site");

    if (!is_tcp) {
        return a;
    }
    if (host.ptr && !host_is_allowed(f, host)) {
        a.code = ERRCODE_MISDIRECTED;
    } else if (origin.ptr && !origin_is_allowed(f, origin)) {
        a.code = ERRCODE_FORBIDDEN;
    } else if (!origin.ptr &&
               (str_is_nocase(site, "cross-site") || str_is_nocase(site, "same-site"))) {
        a.code = ERRCODE_FORBIDDEN;
    } else if (head->method == HTTP1_POST && !is_json(http1_header(head, "content-type"))) {
        a.code = ERRCODE_UNSUPPORTED_MEDIA_TYPE;
    }
    a.allowed_origin = origin;
    return a;
}

/* Time depends on the length of what was sent and on nothing of the key. */
static bool equals_in_constant_time(struct str given, const char *key)
{
    size_t n = strlen(key);
    volatile unsigned char difference = given.len != n;

    for (size_t i = 0; i < given.len; i++) {
        difference |= (unsigned char) (given.ptr[i] ^ key[n > 0 ? i % n : 0]);
    }
    return difference == 0;
}

static struct str given_key(const struct http1_head *head)
{
    struct str bearer = http1_header(head, "authorization");

    if (bearer.len > 7 && str_is_nocase((struct str) {bearer.ptr, 7}, "bearer ")) {
        return str_trim((struct str) {bearer.ptr + 7, bearer.len - 7});
    }

    struct str key = http1_header(head, "x-api-key");

    return key.ptr ? key : http1_header(head, "api-key");
}

bool http_access_key_is_good(const struct frontends *f, const struct http1_head *head)
{
    return !f->params.master_key || equals_in_constant_time(given_key(head), f->params.master_key);
}
