/*
 * ./dev sim: one device under clients that come again, in virtual time, behind each of three policies;
 * and a fleet of devices. Says on standard error where it is, prints tables, writes JSON.
 *
 * The same seeds give the same output, byte for byte.
 */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "tests/sim/fleet.h"
#include "tests/sim/report.h"

#define FLEET_DEVICES       1000
#define FLEET_QUICK_DEVICES 50
#define FLEET_SEC           1800
#define FLEET_QUICK_SEC     900
#define FLEET_MAX           20000

#define MAX_LOADS   16
#define MAX_RESULTS (MAX_LOADS * 3)

struct options {
    size_t n_seeds;
    double loads[MAX_LOADS];
    size_t n_loads;
    const char *setting; /* NULL: all */
    const char *json;    /* NULL: none */
    unsigned n_devices;  /* of the fleet; 0: no fleet, UINT_MAX: not said */
    bool is_quick, is_quiet;
};

static const char *const policies[] = {"fifo", "limits", "sluice"};
static const char *const setting_names[] = {"sketch", "bench",    "attempt",
                                            "hog",    "deadline", "deadline-hog"};

static int usage(FILE *out, int rc)
{
    (void) fputs("usage: sluice_sim [--quick] [--seeds N] [--load X,Y,...] [--setting NAME]\n"
                 "                  [--fleet N] [--json FILE] [--quiet]\n",
                 out);
    return rc;
}

static void progress(const struct options *o, const struct result *r, size_t seed)
{
    if (!o->is_quiet) {
        (void) fprintf(stderr, "   %s %.1fx %s, seed %zu of %zu\n", r->setting, r->load, r->policy,
                       seed, o->n_seeds);
    }
}

/* A tenth of the time, for a look or a test. */
static struct setting shortened(const struct setting *s)
{
    struct setting copy = *s;

    copy.seconds = s->seconds / 5 + 600;
    copy.warm_seconds = s->warm_seconds / 2;
    return copy;
}

static void run_setting(const struct options *o, const char *name, FILE *json)
{
    static const double hog_loads[] = {2.1};
    struct setting setting = o->is_quick ? shortened(setting_find(name)) : *setting_find(name);
    bool is_hog = setting.n_callers > 1; /* about callers, and not about loads */
    const double *loads = is_hog ? hog_loads : o->loads;
    size_t n_loads = is_hog ? 1 : o->n_loads, n = 0;
    struct result results[MAX_RESULTS];

    for (size_t l = 0; l < n_loads; l++) {
        for (size_t p = 0; p < ARRAY_LEN(policies); p++) {
            struct result *r = &results[n++];

            *r = (struct result) {.setting = name, .policy = policies[p], .load = loads[l]};
            for (size_t seed = 1; seed <= o->n_seeds; seed++) {
                progress(o, r, seed);
                result_add_run(r, &setting, seed);
            }
        }
    }
    report_table(stdout, results, n);
    (void) fflush(stdout);
    if (json) {
        report_json(json, results, n);
    }
    for (size_t i = 0; i < n; i++) {
        result_done(&results[i]);
    }
}

static bool parse_loads(struct options *o, char *text)
{
    char *save = NULL;

    o->n_loads = 0;
    for (char *t = strtok_r(text, ",", &save); t; t = strtok_r(NULL, ",", &save)) {
        char *end;
        double load = strtod(t, &end);

        if (*end || !(load > 0 && load <= 100) || o->n_loads == MAX_LOADS) {
            return false;
        }
        o->loads[o->n_loads++] = load;
    }
    return o->n_loads > 0;
}

static bool parse(struct options *o, int argc, char **argv)
{
    static const struct option longs[] = {
        {"quick", no_argument, NULL, 'q'},      {"seeds", required_argument, NULL, 's'},
        {"load", required_argument, NULL, 'l'}, {"setting", required_argument, NULL, 'S'},
        {"json", required_argument, NULL, 'j'}, {"fleet", required_argument, NULL, 'f'},
        {"quiet", no_argument, NULL, 'Q'},      {0},
    };
    char *end;
    int c;

    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 'q':
            o->is_quick = true;
            break;
        case 'Q':
            o->is_quiet = true;
            break;
        case 's':
            o->n_seeds = strtoul(optarg, NULL, 10);
            break;
        case 'l':
            if (!parse_loads(o, optarg)) {
                return false;
            }
            break;
        case 'S':
            o->setting = optarg;
            break;
        case 'f':
            o->n_devices = (unsigned) strtoul(optarg, &end, 10);
            if (*end || o->n_devices > FLEET_MAX) {
                return false;
            }
            break;
        case 'j':
            o->json = optarg;
            break;
        default:
            return false;
        }
    }
    return optind == argc && o->n_seeds >= 1 && o->n_seeds <= 1000 &&
           (!o->setting || setting_find(o->setting));
}

static void run_settings(const struct options *o, FILE *json)
{
    bool is_first = true;

    for (size_t i = 0; i < ARRAY_LEN(setting_names); i++) {
        if (o->setting && strcmp(o->setting, setting_names[i]) != 0) {
            continue;
        }
        if (json && !is_first) {
            (void) fputs(",\n", json);
        }
        is_first = false;
        run_setting(o, setting_names[i], json);
    }
}

static void run_fleet(const struct options *o, FILE *json)
{
    struct fleet_params p = {
        .n_devices = o->n_devices, .seconds = o->is_quick ? FLEET_QUICK_SEC : FLEET_SEC, .seed = 1};

    if (p.n_devices == UINT_MAX) {
        p.n_devices = o->is_quick ? FLEET_QUICK_DEVICES : FLEET_DEVICES;
    }
    if (!o->is_quiet) {
        (void) fprintf(stderr, "   fleet of %u devices\n", p.n_devices);
    }
    fleet_run(&p, stdout, json);
}

int main(int argc, char **argv)
{
    struct options o = {
        .n_seeds = 5, .loads = {0.5, 0.8, 1, 1.5, 2, 4, 10}, .n_loads = 7, .n_devices = UINT_MAX};
    bool has_settings, has_fleet;
    FILE *json = NULL;

    if (!parse(&o, argc, argv)) {
        return usage(stderr, 2);
    }
    if (o.json) {
        json = fopen(o.json, "we");
        if (!json) {
            perror(o.json);
            return 1;
        }
        (void) fputs("{\"runs\": [\n", json);
    }
    has_fleet = o.n_devices > 0 && (o.n_devices != UINT_MAX || !o.setting);
    has_settings = o.setting || o.n_devices == 0 || o.n_devices == UINT_MAX;
    if (has_settings) {
        run_settings(&o, json);
    }
    if (json) {
        (void) fputs(has_fleet ? "\n],\n\"fleet\": " : "\n]", json);
    }
    if (has_fleet) {
        run_fleet(&o, json);
    }
    if (json) {
        (void) fputs("}\n", json);
        if (fclose(json) != 0) {
            perror(o.json);
            return 1;
        }
    }
    return 0;
}
