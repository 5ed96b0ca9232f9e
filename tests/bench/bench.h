#pragma once
/*
 * What the programs of the benchmark share: the clock, a histogram, and the agreement between load
 * generator and fake model server about what a model of a given name answers. Everything is static
 * inline: each program is one .c file.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NSEC_PER_SEC  UINT64_C(1000000000)
#define NSEC_PER_MSEC UINT64_C(1000000)

static inline uint64_t clock_now_nsec(void)
{
    struct timespec ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail on Linux */
    return (uint64_t) ts.tv_sec * NSEC_PER_SEC + (uint64_t) ts.tv_nsec;
}

/* ---------------------------------------------------------------- histogram */
/*
 * Log-linear: 128 buckets for each power of two, so a percentile is off by less than 1 %. Values up
 * to 2^40 ns (18 minutes).
 */
#define HIST_SUB_BITS 7
#define HIST_SUB      (1u << HIST_SUB_BITS)
#define HIST_BUCKETS  ((40 - HIST_SUB_BITS + 1) * HIST_SUB)

struct histogram {
    uint64_t n, max, sum;
    uint32_t counts[HIST_BUCKETS];
};

static inline unsigned hist_bucket(uint64_t value)
{
    unsigned log2 = value < HIST_SUB ? HIST_SUB_BITS : 63u - (unsigned) __builtin_clzll(value);
    unsigned shift = log2 - HIST_SUB_BITS;
    uint64_t bucket =
        value < HIST_SUB ? value : (uint64_t) (shift + 1) * HIST_SUB + (value >> shift) - HIST_SUB;

    return bucket < HIST_BUCKETS ? (unsigned) bucket : HIST_BUCKETS - 1;
}

/* The middle of a bucket. */
static inline double hist_value(unsigned bucket)
{
    if (bucket < HIST_SUB) {
        return bucket;
    }

    unsigned shift = bucket / HIST_SUB - 1;
    uint64_t low = (uint64_t) (HIST_SUB + bucket % HIST_SUB) << shift;

    return (double) low + (double) (UINT64_C(1) << shift) / 2;
}

static inline void hist_add(struct histogram *h, uint64_t value)
{
    h->n++;
    h->sum += value;
    h->max = value > h->max ? value : h->max;
    h->counts[hist_bucket(value)]++;
}

/* The value below which `permille` of all values lie; 0 for an empty histogram. */
static inline double hist_percentile(const struct histogram *h, unsigned permille)
{
    uint64_t want = (h->n * permille + 999) / 1000, seen = 0;

    for (unsigned i = 0; i < HIST_BUCKETS && h->n > 0; i++) {
        seen += h->counts[i];
        if (seen >= want) {
            return hist_value(i);
        }
    }
    return 0;
}

/* "NAME":{"n":..,"p50":..,"p99":..,"max":..,"mean":..} in microseconds. */
static inline void hist_print(const struct histogram *h, const char *name, FILE *out)
{
    fprintf(out, "\"%s\":{\"n\":%llu,\"p50\":%.2f,\"p99\":%.2f,\"max\":%.2f,\"mean\":%.2f}", name,
            (unsigned long long) h->n, hist_percentile(h, 500) / 1e3, hist_percentile(h, 990) / 1e3,
            (double) h->max / 1e3, h->n ? (double) h->sum / (double) h->n / 1e3 : 0.0);
}

/* ---------------------------------------------------------------- what a model answers */
/*
 * The name of a model says what it does:
 *
 *   bench-16                16 tokens at once
 *   bench-256-20ms          256 tokens, one every 20 ms
 *   bench-16-wait3000ms     nothing for 3 s, then 16 tokens
 *   bench-embed-384         vectors of 384 numbers
 *
 * In front of "bench-" anything may stand: gateways give their models other names. Token i is " w"
 * and i in decimal: all tokens differ, as some gateways end a stream that repeats itself.
 */
#define PROFILE_MAX_TOKENS 100000
#define PROFILE_MAX_DIMS   8192

struct profile {
    unsigned n_tokens; /* 0: an embedding model */
    unsigned n_dims;
    uint64_t gap_nsec;
    uint64_t wait_nsec;
};

static inline bool profile_parse(const char *name, struct profile *ret)
{
    const char *p = strstr(name, "bench-");
    struct profile profile = {.n_tokens = 0};
    char *end;

    if (!p) {
        return false;
    }
    p += strlen("bench-");
    if (strncmp(p, "embed-", 6) == 0) {
        profile.n_dims = (unsigned) strtoul(p + 6, &end, 10);
        *ret = profile;
        return end > p + 6 && *end == 0 && profile.n_dims > 0 && profile.n_dims <= PROFILE_MAX_DIMS;
    }
    profile.n_tokens = (unsigned) strtoul(p, &end, 10);
    if (end == p || profile.n_tokens == 0 || profile.n_tokens > PROFILE_MAX_TOKENS) {
        return false;
    }
    while (*end == '-') {
        bool is_wait = strncmp(end + 1, "wait", 4) == 0;
        const char *digits = end + (is_wait ? 5 : 1);
        uint64_t nsec = (uint64_t) strtoul(digits, &end, 10) * NSEC_PER_MSEC;

        if (end == digits || strncmp(end, "ms", 2) != 0) {
            return false;
        }
        end += 2;
        *(is_wait ? &profile.wait_nsec : &profile.gap_nsec) = nsec;
    }
    *ret = profile;
    return *end == 0;
}

#define TOKEN_MAX_BYTES 16

/* Writes token i, returns its length. */
static inline size_t token_format(unsigned i, char out[TOKEN_MAX_BYTES])
{
    return (size_t) snprintf(out, TOKEN_MAX_BYTES, " w%u", i);
}

/* All tokens of an answer in a row; the caller frees. NULL: out of memory. */
static inline char *token_text(unsigned n_tokens, size_t *ret_len)
{
    char *text = malloc((size_t) n_tokens * TOKEN_MAX_BYTES + 1);
    size_t len = 0;

    for (unsigned i = 0; text && i < n_tokens; i++) {
        len += token_format(i, text + len);
    }
    if (text) {
        text[len] = 0;
        *ret_len = len;
    }
    return text;
}

/* ---------------------------------------------------------------- what a load generator tells */
struct load_result {
    uint64_t n_answers, n_failed, n_chunks, n_bytes, n_connects;
    uint64_t started_at_nsec, ended_at_nsec;
    struct histogram latency, first_chunk, gap;
    char problem[200]; /* of the first answer that was wrong */
};

static inline void load_result_fail(struct load_result *r, const char *what)
{
    if (r->n_failed++ == 0) {
        (void) snprintf(r->problem, sizeof r->problem, "%s", what);
    }
}

/*
 * One JSON object on one line. The problem never holds a quote or a backslash: it is our own text.
 */
static inline void load_result_print(const struct load_result *r, FILE *out)
{
    double seconds = (double) (r->ended_at_nsec - r->started_at_nsec) / 1e9;

    fprintf(out,
            "{\"answers\":%llu,\"failed\":%llu,\"chunks\":%llu,\"bytes\":%llu,\"connects\":%llu,"
            "\"seconds\":%.6f,\"answers_per_sec\":%.1f,\"chunks_per_sec\":%.1f,\"problem\":\"%s\",",
            (unsigned long long) r->n_answers, (unsigned long long) r->n_failed,
            (unsigned long long) r->n_chunks, (unsigned long long) r->n_bytes,
            (unsigned long long) r->n_connects, seconds,
            seconds > 0 ? (double) r->n_answers / seconds : 0.0,
            seconds > 0 ? (double) r->n_chunks / seconds : 0.0, r->problem);
    hist_print(&r->latency, "latency_usec", out);
    fprintf(out, ",");
    hist_print(&r->first_chunk, "first_chunk_usec", out);
    fprintf(out, ",");
    hist_print(&r->gap, "gap_usec", out);
    fprintf(out, "}\n");
    (void) fflush(out);
}
