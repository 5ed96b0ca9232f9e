#pragma once
/* The two clocks. Read once per wake-up and passed down; core/ never calls these. */
#include <stdint.h>

#define USEC_PER_SEC  UINT64_C(1000000)
#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_NEVER    UINT64_MAX

/* CLOCK_MONOTONIC. */
uint64_t clock_now_usec(void);

/* CLOCK_REALTIME: only for what the outside calls a date ("created"). */
uint64_t clock_wall_usec(void);

/* a + b, USEC_NEVER when that overflows or either is USEC_NEVER. */
static inline uint64_t usec_add(uint64_t a, uint64_t b)
{
    return a > USEC_NEVER - b ? USEC_NEVER : a + b;
}

/* a - b, 0 when b is later. */
static inline uint64_t usec_since(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}
