#pragma once
/* How much memory the device has, and how much of it programs could still get: /proc/meminfo. */
#include "base/macros.h"
#include "base/str.h"
#include "core/residency.h"

/* Both numbers, in bytes. 0 or -EBADMSG. */
int meminfo_parse(struct str text, struct residency_memory *ret) MUST_USE;

/* root: a path in front of /proc; "" for none. 0 or -errno. */
int meminfo_read(const char *root, struct residency_memory *ret) MUST_USE;
