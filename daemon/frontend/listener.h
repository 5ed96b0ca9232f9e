#pragma once
/*
 * Listening sockets: accept within limits, take the peer's identity once, hand over to a frontend.
 */
#include "frontend/frontend.h"

/*
 * Adopts a listening socket (from systemd, or opened by the composition), which it takes over in
 * any case. 0 or -errno: not a listening stream socket.
 */
int listener_add(struct frontends *f, const struct frontend_ops *ops, int fd) MUST_USE;

/* Closes them all. */
void listeners_close(struct frontends *f);

/* Is somebody waiting to be accepted on one of them? Asks the kernel. */
bool listeners_have_arrivals(const struct frontends *f);

/* A connection ended: those that stopped at the limit accept again. */
void listeners_room(struct frontends *f);
