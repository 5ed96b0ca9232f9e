/*
 * See http_rate_headers.h. Names and values are those of OpenAI's guide "Rate limits", section
 * "Rate limits in headers": limit, remaining and reset, for requests and for tokens; "reset" is how
 * long until everything is there again, not until the next one.
 */
#include "frontend/http_rate_headers.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/num.h"
#include "core/quota.h"
#include "wire/http1.h"

#define MSEC_PER_SEC UINT64_C(1000)
#define MSEC_PER_MIN (60 * MSEC_PER_SEC)

/* "1s", "30.951s": the seconds of a minute, without zeros at the end of the fraction. */
static void append_seconds(char *text, size_t size, uint64_t msec)
{
    int n = snprintf(text, size, "%llu.%03llu", (unsigned long long) (msec / MSEC_PER_SEC),
                     (unsigned long long) (msec % MSEC_PER_SEC));

    while (text[n - 1] == '0') {
        n--;
    }
    n -= text[n - 1] == '.';
    (void) snprintf(text + n, size - (size_t) n, "s");
}

const char *http_rate_format_reset(uint64_t usec, char ret_text[HTTP_RATE_RESET_BYTES])
{
    uint64_t msec = usec / USEC_PER_MSEC + (usec % USEC_PER_MSEC != 0);
    uint64_t minutes = msec / MSEC_PER_MIN;
    int n = 0;

    if (msec > 0 && msec < MSEC_PER_SEC) {
        (void) snprintf(ret_text, HTTP_RATE_RESET_BYTES, "%llums", (unsigned long long) msec);
        return ret_text;
    }
    if (minutes >= 60) {
        n = snprintf(ret_text, HTTP_RATE_RESET_BYTES, "%lluh", (unsigned long long) minutes / 60);
    }
    if (minutes > 0) {
        n += snprintf(ret_text + n, HTTP_RATE_RESET_BYTES - (size_t) n, "%llum",
                      (unsigned long long) minutes % 60);
    }
    append_seconds(ret_text + n, HTTP_RATE_RESET_BYTES - (size_t) n, msec % MSEC_PER_MIN);
    return ret_text;
}

static int write_number(struct buf *out, const char *name, uint64_t value)
{
    char text[NUM_U64_BYTES];

    return http1_write_header(out, name, num_format_u64(value, text));
}

struct names {
    const char *limit, *remaining, *reset;
    const char *litellm; /* of keys only */
};

static int write_rate(struct buf *out, const struct names *names, const struct gcra *rate,
                      bool is_of_key, uint64_t now_usec)
{
    char reset[HTTP_RATE_RESET_BYTES];
    int r;

    if (rate->per_min == 0) {
        return 0;
    }
    r = write_number(out, names->limit, rate->per_min);
    r = r < 0 ? r : write_number(out, names->remaining, gcra_left(rate, now_usec));
    r = r < 0 ? r
              : http1_write_header(
                    out, names->reset,
                    str_from(http_rate_format_reset(gcra_full_usec(rate, now_usec), reset)));
    return r < 0 || !is_of_key ? r : write_number(out, names->litellm, rate->per_min);
}

int http_rate_headers_write(const struct frontends *f, const struct caller *who, uint64_t now_usec,
                            struct buf *out)
{
    static const struct names requests = {"x-ratelimit-limit-requests",
                                          "x-ratelimit-remaining-requests",
                                          "x-ratelimit-reset-requests", "x-litellm-key-rpm-limit"};
    static const struct names tokens = {"x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens",
                                        "x-ratelimit-reset-tokens", "x-litellm-key-tpm-limit"};
    const struct quota *quota = f->registry->quota;
    const struct quota_account *a = quota ? quota_find(quota, who) : NULL;
    bool is_of_key = a && a->kind == CALLER_KEY;
    int r;

    if (!a) {
        return 0;
    }
    r = write_rate(out, &requests, &a->requests, is_of_key, now_usec);
    return r < 0 ? r : write_rate(out, &tokens, &a->tokens, is_of_key, now_usec);
}
