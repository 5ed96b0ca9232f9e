#pragma once
/* Does a host lead to this machine? */
#include <stdbool.h>

#include "base/str.h"

/*
 * host: as in a URL, without port: a name, "192.0.2.1", "[::1]" (brackets may be missing). True of
 * localhost and names under it, of this machine's own name, of loopback addresses and those that mean
 * "here" (0.0.0.0, ::), and of the addresses that its interfaces have now. Nothing is looked up: of
 * another name, and of a number in another spelling (2130706433), it is not known.
 */
bool own_host_is(struct str host);

/* The same of the host of "http://host:port/path"; false where there is none. */
bool own_host_of_url(const char *url);
