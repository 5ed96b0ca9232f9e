#pragma once
/* Helpers of the library's own sources; never installed. */
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_NEVER   UINT64_MAX

static inline uint64_t now_usec(void)
{
    struct timespec ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail: the clock exists on Linux */
    return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

/* a + b, USEC_NEVER on overflow. */
static inline uint64_t usec_add(uint64_t a, uint64_t b)
{
    return a > USEC_NEVER - b ? USEC_NEVER : a + b;
}
