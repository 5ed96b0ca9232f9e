#pragma once
/*
 * The neutral request: what a caller wants, whatever protocol it speaks. Immutable once decoded.
 *
 * A frontend creates one, a codec of wire/ fills it, core admits it, a provider reads it. All
 * strings point into the request's own arena (or into `body`, which lies there too) and live as
 * long as the request. Owner: first the frontend, then the call.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/str.h"

#define REQUEST_ID_MAX       64
#define REQUEST_MAX_MESSAGES 4096
#define REQUEST_MAX_INPUTS   2048 /* OpenAI's own limit for embeddings */
#define REQUEST_MAX_STOP     16
#define REQUEST_MAX_CHOICES  8
#define REQUEST_MODEL_MAX    256 /* bytes of a model name */

enum request_kind {
    REQUEST_CHAT,
    REQUEST_COMPLETE,
    REQUEST_EMBED,
    REQUEST_RERANK,   /* documents in the order of their relevance to a query */
    REQUEST_CLASSIFY, /* texts to labels; what a label looks like is the model server's affair */
};

/* The dialect in which `body` and `members` are written, for providers that speak it too. */
enum request_dialect { DIALECT_NONE, DIALECT_OPENAI };

enum call_class { CLASS_INTERACTIVE, CLASS_BATCH, CLASS_BACKGROUND, _CLASS_MAX };

enum message_role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL };

enum part_type {
    PART_TEXT,
    PART_IMAGE,  /* base64 in data, or url */
    PART_OPAQUE, /* audio and whatever comes: only a provider of the same dialect can carry it */
};

struct content_part {
    enum part_type type;
    struct str text;
    struct str data;       /* PART_IMAGE: base64, without the data: prefix */
    struct str media_type; /* PART_IMAGE: "image/png"; absent when unknown */
    struct str url;        /* PART_IMAGE by reference; data is absent then */
};

struct tool_call {
    struct str id, name;
    struct str arguments; /* JSON text of an object */
};

struct message {
    enum message_role role;
    struct content_part *parts;
    size_t n_parts; /* 0: content was null or missing */
    struct tool_call *tool_calls;
    size_t n_tool_calls;
    struct str tool_call_id; /* ROLE_TOOL */
    struct str name;
    struct str thinking;
};

/* Which members of struct sampling were set by the client. */
enum sampling_bit {
    SAMPLING_TEMPERATURE = 1 << 0,
    SAMPLING_TOP_P = 1 << 1,
    SAMPLING_SEED = 1 << 2,
    SAMPLING_FREQUENCY_PENALTY = 1 << 3,
    SAMPLING_PRESENCE_PENALTY = 1 << 4,
    SAMPLING_TOP_K = 1 << 5,
    SAMPLING_MIN_P = 1 << 6,
    SAMPLING_MAX_TOKENS = 1 << 7,
    SAMPLING_STOP = 1 << 8,
};

struct sampling {
    unsigned set; /* of enum sampling_bit */
    double temperature, top_p, frequency_penalty, presence_penalty, min_p;
    int64_t seed;
    uint32_t top_k;
    uint32_t max_tokens; /* max_completion_tokens wins over max_tokens */
    struct str *stop;
    size_t n_stop;
    uint32_t n_choices; /* 1 unless asked for more */
    bool logprobs;
    uint32_t top_logprobs;
};

/* One top-level member of the client's JSON body: decoded name, value as it was sent. */
struct request_member {
    struct str name;
    struct str value;
    bool is_for_gateway; /* said to sluice itself: no model server may see it */
};

#define REQUEST_MAX_FALLBACKS 8
#define REQUEST_MAX_TAGS      16
#define REQUEST_KEY_ID_MAX    48
#define REQUEST_UNIT_MAX      71 /* longer names of units are not told apart from their user's */

/*
 * What a request says about ways around a failure, in its body or in headers (LiteLLM's
 * per-request overrides). All zero: as the configuration has it.
 */
struct request_routing {
    bool has_retries, has_fallbacks;
    unsigned max_retries;     /* has_retries: num_retries */
    struct str *fallbacks;    /* has_fallbacks: instead of the configuration's */
    size_t n_fallbacks;       /* at most REQUEST_MAX_FALLBACKS; 0 with has_fallbacks: none */
    struct str *tags;         /* of the deployments that may serve it */
    size_t n_tags;            /* at most REQUEST_MAX_TAGS */
    uint64_t total_usec;      /* timeout: from arrival to the end, all attempts; 0: none */
    uint64_t first_byte_usec; /* stream_timeout: of each attempt; 0: none */
    bool is_local_only;       /* x-sluice-local-only: must not leave the device */
};

/* Who asks. Taken once, at accept; the key with each request. */
struct caller {
    bool has_uid; /* a Unix socket: uid, gid and pid are real */
    uid_t uid;
    gid_t gid;
    pid_t pid;
    /* the systemd unit that the process runs in, ""; and is it one of the system's own services? */
    char unit[REQUEST_UNIT_MAX + 1];
    bool is_system_unit;
    const char *frontend; /* "rpc", "http"; static */
    char key_id[REQUEST_KEY_ID_MAX +
                1]; /* of the API key it came with; "": none, or the master key */
};

struct request {
    enum request_kind kind;
    char id[REQUEST_ID_MAX + 1];
    struct str model; /* as asked; valid UTF-8, 1..REQUEST_MODEL_MAX bytes */
    enum call_class class;
    struct caller caller;
    uint64_t deadline_usec;    /* a duration from arrival; 0: none */
    uint64_t max_wait_usec;    /* how long its client is ready to expect to wait; 0: not said */
    uint64_t max_stay_usec;    /* how long it is ready to wait for a slot in truth; 0: not said */
    unsigned n_client_retries; /* how often its client has sent it before, by its own word */
    /* how the client wants it; upstreams are always asked for a stream where they have one */
    bool stream;
    bool include_usage; /* OpenAI: stream_options.include_usage */
    bool wants_base64;  /* OpenAI embeddings: encoding_format */

    struct sampling sampling;
    struct request_routing routing;

    struct message *messages; /* REQUEST_CHAT */
    size_t n_messages;
    struct str tools;            /* JSON array text, or absent */
    struct str tool_choice;      /* JSON text, or absent */
    struct str response_format;  /* JSON object text, or absent */
    struct str reasoning_effort; /* plain text, or absent */

    struct str prompt, suffix; /* REQUEST_COMPLETE; prompt: the first */
    struct str *prompts;       /* all of them: each wants n_choices answers; NULL with one */
    size_t n_prompts;          /* 0 with one */

    struct str *inputs; /* REQUEST_EMBED, REQUEST_CLASSIFY; REQUEST_RERANK: the documents */
    size_t n_inputs;
    uint32_t dimensions; /* REQUEST_EMBED; 0: the model's own */

    uint32_t n_token_ids; /* of the longest prompt or input that came as token ids; 0: none did */
    bool may_be_cut;      /* the client lets the server cut what is too long */

    struct str query; /* REQUEST_RERANK */
    uint32_t top_n;   /* REQUEST_RERANK: how many results, the best ones; 0: all */

    /*
     * The input has a form (token ids, opaque parts) that only a provider of
     * `dialect` can carry. param names it.
     */
    bool is_raw_only;
    const char *raw_only_param; /* static */

    enum request_dialect dialect;
    struct str body; /* the bytes as sent */
    struct request_member *members;
    size_t n_members;
    struct str extra; /* RPC's extra_json: JSON object text, or absent */

    size_t total_bytes; /* what the client sent */
    struct arena arena; /* everything above */
};

/* A zeroed request whose arena may hold max_bytes. NULL: out of memory. */
struct request *request_new(enum request_kind kind, size_t max_bytes);
struct request *request_free(struct request *req); /* accepts NULL, returns NULL */

/* The raw value of a member of the client's body; absent when it sent none. */
struct str request_member(const struct request *req, const char *name);

/* "system", "user", "assistant", "tool": the words of both dialects. */
const char *message_role_name(enum message_role role);

const char *request_kind_name(enum request_kind kind);

/* Is the answer generated text, in choices, which may be streamed? Else one body of results. */
bool request_kind_is_text(enum request_kind kind);
const char *call_class_name(enum call_class class);

/* CLASS_... of a name ("interactive", "batch", "background"), or -EINVAL. */
int call_class_from_name(struct str name, enum call_class *ret_class) MUST_USE;

/* 1..REQUEST_ID_MAX characters of [A-Za-z0-9._-]? */
bool request_id_is_valid(struct str id);
