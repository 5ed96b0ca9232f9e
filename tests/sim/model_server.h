#pragma once
/*
 * A model server with slots that knows how to read a prompt and write tokens, one by one at an even
 * pace. What is stopped while its prompt is read keeps the slot busy until that is done, as
 * Ollama's runners do; what writes already stops at once.
 *
 * Owned by whoever embeds it. Counts what it made, for whomever.
 */
#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/event_heap.h"

#define SERVER_MAX_SLOTS 8

struct model_server {
    struct event_heap *heap; /* borrowed */
    unsigned n_slots;
    uint64_t busy_until_usec[SERVER_MAX_SLOTS]; /* reading what nobody waits for; free: the past */
    bool is_taken[SERVER_MAX_SLOTS];
    uint64_t count_from_usec; /* what ends before is not counted */
    uint64_t n_tokens;        /* made */
    uint64_t slot_usec;       /* for which slots were used */
};

/* Embedded in what it is for. All zero but the callbacks: not at work. */
struct server_job {
    struct sim_event event;
    struct model_server *server;
    unsigned slot;
    bool is_reading;
    uint64_t began_at_usec, read_at_usec, token_usec, n_tokens;
    void (*on_first)(struct server_job *job); /* the first token is there; may stop it */
    void (*on_end)(struct server_job *job);   /* all are; its slot is free */
};

void model_server_init(struct model_server *s, struct event_heap *heap, unsigned n_slots);

/* A slot must be free. delay_usec: before it begins to read, e.g. to load the model. */
void server_job_start(struct model_server *s, struct server_job *job, uint64_t delay_usec,
                      uint64_t prefill_usec, uint64_t token_usec, uint64_t n_tokens);
void server_job_stop(struct server_job *job); /* at work; no callback follows */
