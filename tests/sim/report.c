/*
 * What is printed.
 *
 * Must not: compute anything but what samples.h does.
 */
#include "tests/sim/report.h"

#include <math.h>
#include <string.h>

#include "base/macros.h"

static const char *const class_names[SETTING_CLASSES] = {"interactive", "batch"};
static const int shares[] = {50, 95, 99};

static void print_interval(FILE *out, const struct samples *s, int width, int digits)
{
    struct interval i = samples_interval(s);
    char text[64];

    (void) snprintf(text, sizeof text, "%.*f [%.*f, %.*f]", digits, i.mean, digits, i.low, digits,
                    i.high);
    (void) fprintf(out, " %*s", width, text);
}

static void print_row(FILE *out, struct result *r)
{
    (void) fprintf(out, "%5.1f  %-7s", r->load, r->policy);
    print_interval(out, &r->figures[FIGURE_GOODPUT], 18, 2);
    print_interval(out, &r->figures[FIGURE_TOKEN_GOODPUT], 18, 2);
    print_interval(out, &r->figures[FIGURE_GOOD_INTERACTIVE], 18, 2);
    print_interval(out, &r->figures[FIGURE_GOOD_BATCH], 18, 2);
    (void) fprintf(out, " %6.2f %6.1f%%", samples_mean(&r->figures[FIGURE_ATTEMPTS]),
                   100 * samples_mean(&r->figures[FIGURE_WASTED_TOKENS]));
    for (size_t i = 0; i < SETTING_CLASSES; i++) {
        (void) fprintf(out, " %6.1f %6.1f", samples_quantile(&r->waits[i], 0.5),
                       samples_quantile(&r->waits[i], 0.95));
    }
    if (r->figures[FIGURE_VICTIMS_GOOD].n > 0) {
        (void) fprintf(out, " %5.2f %5.1f%% %6.1f", samples_mean(&r->figures[FIGURE_JAIN]),
                       100 * samples_mean(&r->figures[FIGURE_VICTIMS_GOOD]),
                       samples_mean(&r->figures[FIGURE_VICTIMS_P95]));
    }
    (void) fputc('\n', out);
}

void report_table(FILE *out, struct result *results, size_t n)
{
    if (n == 0) {
        return;
    }
    (void) fprintf(out, "\nsetting %s, %zu seeds\n", results[0].setting,
                   results[0].figures[FIGURE_GOODPUT].n);
    (void) fprintf(out, "%5s  %-7s %18s %18s %18s %18s %6s %7s %13s %13s%s\n", "load", "policy",
                   "goodput", "good tokens", "good interactive", "good batch", "att.", "wasted",
                   "int. wait 50/95", "bat. wait 50/95",
                   results[0].figures[FIGURE_VICTIMS_GOOD].n > 0 ? "  Jain victims   p95" : "");
    for (size_t i = 0; i < n; i++) {
        print_row(out, &results[i]);
    }
}

/* ---------------------------------------------------------------- JSON */

static void json_number(FILE *out, double value)
{
    if (isfinite(value)) {
        (void) fprintf(out, "%.6g", value);
    } else {
        (void) fputs("null", out);
    }
}

static void json_figures(FILE *out, const struct result *r)
{
    for (int f = 0; f < _FIGURE_MAX; f++) {
        const struct samples *s = &r->figures[f];
        struct interval i = samples_interval(s);

        if (s->n == 0) {
            continue;
        }
        (void) fprintf(out, ", \"%s\": {\"mean\": ", figure_name((enum figure) f));
        json_number(out, i.mean);
        (void) fputs(", \"low\": ", out);
        json_number(out, i.low);
        (void) fputs(", \"high\": ", out);
        json_number(out, i.high);
        (void) fputs(", \"seeds\": [", out);
        for (size_t k = 0; k < s->n; k++) {
            (void) fputs(k > 0 ? ", " : "", out);
            json_number(out, s->values[k]);
        }
        (void) fputs("]}", out);
    }
}

static void json_quantiles(FILE *out, const char *name, struct samples *by_class)
{
    (void) fprintf(out, ", \"%s\": {", name);
    for (size_t c = 0; c < SETTING_CLASSES; c++) {
        (void) fprintf(out, "%s\"%s\": {\"n\": %zu", c > 0 ? ", " : "", class_names[c],
                       by_class[c].n);
        for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
            (void) fprintf(out, ", \"p%d\": ", shares[i]);
            json_number(out, samples_quantile(&by_class[c], shares[i] / 100.0));
        }
        (void) fputc('}', out);
    }
    (void) fputc('}', out);
}

static void json_result(FILE *out, struct result *r)
{
    const char *comma = "";

    (void) fprintf(out,
                   "{\"setting\": \"%s\", \"policy\": \"%s\", \"load\": %g, \"intents\": %llu, "
                   "\"attempts\": %llu, \"client_timeouts\": %llu, \"shed\": {",
                   r->setting, r->policy, r->load, (unsigned long long) r->n_intents,
                   (unsigned long long) r->n_attempts, (unsigned long long) r->n_timeouts);
    for (int i = 0; i < _ERRCODE_MAX; i++) {
        if (r->n_shed[i] > 0) {
            (void) fprintf(out, "%s\"%s\": %llu", comma,
                           errcode_info((enum errcode) i)->openai_code,
                           (unsigned long long) r->n_shed[i]);
            comma = ", ";
        }
    }
    (void) fputc('}', out);
    json_figures(out, r);
    json_quantiles(out, "wait_sec", r->waits);
    json_quantiles(out, "first_token_sec", r->firsts);
    (void) fputc('}', out);
}

void report_json(FILE *out, struct result *results, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        (void) fputs(i > 0 ? ",\n" : "", out);
        json_result(out, &results[i]);
    }
}
