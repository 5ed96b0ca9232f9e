#pragma once
/*
 * A trigger of the kernel on a pressure file: it wakes who polls for EPOLLPRI when tasks stalled
 * for a tenth of its window (Documentation/accounting/psi.rst).
 */
#include <sys/types.h>

#include "base/macros.h"

typedef ssize_t psi_write_fn(int fd, const void *bytes, size_t n);

/*
 * Opens the file and asks for a trigger: a window of 1 s, else of 2 s, which kernels from 6.4 grant
 * everybody. The descriptor, or -errno: -ENOTTY when the file is none of the kernel's.
 */
int psi_trigger_open(const char *path) MUST_USE;

/* The ladder itself, with the write() to use. 0, or the -errno of the last step. */
int psi_trigger_write(int fd, psi_write_fn *write_bytes) MUST_USE;
