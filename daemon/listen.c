/*
 * Opening listening sockets.
 *
 * A Unix socket file may be left over from a daemon that died: it is connected to first, and
 * replaced only when nobody answers.
 */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/num.h"
#include "base/str.h"

#define BACKLOG     4096 /* capped by net.core.somaxconn */
#define SOCKET_MODE 0660
#define DIR_MODE    0755
#define HOST_MAX    256

static int fail(int error, char ret_error[LISTEN_ERROR_MAX], const char *address, const char *what)
{
    (void) snprintf(ret_error, LISTEN_ERROR_MAX, "%s: %s: %s", address, what, strerror(error));
    return -error;
}

static bool somebody_answers(const struct sockaddr_un *sa)
{
    CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd >= 0 &&
           (connect(fd, (const struct sockaddr *) sa, sizeof *sa) == 0 || errno == EAGAIN);
}

/*
 * A socket file that a daemon left behind goes; what is no socket is somebody's, and bind() fails.
 */
static void remove_leftover(const char *path)
{
    struct stat st;

    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        (void) unlink(path);
    }
}

static void make_directory_of(const char *path)
{
    char dir[sizeof((struct sockaddr_un *) 0)->sun_path];
    char *slash;

    (void) snprintf(dir, sizeof dir, "%s", path);
    slash = strrchr(dir, '/');
    if (slash && slash != dir) {
        *slash = '\0';
        (void) mkdir(dir, DIR_MODE); /* bind() says what is wrong with it */
    }
}

static int open_unix(const char *address, int *ret_fd, char ret_error[LISTEN_ERROR_MAX])
{
    const char *path = address + strlen("unix:");
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    CLEANUP(fd_closep) int fd = -1;

    if (path[0] != '/' || strlen(path) >= sizeof sa.sun_path) {
        return fail(EINVAL, ret_error, address, "not an absolute path of at most 107 bytes");
    }
    memcpy(sa.sun_path, path, strlen(path) + 1);
    make_directory_of(path);
    if (somebody_answers(&sa)) {
        return fail(EADDRINUSE, ret_error, address, "another daemon answers there");
    }
    remove_leftover(path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return fail(errno, ret_error, address, "cannot make a socket");
    }

    mode_t old = umask(0777 & ~SOCKET_MODE);
    int r = bind(fd, (const struct sockaddr *) &sa, sizeof sa);
    int error = errno;

    (void) umask(old);
    if (r < 0) {
        return fail(error, ret_error, address, "cannot bind");
    }
    if (listen(fd, BACKLOG) < 0) {
        return fail(errno, ret_error, address, "cannot listen");
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}

/* "host:port" or "[v6]:port" into host (without brackets) and port. */
static int split_host_port(const char *text, char ret_host[HOST_MAX], const char **ret_port)
{
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t) (colon - text) : 0;
    uint64_t port;

    /* getaddrinfo() takes 99999 for 34463 */
    if (!colon || n == 0 || n >= HOST_MAX || num_parse_u64(str_from(colon + 1), &port) < 0 ||
        port > UINT16_MAX) {
        return -EINVAL;
    }
    if (text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    memcpy(ret_host, text, n);
    ret_host[n] = '\0';
    *ret_port = colon + 1;
    return 0;
}

static int bind_tcp(const struct addrinfo *ai)
{
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

    if (fd < 0) {
        return -errno;
    }
    (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (ai->ai_family == AF_INET6) {
        (void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    }
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        int error = errno;

        (void) fd_close(fd);
        return -error;
    }
    return fd;
}

static int open_tcp(const char *address, int *ret_fd, char ret_error[LISTEN_ERROR_MAX])
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *found = NULL;
    char host[HOST_MAX];
    const char *port;
    int fd;

    if (split_host_port(address + strlen("tcp:"), host, &port) < 0) {
        return fail(EINVAL, ret_error, address, "not tcp:HOST:PORT");
    }

    int e = getaddrinfo(host, port, &hints, &found);

    if (e != 0) {
        (void) snprintf(ret_error, LISTEN_ERROR_MAX, "%s: %s", address, gai_strerror(e));
        return -EINVAL;
    }
    fd = bind_tcp(found);
    freeaddrinfo(found);
    if (fd < 0) {
        return fail(-fd, ret_error, address, "cannot listen");
    }
    *ret_fd = fd;
    return 0;
}

int listen_open(const char *address, int *ret_fd, char ret_error[LISTEN_ERROR_MAX])
{
    if (strncmp(address, "unix:", 5) == 0) {
        return open_unix(address, ret_fd, ret_error);
    }
    if (strncmp(address, "tcp:", 4) == 0) {
        return open_tcp(address, ret_fd, ret_error);
    }
    return fail(EINVAL, ret_error, address, "neither unix:PATH nor tcp:HOST:PORT");
}

void listen_unlink(const char *address)
{
    if (strncmp(address, "unix:", 5) == 0) {
        remove_leftover(address + 5);
    }
}

static bool is_loopback_v4(struct in_addr a)
{
    return ntohl(a.s_addr) >> 24 == 127;
}

bool listen_fd_is_remote(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } sa = {0};
    socklen_t n = sizeof sa;

    if (getsockname(fd, &sa.any, &n) < 0) {
        return true;
    }
    if (sa.any.sa_family == AF_INET) {
        return !is_loopback_v4(sa.v4.sin_addr);
    }
    if (sa.any.sa_family == AF_INET6) {
        /* a mapped 127.0.0.1 is rare: ask for a key */
        return !IN6_IS_ADDR_LOOPBACK(&sa.v6.sin6_addr);
    }
    return sa.any.sa_family != AF_UNIX;
}

bool listen_is_remote(const char *address)
{
    char host[HOST_MAX];
    const char *port;

    if (strncmp(address, "tcp:", 4) != 0 || split_host_port(address + 4, host, &port) < 0) {
        return false;
    }
    struct in_addr v4;

    return !(inet_pton(AF_INET, host, &v4) == 1 && is_loopback_v4(v4)) &&
           strcmp(host, "localhost") != 0 && strcmp(host, "::1") != 0;
}

int listen_default_rpc(char *ret, size_t size)
{
    const char *dir = getenv("RUNTIME_DIRECTORY");
    const char *user = getenv("XDG_RUNTIME_DIR");
    int n;

    if (dir && dir[0] == '/') {
        n = snprintf(ret, size, "unix:%s/rpc.sock", dir);
    } else if (geteuid() == 0) {
        n = snprintf(ret, size, "unix:/run/sluice/rpc.sock");
    } else if (user && user[0] == '/') {
        n = snprintf(ret, size, "unix:%s/sluice/rpc.sock", user);
    } else {
        return -ENOENT;
    }
    return n > 0 && (size_t) n < size ? 0 : -ENAMETOOLONG;
}
