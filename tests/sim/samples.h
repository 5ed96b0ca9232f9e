#pragma once
/*
 * Numbers that were seen, and what is said of them: quantiles, Jain's index, a confidence interval
 * from seeds (bootstrap), the autocorrelation of a series.
 */
#include <stddef.h>
#include <stdint.h>

struct samples {
    double *values; /* owned */
    size_t n, size;
};

void samples_add(struct samples *s, double value);
void samples_add_all(struct samples *s, const struct samples *from);
void samples_done(struct samples *s);

/* The smallest value that at least that share does not exceed; NAN of nothing. Sorts. */
double samples_quantile(struct samples *s, double share);
double samples_mean(const struct samples *s); /* NAN of nothing */

struct interval {
    double mean, low, high;
};
/* 95 %, by drawing as many values anew 2,000 times; always the same for the same values. */
struct interval samples_interval(const struct samples *s);

/* (sum x)^2 / (n sum x^2): 1 where all are equal, 1/n where one has everything. */
double samples_jain(const double *x, size_t n);

/* Of x about its mean, at that lag: in [-1, 1]; 0 of a constant. */
double samples_autocorrelation(const double *x, size_t n, size_t lag);
