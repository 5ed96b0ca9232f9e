/*
 * A connection: it starts calls, keeps the list of them, and serves the program's loop. Frames are
 * traffic.c's.
 *
 *      program ── call_start ──► traffic ──► conn ──► socket
 *      socket ──► conn ──► traffic ──► call ── call_next ──► program
 *
 * Owns the connection, an epoll descriptor and an eventfd. The epoll descriptor is what programs
 * watch: it never changes, and it becomes readable for the socket (in both directions, as needed)
 * and for sluice_call_cancel() of another thread alike.
 *
 * Calls belong to the program; the list here is only to find them. A call leaves it when it is
 * freed.
 */
#include "client.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"
#include "macros.h"
#include "traffic.h"

#define MAX_OPEN_CALLS      1024               /* far over what a daemon serves on one connection */
#define DEADLINE_GRACE_USEC (1 * USEC_PER_SEC) /* the daemon's own answer comes first */
#define CANCEL_GRACE_USEC   (5 * USEC_PER_SEC) /* a daemon that does not answer Cancel hangs */

/* ---------------------------------------------------------------- life */

static int watch(const sluice_client *c, int fd, int op, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.fd = fd};

    return epoll_ctl(c->epoll_fd, op, fd, &ev) < 0 ? -errno : 0;
}

/* Request ids must not be guessable: they are what Cancel names. */
static int make_id_base(sluice_client *c)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t random[CLIENT_ID_RANDOM_BYTES];

    if (getrandom(random, sizeof(random), 0) != (ssize_t) sizeof(random)) {
        return -EIO;
    }
    for (size_t i = 0; i < sizeof(random); i++) {
        c->id_base[2 * i] = hex[random[i] >> 4];
        c->id_base[2 * i + 1] = hex[random[i] & 15];
    }
    c->id_base[2 * sizeof(random)] = '\0';
    return 0;
}

static bool is_debugging(void)
{
    const char *value = secure_getenv("SLUICE_DEBUG");

    return value && value[0] != '\0' && strcmp(value, "0") != 0;
}

static int check_socket(int fd)
{
    int type = 0;
    socklen_t len = sizeof(type);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0) {
        return errno == ENOTSOCK ? -EINVAL : -errno;
    }
    if (type != SOCK_STREAM) {
        return -EINVAL;
    }
    return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

static int client_open(sluice_client *c, int fd)
{
    int r = make_id_base(c);

    if (r < 0) {
        return r;
    }
    c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (c->epoll_fd < 0) {
        return -errno;
    }
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->wake_fd < 0) {
        return -errno;
    }
    r = watch(c, c->wake_fd, EPOLL_CTL_ADD, EPOLLIN);
    return r < 0 ? r : watch(c, fd, EPOLL_CTL_ADD, EPOLLIN);
}

static void close_descriptors(sluice_client *c)
{
    if (c->epoll_fd >= 0) {
        (void) close(c->epoll_fd);
    }
    if (c->wake_fd >= 0) {
        (void) close(c->wake_fd);
    }
}

static int client_new(int fd, sluice_client **ret)
{
    int r = check_socket(fd);

    if (r < 0) {
        return r;
    }

    sluice_client *c = calloc(1, sizeof(*c));

    if (!c) {
        return -ENOMEM;
    }
    c->epoll_fd = c->wake_fd = -1;
    c->pid = getpid();
    c->next_stream_id = 1;
    c->is_tracing = is_debugging();
    conn_init(&c->conn, fd);
    r = client_open(c, fd);
    if (r < 0) {
        close_descriptors(c);
        free(c);
        return r;
    }
    *ret = c;
    return 0;
}

EXPORT int sluice_connect_fd(int fd, sluice_client **ret_client)
{
    char why[160];
    int r = client_new(fd, ret_client);

    if (r < 0) {
        (void) snprintf(why, sizeof(why), "cannot use descriptor %d: error %d", fd, -r);
    }
    address_set_error(r < 0 ? why : NULL);
    return r;
}

EXPORT int sluice_connect(const char *path, sluice_client **ret_client)
{
    int fd = address_connect(path);

    if (fd < 0) {
        return fd;
    }

    int r = sluice_connect_fd(fd, ret_client);

    if (r < 0) {
        (void) close(fd);
    }
    return r;
}

int client_check_process(const sluice_client *client)
{
    return getpid() == client->pid ? 0 : -ECHILD;
}

EXPORT sluice_client *sluice_client_free(sluice_client *client)
{
    if (!client) {
        return NULL;
    }
    for (sluice_call *call = client->first_call; call;) {
        sluice_call *next = call->next;

        if (call->state == CALL_OPEN) {
            call_close(call, FAILURE_CONNECTION_LOST);
        }
        call->client = NULL;
        call->prev = call->next = NULL;
        call = next;
    }
    free(client->body);
    /* no shutdown(): a child's copy must not end the parent's connection */
    conn_done(&client->conn);
    close_descriptors(client);
    free(client);
    return NULL;
}

/* ---------------------------------------------------------------- the list of calls */

static void append_call(sluice_client *c, sluice_call *call)
{
    call->prev = c->last_call;
    call->next = NULL;
    if (c->last_call) {
        c->last_call->next = call;
    } else {
        c->first_call = call;
    }
    c->last_call = call;
}

static void unlink_call(sluice_client *c, sluice_call *call)
{
    if (call->prev) {
        call->prev->next = call->next;
    } else {
        c->first_call = call->next;
    }
    if (call->next) {
        call->next->prev = call->prev;
    } else {
        c->last_call = call->prev;
    }
    call->prev = call->next = NULL;
}

void client_remove_call(sluice_client *client, sluice_call *call)
{
    if (client->body_call == call) {
        client->body_call = NULL; /* the rest of the body is skipped */
    }
    unlink_call(client, call);
    call->client = NULL;
}

void client_call_closed(sluice_client *client, sluice_call *call)
{
    assert(client->n_open > 0);
    client->n_open--;
    if (client->body_call == call) {
        client->body_call = NULL;
    }
}

EXPORT sluice_call *sluice_client_ready_call(sluice_client *client)
{
    for (sluice_call *call = client->first_call; call; call = call->next) {
        if (call_has_event(call)) {
            /* to the end: the others are offered before it comes again */
            unlink_call(client, call);
            append_call(client, call);
            return call;
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- starting calls */

static void make_request_id(sluice_client *c, const sluice_request *req,
                            char ret_id[REQUEST_ID_MAX_BYTES + 1])
{
    const char *own = request_id(req);

    if (!request_method(request_kind(req))->is_stream) {
        ret_id[0] = '\0';
    } else if (own[0] != '\0') {
        (void) snprintf(ret_id, REQUEST_ID_MAX_BYTES + 1, "%s", own);
    } else {
        (void) snprintf(ret_id, REQUEST_ID_MAX_BYTES + 1, "%s-%llu", c->id_base,
                        (unsigned long long) c->n_started + 1);
    }
}

static int check_start(const sluice_client *c)
{
    int r = client_check_process(c);

    if (r < 0) {
        return r;
    }
    if (c->is_lost) {
        return -ENOTCONN;
    }
    return c->n_open >= MAX_OPEN_CALLS ? -EBUSY : 0;
}

EXPORT int sluice_call_start(sluice_client *client, const sluice_request *req,
                             sluice_call **ret_call)
{
    enum request_kind kind = request_kind(req);
    uint64_t deadline_usec = request_deadline_usec(req);
    char id[REQUEST_ID_MAX_BYTES + 1];
    uint8_t *bytes;
    size_t n;
    int r = check_start(client);

    if (r < 0) {
        return r;
    }
    make_request_id(client, req, id);
    r = request_pack(req, id, &bytes, &n);
    if (r < 0) {
        return r;
    }

    sluice_call *call = call_new(client, kind, client->next_stream_id, id);

    r = call ? traffic_send_request(client, request_method(kind), (struct frame_slice) {bytes, n})
             : -ENOMEM;
    free(bytes);
    if (r < 0) {
        free(call); /* not on the list yet */
        return r;
    }
    if (deadline_usec > 0) {
        call->give_up_at_usec = usec_add(usec_add(now_usec(), deadline_usec), DEADLINE_GRACE_USEC);
    }
    append_call(client, call);
    client->n_open++;
    client->n_started++;
    (void) traffic_flush(client);
    *ret_call = call;
    return 0;
}

/* ---------------------------------------------------------------- cancel and give up */

static int send_wanted_cancels(sluice_client *c)
{
    uint64_t n;
    uint64_t give_up_at_usec = usec_add(now_usec(), CANCEL_GRACE_USEC);

    if (!atomic_exchange(&c->is_wake_wanted, false)) {
        return 0;
    }
    (void) !read(c->wake_fd, &n, sizeof(n));
    for (sluice_call *call = c->first_call; call; call = call->next) {
        if (!atomic_exchange(&call->is_cancel_wanted, false) || call->state != CALL_OPEN) {
            continue;
        }
        traffic_send_cancel(c, call);
        if (!call->is_cancel_sent) {
            call_close(call, FAILURE_CANCELLED); /* nothing to tell the daemon, or no memory to */
        } else if (give_up_at_usec < call->give_up_at_usec) {
            call->give_up_at_usec = give_up_at_usec;
        }
    }
    return 1;
}

static int give_up_calls(sluice_client *c)
{
    uint64_t at_usec = USEC_NEVER;
    int progress = 0;

    (void) sluice_client_get_timeout_usec(c, &at_usec);
    if (at_usec == USEC_NEVER || now_usec() < at_usec) {
        return 0;
    }

    uint64_t now = now_usec();

    for (sluice_call *call = c->first_call; call; call = call->next) {
        if (call->state == CALL_OPEN && call->give_up_at_usec <= now) {
            traffic_end_call(c, call, call->is_cancel_sent ? FAILURE_CANCELLED : FAILURE_DEADLINE);
            progress = 1;
        }
    }
    return progress;
}

/* ---------------------------------------------------------------- the loop's functions */

void client_wake(sluice_client *client)
{
    uint64_t one = 1;

    /*
     * The descriptor first: a process() between the two finds nothing to do and is called once
     * more. A full counter wakes as well.
     */
    (void) !write(client->wake_fd, &one, sizeof(one));
    atomic_store(&client->is_wake_wanted, true);
}

EXPORT int sluice_client_is_connected(const sluice_client *client)
{
    return !client->is_lost;
}

EXPORT int sluice_client_get_fd(const sluice_client *client)
{
    int r = client_check_process(client);

    return r < 0 ? r : client->epoll_fd;
}

EXPORT int sluice_client_get_events(const sluice_client *client)
{
    return client->is_lost ? 0 : POLLIN; /* sending is inside the epoll descriptor too */
}

EXPORT int sluice_client_get_timeout_usec(const sluice_client *client, uint64_t *ret_at_usec)
{
    uint64_t at_usec = USEC_NEVER;

    for (const sluice_call *call = client->first_call; call && !client->is_lost;
         call = call->next) {
        if (call->state == CALL_OPEN && call->give_up_at_usec < at_usec) {
            at_usec = call->give_up_at_usec;
        }
    }
    *ret_at_usec = at_usec;
    return 0;
}

EXPORT int sluice_client_process(sluice_client *client)
{
    int r = client_check_process(client);

    if (r < 0) {
        return r;
    }
    if (client->is_lost) {
        return -ENOTCONN;
    }

    int progress = send_wanted_cancels(client);

    progress |= traffic_receive(client);
    if (!client->is_lost) {
        progress |= traffic_flush(client);
        progress |= give_up_calls(client);
    }
    return progress;
}

EXPORT int sluice_client_wait(sluice_client *client, uint64_t timeout_usec)
{
    struct pollfd p = {.fd = client->epoll_fd, .events = POLLIN};
    uint64_t at_usec, now = now_usec();
    int r = client_check_process(client);

    if (r < 0) {
        return r;
    }
    if (client->is_lost) {
        return -ENOTCONN;
    }
    (void) sluice_client_get_timeout_usec(client, &at_usec);

    uint64_t own_usec = at_usec == USEC_NEVER ? USEC_NEVER : at_usec > now ? at_usec - now : 0;
    uint64_t usec = own_usec < timeout_usec ? own_usec : timeout_usec;
    struct timespec ts = {.tv_sec = (time_t) (usec / USEC_PER_SEC),
                          .tv_nsec = (long) (usec % USEC_PER_SEC) * 1000};

    r = ppoll(&p, 1, usec == USEC_NEVER ? NULL : &ts, NULL);
    if (r < 0) {
        return -errno;
    }
    return r > 0 || own_usec <= timeout_usec;
}

EXPORT uint64_t sluice_client_counter(const sluice_client *client, int counter)
{
    switch ((enum sluice_counter) counter) {
    case SLUICE_COUNTER_BYTES_SENT:
        return client->conn.bytes_sent;
    case SLUICE_COUNTER_BYTES_RECEIVED:
        return client->conn.bytes_received;
    case SLUICE_COUNTER_FRAMES_SENT:
        return client->conn.frames_sent;
    case SLUICE_COUNTER_FRAMES_RECEIVED:
        return client->frames_received;
    case SLUICE_COUNTER_CALLS_STARTED:
        return client->n_started;
    case SLUICE_COUNTER_CALLS_OPEN:
        return client->n_open;
    }
    return 0;
}
