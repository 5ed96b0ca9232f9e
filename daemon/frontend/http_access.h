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
 *   key             x-litellm-api-key, Authorization: Bearer, x-api-key or api-key, the first of
 *                   them that is there, must be the master key or one of the keys, once any is
 *                   configured
 */
#include "frontend/frontend.h"
#include "wire/http1.h"
#include "wire/problem.h"

struct http_access {
    enum errcode code; /* ERRCODE_NONE: welcome */
    /* to be echoed in Access-Control-Allow-Origin; absent: no CORS headers */
    struct str allowed_origin;
};

struct http_access http_access_check(const struct frontends *f, const struct http1_head *head,
                                     bool is_tcp);

/*
 * Is the key of a request good? ERRCODE_NONE: ret_key is the one of params.keys, NULL for the master
 * key, and where no key is configured. Else the code, of *ret_problem. What was sent is compared by
 * its SHA-256 with every key there is, each in constant time.
 */
enum errcode http_access_key(const struct frontends *f, const struct http1_head *head,
                             uint64_t wall_sec, const struct access_key **ret_key,
                             struct problem *ret_problem);

/* The key of that id, or NULL; "" is nobody's. */
const struct access_key *http_access_find(const struct frontends *f, const char *key_id);

/* May the key use what name means: by that name, or by that of the group that it leads to? */
bool http_access_allows(const struct frontends *f, const struct access_key *key, struct str name);

/*
 * May a request be served that came with the key of that id ("": none, or the master key)?
 * ERRCODE_NONE, with the class lowered to what the key may have; or the code, of *ret_problem: the
 * model, or a fallback that the request names, is not for that key; or the key is gone since.
 */
enum errcode http_access_admit(const struct frontends *f, const char *key_id, struct request *req,
                               struct problem *ret_problem);
