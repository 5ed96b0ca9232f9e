/*
 * What admission's decisions cost with the tables full (tests/unit/admission_hall.h): CPU time of this
 * thread, less what reading it takes, as a median of many, so that what else runs on the machine counts
 * for little. Nothing is asserted here: the work behind a decision is counted, and
 * bounded, by tests/unit/test_admission_cost.c.
 *
 *   decisions [TIMES]
 *
 * A table for docs/BENCHMARKS.md on standard output, in microseconds:
 *
 *   refused    a new call that finds the queue full
 *   let in     a new call for which another one has to leave
 *   granted    a slot comes free, and somebody gets it
 *   nobody     a slot comes free, or not, and nobody can have it
 *   wake-up    all that registry_run() asks where nothing has changed: seven decisions, of which
 *              "nobody" is one
 */
#include <time.h>

#include "tests/unit/admission_hall.h"

enum decision { REFUSED, LET_IN, GRANTED, NOBODY, WAKE_UP, _DECISION_MAX };

static const char *const hall_names[] = {
    [HALL_PLAIN] = "one model, memory not watched",
    [HALL_OF_FEW] = "4 models of this device",
    [HALL_OF_MODELS] = "16 models of this device",
    [HALL_WILDCARD] = "16 models behind a wildcard",
};

static uint64_t cpu_nsec(void)
{
    struct timespec ts;

    (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}

/* The queue is as before afterwards; the CPU time that the decision alone took. */
static uint64_t decide(struct hall *h, enum decision what, unsigned i)
{
    uint64_t now = HALL_START + i + 1, begun = cpu_nsec(), took;
    struct ticket late = {0}, *t;
    struct verdict v;

    switch (what) {
    case REFUSED:
        (void) hall_enter(h, &late, i, CLASS_BACKGROUND, now);
        return cpu_nsec() - begun;
    case LET_IN:
        (void) hall_enter(h, &late, i, CLASS_INTERACTIVE, now);
        took = cpu_nsec() - begun;
        t = admission_ousted(&h->admission, now, &v);
        admission_release(&h->admission, &late, now);
        if (t) {
            (void) hall_enter(h, t, hall_number(h, t), CLASS_BACKGROUND, now);
        }
        return took;
    case GRANTED:
        t = h->admission.granted.next == &h->admission.granted
                ? NULL
                : CONTAINER_OF(h->admission.granted.next, struct ticket, link);
        if (t) {
            admission_note_end(&h->admission, t, ERRCODE_NONE, now);
            admission_release(&h->admission, t, now);
        }
        (void) admission_next(&h->admission, now);
        took = cpu_nsec() - begun;
        if (t) { /* the same question again: else those for the model that is there come to an end */
            (void) hall_enter(h, t, hall_number(h, t), t->class, now);
        }
        return took;
    case NOBODY:
        (void) admission_next(&h->admission, now);
        return cpu_nsec() - begun;
    case WAKE_UP:
        (void) hall_run(h, now);
        return cpu_nsec() - begun;
    case _DECISION_MAX:
        break;
    }
    return 0;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return x < y ? -1 : x > y;
}

static uint64_t of_clock(void)
{
    uint64_t begun = cpu_nsec();

    for (int i = 0; i < 1000; i++) {
        (void) cpu_nsec();
    }
    return (cpu_nsec() - begun) / 1001;
}

static double median_usec(enum hall_kind kind, enum decision what, unsigned n)
{
    static struct hall h;
    uint64_t *took = calloc(n, sizeof *took), clock, median;

    assert(took);
    hall_init(&h, kind);
    clock = of_clock();
    for (unsigned i = 0; i < n; i++) {
        took[i] = decide(&h, what, i);
    }
    qsort(took, n, sizeof *took, compare);
    median = took[n / 2];
    free(took);
    hall_done(&h);
    return (double) (median > clock ? median - clock : 0) / 1000;
}

int main(int argc, char **argv)
{
    unsigned n = argc > 1 ? (unsigned) strtoul(argv[1], NULL, 10) : 4000;

    printf("| 64 callers, %d calls wait | refused | let in | granted | nobody | wake-up |\n",
           HALL_QUEUED);
    printf("| --- | --- | --- | --- | --- | --- |\n");
    for (int k = 0; k < _HALL_MAX; k++) {
        printf("| %s |", hall_names[k]);
        for (int d = 0; d < _DECISION_MAX; d++) {
            printf(" %.2f |", median_usec((enum hall_kind) k, (enum decision) d, n));
        }
        printf("\n");
    }
    return 0;
}
