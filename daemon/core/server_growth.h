#pragma once
/*
 * What a model takes, where the process that holds it cannot be seen: by how much the control group
 * of its server grows with the load of it. Pure: what the group holds comes in, a difference goes
 * out.
 *
 * Whose memory that is, is known by the group's processes. Before the load there are the server, one
 * that may have started it (a shell, an init), and a process for each model that it holds. With the
 * load there is one more. So nothing is learned
 *
 *   of a group that holds more than a model server, us for example (a user's session);
 *   of a load during which one of the processes ended: what it gave back hides what was taken;
 *   while there are two more: another model was loaded behind our back, or somebody works beside it;
 *   from the moment on at which the one more is another one.
 *
 * What the server itself takes more than before, for an answer, counts as the model's: a few MiB.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory_sample.h"

struct server_growth {
    bool is_on;
    bool is_loaded;      /* seen so */
    unsigned runner_pid; /* the one more, since then; 0: the server holds it itself */
    struct server_memory base;
};

/* A load begins; n_models are held beside it. false: nothing can be learned in this group. */
bool server_growth_begin(struct server_growth *g, const struct server_memory *now, size_t n_models);

/*
 * What was taken since. true: so much; false: not to be said now, or, with is_on false from now on,
 * not any more.
 */
bool server_growth_see(struct server_growth *g, const struct server_memory *now, bool is_loading,
                       uint64_t *ret_anon_bytes, uint64_t *ret_file_bytes);
