#pragma once
/*
 * What memory the device has, as loads of models are planned by it. Read with each decision about a
 * load, at most ten times in a second (8 us each), with a file that is opened for it: an idle daemon
 * reads nothing and holds nothing open.
 */
#include "base/macros.h"
#include "core/residency.h"

/*
 * total_bytes and available_bytes of kernel_root/proc/meminfo, the rest 0. 0 or -errno; -EBADMSG: it says
 * no number of bytes that loads could be planned by.
 */
int device_memory_read(const char *kernel_root, struct residency_memory *ret) MUST_USE;
