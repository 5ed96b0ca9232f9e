#pragma once
/*
 * Attributes and container helpers: the only macros of the daemon beside the X-tables in .def
 * files.
 */
#include <stddef.h>
#include <stdint.h>

#define MUST_USE              __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a)     __attribute__((format(printf, f, a)))
#define CLEANUP(fn)           __attribute__((cleanup(fn)))
#define ARRAY_LEN(a)          (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(p, t, m) ((t *) ((uintptr_t) (p) - offsetof(t, m)))

/*
 * Steals a pointer: the variable becomes NULL, the value is returned. After a transfer of
 * ownership.
 */
#define TAKE(p)                                                                                    \
    __extension__({                                                                                \
        __typeof__(p) _taken = (p);                                                                \
        (p) = NULL;                                                                                \
        _taken;                                                                                    \
    })
