/* See http_access.h. */
#include "frontend/http_access.h"

#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "base/sha256.h"

#define NAME_SHOWN_MAX 80 /* bytes of a model name in a message */

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
    struct str host = head->authority.ptr ? head->authority : http1_header(head, "host");
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

/* "Bearer KEY" without its first word; absent when it has none. */
static struct str bearer_of(struct str value)
{
    if (value.len > 7 && str_is_nocase((struct str) {value.ptr, 7}, "bearer ")) {
        return str_trim((struct str) {value.ptr + 7, value.len - 7});
    }
    return STR_NONE;
}

/*
 * LiteLLM's own header first, as there: who sends it wants Authorization for something else. It
 * may hold the key with or without Bearer.
 */
static struct str given_key(const struct http1_head *head)
{
    struct str own = http1_header(head, "x-litellm-api-key");
    struct str bearer = bearer_of(own.ptr ? own : http1_header(head, "authorization"));

    if (bearer.ptr) {
        return bearer;
    }
    if (own.ptr) {
        return own;
    }
    own = http1_header(head, "x-api-key");
    return own.ptr ? own : http1_header(head, "api-key");
}

/* Looks at all of them, whichever it is: how long that takes says nothing. */
static const struct access_key *find_by_hash(const struct frontends *f,
                                             const uint8_t digest[SHA256_BYTES])
{
    const struct access_key *found = NULL;

    for (size_t i = 0; i < f->params.n_keys; i++) {
        const struct access_key *key = &f->params.keys[i];

        found = sha256_is_equal(key->sha256, digest) ? key : found;
    }
    return found;
}

static enum errcode refuse_expired(const struct access_key *key, struct problem *ret)
{
    time_t at = (time_t) key->expires_at_sec;
    char date[32];
    struct tm tm;

    if (!gmtime_r(&at, &tm) || strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
        date[0] = '\0';
    }
    (void) snprintf(ret->text, sizeof ret->text, "the API key \"%s\" has expired (%s)", key->id,
                    date);
    return ret->code = ERRCODE_KEY_EXPIRED;
}

enum errcode http_access_key(const struct frontends *f, const struct http1_head *head,
                             uint64_t wall_sec, const struct access_key **ret_key,
                             struct problem *ret_problem)
{
    const char *master = f->params.master_key;
    struct str given = given_key(head);
    uint8_t digest[SHA256_BYTES];
    bool is_master = master && equals_in_constant_time(given, master);
    const struct access_key *key;

    *ret_key = NULL;
    if (!master && f->params.n_keys == 0) {
        return ERRCODE_NONE;
    }
    if (f->params.n_keys == 0) {
        return is_master ? ERRCODE_NONE : (ret_problem->code = ERRCODE_INVALID_API_KEY);
    }
    if (sha256_of(given.ptr ? given.ptr : "", given.len, digest) < 0) {
        return ret_problem->code = ERRCODE_OUT_OF_MEMORY;
    }
    key = find_by_hash(f, digest);
    if (is_master) {
        return ERRCODE_NONE;
    }
    if (!key) {
        return ret_problem->code = ERRCODE_INVALID_API_KEY;
    }
    if (key->expires_at_sec > 0 && wall_sec >= key->expires_at_sec) {
        return refuse_expired(key, ret_problem);
    }
    *ret_key = key;
    return ERRCODE_NONE;
}

const struct access_key *http_access_find(const struct frontends *f, const char *key_id)
{
    for (size_t i = 0; key_id[0] && i < f->params.n_keys; i++) {
        if (strcmp(f->params.keys[i].id, key_id) == 0) {
            return &f->params.keys[i];
        }
    }
    return NULL;
}

bool http_access_allows(const struct frontends *f, const struct access_key *key, struct str name)
{
    const struct model_group *group;

    if (access_key_allows(key, name)) {
        return true;
    }
    group = router_resolve(f->router, name);
    return group && access_key_allows(key, str_from(group->name));
}

static enum errcode refuse_model(const struct access_key *key, struct str model, const char *param,
                                 struct problem *ret)
{
    struct str shown = str_clip(model, NAME_SHOWN_MAX);

    (void) snprintf(ret->text, sizeof ret->text,
                    "the API key \"%s\" may not use the model \"%.*s\"", key->id, STR_ARG(shown));
    (void) snprintf(ret->param, sizeof ret->param, "%s", param);
    return ret->code = ERRCODE_KEY_MODEL_DENIED;
}

enum errcode http_access_admit(const struct frontends *f, const char *key_id, struct request *req,
                               struct problem *ret_problem)
{
    const struct access_key *key = http_access_find(f, key_id);

    if (!key) {
        /* a reload between head and body may have taken it away */
        return key_id[0] ? (ret_problem->code = ERRCODE_INVALID_API_KEY) : ERRCODE_NONE;
    }
    req->class = key->class > req->class ? key->class : req->class;
    if (!http_access_allows(f, key, req->model)) {
        return refuse_model(key, req->model, "model", ret_problem);
    }
    for (size_t i = 0; i < req->routing.n_fallbacks; i++) {
        if (!http_access_allows(f, key, req->routing.fallbacks[i])) {
            return refuse_model(key, req->routing.fallbacks[i], "fallbacks", ret_problem);
        }
    }
    return ERRCODE_NONE;
}
