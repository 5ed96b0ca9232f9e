#pragma once
/* Listening sockets of our own, and those that systemd passed: addresses to descriptors. */
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

#define LISTEN_ERROR_MAX 256

/*
 * "unix:/path", "tcp:127.0.0.1:4000", "tcp:[::1]:4000", "tcp:localhost:4000". A listening,
 * non-blocking socket in *ret_fd. 0 or -errno with a sentence in ret_error. A Unix socket that
 * nobody answers on is replaced, any other file is left alone; its directory is made (0755) where
 * missing, the socket gets mode 0660.
 */
int listen_open(const char *address, int *ret_fd, char ret_error[LISTEN_ERROR_MAX]) MUST_USE;

/* Removes the socket file of a "unix:" address. Others: nothing. */
void listen_unlink(const char *address);

/* Is it a TCP address whose host is not a loopback one? */
bool listen_is_remote(const char *address);

/* The same of a bound socket; anything that is neither a Unix socket nor on loopback is. */
bool listen_fd_is_remote(int fd);

/*
 * The default address of the RPC socket: $RUNTIME_DIRECTORY/rpc.sock, /run/sluice/rpc.sock as root,
 * else $XDG_RUNTIME_DIR/sluice/rpc.sock. -ENOENT: none of these. Formats "unix:..." into ret (size
 * bytes).
 */
int listen_default_rpc(char *ret, size_t size) MUST_USE;
