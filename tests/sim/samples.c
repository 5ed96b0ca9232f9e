/*
 * What is said of numbers that were seen.
 *
 * Must not: know what they are of.
 */
#include "tests/sim/samples.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/rng.h"

#define N_DRAWS 2000

void samples_add(struct samples *s, double value)
{
    if (s->n == s->size) {
        s->size = s->size > 0 ? 2 * s->size : 16;
        s->values = reallocarray(s->values, s->size, sizeof *s->values);
        if (!s->values) {
            perror("samples");
            abort();
        }
    }
    s->values[s->n++] = value;
}

void samples_add_all(struct samples *s, const struct samples *from)
{
    for (size_t i = 0; i < from->n; i++) {
        samples_add(s, from->values[i]);
    }
}

void samples_done(struct samples *s)
{
    free(s->values);
    *s = (struct samples) {0};
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

double samples_quantile(struct samples *s, double share)
{
    size_t i = (size_t) ceil(share * (double) s->n);

    if (s->n == 0) {
        return (double) NAN;
    }
    qsort(s->values, s->n, sizeof *s->values, compare);
    return s->values[i > 0 ? i - 1 : 0];
}

double samples_mean(const struct samples *s)
{
    double sum = 0;

    for (size_t i = 0; i < s->n; i++) {
        sum += s->values[i];
    }
    return s->n > 0 ? sum / (double) s->n : (double) NAN;
}

struct interval samples_interval(const struct samples *s)
{
    struct interval i = {.mean = samples_mean(s)};
    struct samples means = {0};
    struct rng rng;

    rng_init(&rng, 1, s->n);
    for (size_t draw = 0; draw < N_DRAWS && s->n > 0; draw++) {
        double sum = 0;

        for (size_t k = 0; k < s->n; k++) {
            sum += s->values[rng_between(&rng, 0, s->n - 1)];
        }
        samples_add(&means, sum / (double) s->n);
    }
    i.low = samples_quantile(&means, 0.025);
    i.high = samples_quantile(&means, 0.975);
    samples_done(&means);
    return i;
}

double samples_jain(const double *x, size_t n)
{
    double sum = 0, squares = 0;

    for (size_t i = 0; i < n; i++) {
        sum += x[i];
        squares += x[i] * x[i];
    }
    return squares > 0 ? sum * sum / ((double) n * squares) : 1;
}

double samples_autocorrelation(const double *x, size_t n, size_t lag)
{
    double mean = 0, variance = 0, covariance = 0;

    for (size_t i = 0; i < n; i++) {
        mean += x[i] / (double) n;
    }
    for (size_t i = 0; i < n; i++) {
        variance += (x[i] - mean) * (x[i] - mean);
        covariance += i + lag < n ? (x[i] - mean) * (x[i + lag] - mean) : 0;
    }
    return variance > 0 ? covariance / variance : 0;
}
