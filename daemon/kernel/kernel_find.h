#pragma once
/*
 * Where the model server is: from a port of loopback to the process that listens there, from a
 * process or a unit's name to its control group. Walks /proc and /sys/fs/cgroup; for start and
 * reload, not for each sample.
 */
#include <stddef.h>

#include "base/macros.h"
#include "kernel/kernel_group.h"

/* Where v2 is mounted below root, "" not included; NULL: nowhere. */
const char *kernel_find_mount(const char *root);

/*
 * The process that listens on the port (TCP, any address). 0; -ENOENT: none; -EACCES: somebody
 * does, but whose socket it is cannot be seen from here.
 */
int kernel_find_listener(const char *root, unsigned port, unsigned *ret_pid) MUST_USE;

/* 0, or -ENOENT and the like. */
int kernel_find_process(const char *root, unsigned pid, struct kernel_group_paths *ret) MUST_USE;
/* "ollama.service": the first group of that name, not too deep. */
int kernel_find_unit(const char *root, const char *unit, struct kernel_group_paths *ret) MUST_USE;
/* A path below the mount points, the same in both hierarchies. */
int kernel_find_path(const char *path, struct kernel_group_paths *ret) MUST_USE;
