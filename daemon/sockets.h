#pragma once
/*
 * Which sockets the daemon listens on: those that systemd passed, else the command line's, else the
 * configuration's, else the defaults.
 */
#include "config/config.h"
#include "frontend/frontend.h"
#include "server.h"

#define SOCKETS_MAX 16

struct sockets {
    char *addresses[SOCKETS_MAX]; /* owned: those we opened ourselves */
    size_t n;
    bool is_remote; /* one of them is open to the network */
    /*
     * No model is configured (degraded): those that are open to the network may stay without a key.
     * Set before sockets_open(); sockets_allow() asks again.
     */
    bool serves_nobody;
    bool is_passed; /* they are the service manager's, which starts sluiced when one is used */
    char text[512]; /* for people */
};

/* Has the service manager passed any? */
bool sockets_are_passed(void);

/* Opens and hands to the frontends. 0 or -errno after saying what is wrong. */
int sockets_open(struct sockets *s, const struct server_options *options,
                 const struct config *config, struct frontends *f) MUST_USE;

/* May they stay open under this configuration? false after saying why not. */
bool sockets_allow(const struct sockets *s, const struct config *config);

/*
 * Removes the socket files that we made, before the frontends close the descriptors: afterwards
 * another daemon may have taken the place. Idempotent.
 */
void sockets_close(struct sockets *s);

/* "rpc on unix:/run/sluice/rpc.sock, http on tcp:127.0.0.1:4000" */
const char *sockets_describe(const struct sockets *s);
