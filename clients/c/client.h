#pragma once
/* A client, seen from inside: what it holds, and what calls need of it. */
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "call.h"
#include "conn.h"
#include "sluice.h"

#define CLIENT_ID_RANDOM_BYTES 12

/* Belongs to the program (sluice_client_free()). */
struct sluice_client {
    struct conn conn;
    int epoll_fd, wake_fd; /* owned */
    pid_t pid;
    bool is_lost;      /* the connection has gone: fixed for good */
    bool is_out_armed; /* epoll watches for room to send */
    bool is_tracing;
    atomic_bool is_wake_wanted;

    sluice_call *first_call, *last_call; /* borrowed */
    size_t n_open;
    uint32_t next_stream_id;

    /* The frame whose header was taken and whose body is coming. */
    struct frame_header header;
    bool is_in_body;
    size_t body_left;
    struct call_frame *body; /* owned; NULL: skipped */
    sluice_call *body_call;  /* borrowed; NULL: nobody waits for it any more */

    char id_base[2 * CLIENT_ID_RANDOM_BYTES + 1];
    uint64_t n_started, frames_received;
};

/* 0, or -ECHILD: this process is a child of the one that made the client. */
int client_check_process(const sluice_client *client);

/* Takes the call off the client; its frames are ignored from now on. */
void client_remove_call(sluice_client *client, sluice_call *call);

/* Makes a waiting client look at is_cancel_wanted. Any thread, signal handlers. */
void client_wake(sluice_client *client);

/* The call left CALL_OPEN. Told by call.c, which alone changes that state. */
void client_call_closed(sluice_client *client, sluice_call *call);
