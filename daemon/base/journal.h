#pragma once
/*
 * journald's native protocol, spoken without ever waiting: one datagram for each record. What
 * journald does not read at once is kept, up to a limit, and goes with the next record or with
 * journal_flush().
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/macros.h"
#include "base/str.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/* Some 300 records of finished calls: a journald that is restarted, or that syncs its files. */
#define JOURNAL_PENDING_MAX_BYTES (256 * 1024)

/* A record under construction; not zeroed: set len to 0. */
struct journal_record {
    size_t len;
    char bytes[12 * 1024]; /* more than log.h lets into one record */
};

/*
 * Appends a field. Values with newlines or other control bytes are sent in the protocol's binary
 * form. A field that does not fit is left out as a whole.
 */
void journal_put(struct journal_record *rec, const char *name, struct str value);

/* Owned by whoever called journal_init(). */
struct journal {
    int fd;             /* a datagram socket; -1 until one could be made; the same from then on */
    bool is_reachable;  /* as of the last attempt */
    struct buf pending; /* for each record its length (uint32_t) and its bytes */
    uint64_t n_dropped; /* records lost and not accounted for: whoever tells them sets it to 0 */
    struct sockaddr_un address;
};

/* path: of journald's socket, which need not be there yet. 0, or -ENAMETOOLONG. */
int journal_init(struct journal *j, const char *path) MUST_USE;
void journal_done(struct journal *j); /* accepts a zeroed struct */

/*
 * Sends a record, or keeps it: 0. -ENOBUFS: dropped, and counted. -ENOTCONN: there is no journald;
 * the record was not taken and not counted. Never blocks.
 */
int journal_send(struct journal *j, struct str record) MUST_USE;

/* Sends what is pending, as far as journald takes it. Never blocks. */
void journal_flush(struct journal *j);

/*
 * Is there something pending that will go when fd becomes writable (EPOLLOUT)? False while no
 * journald is there: the next record looks for a new one.
 */
bool journal_is_waiting(const struct journal *j);
