#pragma once
/*
 * What the parts of core/call share: call.c (the life of one call), call_attempt.c (its ways),
 * call_registry.c (all of them). Nobody else includes this.
 */
#include "core/call.h"

#define NAME_SHOWN_MAX 80 /* bytes of a name in an error message */

/* Why a call, or one attempt of it, fails. Texts are borrowed; absent: those of errors.def. */
struct call_failure {
    enum errcode code;
    struct str text, param;
    uint64_t retry_after_usec;
    bool is_last; /* as verdict.is_last */
};

/* ---------------------------------------------------------------- call.c */

void call_set_state(struct call *call, enum call_state to);
bool call_has_ended(const struct call *call);
void call_want_run(struct call_registry *reg);
void call_forward(struct call *call, const struct event *ev); /* to the sink, if there is one */
void call_stop_job(struct call *call);
void call_free(struct call *call); /* its ticket is home */

/*
 * The slot, or the place in the queue, goes home. f: what the attempt ended with, NULL: well;
 * breaker and cooldown are told where there was one.
 */
void call_leave_slot(struct call *call, const struct call_failure *f, uint64_t now_usec);

/* What the call would end with. NULL: well. f must not point into the call. */
void call_remember(struct call *call, const struct call_failure *f);
void call_end_as_remembered(struct call *call, uint64_t now_usec); /* the ticket is home */

/* All three of them. */
void call_end(struct call *call, const struct call_failure *f, uint64_t now_usec);

/* A running call is stopped for the memory that its model takes: ENDING, with MEMORY_PRESSURE. */
void call_relieve(struct call *call, uint64_t now_usec);

/* ---------------------------------------------------------------- call_registry.c */

/*
 * A verdict on the call, which asked for group: in the words of the router, with its numbers, where it
 * is the group that refuses. text keeps them.
 */
struct call_failure call_failure_of(const struct call *call, const struct model_group *group,
                                    const struct verdict *v, uint64_t now_usec,
                                    char text[ROUTER_REFUSAL_BYTES]);

/* ---------------------------------------------------------------- call_attempt.c */

/* A NEW call: into the queue of its group, or refused. */
void call_admit(struct call *call, uint64_t now_usec);

/*
 * It is, or may be, given to this group: where that has a local_only deployment, the call stays on
 * the device from now on, wherever it falls back to.
 */
void call_bind(struct call *call, const struct model_group *group);

/* What it asks of the gate. */
struct admission_ask call_ask(const struct call *call);

/*
 * A STARTING or WAITING call, whose ticket is home, goes into the queue as ask says and begins anew.
 * What is said against it, or ERRCODE_NONE.
 */
struct verdict call_wait_again(struct call *call, struct model_group *group,
                               const struct admission_ask *ask, uint64_t at_usec,
                               uint64_t now_usec);

/* A slot was granted: the attempt begins. */
void call_start(struct call *call, uint64_t now_usec);

/* A STARTING call's attempt failed; its job is over. WAITING again, or ENDING. */
void call_attempt_failed(struct call *call, const struct call_failure *f, uint64_t now_usec);

/*
 * A STARTING call's slot is needed by another: its job is stopped, and it waits again, or ends with
 * PREEMPTED.
 */
void call_preempted(struct call *call, uint64_t now_usec);

/* Its group does not serve it: the ticket is home. WAITING for another group, or ENDING. */
void call_group_refused(struct call *call, const struct call_failure *f, uint64_t now_usec);

/*
 * Is this end of an answer without a word a content filter's, and is there a fallback for that?
 */
bool call_is_filtered(struct call *call, const struct event *end);

/* MODEL_NOT_FOUND, with names that are near. */
void call_end_unknown_model(struct call *call, uint64_t now_usec);

/* ---------------------------------------------------------------- call_spill.c */

/*
 * A call of which no attempt was made yet, NEW or refused here (refusal; its ticket is home), goes to
 * another machine, where there is a reason and a place: WAITING there. false: it stays as it is.
 */
bool call_spill(struct call *call, enum errcode refusal, uint64_t now_usec);

/* Those that wait here, while the level is such that they leave: as far as slots are free elsewhere. */
void call_spill_waiting(struct call_registry *reg, uint64_t now_usec);

/*
 * A spilled call, whose ticket is home, failed elsewhere: WAITING here, or what follows where its group
 * refuses it. false: it will do neither, and what it ends with is remembered.
 */
bool call_come_home(struct call *call, uint64_t now_usec);

/*
 * A refusal that another machine could have spared it: f says in its text why none has. text keeps
 * that.
 */
void call_say_why_it_stayed(const struct call *call, struct call_failure *f,
                            char text[CALL_TEXT_MAX], uint64_t now_usec);
