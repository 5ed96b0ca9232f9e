/* See server_address.h. */
#include "upstream/server_address.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own_host.h"

/* "unix:/path" or "unix:/path:/prefix". */
static int init_unix(struct server_address *a, const char *rest)
{
    const char *colon = strchr(rest, ':');
    size_t n = colon ? (size_t) (colon - rest) : strlen(rest);

    if (rest[0] != '/' || (colon && colon[1] != '/')) {
        return -EINVAL;
    }
    a->is_local = true;
    a->unix_path = strndup(rest, n);
    if (!a->unix_path || asprintf(&a->base, "http://localhost%s", colon ? colon + 1 : "") < 0) {
        a->base = NULL;
        return -ENOMEM;
    }
    return 0;
}

int server_address_init(struct server_address *a, const char *api_base)
{
    int r = 0;

    *a = (struct server_address) {0};
    if (strncmp(api_base, "unix:", 5) == 0) {
        r = init_unix(a, api_base + 5);
    } else if (strncmp(api_base, "http://", 7) == 0 || strncmp(api_base, "https://", 8) == 0) {
        a->base = strdup(api_base);
        a->is_local = own_host_of_url(api_base);
        r = a->base ? 0 : -ENOMEM;
    } else {
        r = -EINVAL;
    }
    if (r < 0) {
        server_address_done(a);
        return r;
    }
    for (size_t n = strlen(a->base); n > 0 && a->base[n - 1] == '/'; n--) {
        a->base[n - 1] = '\0';
    }
    return 0;
}

void server_address_done(struct server_address *a)
{
    if (a->base) {
        explicit_bzero(a->base, strlen(a->base)); /* may hold a password */
    }
    free(a->base);
    free(a->unix_path);
    *a = (struct server_address) {0};
}

/* base without "/v1" (or another number) at its end. */
static struct str without_version(struct str base)
{
    size_t n = base.len;

    while (n > 0 && base.ptr[n - 1] >= '0' && base.ptr[n - 1] <= '9') {
        n--;
    }
    if (n < base.len && n >= 2 && base.ptr[n - 1] == 'v' && base.ptr[n - 2] == '/') {
        base.len = n - 2;
    }
    return base;
}

static bool ends_with_segment(struct str base, const char *path)
{
    size_t n = strlen(path);

    return base.len > n && memcmp(base.ptr + base.len - n, path, n) == 0 &&
           base.ptr[base.len - n - 1] == '/';
}

char *server_address_url(const struct server_address *a, const char *path)
{
    struct str base = str_from(a->base);
    char *url;

    if (strncmp(path, "../", 3) == 0) {
        path += 3;
        base = without_version(base);
    }
    if (ends_with_segment(base, path)) {
        return strndup(base.ptr, base.len);
    }
    return asprintf(&url, "%.*s%s%s", STR_ARG(base), path[0] == '/' ? "" : "/", path) < 0 ? NULL
                                                                                          : url;
}

/*
 * A password that holds an unescaped '/' ends the authority early (RFC 3986, 3.2), so an '@' behind
 * it makes everything suspect.
 */
char *server_address_shown(const char *api_base)
{
    struct str s = str_from(api_base ? api_base : "");
    const char *scheme_end = strstr(s.ptr, "://");
    size_t n_scheme = scheme_end ? (size_t) (scheme_end + 3 - s.ptr) : 0;
    char *shown;

    if (str_has_prefix(s, "unix:")) {
        return strdup(s.ptr);
    }
    s.len = strcspn(s.ptr, "?#");
    n_scheme = n_scheme <= s.len ? n_scheme : 0;

    struct str rest = {s.ptr + n_scheme, s.len - n_scheme};
    size_t n_authority = strcspn(rest.ptr, "/?#");
    const char *at = memrchr(rest.ptr, '@', rest.len);

    if (at && (n_scheme == 0 || (size_t) (at - rest.ptr) > n_authority)) {
        return strdup("");
    }
    if (at) {
        rest.len -= (size_t) (at + 1 - rest.ptr);
        rest.ptr = at + 1;
    }
    return asprintf(&shown, "%.*s%.*s", (int) n_scheme, s.ptr, STR_ARG(rest)) < 0 ? NULL : shown;
}
