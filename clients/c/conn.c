/*
 * See conn.h. Sending and receiving know nothing of each other: a socket that takes no bytes never
 * keeps us from reading, which is the deadlock that ttrpc implementations had to learn
 * (containerd/ttrpc 72).
 *
 * Frames go out whole and in order; one message per frame, one send() per frame. The queue's memory
 * is what was asked to be sent and no more: each frame is one allocation of its own size, freed
 * when its last byte is with the kernel.
 */
#include "conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

struct conn_frame {
    struct conn_frame *next; /* conn.out_first .. out_last */
    size_t n_bytes, n_sent;  /* header included */
    uint8_t bytes[];
};

void conn_init(struct conn *c, int fd)
{
    c->fd = fd;
    c->start = c->end = 0;
    c->out_first = c->out_last = NULL;
    c->out_bytes = 0;
    c->is_out_dead = false;
    c->bytes_sent = c->bytes_received = c->frames_sent = 0;
}

static void drop_first(struct conn *c)
{
    struct conn_frame *f = c->out_first;

    c->out_first = f->next;
    c->out_bytes -= f->n_bytes;
    if (!c->out_first) {
        c->out_last = NULL;
    }
    free(f);
}

static void drop_all(struct conn *c)
{
    while (c->out_first) {
        drop_first(c);
    }
}

void conn_done(struct conn *c)
{
    drop_all(c);
    if (c->fd >= 0) {
        (void) close(c->fd);
        c->fd = -1;
    }
}

int conn_queue(struct conn *c, const struct frame_header *header, bool is_small,
               uint8_t **ret_payload)
{
    size_t n = FRAME_HEADER_BYTES + (size_t) header->payload_bytes;

    if (!is_small &&
        n > CONN_MAX_OUT_BYTES -
                (c->out_bytes < CONN_MAX_OUT_BYTES ? c->out_bytes : CONN_MAX_OUT_BYTES)) {
        return -ENOBUFS;
    }

    struct conn_frame *f = malloc(sizeof(*f) + n);

    if (!f) {
        return -ENOMEM;
    }
    *f = (struct conn_frame) {.n_bytes = n};
    frame_encode_header(header, f->bytes);
    if (c->out_last) {
        c->out_last->next = f;
    } else {
        c->out_first = f;
    }
    c->out_last = f;
    c->out_bytes += n;
    *ret_payload = f->bytes + FRAME_HEADER_BYTES;
    return 0;
}

int conn_send(struct conn *c)
{
    int progress = 0;

    if (c->is_out_dead) {
        drop_all(c);
    }
    while (c->out_first) {
        struct conn_frame *f = c->out_first;
        ssize_t n =
            send(c->fd, f->bytes + f->n_sent, f->n_bytes - f->n_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)) {
            break;
        }
        if (n < 0) {
            c->is_out_dead = true;
            drop_all(c);
            break;
        }
        progress = 1;
        f->n_sent += (size_t) n;
        c->bytes_sent += (uint64_t) n;
        if (f->n_sent == f->n_bytes) {
            c->frames_sent++;
            drop_first(c);
        }
    }
    return progress;
}

int conn_receive(struct conn *c)
{
    if (c->start > 0) {
        memmove(c->window, c->window + c->start, c->end - c->start);
        c->end -= c->start;
        c->start = 0;
    }
    if (c->end == sizeof(c->window)) {
        return 0;
    }

    ssize_t n = recv(c->fd, c->window + c->end, sizeof(c->window) - c->end, MSG_DONTWAIT);

    if (n < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    }
    if (n == 0) {
        return -ECONNRESET;
    }
    c->end += (size_t) n;
    c->bytes_received += (uint64_t) n;
    return 1;
}

bool conn_take_header(struct conn *c, struct frame_header *ret)
{
    if (c->end - c->start < FRAME_HEADER_BYTES) {
        return false;
    }
    frame_decode_header(c->window + c->start, ret);
    c->start += FRAME_HEADER_BYTES;
    return true;
}

size_t conn_take(struct conn *c, uint8_t *to, size_t n)
{
    size_t held = c->end - c->start;

    n = n < held ? n : held;
    if (to && n > 0) {
        memcpy(to, c->window + c->start, n);
    }
    c->start += n;
    return n;
}
