#pragma once
/*
 * Who may ask what over HTTP: Host, Origin, Sec-Fetch-Site, Content-Type and keys. Pure decisions
 * over a parsed head.
 *
 * On a Unix socket the kernel says who asks and none of this applies. On TCP anybody on the
 * machine, and through a browser any web page, can reach the port:
 *   Host            must be a loopback name or configured (DNS rebinding)
 *   Origin          must be configured where there is one; Sec-Fetch-Site cross-site and same-site
 *                   are refused without such an Origin
 *   Content-Type    of a POST must be application/json (a form cannot be posted across sites
 *                   without a preflight then)
 *   key             Authorization: Bearer, x-api-key or api-key must be the master key, once one is
 *                   configured
 */
#include "frontend/frontend.h"
#include "wire/http1.h"

struct http_access {
    enum errcode code; /* ERRCODE_NONE: welcome */
    /* to be echoed in Access-Control-Allow-Origin; absent: no CORS headers */
    struct str allowed_origin;
};

struct http_access http_access_check(const struct frontends *f, const struct http1_head *head,
                                     bool is_tcp);

/*
 * Is the key, wherever it stands, the master key? True where none is configured. Compares in
 * constant time.
 */
bool http_access_key_is_good(const struct frontends *f, const struct http1_head *head);
