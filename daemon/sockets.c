/*
 * The choice of listening sockets. Each source of them replaces the next one name by name: a
 * --listen for http leaves rpc at its default.
 */
#include "sockets.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "base/fdio.h"
#include "base/log.h"
#include "config_params.h"
#include "config_params.h"
#include "frontend/listener.h"
#include "listen.h"

#define DEFAULT_HTTP_PORT "4000"
#define ADDRESS_MAX       256

static void describe(struct sockets *s, const char *name, const char *address)
{
    size_t n = strlen(s->text);

    (void) snprintf(s->text + n, sizeof s->text - n, "%s%s on %s", n > 0 ? ", " : "", name,
                    address);
}

/* The frontend that serves a socket of that name; http on a Unix socket is the keyless kind. */
static const struct frontend_ops *frontend_for(const char *name, const char *address)
{
    if (strcmp(name, "http") == 0 && strncmp(address, "unix:", 5) == 0) {
        return frontend_find("http-unix");
    }
    return frontend_find(name);
}

/* Is this address, or socket, one that we may serve? Says why not. */
static bool may_listen(struct sockets *s, const char *what, bool is_remote,
                       const struct config *config)
{
    if (is_remote && !config_params_checks_callers(config) && !s->serves_nobody) {
        log_printf(
            LOG_LEVEL_ERROR,
            "will not listen on %s: without general_settings.master_key or sluice.keys anybody on the network could use it",
            what);
        return false;
    }
    s->is_remote = s->is_remote || is_remote;
    return true;
}

bool sockets_allow(const struct sockets *s, const struct config *config)
{
    if (s->is_remote && !config_params_checks_callers(config)) {
        log_printf(
            LOG_LEVEL_ERROR,
            "general_settings.master_key and sluice.keys cannot both go while sluiced listens "
            "on %s: anybody on the network could use it",
            s->text);
        return false;
    }
    return true;
}

static int open_one(struct sockets *s, const char *name, const char *address,
                    const struct config *config, struct frontends *f)
{
    const struct frontend_ops *ops = frontend_for(name, address);
    char error[LISTEN_ERROR_MAX];
    int fd, r;

    assert(ops); /* config_split_listen() has seen every name and address */
    if (!may_listen(s, address, listen_is_remote(address), config)) {
        return -EPERM;
    }
    r = s->n == SOCKETS_MAX ? -ENOBUFS : listen_open(address, &fd, error);
    if (r < 0) {
        log_printf(LOG_LEVEL_ERROR, "cannot listen: %s", error);
        return r;
    }
    s->addresses[s->n] = strdup(address);
    if (!s->addresses[s->n]) {
        (void) fd_close(fd);
        return -ENOMEM;
    }
    s->n++;
    describe(s, name, address);
    return listener_add(f, ops, fd);
}

static int adopt_one(struct sockets *s, int fd, const char *name, const struct config *config,
                     struct frontends *f)
{
    const struct frontend_ops *ops = frontend_find(name);
    int r;

    if (strcmp(name, "rpc") == 0 && sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) <= 0) {
        log_printf(LOG_LEVEL_ERROR,
                   "socket \"rpc\" passed by systemd is not a listening Unix stream socket");
        return -EINVAL;
    }
    if (!may_listen(s, "the socket passed by systemd", listen_fd_is_remote(fd), config)) {
        return -EPERM;
    }
    r = listener_add(f, ops, fd);
    if (r < 0) {
        log_printf(LOG_LEVEL_ERROR, "socket \"%s\" passed by systemd cannot be used: %s", name,
                   strerror(-r));
        return r;
    }
    describe(s, name, "the socket passed by systemd");
    return 0;
}

bool sockets_are_passed(void)
{
    return sd_listen_fds(0) > 0; /* 0: the variables are read again by adopt_passed() */
}

static int adopt_passed(struct sockets *s, const struct config *config, struct frontends *f)
{
    char **names = NULL;
    int n = sd_listen_fds_with_names(1, &names), n_served = 0, r = 0;

    for (int i = 0; i < n; i++) {
        if (!frontend_find(names[i])) {
            log_printf(
                LOG_LEVEL_ERROR,
                "socket \"%s\" passed by systemd is not served: FileDescriptorName= must be rpc, http or http-unix",
                names[i]);
            (void) fd_close(SD_LISTEN_FDS_START + i);
            continue;
        }
        r = adopt_one(s, SD_LISTEN_FDS_START + i, names[i], config, f);
        if (r < 0) {
            break;
        }
        n_served++;
    }
    for (int i = 0; i < n; i++) {
        free(names[i]);
    }
    free(names);
    if (r >= 0 && n > 0 && n_served == 0) {
        log_printf(LOG_LEVEL_ERROR, "none of the %d sockets passed by systemd can be served", n);
        return -ENOENT;
    }
    s->is_passed = n_served > 0;
    return r < 0 ? r : n;
}

/* Opens what the command line, else the file, names for `name`. How many, or -errno. */
static int open_named(struct sockets *s, const char *name, const struct server_options *o,
                      const struct config *c, struct frontends *f)
{
    int n = 0, r;

    for (size_t i = 0; i < o->n_listens; i++) {
        if (strcmp(o->listens[i].name, name) == 0) {
            r = open_one(s, name, o->listens[i].address, c, f);
            if (r < 0) {
                return r;
            }
            n++;
        }
    }
    for (size_t i = 0; n == 0 && i < c->n_listens; i++) {
        if (strcmp(c->listens[i].name, name) == 0) {
            for (size_t k = i; k < c->n_listens; k++) {
                if (strcmp(c->listens[k].name, name) != 0) {
                    continue;
                }
                r = open_one(s, name, c->listens[k].address, c, f);
                if (r < 0) {
                    return r;
                }
                n++;
            }
        }
    }
    return n;
}

static int open_default_rpc(struct sockets *s, const struct config *c, struct frontends *f)
{
    char address[ADDRESS_MAX];

    if (listen_default_rpc(address, sizeof address) < 0) {
        log_printf(LOG_LEVEL_NOTICE,
                   "no RPC socket: XDG_RUNTIME_DIR is not set; --listen rpc=unix:PATH opens one");
        return 0;
    }
    return open_one(s, "rpc", address, c, f);
}

static int open_default_http(struct sockets *s, const struct server_options *o,
                             const struct config *c, struct frontends *f)
{
    const char *port = o->port ? o->port : DEFAULT_HTTP_PORT;
    const char *host = o->host ? o->host : "127.0.0.1";
    char address[ADDRESS_MAX], error[LISTEN_ERROR_MAX];
    int r, fd;

    (void) snprintf(address, sizeof address,
                    strchr(host, ':') && host[0] != '[' ? "tcp:[%s]:%s" : "tcp:%s:%s", host, port);
    r = open_one(s, "http", address, c, f);
    if (r < 0 || o->host) {
        return r;
    }
    (void) snprintf(address, sizeof address, "tcp:[::1]:%s", port);
    if (listen_open(address, &fd, error) < 0) {
        return 0; /* a device without IPv6 is fine */
    }
    describe(s, "http", address);
    return listener_add(f, frontend_find("http"), fd);
}

int sockets_open(struct sockets *s, const struct server_options *options,
                 const struct config *config, struct frontends *f)
{
    int r = adopt_passed(s, config, f);

    if (r != 0) {
        return r < 0 ? r : 0;
    }
    r = open_named(s, "rpc", options, config, f);
    if (r == 0) {
        r = open_default_rpc(s, config, f);
    }
    if (r < 0) {
        return r;
    }
    r = options->host || options->port ? 0 : open_named(s, "http", options, config, f);
    if (r == 0) {
        r = open_default_http(s, options, config, f);
    }
    return r < 0 ? r : 0;
}

void sockets_close(struct sockets *s)
{
    for (size_t i = 0; i < s->n; i++) {
        listen_unlink(s->addresses[i]);
        free(s->addresses[i]);
    }
    s->n = 0;
}

const char *sockets_describe(const struct sockets *s)
{
    return s->text;
}
