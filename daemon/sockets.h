#pragma once
/* Which sockets the daemon listens on: those that systemd passed, else the command line's, else the configuration's, else the defaults. */
#include "config.h"
#include "frontend/frontend.h"
#include "server.h"

#define SOCKETS_MAX 16

struct sockets {
    char *addresses[SOCKETS_MAX]; /* owned: those we opened ourselves */
    size_t n;
    char text[512]; /* for people */
};

/* Opens and hands to the frontends. 0 or -errno after saying what is wrong. */
int sockets_open(struct sockets *s, const struct server_options *options,
                 const struct config *config, struct frontends *f) MUST_USE;

/* Removes the socket files that we made. The frontends close the descriptors. */
void sockets_close(struct sockets *s);

/* "rpc on unix:/run/sluice/rpc.sock, http on tcp:127.0.0.1:4000" */
const char *sockets_describe(const struct sockets *s);
