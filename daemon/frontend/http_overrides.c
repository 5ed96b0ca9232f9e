/*
 * See http_overrides.h. One walk over the headers: nearly no request has any of these, and each
 * look-up by name would walk all of them.
 */
#include "frontend/http_overrides.h"

#include <errno.h>
#include <limits.h>

#include "base/num.h"
#include "wire/overrides.h"

#define MAX_WAIT_MSEC 86400000 /* a day: longer than anything may wait */

static bool has_prefix_nocase(struct str s, const char *prefix)
{
    size_t n = strlen(prefix);

    return s.len >= n && str_is_nocase((struct str) {s.ptr, n}, prefix);
}

/* "a, b": each without the blanks around it; an empty one is a slip and no tag. */
static int add_tags(const struct field *f, struct request *req)
{
    struct str rest = f->value;
    int r = 0;

    while (r == 0 && rest.len > 0) {
        const char *comma = memchr(rest.ptr, ',', rest.len);
        size_t n = comma ? (size_t) (comma - rest.ptr) : rest.len;
        struct str tag = str_trim((struct str) {rest.ptr, n});

        rest.ptr += comma ? n + 1 : n;
        rest.len -= comma ? n + 1 : n;
        if (tag.len == 0) {
            continue;
        }
        if (!str_is_utf8(tag)) {
            return field_fail(f->problem, f->name, "'%s' must be UTF-8", f->name);
        }
        tag = arena_copy(&req->arena, tag);
        r = tag.ptr ? overrides_add_tag(f, tag, req) : -ENOMEM;
    }
    return r;
}

/* A promise about where a prompt goes: a word that is not understood must not pass for "no". */
static int read_local_only(const struct field *f, struct request_routing *to)
{
    if (str_is_nocase(f->value, "true") || str_is(f->value, "1")) {
        to->is_local_only = true;
        return 0;
    }
    if (str_is_nocase(f->value, "false") || str_is(f->value, "0")) {
        return 0;
    }
    return field_fail(f->problem, f->name, "'%s' must be true or false", f->name);
}

static void lower(uint64_t *limit_usec, uint64_t usec)
{
    usec = usec > 0 ? usec : 1; /* 0 would be "not said" */
    if (*limit_usec == 0 || usec < *limit_usec) {
        *limit_usec = usec;
    }
}

static int read_max_wait(const struct field *f, struct request *req)
{
    uint64_t msec;

    if (num_parse_u64(f->value, &msec) < 0 || msec > MAX_WAIT_MSEC) {
        return field_fail(f->problem, f->name, "'%s' must be a whole number of milliseconds",
                          f->name);
    }
    lower(&req->max_wait_usec, msec * 1000);
    lower(&req->max_stay_usec, msec * 1000);
    return 0;
}

/*
 * What OpenAI's SDKs tell of themselves: which attempt it is, and how long they wait for bytes, in
 * seconds ("600.0", or "600"); who is expected to wait for half of that comes in (admission_gate.c takes
 * four fifths of what is told to it), and who then does wait for four fifths leaves, as the first byte
 * takes its time as well. Not asked for, so what is not
 * understood is passed over.
 */
static void read_stainless(const struct http1_header *header, struct request *req)
{
    uint64_t n;
    double sec;

    if (str_is_nocase(header->name, "x-stainless-retry-count") &&
        num_parse_u64(header->value, &n) == 0) {
        req->n_client_retries = n < UINT_MAX ? (unsigned) n : UINT_MAX;
    } else if (str_is_nocase(header->name, "x-stainless-read-timeout") &&
               num_parse_double(header->value, &sec) == 0 && sec > 0 &&
               sec < MAX_WAIT_MSEC / 1000.0) {
        lower(&req->max_wait_usec, (uint64_t) (sec * 1e6 * 5 / 8));
        lower(&req->max_stay_usec, (uint64_t) (sec * 1e6 * 4 / 5));
    }
}

static int read_header(const struct http1_header *header, struct request *req,
                       struct problem *problem)
{
    struct request_routing *to = &req->routing;
    struct field f = {"", header->value, problem};

    if (str_is_nocase(header->name, "x-litellm-timeout")) {
        f.name = "x-litellm-timeout";
        return overrides_read_seconds(&f, &to->total_usec);
    }
    if (str_is_nocase(header->name, "x-litellm-stream-timeout")) {
        f.name = "x-litellm-stream-timeout";
        return overrides_read_seconds(&f, &to->first_byte_usec);
    }
    if (str_is_nocase(header->name, "x-litellm-num-retries")) {
        f.name = "x-litellm-num-retries";
        return overrides_read_retries(&f, to);
    }
    if (str_is_nocase(header->name, "x-litellm-tags")) {
        f.name = "x-litellm-tags";
        return add_tags(&f, req);
    }
    if (str_is_nocase(header->name, "x-sluice-max-wait-ms")) {
        f.name = "x-sluice-max-wait-ms";
        return read_max_wait(&f, req);
    }
    if (str_is_nocase(header->name, "x-sluice-local-only")) {
        f.name = "x-sluice-local-only";
        return read_local_only(&f, to);
    }
    return 0;
}

int http_overrides_read(const struct http1_head *head, struct request *req,
                        struct problem *ret_problem)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < head->n_headers; i++) {
        const struct http1_header *header = &head->headers[i];

        if (has_prefix_nocase(header->name, "x-litellm-") ||
            has_prefix_nocase(header->name, "x-sluice-")) {
            r = read_header(header, req, ret_problem);
        } else if (has_prefix_nocase(header->name, "x-stainless-re")) {
            read_stainless(header, req);
        }
    }
    return r;
}

struct str http_overrides_call_id(const struct http1_head *head)
{
    struct str id = http1_header(head, "x-litellm-call-id");

    if (!request_id_is_valid(id)) {
        id = http1_header(head, "x-request-id");
    }
    return request_id_is_valid(id) ? id : STR_NONE;
}
