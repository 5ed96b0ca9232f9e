/*
 * See journal.h. The protocol is that of systemd's JOURNAL_NATIVE_PROTOCOL document:
 *
 *   NAME=value\n                               a value without control bytes
 *   NAME\n <length, 64 bit little endian> value\n    any value
 *
 * in one datagram, or, where that is too large for the socket, in a sealed memfd that an empty
 * datagram carries.
 *
 * libsystemd's own writer is not used because its socket blocks: when journald stops reading (it
 * syncs to a slow flash, it is stopped), the daemon and every stream of text in it would stand
 * still. Here the socket is connected, so that poll() knows of a full queue at the other end
 * (unix(7)), and everything is sent with MSG_DONTWAIT.
 *
 * journald keeps its socket over a restart, since PID 1 holds it. Where it was made anew all the
 * same, sending fails with ECONNREFUSED: the socket is connected again, and the record sent again.
 *
 * Must not: allocate while journald reads, log.
 */
#include "base/journal.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdio.h"

/* ---------------------------------------------------------------- records */

static bool is_plain(struct str value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char) value.ptr[i];

        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

static void put(struct journal_record *rec, const void *bytes, size_t n)
{
    if (n > 0) {
        memcpy(rec->bytes + rec->len, bytes, n);
        rec->len += n;
    }
}

void journal_put(struct journal_record *rec, const char *name, struct str value)
{
    uint64_t length = htole64(value.len);
    size_t n_name = strlen(name);

    if (n_name + value.len + sizeof length + 2 > sizeof rec->bytes - rec->len) {
        return;
    }
    put(rec, name, n_name);
    if (is_plain(value)) {
        put(rec, "=", 1);
    } else {
        put(rec, "\n", 1);
        put(rec, &length, sizeof length);
    }
    put(rec, value.ptr, value.len);
    put(rec, "\n", 1);
}

/* ---------------------------------------------------------------- the socket */

int journal_init(struct journal *j, const char *path)
{
    size_t n = strlen(path);

    if (n >= sizeof j->address.sun_path) {
        return -ENAMETOOLONG;
    }
    *j = (struct journal) {.fd = -1, .address = {.sun_family = AF_UNIX}};
    memcpy(j->address.sun_path, path, n);
    buf_init(&j->pending, JOURNAL_PENDING_MAX_BYTES);
    return 0;
}

void journal_done(struct journal *j)
{
    if (j->address.sun_family == AF_UNIX) {
        j->fd = fd_close(j->fd);
        buf_done(&j->pending);
    }
}

/* -ENOTCONN whatever the reason: for the caller they are all one. */
static int reconnect(struct journal *j)
{
    if (j->fd < 0) {
        j->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    if (j->fd < 0 || connect(j->fd, (const struct sockaddr *) &j->address, sizeof j->address) < 0) {
        return -ENOTCONN;
    }
    return 0;
}

/* A file in memory that nobody can change any more: journald takes no other (memfd_create(2)). */
static int sealed_memfd(struct str record)
{
    int fd = memfd_create("journal-record", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0 &&
        (write(fd, record.ptr, record.len) != (ssize_t) record.len ||
         fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)) {
        fd = fd_close(fd);
    }
    return fd;
}

static int send_as_file(int to, struct str record)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct msghdr message = {.msg_control = &control, .msg_controllen = sizeof control};
    CLEANUP(fd_closep) int fd = sealed_memfd(record);

    if (fd < 0) {
        return -ENOBUFS;
    }
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    return sendmsg(to, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int send_once(int fd, struct str record)
{
    if (send(fd, record.ptr, record.len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
        return 0;
    }
    return errno == EMSGSIZE ? send_as_file(fd, record) : -errno;
}

static bool is_lost(int error)
{
    return error == -ENOTCONN || error == -ECONNREFUSED || error == -ECONNRESET || error == -EPIPE;
}

/* 0, -EAGAIN: not now, -ENOTCONN: no journald, other: never. */
static int transmit(struct journal *j, struct str record)
{
    int r = j->fd < 0 ? -ENOTCONN : send_once(j->fd, record);

    if (is_lost(r)) {
        r = reconnect(j);
        if (r == 0) {
            r = send_once(j->fd, record);
        }
        r = is_lost(r) ? -ENOTCONN : r;
    }
    j->is_reachable = r != -ENOTCONN;
    return r;
}

/* ---------------------------------------------------------------- what waits */

static int keep(struct journal *j, struct str record)
{
    uint32_t length = (uint32_t) record.len;
    char *to;

    if (record.len > JOURNAL_PENDING_MAX_BYTES) {
        return -ENOBUFS;
    }
    to = buf_reserve(&j->pending, sizeof length + record.len);
    if (!to) {
        return -ENOBUFS; /* full, or no memory: the same to whoever reads the log */
    }
    memcpy(to, &length, sizeof length);
    memcpy(to + sizeof length, record.ptr, record.len);
    buf_commit(&j->pending, sizeof length + record.len);
    return 0;
}

void journal_flush(struct journal *j)
{
    while (j->pending.len > 0) {
        uint32_t length;
        int r;

        memcpy(&length, buf_ptr(&j->pending), sizeof length);
        r = transmit(j, (struct str) {buf_ptr(&j->pending) + sizeof length, length});
        if (r == -EAGAIN || r == -ENOTCONN) {
            return;
        }
        j->n_dropped += r < 0;
        buf_consume(&j->pending, sizeof length + length);
    }
    buf_done(&j->pending); /* the memory too: most of the time nothing waits */
}

bool journal_is_waiting(const struct journal *j)
{
    return j->pending.len > 0 && j->is_reachable;
}

int journal_send(struct journal *j, struct str record)
{
    int r;

    journal_flush(j);
    if (j->pending.len == 0) {
        r = transmit(j, record);
    } else {
        r = j->is_reachable ? -EAGAIN : -ENOTCONN; /* records stay in their order */
    }
    if (r == -EAGAIN) {
        r = keep(j, record);
    }
    if (r < 0 && r != -ENOTCONN) {
        j->n_dropped++;
        return -ENOBUFS;
    }
    return r;
}
