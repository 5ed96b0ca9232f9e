#pragma once
/*
 * What one Ollama server holds in memory right now, as far as is known: the one place for it. Fed by
 * ollama_watch.h with what the server says (GET /api/ps), and by the loader with what calls have
 * met. Reads no clock and no socket.
 *
 * What the server's list is not (measured, 0.34):
 *   - it names runners that are dead until somebody asks for their model. So what a call has met
 *     counts more: a model that failed is doubted as long as it stays listed, until a call or a load
 *     of ours succeeds.
 *   - models that share their weights share a runner, which is on it under the name that came first;
 *     one that loads is missing. So not being listed says nothing.
 *   - expires_at of a busy model lies in the past, sizes are without the cache of prompts. So they
 *     are kept as they were said, and nothing is concluded from them here.
 *
 * A list is believed for RESIDENT_BELIEVED_USEC, and not at all after another process may have taken
 * the server's place (server_state_epoch()).
 */
#include <stdbool.h>
#include <stdint.h>

#include "wire/ollama_state.h"

#define RESIDENT_BELIEVED_USEC (5 * 60 * UINT64_C(1000000)) /* Ollama's keep_alive by default */

/* Embedded in ollama_watch. All zero: nothing is known. */
struct ollama_resident {
    struct ollama_loaded_list list;
    bool is_doubted[OLLAMA_LOADED_MAX_MODELS]; /* list.models[i]: a call has met otherwise */
    uint64_t listed_at_usec;                   /* when it was asked for; 0: no list */
    uint64_t doubted_at_usec;                  /* the latest doubt, of whatever model */
    unsigned epoch;                            /* of the server, when it was asked */
};

void ollama_resident_done(struct ollama_resident *r); /* accepts a zeroed struct */

/*
 * The server's answer to who asked at asked_at_usec, when its epoch was that. Takes the list over
 * where it returns true. false: a call has met something since it was asked which the answer may
 * not know: ask again.
 */
bool ollama_resident_take(struct ollama_resident *r, struct ollama_loaded_list *list,
                          uint64_t asked_at_usec, unsigned epoch) MUST_USE;

/* A call to the model failed in a way that says nothing sure of it any more, or it was unloaded. */
void ollama_resident_doubt(struct ollama_resident *r, const char *model, uint64_t now_usec);

/* A call to the model was answered, or a load of it has succeeded. */
void ollama_resident_confirm(struct ollama_resident *r, const char *model);

/*
 * What is known of the model, or NULL: not listed, doubted, or too long ago. epoch: the server's, now.
 * Borrowed until the next take.
 */
const struct ollama_loaded *ollama_resident_find(const struct ollama_resident *r, const char *model,
                                                 unsigned epoch, uint64_t now_usec);
