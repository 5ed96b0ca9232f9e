#pragma once
/*
 * Which models the servers of this device hold in memory, and which may be loaded now. Pure: a
 * clock, memory numbers and news of servers come in; answers and actions come out. The driver
 * (daemon/residency_driver.*) carries the actions out and tells what came of them.
 *
 *                     a call is let in          the loader begins
 *      UNLOADED ──────────────► RESERVED ──────────────► LOADING ──┐ failed: FAILED (quarantine)
 *         ▲ ▲                      │ nothing was loaded            │ or UNLOADED
 *         │ └──────────────────────┘                               ▼
 *      UNLOADING ◄───────────── DRAINING ◄──────────────────── RESIDENT
 *         │    nobody uses it     another one's turn               ▲
 *         └────────────────────────────────────────────────────────┘ it would not go
 *
 * Two rules keep the device alive:
 *
 *   budget    a load is let begin only where what the model needs (core/footprint.h) is free and the
 *             reserve remains: asked <= available - reservations - R_soft. So a planned load never
 *             raises the pressure level by itself.
 *   one       one load at a time on the device, and one unload, and neither beside the other.
 *
 * Where a call waits: before router_pick() gives it a slot. The one call that begins a load holds a
 * slot of its deployment while that load goes on (nobody else could use it), all others wait in the
 * queue; none is ever inside a server's own queue. What a call is told at once, with the numbers:
 * that the model can never fit (MODEL_EXCEEDS), that nothing which could be unloaded makes room
 * (MODEL_BUDGET), that its load failed lately (MODEL_QUARANTINED).
 *
 * Whom it makes room for, and when: see residency_plan.c.
 *
 * What is not managed: deployments whose backend has no memory_ops (another kind of server), and
 * servers on other machines as far as memory goes (their failed loads are quarantined all the
 * same). Without numbers of the device's memory there is no budget.
 *
 * Owned by the composition; borrows the router, for who is in use.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/macros.h"
#include "core/footprint.h"
#include "core/memory_sample.h"
#include "core/request.h"
#include "core/server_growth.h"
#include "proto/errcode.h"

struct deployment;
struct router;
struct unload_job;
struct unload_sink;

#define RESIDENCY_MODELS_MAX 64 /* that are known of; more are served without being watched */
#define RESIDENCY_TEXT_BYTES 256

enum residency_state {
    RESIDENCY_UNLOADED,
    RESIDENCY_RESERVED,  /* a call was let in to load it; reserved_bytes are spoken for */
    RESIDENCY_LOADING,   /* reserved_bytes are being filled */
    RESIDENCY_RESIDENT,  /* as far as is known */
    RESIDENCY_DRAINING,  /* resident; takes no more calls, as another model's turn has come */
    RESIDENCY_UNLOADING, /* its server was told to free it */
    RESIDENCY_FAILED,    /* quarantined_until_usec: is not loaded before */
};

/* Calls that would be served if it were resident, as of the last run of the registry. */
struct residency_wants {
    unsigned n;
    enum call_class class; /* the highest */
    uint64_t since_usec;   /* arrival of the oldest of that class */
};

/* A model in the memory of one server. Owned by residency. */
struct residency_model {
    struct list link; /* residency.models */
    char *server;     /* owned: deployment.api_base */
    char *name;       /* owned: as its server calls it */
    uint32_t name_hash;
    enum residency_state state;
    uint64_t since_usec; /* in this state */
    bool is_local;       /* its server takes memory of this device */
    bool is_told;        /* key and facts are what its server says, or it does not say */
    bool makes_embeddings;
    bool is_load_wanted; /* by an operator, whether calls come or not */
    bool is_fact_wanted; /* somebody wants to see what it takes */
    unsigned n_wishes;   /* of operators, see model_load.h */
    /* what the driver is at; each is a request of its own beside the state */
    bool is_asked, is_looked_for, is_stopping;
    struct footprint_key key;
    struct footprint_facts facts;
    uint64_t reserved_bytes; /* RESERVED, LOADING */
    uint64_t held_bytes; /* RESIDENT: what it takes, as last seen or as believed; LOADING: so far */
    uint64_t left_began_bytes; /* LOADING: residency.left_bytes when that began */
    uint64_t mapped_bytes;     /* RESIDENT: those of it that are pages of files, as last seen */
    uint64_t baseline_bytes;   /* RESIDENT: the same at its first look; 0: none yet */
    uint64_t fresh_bytes;      /* the same of its last load that was looked at; 0: none */
    uint64_t step_bytes;       /* what an answer makes it grow by, as seen lately */
    uint64_t answer_usec;      /* how long it is used without a break, as seen lately */
    uint64_t use_began_usec;   /* 0: nobody uses it */
    unsigned n_uses;           /* since its last look */
    uint64_t resident_at_usec; /* when its last load was over */
    uint64_t used_at_usec;     /* a call went to it or ended there, or it was loaded */
    uint64_t asked_at_usec;    /* its server was asked for key and facts; 0: never */
    uint64_t looked_at_usec;   /* its server was asked for what it holds; 0: never */
    uint64_t failed_at_usec;   /* the last failed load; 0: none that counts */
    uint64_t quarantined_until_usec;
    uint64_t retry_unload_at_usec; /* an unload failed: not before */
    uint64_t runner_due_usec;      /* its runner is to be looked at then; 0: when it is used */
    uint64_t runner_again_usec;    /* and not before */
    unsigned runner_pid;           /* as it was found last; 0: not */
    uint64_t grows_since_usec;     /* residency.growth is its own, since its load began; 0: not */
    unsigned n_failures;           /* within FAILURE_WINDOW */
    unsigned n_quarantines;        /* in a row */
    struct residency_wants wants, counting;
};

/* What the kernel says of the device, and of the servers' control group. total 0: nothing. */
struct residency_memory {
    uint64_t total_bytes;     /* the least of what there is and what limits allow */
    uint64_t available_bytes; /* where least is left above what must stay free */
    uint64_t reserve_bytes;   /* what must stay free there; 0: as of total_bytes */
    uint64_t most_bytes;      /* no place has more above its hard reserve; 0: as of total_bytes */
};

struct residency_params {
    bool is_on;              /* false: no budget, no evictions; quarantine all the same */
    bool has_gpu;            /* a file's size says nothing about this memory */
    uint64_t reserve_bytes;  /* R_soft; 0: pressure_reserves() */
    uint64_t cache_bytes;    /* a runner may grow by so much beyond what is known of it */
    bool is_cache_unbounded; /* nobody says by how much: a quarter of the device, 1 GiB at most */
    uint64_t max_wait_usec[_CLASS_MAX]; /* of the queue: nobody waits for more than half of it */
};

/* What core/pressure says, at its last sample. */
struct residency_pressure {
    unsigned level; /* 0 to 4 */
    unsigned acute; /* as struct pressure's: without the hold, and without the row of time */
    uint64_t exhaustion_usec;    /* until no memory is left, as it falls now; USEC_NEVER */
    uint64_t fall_bytes_per_sec; /* where that is so */
};

/* Over all models. */
struct residency_sums {
    uint64_t reserved_bytes; /* set aside for loads */
    uint64_t freed_bytes;    /* what could become free for models at most */
    size_t n_there;          /* that take memory of this device, or will */
    const struct residency_model *moving;
};

struct residency {
    const struct router *router; /* borrowed */
    /*
     * Frees the model that d serves (name: as in residency_of()) for somebody else, in the way of
     * residency: no load and no other unload beside it, and what came of it is noted. One under way is
     * joined. As backend_ops.unload; a job that is cancelled goes on, and nobody is told. -EOPNOTSUPP:
     * the model is not managed. Set by the driver; NULL: there is none.
     */
    int (*unload)(struct residency *r, const struct deployment *d, const char *name,
                  struct unload_sink *sink, struct unload_job **ret_job);
    struct residency_params params;
    struct footprints *footprints; /* borrowed */
    struct server_growth growth;   /* of the last load, see grows_since_usec */
    struct list models;            /* residency_model.link */
    struct list wishes;            /* model_load.link */
    size_t n_models;
    struct residency_memory memory; /* less what loads may not count on */
    uint64_t left_bytes;            /* memory.available_bytes as the kernel says it */
    struct residency_pressure pressure;
    uint64_t pause_usec;               /* what is waited for before a load, ... */
    uint64_t paused_until_usec;        /* ... as the last one came too early */
    uint64_t acted_at_usec;            /* the last unload was confirmed, or given up */
    uint64_t settled_at_usec;          /* from then on the numbers of the kernel hold its memory */
    uint64_t settling_available_bytes; /* until then no more than this is available, ... */
    bool is_settling;                  /* ... and that is what memory says */
    uint64_t freeing_bytes;            /* of a model that is gone, and not seen free yet */
    uint64_t freeing_goal_bytes;       /* available then: most of them are free */
    uint64_t freeing_until_usec;       /* not waited for any longer */
    uint64_t n_loads, n_evictions, n_aborts, n_stuck, n_quarantined;
    uint32_t n_gone_seen; /* router.n_gone, when servers were forgotten last */
    uint32_t today;       /* for what is learned */
    bool has_sums;        /* in a pass: */
    struct residency_sums sums;
};

void residency_init(struct residency *r, const struct residency_params *params,
                    const struct router *router, struct footprints *footprints);
void residency_done(struct residency *r);
void residency_set_params(struct residency *r, const struct residency_params *params);

/*
 * Adds what a control group allows to what is known of the device, as far as that is less. Changes
 * nothing where the place has no room to speak of.
 */
void residency_memory_add(struct residency_memory *memory, const struct memory_place_sample *place);

/* What the driver sees. today: as in footprint.h. */
void residency_set_memory(struct residency *r, const struct residency_memory *memory,
                          uint32_t today, uint64_t now_usec);
void residency_set_pressure(struct residency *r, const struct residency_pressure *pressure);
/* The same, where only a level is known: it is acute. */
void residency_set_level(struct residency *r, unsigned level);

/*
 * The model that d serves under this name, made where it is new; NULL: d is not managed, or no
 * memory (then it is served as if nobody watched). name NULL: its own.
 */
struct residency_model *residency_of(struct residency *r, const struct deployment *d,
                                     const char *name);
struct residency_model *residency_find(const struct residency *r, const char *server,
                                       const char *name);

/* Do they mean one model to its server? "a" and "a:latest" do: calls say one, lists the other. */
bool residency_name_is_same(const char *a, const char *b);

/* ---------------------------------------------------------------- the gate (router_pick.c) */

enum residency_answer {
    RESIDENCY_SERVES,  /* give it the call */
    RESIDENCY_LOADS,   /* give it the call, which begins a load: residency_reserve() then */
    RESIDENCY_WAITS,   /* not now */
    RESIDENCY_REFUSES, /* and not soon: residency_refusal() says why */
};

enum residency_answer residency_ask(struct residency *r, const struct deployment *d,
                                    const char *name, uint64_t now_usec);

/*
 * Would it say SERVES or LOADS, once its server has told of the model? Changes nothing. Where it
 * refuses this says nothing.
 */
bool residency_has_turn(const struct residency *r, const struct deployment *d, const char *name,
                        uint64_t now_usec);

/* It said LOADS, and d has got the call. */
void residency_reserve(struct residency *r, const struct deployment *d, const char *name,
                       uint64_t now_usec);

struct residency_refusal {
    enum errcode code;         /* ERRCODE_NONE: none */
    uint64_t retry_after_usec; /* USEC_NEVER: no use */
};
/* Why such a call would be refused now. Changes nothing. */
struct residency_refusal residency_refusal(const struct residency *r, const struct deployment *d,
                                           const char *name, uint64_t now_usec);
/* For the caller, with the numbers; NULL: there is no refusal. */
const char *residency_describe(const struct residency *r, const struct deployment *d,
                               const char *name, uint64_t now_usec,
                               char ret_text[RESIDENCY_TEXT_BYTES]);

/*
 * How long such a call would wait for the model at least: for what is left of its load, or the load
 * itself, for levels at which none begins, and for the turns of models that do not fit beside it. 0:
 * not at all, as far as is known. The first that asks for a model waits for no load in the queue, as
 * it begins with somebody who waits for it.
 */
uint64_t residency_wait(const struct residency *r, const struct deployment *d, const char *name,
                        enum call_class class, uint64_t now_usec);

/* Is the model of such a call in its server's memory, as far as is known, or being loaded? */
bool residency_is_there(const struct residency *r, const struct deployment *d, const char *name);

/* A call of this class, there since then, would be given to d if it could serve. */
void residency_want(struct residency *r, const struct deployment *d, const char *name,
                    enum call_class class, uint64_t since_usec);

/*
 * Around questions about many models with no news of any between them: each would look at all the
 * others again. Calls that are let in meanwhile, and what they reserve, count at once.
 */
void residency_begin_pass(struct residency *r);
void residency_end_pass(struct residency *r);

/* Around a run of the registry: wants are counted anew by each; reservations of no use end. */
void residency_begin_run(struct residency *r);
void residency_end_run(struct residency *r, uint64_t now_usec);

/* ---------------------------------------------------------------- what is to be done */

enum residency_verb {
    RESIDENCY_INQUIRE, /* ask its server for key and facts: residency_told() */
    RESIDENCY_LOOK,    /* ask its server what it holds: residency_looked() for each of its models */
    RESIDENCY_LOAD,    /* load it: residency_load_began(), residency_load_ended() */
    RESIDENCY_STOP,    /* end its load, which fails by that */
    RESIDENCY_UNLOAD,  /* free it: residency_unloaded() */
};

enum residency_reason {
    RESIDENCY_FOR_MODEL, /* another one needs the room */
    RESIDENCY_FOR_LEVEL, /* memory is short */
    RESIDENCY_GROWN,     /* it has grown by what it keeps and nobody needs */
    RESIDENCY_OVER_PLAN, /* STOP: it takes more than was reserved */
    RESIDENCY_EMERGENCY, /* STOP: nearly nothing is left */
    RESIDENCY_BY_OPERATOR,
};

struct residency_action {
    enum residency_verb verb;
    enum residency_reason reason;
    struct residency_model *model;        /* borrowed */
    const struct residency_model *favour; /* FOR_MODEL: whose turn it is; borrowed */
};

/* The next thing to do, already noted as begun; false: nothing now. Call until false. */
bool residency_next(struct residency *r, uint64_t now_usec, struct residency_action *ret);

/* When residency_next() or the gate may answer otherwise by themselves; USEC_NEVER. */
uint64_t residency_next_at(const struct residency *r, uint64_t now_usec);

/* Is a load or an unload under way, so that memory is to be looked at often? */
bool residency_is_moving(const struct residency *r);

/*
 * Has memory not fallen by much more than what was set aside, since the load under way began? Else it
 * takes more than was planned, or somebody else does beside it. Also true when nothing is loaded.
 */
bool residency_goes_as_planned(const struct residency *r);

/* Is a model in the memory of this device, as far as is known, or about to be? */
bool residency_is_exposed(const struct residency *r);

/* ---------------------------------------------------------------- to pressure_relief.h */

/* Could a call at d be using it? A wildcard's may be using any model of its server. */
bool residency_model_is_of(const struct residency_model *m, const struct deployment *d);

/* Does it take memory of this device, which it would give back if it were told to? */
bool residency_is_unloadable(const struct residency *r, const struct residency_model *m);

/* Would it be unloaded now if nobody used it, for the level's sake? */
bool residency_would_unload(const struct residency *r, const struct residency_model *m,
                            uint64_t now_usec);

/* Was it used so lately that it will be loaded again, if it has to go? */
bool residency_is_returning(const struct residency *r, const struct deployment *d, const char *name,
                            uint64_t now_usec);

/* Is memory coming back: by an unload, one that is due, or one whose memory is not seen free yet? */
bool residency_is_freeing(const struct residency *r, uint64_t now_usec);

/* ---------------------------------------------------------------- what came of it */

/*
 * num_ctx 0: the server's default. Of a model that it does not tell of: facts all zero, and what it
 * told before still holds.
 */
void residency_told(struct residency_model *m, struct str digest, uint32_t num_ctx, uint32_t slots,
                    const struct footprint_facts *facts, bool makes_embeddings);

/*
 * Its server was asked what it holds. size_bytes: what it says of it, 0: nothing; is_trusted: calls
 * were answered by it so lately that not being listed means nothing (models that share their
 * weights share a runner, which has one name).
 */
void residency_looked(struct residency *r, struct residency_model *m, bool is_listed,
                      uint64_t size_bytes, bool is_trusted, uint64_t now_usec);

/*
 * The next model whose runner is to be looked at now, noted as looked at; NULL: none. It is due
 * five times in a second during a load, when that is over, and each 5 s while it is used and once
 * after.
 */
struct residency_model *residency_next_runner(struct residency *r, uint64_t now_usec);
/* When it has one; USEC_NEVER: not before something is used. */
uint64_t residency_runner_at(const struct residency *r);

/* Its runner was looked at: RssAnon + VmSwap, RssFile. */
void residency_seen(struct residency *r, struct residency_model *m, uint64_t anon_bytes,
                    uint64_t file_bytes);

/*
 * The same where processes cannot be seen, from the control group of its server, which the last load
 * is known by. After residency_load_began(); memory NULL: no such group is known.
 */
void residency_group_began(struct residency *r, struct residency_model *m,
                           const struct server_memory *memory, uint64_t now_usec);
/* At each look. false: nothing can be learned of m by it (any more). */
bool residency_group_seen(struct residency *r, struct residency_model *m,
                          const struct server_memory *memory);

/* It was looked for, and is not found, or cannot be seen from here. */
void residency_unseen(struct residency_model *m, uint64_t now_usec);

void residency_load_began(struct residency *r, struct residency_model *m, uint64_t now_usec);

enum residency_load {
    RESIDENCY_LOAD_OK,
    RESIDENCY_LOAD_KILLED,  /* out of memory, or stopped by us: not again for a while */
    RESIDENCY_LOAD_FAILED,  /* once may be chance */
    RESIDENCY_LOAD_UNKNOWN, /* its server was not there, or does not know the model */
};
/* true: it is quarantined by that. */
bool residency_load_ended(struct residency *r, struct residency_model *m, enum residency_load how,
                          uint64_t now_usec);

/* Its server was told to free it, though residency_next() did not say so: it hangs, or as asked. */
void residency_unload_began(struct residency_model *m, uint64_t now_usec);

/* is_gone: its server does not list it any more. Else it was asked, and still has it, or cannot say. */
void residency_unloaded(struct residency *r, struct residency_model *m, bool is_gone,
                        uint64_t now_usec);

/* Whoever answers at this address now holds nothing of what was there. */
void residency_server_lost(struct residency *r, const char *server, uint64_t now_usec);

/*
 * With each run, as a reload takes servers away, at once or when the last call there is over: of a
 * server that no deployment leads to any more nothing is known but quarantines, as nobody could ask it
 * or tell it anything. true: models were forgotten, so calls that wait may be let in.
 */
bool residency_forget_servers(struct residency *r, uint64_t now_usec);

/* ---------------------------------------------------------------- to be shown */

bool residency_model_is_in_use(const struct residency *r, const struct residency_model *m);
struct footprint_need residency_need(const struct residency *r, const struct residency_model *m);
uint64_t residency_reserve_soft(const struct residency *r);
uint64_t residency_reserved_bytes(const struct residency *r); /* of all models */
size_t residency_n_reservations(const struct residency *r);
const char *residency_state_name(enum residency_state state);

/* What is known of a model. Texts are constants. */
struct residency_view {
    const char *state; /* a state's name; "asked": its server was asked, and has not said yet */
    const char
        *fits; /* "now", "later" (when others have gone), "not now", "never"; "": not known */
    const char *source;  /* of need_bytes */
    uint64_t need_bytes; /* for a load; 0: not known */
    uint64_t file_bytes, held_bytes;
};
/* name: as in residency_of(). false: d is not managed, or nothing is known of the model. */
bool residency_view(const struct residency *r, const struct deployment *d, const char *name,
                    uint64_t now_usec, struct residency_view *ret);

/* Somebody wants to see what models of this device take: those that never were asked for are. */
void residency_want_facts(struct residency *r);
/*
 * The same of one, name as in residency_of(); puts no other one out of the table. true: it is not
 * known, and its server will be asked with the next residency_next().
 */
bool residency_want_facts_of(struct residency *r, const struct deployment *d, const char *name);
const char *residency_reason_name(enum residency_reason reason);
