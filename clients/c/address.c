/*
 * See address.h. The order of sluice_connect() is fixed by its documentation; the environment
 * counts only in programs that run with their caller's rights (secure_getenv). A path that the
 * caller or SLUICE_SOCKET names is the only one tried. Of the two well-known ones the second is
 * tried only where nothing lives at the first: a daemon there that refuses us is an answer.
 *
 * The error text is per thread because a failed constructor has no handle to keep it on. It owns
 * nothing else and must not read or write the socket.
 */
#include "address.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "macros.h"

#define SYSTEM_SOCKET   "/run/sluice/rpc.sock"
#define ERROR_MAX_BYTES 512
#define CONNECT_MAX_SEC 5 /* a full accept queue for that long is a daemon that hangs */

static _Thread_local char last_error[ERROR_MAX_BYTES];

EXPORT const char *sluice_connect_error(void)
{
    return last_error;
}

void address_set_error(const char *text)
{
    (void) snprintf(last_error, sizeof(last_error), "%s", text ? text : "");
}

/* Adds "path: why" to the text; what does not fit is cut. */
static void add_error(const char *path, int error)
{
    char why[96];
    size_t n = strlen(last_error);

    /* The GNU strerror_r: returns the text, which need not be in the buffer. */
    (void) snprintf(last_error + n, sizeof(last_error) - n, "%s%s: %s", n > 0 ? "; " : "", path,
                    strerror_r(-error, why, sizeof(why)));
}

static int connect_socket(int fd, const struct sockaddr_un *sa)
{
    struct timeval limit = {.tv_sec = CONNECT_MAX_SEC};

    /*
     * Connecting to a Unix socket blocks while the accept queue is full and honours the send
     * timeout (unix(7)).
     */
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0) {
        return -errno;
    }
    if (connect(fd, (const struct sockaddr *) sa, sizeof(*sa)) < 0) {
        return errno == EAGAIN ? -ETIMEDOUT : -errno;
    }
    return 0;
}

static int connect_to(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int r;

    if (strlen(path) >= sizeof(sa.sun_path)) {
        r = -ENAMETOOLONG;
        goto fail;
    }
    memcpy(sa.sun_path, path, strlen(path) + 1);

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        r = -errno;
        goto fail;
    }
    r = connect_socket(fd, &sa);
    if (r == 0) {
        return fd;
    }
    (void) close(fd);
fail:
    add_error(path, r);
    return r;
}

static const char *environment(const char *name)
{
    const char *value = secure_getenv(name);

    return value && value[0] != '\0' ? value : NULL;
}

static int connect_anywhere(void)
{
    const char *named = environment("SLUICE_SOCKET");
    const char *runtime = environment("XDG_RUNTIME_DIR");
    char path[sizeof(((struct sockaddr_un *) 0)->sun_path) + 1];

    if (named) {
        return connect_to(named);
    }
    /* A path that does not fit is cut one byte over the limit, so that connect_to() refuses it. */
    if (runtime && snprintf(path, sizeof(path), "%s/sluice/rpc.sock", runtime) > 0) {
        int fd = connect_to(path);

        if (fd >= 0 || (fd != -ENOENT && fd != -ECONNREFUSED)) {
            return fd;
        }
    }
    return connect_to(SYSTEM_SOCKET);
}

int address_connect(const char *path)
{
    address_set_error(NULL);

    int fd = path ? connect_to(path) : connect_anywhere();

    if (fd >= 0) {
        address_set_error(NULL);
    }
    return fd;
}
