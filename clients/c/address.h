#pragma once
/* Where the daemon is: which socket to connect to, and the sentence when none of them works. */
#include "sluice.h"

/* A connected, close-on-exec stream socket for sluice_connect()'s path, or -errno. Fills
 * sluice_connect_error(). */
int address_connect(const char *path);

/* Sets (text) or clears (NULL) sluice_connect_error() of this thread. */
void address_set_error(const char *text);
