#pragma once
/*
 * Freeing the memory of a model: asks the server of each of its deployments, and counts what they
 * say. A model that somebody uses stays, whole: nothing is asked of anybody then. Models that
 * core/residency watches are freed in its way (residency.unload).
 *
 * An unload belongs to who asks; it holds nothing of the router while it waits, so deployments may
 * come and go meanwhile.
 */
#include <stddef.h>
#include <stdint.h>

#include "core/router.h"
#include "proto/errcode.h"

#define UNLOAD_TEXT_MAX 240

struct unload_part;

struct unload {
    void (*on_done)(struct unload *u); /* once, from the loop; u may be freed in it */
    struct unload_part *parts;         /* owned */
    size_t n_parts, n_pending;
    /* what came of it, once n_pending is 0 */
    uint32_t n_unloaded, n_unchanged;
    enum errcode code;          /* the first failure, or ERRCODE_NONE */
    char text[UNLOAD_TEXT_MAX]; /* of it, for people; "" without */
};

/*
 * ERRCODE_NONE: under way. Where u->n_pending is 0 it is over already and on_done will not be
 * called. Else nothing was asked: MODEL_NOT_FOUND, MODEL_IN_USE, OUT_OF_MEMORY. In any case
 * unload_done() ends it.
 */
enum errcode unload_start(struct unload *u, struct router *r, struct str model);

/* Waits no longer, without a word. What residency knows of goes on; the rest ends where it is. */
void unload_done(struct unload *u);
