#pragma once
/*
 * The composition: owns the event loop, the configuration and every module, and wires the ports.
 * Nothing includes this but main.c.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "base/macros.h"

#define SERVER_MAX_LISTENS 8

/* The command line. Strings are argv's. */
struct server_options {
    const char *config_path;
    const char *host, *port; /* of HTTP over TCP; NULL: the defaults */
    struct {
        const char *name, *address;
    } listens[SERVER_MAX_LISTENS]; /* --listen NAME=ADDRESS: replace the defaults of that name */
    size_t n_listens;
    bool has_idle_exit; /* --idle-exit: goes before the file */
    uint64_t idle_exit_usec;
};

/* Runs until a signal ends it. The exit status of the process. */
int server_run(const struct server_options *options);
