/* See clock.h. clock_gettime cannot fail for these two clocks on Linux. */
#include "base/clock.h"

#include <time.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec ts;

    (void) clock_gettime(id, &ts);
    return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

uint64_t clock_now_usec(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_wall_usec(void)
{
    return read_clock(CLOCK_REALTIME);
}
