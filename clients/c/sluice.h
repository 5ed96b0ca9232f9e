/*
 * libsluice: talk to sluiced, the local gateway to language models. Link with -lsluice (pkg-config
 * libsluice).
 *
 *     sluice_client *client;
 *     sluice_request *req;
 *     sluice_call *call;
 *     int ev;
 *
 *     r = sluice_connect(NULL, &client);
 *     r = sluice_chat_new("tinyllama", &req);
 *     r = sluice_request_add_message(req, SLUICE_ROLE_USER, "Hello", 5);
 *     r = sluice_call_start(client, req, &call);
 *     while ((ev = sluice_call_next(call)) > 0) {
 *         if (ev == SLUICE_EVENT_TEXT) {
 *             size_t n;
 *             const char *text = sluice_call_text(call, &n);
 *             fwrite(text, 1, n, stdout);
 *         } else if (ev == SLUICE_EVENT_FAILED) {
 *             fprintf(stderr, "%s\n", sluice_call_error_message(call));
 *         }
 *     }
 *     sluice_call_free(call); sluice_request_free(req); sluice_client_free(client);
 *
 * RETURN VALUES  int functions return 0 or more on success and a negative errno value on failure;
 *   errno itself means nothing. What goes wrong with a call on its way (the model is unknown, the
 *   daemon is busy, the connection breaks) is not such an errno: it is the call's last event,
 *   SLUICE_EVENT_FAILED, with code, message and advice. Every call ends with exactly one of
 *   SLUICE_EVENT_DONE, SLUICE_EVENT_REPLY and SLUICE_EVENT_FAILED. An answer that was cut is always
 *   a FAILED, never a DONE. A watch has no end of its own, so its last event is always a FAILED.
 *
 * THREADS  No two threads may use one client, its calls or one request at the same time; different
 *   clients are independent. The exception is sluice_call_cancel(), which any thread and any signal
 *   handler may call. The library makes no threads, touches no signal handlers and never raises
 *   SIGPIPE.
 *
 * FORK  A client belongs to the process that made it. In a child every function that talks to the
 *   daemon returns -ECHILD; sluice_client_free() there gives memory and descriptors back and
 *   disturbs nothing.
 *
 * SIGNALS  Functions that wait return -EINTR when a signal handler ran; nothing is lost, call them
 *   again.
 *
 * TEXT  goes in and out as bytes with a length and is UTF-8. A piece of text out of a stream may
 *   end inside a character. Strings that are names are NUL-terminated and never NULL. Everything
 *   that a getter returns belongs to the call (or client) and is valid until the next
 *   sluice_call_next(), sluice_call_try_next() or sluice_call_free() of that call unless said
 *   otherwise.
 *
 * UNITS  durations are microseconds (_usec); instants are microseconds of CLOCK_MONOTONIC
 *   (_at_usec); UINT64_MAX is never.
 */
#ifndef SLUICE_H
#define SLUICE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SLUICE_MUST_USE __attribute__((warn_unused_result))
#else
#define SLUICE_MUST_USE
#endif

typedef struct sluice_client sluice_client;   /* a connection */
typedef struct sluice_request sluice_request; /* what to ask, while it is put together */
typedef struct sluice_call sluice_call;       /* one request on its way, and what came back */

/* ---------------------------------------------------------------- version */

/* The binary interface this header describes. Within one major number it only grows. */
#define SLUICE_ABI_MAJOR 0
#define SLUICE_ABI_MINOR 3

/* The library that runs: major << 16 | minor << 8 | patch, the same as text ("0.1.0"), and its
 * interface: major << 16 | minor. A program works with a library of the same major and no smaller
 * minor number. Any thread. */
uint32_t sluice_version(void);
const char *sluice_version_string(void);
uint32_t sluice_abi(void);

/* ---------------------------------------------------------------- connection */

/*
 * Connects to path, or with NULL to $SLUICE_SOCKET; where that is not set, to
 * $XDG_RUNTIME_DIR/sluice/rpc.sock, then to /run/sluice/rpc.sock. (A setuid program ignores the
 * environment.) Waits at most 5 s for a daemon that does not accept. *ret_client is the caller's,
 * to be freed with sluice_client_free(). Errors: -ENOENT and -ECONNREFUSED (no daemon there),
 * -EACCES, -ENAMETOOLONG, -ETIMEDOUT, -EINTR, -ENOMEM, -EMFILE. sluice_connect_error() has the
 * sentence.
 */
int sluice_connect(const char *path, sluice_client **ret_client) SLUICE_MUST_USE;

/* A client over a connected stream socket, which becomes the client's; on failure it stays the
 * caller's. -EINVAL: fd is no such socket. */
int sluice_connect_fd(int fd, sluice_client **ret_client) SLUICE_MUST_USE;

/* Why the last sluice_connect() or sluice_connect_fd() of this thread failed, with each address
 * that was tried; "" after a success. Valid until the next of them in this thread. */
const char *sluice_connect_error(void);

/* Closes the connection; the daemon cancels what still runs. Calls of this client stay valid until
 * they are freed themselves: an open one has failed with "connection_lost". Accepts NULL, returns
 * NULL. */
sluice_client *sluice_client_free(sluice_client *client);

/* 1 while the connection stands, 0 once it was lost (there is no way back: make a new client). */
int sluice_client_is_connected(const sluice_client *client);

/*
 * In your own event loop: wait until sluice_client_get_fd() has sluice_client_get_events() (poll(2)
 * bits) or the clock reaches sluice_client_get_timeout_usec(), then sluice_client_process() until
 * it returns 0, then take events from the calls (sluice_client_ready_call(),
 * sluice_call_try_next()). Ask for events and timeout anew after each round. The descriptor stays
 * the client's; it never changes.
 */
int sluice_client_get_fd(const sluice_client *client);
int sluice_client_get_events(const sluice_client *client);
int sluice_client_get_timeout_usec(const sluice_client *client, uint64_t *ret_at_usec);

/* Sends and receives what is possible without waiting, a bounded amount. 1: something happened; 0:
 * nothing to do; -ENOTCONN: the connection is lost and every call has ended; -ECHILD. */
int sluice_client_process(sluice_client *client) SLUICE_MUST_USE;

/* Waits until there is something to process: 1; 0 when timeout_usec (relative; UINT64_MAX: no
 * limit) has passed; -EINTR, -ENOTCONN, -ECHILD. */
int sluice_client_wait(sluice_client *client, uint64_t timeout_usec) SLUICE_MUST_USE;

/* A call of this client that has an event to take, or NULL. Calls are offered in turn. */
sluice_call *sluice_client_ready_call(sluice_client *client);

/* Counters since the connection was made; 0 for an unknown one. */
enum sluice_counter {
    SLUICE_COUNTER_BYTES_SENT = 1,
    SLUICE_COUNTER_BYTES_RECEIVED = 2,
    SLUICE_COUNTER_FRAMES_SENT = 3,
    SLUICE_COUNTER_FRAMES_RECEIVED = 4,
    SLUICE_COUNTER_CALLS_STARTED = 5,
    SLUICE_COUNTER_CALLS_OPEN = 6
};
uint64_t sluice_client_counter(const sluice_client *client, int counter);

/* ---------------------------------------------------------------- requests */

/*
 * A request of each kind. *ret_request is the caller's (sluice_request_free()); it may be started
 * any number of times, unless it carries a request id of its own, and changed in between. Names are
 * NUL-terminated and copied, as is everything handed to the functions below. Errors of all of them:
 * -ENOMEM; -EMSGSIZE: the request would not fit into a frame of 4 MiB; -EILSEQ: a NUL byte in a
 * text; -EINVAL: wrong for this kind of request, or out of range.
 */
int sluice_chat_new(const char *model, sluice_request **ret_request) SLUICE_MUST_USE;
int sluice_complete_new(const char *model, const char *prompt, size_t n_bytes,
                        sluice_request **ret_request) SLUICE_MUST_USE;
int sluice_embed_new(const char *model, sluice_request **ret_request) SLUICE_MUST_USE;
/* Since ABI 0.3, as the next one. Documents, best first by their relevance to the query: add them
 * with sluice_request_add_input(). */
int sluice_rerank_new(const char *model, const char *query, size_t n_bytes,
                      sluice_request **ret_request) SLUICE_MUST_USE;
/* Labels of texts, added with sluice_request_add_input(). */
int sluice_classify_new(const char *model, sluice_request **ret_request) SLUICE_MUST_USE;
int sluice_models_new(sluice_request **ret_request) SLUICE_MUST_USE;
int sluice_info_new(sluice_request **ret_request) SLUICE_MUST_USE;
int sluice_status_new(sluice_request **ret_request) SLUICE_MUST_USE;

/* Ends a call of the same user by its request id, on whichever connection it runs. Its own calls a
 * program better ends with sluice_call_cancel(). */
int sluice_cancel_new(const char *request_id, sluice_request **ret_request) SLUICE_MUST_USE;

/* Since ABI 0.2, as the next three. The status at once, then again whenever it has changed, looked
 * at every interval_usec (100 ms to 60 s; 0: 1 s), and at least every 10 s. Each is a
 * SLUICE_EVENT_STATUS; what was not taken before the next one comes is dropped. It ends with a
 * FAILED: "draining" when the daemon stops, "cancelled" after sluice_call_cancel(). */
int sluice_watch_new(uint64_t interval_usec, sluice_request **ret_request) SLUICE_MUST_USE;

/* These three are for root and the user that the daemon runs as; others get a FAILED with
 * "forbidden". Reload: reads the configuration file again; one that cannot be used changes nothing:
 * FAILED with "bad_configuration" and the first thing that is wrong in the message. Drain: the
 * daemon takes no new calls, finishes those that run, and stops. Unload: the servers of a model are
 * asked to free its memory; FAILED with "model_in_use" while one of them works on a call,
 * with "model_not_found" for a name that there is not. */
int sluice_reload_new(sluice_request **ret_request) SLUICE_MUST_USE;
int sluice_drain_new(sluice_request **ret_request) SLUICE_MUST_USE;
int sluice_unload_new(const char *model, sluice_request **ret_request) SLUICE_MUST_USE;
/* The server of a model loads it into memory, as for a call; the answer comes when it is there, which may take minutes. */
int sluice_load_new(const char *model, sluice_request **ret_request) SLUICE_MUST_USE;
/* Why a call for a model would be admitted, queued or refused now; or, where there is a call of this id, where that stands.
 * Either may be ""; class: enum sluice_class, of the call that would come; 0: not said. -EINVAL: both are "", or it is no id. */
int sluice_explain_new(const char *model, const char *request_id, int class_of_service,
                       sluice_request **ret_request) SLUICE_MUST_USE;

/* Accepts NULL, returns NULL. Calls that were started from it are not affected. */
sluice_request *sluice_request_free(sluice_request *req);

enum sluice_role {
    SLUICE_ROLE_SYSTEM = 1,
    SLUICE_ROLE_USER = 2,
    SLUICE_ROLE_ASSISTANT = 3,
    SLUICE_ROLE_TOOL = 4
};

/* Chat: appends a message. The next four add to the message that was appended last; -EINVAL where
 * there is none. At most 4096 messages (-E2BIG). */
int sluice_request_add_message(sluice_request *req, int role, const char *text,
                               size_t n_bytes) SLUICE_MUST_USE;
/* An image as a file holds it; media_type like "image/png", or NULL. */
int sluice_request_add_image(sluice_request *req, const void *content, size_t n_bytes,
                             const char *media_type) SLUICE_MUST_USE;
int sluice_request_add_image_url(sluice_request *req, const char *url) SLUICE_MUST_USE;
/* A call that the assistant made, to be followed by a message of SLUICE_ROLE_TOOL with
 * SLUICE_TEXT_MESSAGE_TOOL_CALL_ID. */
int sluice_request_add_tool_call(sluice_request *req, const char *id, const char *name,
                                 const char *arguments_json, size_t n_bytes) SLUICE_MUST_USE;

/* Embed, rerank, classify: appends a text to embed or classify, or a document; at most 2048
 * (-E2BIG). */
int sluice_request_add_input(sluice_request *req, const char *text, size_t n_bytes) SLUICE_MUST_USE;

/* Chat, complete: appends a text that ends the answer; at most 16 (-E2BIG). */
int sluice_request_add_stop(sluice_request *req, const char *text, size_t n_bytes) SLUICE_MUST_USE;

/* SLUICE_INT_CLASS: who waits for the answer. The daemon may hold callers to a lower class. */
enum sluice_class {
    SLUICE_CLASS_INTERACTIVE = 1,
    SLUICE_CLASS_BATCH = 2,
    SLUICE_CLASS_BACKGROUND = 3
};

/* Values for sluice_request_set_int(). In brackets: the kinds that know it. What is not set is left
 * to the model server. */
enum sluice_int {
    SLUICE_INT_CLASS = 1, /* enum sluice_class [chat, complete, embed, rerank, classify] */
    /* for the whole call, from its start; 0: none [chat, complete, embed, rerank, classify] */
    SLUICE_INT_DEADLINE_USEC = 2,
    SLUICE_INT_MAX_TOKENS = 3,   /* of the answer; 0: not set [chat, complete] */
    SLUICE_INT_SEED = 4,         /* [chat, complete] */
    SLUICE_INT_TOP_K = 5,        /* [chat, complete] */
    SLUICE_INT_LOGPROBS = 6,     /* 1: wanted [chat, complete] */
    SLUICE_INT_TOP_LOGPROBS = 7, /* 0 to 20 [chat, complete] */
    SLUICE_INT_DIMENSIONS = 8,   /* 0: the model's own [embed] */
    SLUICE_INT_TOP_N = 9         /* how many results; 0: all [rerank] */
};
int sluice_request_set_int(sluice_request *req, int what, int64_t value) SLUICE_MUST_USE;

/* Values for sluice_request_set_double() [chat, complete]; -EINVAL for what is not finite. */
enum sluice_double {
    SLUICE_DOUBLE_TEMPERATURE = 1,
    SLUICE_DOUBLE_TOP_P = 2,
    SLUICE_DOUBLE_MIN_P = 3,
    SLUICE_DOUBLE_FREQUENCY_PENALTY = 4,
    SLUICE_DOUBLE_PRESENCE_PENALTY = 5
};
int sluice_request_set_double(sluice_request *req, int what, double value) SLUICE_MUST_USE;

/* Values for sluice_request_set_text(). Setting again replaces; n_bytes 0 takes back. */
enum sluice_text {
    /* 1 to 64 of [A-Za-z0-9._-], unique among your running calls; else the library makes one
     * [chat, complete, embed, rerank, classify, watch] */
    SLUICE_TEXT_REQUEST_ID = 1,
    SLUICE_TEXT_TOOLS_JSON = 2,       /* JSON array as OpenAI's `tools` [chat] */
    SLUICE_TEXT_TOOL_CHOICE_JSON = 3, /* JSON string or object as OpenAI's `tool_choice` [chat] */
    SLUICE_TEXT_RESPONSE_FORMAT_JSON = 4, /* JSON object as OpenAI's `response_format` [chat] */
    SLUICE_TEXT_REASONING_EFFORT = 5,     /* none, minimal, low, medium, high, max [chat] */
    SLUICE_TEXT_EXTRA_JSON =
        6, /* JSON object of further parameters for the model server [chat, complete, rerank,
              classify] */
    SLUICE_TEXT_SUFFIX = 7,               /* [complete] */
    SLUICE_TEXT_MESSAGE_NAME = 8,         /* of the last message [chat] */
    SLUICE_TEXT_MESSAGE_TOOL_CALL_ID = 9, /* of the last message [chat] */
    SLUICE_TEXT_MESSAGE_THINKING = 10     /* of the last message [chat] */
};
int sluice_request_set_text(sluice_request *req, int what, const char *text,
                            size_t n_bytes) SLUICE_MUST_USE;

/* ---------------------------------------------------------------- calls */

/*
 * Starts req on client without waiting; the request may be freed or started again at once.
 * *ret_call is the caller's (sluice_call_free()). Errors: -EINVAL (nothing to send: a chat without
 * messages, an embedding without inputs), -ENOTCONN, -EBUSY (1024 calls are open), -ENOBUFS (16 MiB
 * wait to be sent), -EOVERFLOW (the connection has carried 2^31 calls), -EMSGSIZE, -ENOMEM,
 * -ECHILD.
 */
int sluice_call_start(sluice_client *client, const sluice_request *req,
                      sluice_call **ret_call) SLUICE_MUST_USE;

/*
 * Ends the call if it still runs (the daemon is told) and forgets it. Accepts NULL, returns NULL.
 */
sluice_call *sluice_call_free(sluice_call *call);

enum sluice_event {
    SLUICE_EVENT_QUEUED = 1, /* waits for a slot: sluice_call_queue_position() */
    SLUICE_EVENT_STARTED =
        2, /* a model works on it: sluice_call_model(), sluice_call_deployment() */
    SLUICE_EVENT_TEXT =
        3, /* a piece of the answer: sluice_call_text(), _channel(), _choice(), _logprobs_json() */
    SLUICE_EVENT_TOOL_CALL = 4, /* a piece of a tool call: sluice_call_tool_*(), _choice() */
    SLUICE_EVENT_EMBEDDING = 5, /* one vector: sluice_call_embedding(), _embedding_index() */
    SLUICE_EVENT_DONE = 6,      /* last: the answer is complete: finish reasons, usage, timings */
    SLUICE_EVENT_FAILED = 7,    /* last: sluice_call_error_*() */
    /* last, of the kinds that no model answers, but watch: sluice_call_reply_*(), _row_*() */
    SLUICE_EVENT_REPLY = 8,
    SLUICE_EVENT_STATUS = 9, /* of a watch: one state, read as the reply of a status */
    SLUICE_EVENT_RESULT = 10 /* of a document or a text: sluice_call_result_*() */
};

/*
 * Waits for the next event and makes it the current one: its type (> 0), or 0 when the last one was
 * taken before. Handles the traffic of all calls of the client while it waits. Errors, after which
 * the call goes on: -EINTR, -ENOMEM, -ECHILD.
 */
int sluice_call_next(sluice_call *call) SLUICE_MUST_USE;

/*
 * The same without waiting and without touching the connection: -EAGAIN when no event has arrived.
 */
int sluice_call_try_next(sluice_call *call) SLUICE_MUST_USE;

/*
 * Asks the daemon to end the call; go on taking events until the last one, which is
 * SLUICE_EVENT_FAILED with "cancelled" (or what was on its way already). Safe in any thread and in
 * a signal handler, for as long as the call is not freed meanwhile; wakes a waiting
 * sluice_call_next(). 0, also when the call is over; -ECHILD.
 */
int sluice_call_cancel(sluice_call *call);

/* The type of the current event, 0 before the first. */
int sluice_call_event(const sluice_call *call);

/* The client of the call; NULL once that was freed. */
sluice_client *sluice_call_client(const sluice_call *call);

/* The id that logs and sluice_cancel_new() know the call by: yours or one that the library made; ""
 * for those that answer with a REPLY. Valid until sluice_call_free(). */
const char *sluice_call_request_id(const sluice_call *call);

/* Anything you want to find again with the call; borrowed, NULL at first. */
void sluice_call_set_userdata(sluice_call *call, void *userdata);
void *sluice_call_userdata(const sluice_call *call);

/* QUEUED: 1 is next. */
uint32_t sluice_call_queue_position(const sluice_call *call);

/* From STARTED on, until sluice_call_free(): the public model name and the deployment that serves
 * it; "" before. */
const char *sluice_call_model(const sluice_call *call);
const char *sluice_call_deployment(const sluice_call *call);

enum sluice_channel {
    SLUICE_CHANNEL_ANSWER = 0,
    SLUICE_CHANNEL_THINKING = 1,
    SLUICE_CHANNEL_REFUSAL = 2 /* since ABI 0.3: why the model does not answer */
};

/* TEXT: the bytes, not NUL-terminated; never NULL. */
const char *sluice_call_text(const sluice_call *call, size_t *ret_n_bytes);
int sluice_call_channel(const sluice_call *call);
/* TEXT: log-probabilities as JSON as the model server sent them; 0 bytes where there are none. */
const char *sluice_call_logprobs_json(const sluice_call *call, size_t *ret_n_bytes);

/* TEXT, TOOL_CALL: which of several answers. */
uint32_t sluice_call_choice(const sluice_call *call);

/* TOOL_CALL: which call of the answer; its id and name come with the first piece and are ""
 * afterwards; the arguments are a piece of JSON text to append. */
uint32_t sluice_call_tool_index(const sluice_call *call);
const char *sluice_call_tool_id(const sluice_call *call);
const char *sluice_call_tool_name(const sluice_call *call);
const char *sluice_call_tool_arguments(const sluice_call *call, size_t *ret_n_bytes);

/* EMBEDDING: which input, and its vector. */
uint32_t sluice_call_embedding_index(const sluice_call *call);
const float *sluice_call_embedding(const sluice_call *call, size_t *ret_n_values);

/*
 * RESULT, since ABI 0.3: which document or text; its score (a document's relevance, as high or low
 * as the model server counts; a text's best probability, or 0); and all that the model server said
 * of it, as a JSON object (some token classifiers: an array). Of a rerank best first.
 */
uint32_t sluice_call_result_index(const sluice_call *call);
double sluice_call_result_score(const sluice_call *call);
const char *sluice_call_result_json(const sluice_call *call, size_t *ret_n_bytes);

enum sluice_finish {
    SLUICE_FINISH_UNKNOWN = 0,
    SLUICE_FINISH_STOP = 1,
    SLUICE_FINISH_LENGTH = 2,
    SLUICE_FINISH_TOOL_CALLS = 3,
    SLUICE_FINISH_CONTENT_FILTER = 4
};

/* DONE: how many answers there were, why each ended, and OpenAI's word for that ("stop"). */
size_t sluice_call_n_choices(const sluice_call *call);
int sluice_call_finish_reason(const sluice_call *call, size_t choice);
const char *sluice_finish_reason_name(int reason);

/* DONE: tokens, as the model server counted them; all 0 where it did not (has_usage 0). */
int sluice_call_has_usage(const sluice_call *call);
uint64_t sluice_call_input_tokens(const sluice_call *call);
uint64_t sluice_call_cached_input_tokens(const sluice_call *call);
uint64_t sluice_call_output_tokens(const sluice_call *call);
/* Of these, for thinking; 0 also where the model server does not say. Since ABI 0.3. */
uint64_t sluice_call_reasoning_output_tokens(const sluice_call *call);

/* DONE: from the arrival at the daemon to the grant of a slot, to the first piece of the answer (0:
 * there was none), to the end. */
uint64_t sluice_call_queue_usec(const sluice_call *call);
uint64_t sluice_call_first_token_usec(const sluice_call *call);
uint64_t sluice_call_total_usec(const sluice_call *call);

/*
 * FAILED, until sluice_call_free(); before: "" and 0. code is a word that programs may compare
 * ("model_not_found", "queue_full", ...; docs: errors). Three of them only this library says:
 * "connection_lost" (the daemon has gone), "answer_cut" (the answer ended before its end) and
 * "bad_answer" (not the protocol). The message is for people; param names the field of the request
 * that is wrong, or "".
 */
const char *sluice_call_error_code(const sluice_call *call);
const char *sluice_call_error_message(const sluice_call *call);
const char *sluice_call_error_param(const sluice_call *call);
/* The status with which the HTTP port would have answered, and the google.rpc.Code of the RPC. */
int sluice_call_error_http_status(const sluice_call *call);
int sluice_call_error_rpc_status(const sluice_call *call);
/* 1: the same request may succeed later, after retry_after_usec where that is not 0. */
int sluice_call_error_is_retryable(const sluice_call *call);
uint64_t sluice_call_error_retry_after_usec(const sluice_call *call);

/* ---------------------------------------------------------------- replies */

/* Fields of a REPLY. In brackets: the kinds of request whose reply has it; what a status has, each
 * STATUS of a watch has too. `row`: it belongs to a row (a model, a deployment, a feature). */
enum sluice_field {
    SLUICE_FIELD_VERSION = 1,             /* text [info, status] */
    SLUICE_FIELD_API_LEVEL = 2,           /* number [info] */
    SLUICE_FIELD_MAX_FRAME_BYTES = 3,     /* number [info] */
    SLUICE_FIELD_MAX_CALLS = 4,           /* number, per connection [info] */
    SLUICE_FIELD_MAX_MESSAGES = 5,        /* number [info] */
    SLUICE_FIELD_MAX_INPUTS = 6,          /* number [info] */
    SLUICE_FIELD_HIGH_WATER_BYTES = 7,    /* number [info] */
    SLUICE_FIELD_STALLED_READER_USEC = 8, /* number [info] */
    SLUICE_FIELD_FEATURE = 9,             /* text, row [info] */
    SLUICE_FIELD_FOUND = 10,              /* 0 or 1 [cancel] */

    SLUICE_FIELD_MODEL = 20,                 /* text, row [models, status] */
    SLUICE_FIELD_PROVIDER = 21,              /* text, row [models, status] */
    SLUICE_FIELD_DEPLOYMENTS = 22,           /* number, row [models] */
    SLUICE_FIELD_AVAILABLE_DEPLOYMENTS = 23, /* number, row [models] */
    SLUICE_FIELD_DEPLOYMENT = 24,            /* text, row [status] */
    SLUICE_FIELD_SLOTS = 25,                 /* number, row [status] */
    SLUICE_FIELD_SLOTS_IN_USE = 26,          /* number, row [status] */
    SLUICE_FIELD_AVAILABLE = 27,             /* 0 or 1, row [status] */
    SLUICE_FIELD_UNAVAILABLE_REASON = 28,    /* text, row [status] */
    SLUICE_FIELD_UPSTREAM_MODEL = 29, /* text, row: its name at the model server [models, status] */
    SLUICE_FIELD_API_BASE = 30,  /* text, row: without user, password and query [models, status] */
    SLUICE_FIELD_LOADED = 31,    /* 0 or 1, row: in memory, as far as is known [status] */
    SLUICE_FIELD_IDLE_USEC = 32, /* number, row: since its last call; 0: none, or in use [status] */
    SLUICE_FIELD_SERVER_VERSION = 33, /* text, row: of the model server; "": not known [status] */
    SLUICE_FIELD_ORDER = 34,          /* number, row: the lowest is asked first; 0: none [status] */
    SLUICE_FIELD_WEIGHT_PERMILLE =
        35,                       /* number, row: against others of its model; 0: none [status] */
    SLUICE_FIELD_TAGS = 36,       /* text, row: one a line [status] */
    SLUICE_FIELD_LOCAL_ONLY = 37, /* 0 or 1, row: its calls never leave the device [status] */
    SLUICE_FIELD_PAUSED_USEC =
        38,                    /* number, row: left alone for so long yet; 0: it is not [status] */
    SLUICE_FIELD_ALIASES = 39, /* text, row: other names that lead to it, one a line [status] */

    SLUICE_FIELD_UPTIME_USEC = 40,     /* number [status], as all that follow up to TICKETS */
    SLUICE_FIELD_PRESSURE_LEVEL = 41,  /* 0 to 4 */
    SLUICE_FIELD_PRESSURE_SOURCE = 42, /* text: "psi+trigger", "psi", "vmstat", "meminfo", "none" */
    SLUICE_FIELD_PRESSURE_SOME_PERMILLE = 43,
    SLUICE_FIELD_PRESSURE_FULL_PERMILLE = 44,
    SLUICE_FIELD_DRAINING = 45,          /* 0 or 1 */
    SLUICE_FIELD_CONFIG_GENERATION = 46, /* [reload] too */
    SLUICE_FIELD_CONNECTIONS = 47,
    SLUICE_FIELD_CALLS_QUEUED = 48,
    SLUICE_FIELD_CALLS_RUNNING = 49,   /* [drain] too */
    SLUICE_FIELD_CALLS_COMPLETED = 50, /* since the daemon started, as the next three */
    SLUICE_FIELD_CALLS_FAILED = 51,
    SLUICE_FIELD_CALLS_CANCELLED = 52,
    SLUICE_FIELD_CALLS_REFUSED = 53,
    SLUICE_FIELD_TICKETS = 54,
    SLUICE_FIELD_PRESSURE_REASON = 55, /* text: "headroom 180 MiB < 233 MiB"; "calm" [status] */
    SLUICE_FIELD_HEADROOM_BYTES = 56,  /* what is left for models [status] */
    SLUICE_FIELD_MEMORY_BYTES =
        57, /* of the device, or of the limit there is; 0: not known [status] */
    SLUICE_FIELD_TOKENS_IN = 58, /* since the daemon started, as the next two; since API level 4 */
    SLUICE_FIELD_TOKENS_OUT = 59,
    SLUICE_FIELD_PIECES_OUT = 63, /* pieces of text; of most model servers each is a token */

    SLUICE_FIELD_MODELS = 60,   /* number: names that may be asked for [reload] */
    SLUICE_FIELD_UNLOADED = 61, /* number: deployments whose server confirmed [unload] */
    SLUICE_FIELD_UNCHANGED =
        62, /* number: not loaded, or the server has no such request [unload] */

    SLUICE_FIELD_TEXT = 64, /* text: some lines for people [explain] */
    SLUICE_FIELD_VERDICT =
        65, /* text: of a model "admitted", "queued", "refused", "spilled", "fallback"; of a call "waiting", "running", "ending" [explain] */
    SLUICE_FIELD_CODE = 66, /* text: of "refused" [explain] */
    SLUICE_FIELD_WAIT_USEC =
        67, /* number: predicted, of a model; so far, of a call that waits [explain] */
    SLUICE_FIELD_POSITION = 68, /* number: of a call that waits; 0: not known [explain] */

    /* rows of classes and of callers, see sluice_call_select_rows() */
    SLUICE_FIELD_NAME = 70,        /* text */
    SLUICE_FIELD_ROW_QUEUED = 71,  /* number: calls that wait */
    SLUICE_FIELD_ROW_RUNNING = 72, /* number */
    SLUICE_FIELD_OLDEST_USEC = 73, /* number: how long who waits longest has waited; of a class */
    SLUICE_FIELD_WEIGHT =
        74, /* number: of a caller's share; SLUICE_FIELD_IDLE_USEC: since it asked */

    /* of models in the memory of this device, as far as it is known; since API level 4 */
    SLUICE_FIELD_MEMORY_STATE =
        75, /* text, row: "unloaded", "asked", "reserved", "loading", "resident", "draining", "unloading", "quarantined" [models, status] */
    SLUICE_FIELD_NEED_BYTES = 76, /* number: what a load of it takes [load; models, status: row] */
    SLUICE_FIELD_NEED_SOURCE =
        77, /* text, row: "learned", "configured", "reported", "computed" [models, status] */
    SLUICE_FIELD_FITS = 78, /* text, row: "now", "later", "not now", "never" [models, status] */
    SLUICE_FIELD_FILE_BYTES = 79,     /* number, row: of its file [models, status] */
    SLUICE_FIELD_HELD_BYTES = 80,     /* number, row: while it is in memory [models, status] */
    SLUICE_FIELD_RESERVATIONS = 81,   /* number: of memory, for loads [status] */
    SLUICE_FIELD_RESERVED_BYTES = 82, /* number [status] */
    SLUICE_FIELD_MODEL_LOADS = 83, /* number: since the daemon started, as the next four [status] */
    SLUICE_FIELD_MODEL_UNLOADS = 84, /* number: to make room, or as asked */
    SLUICE_FIELD_LOADS_STOPPED = 85, /* number: that would have taken all memory */
    SLUICE_FIELD_UNLOADS_STUCK = 86, /* number: never confirmed */
    SLUICE_FIELD_QUARANTINES = 87,   /* number: of models whose load was killed */
    SLUICE_FIELD_LOAD_USEC = 88,     /* number: with the wait for its turn [load] */
    SLUICE_FIELD_WAS_THERE = 89,     /* 0 or 1: nothing had to be loaded [load] */

    /* calls that left the device since the daemon started; since API level 4 */
    SLUICE_FIELD_CALLS_SPILLED_LEVEL = 90, /* number: for the level of memory pressure [status] */
    SLUICE_FIELD_CALLS_SPILLED_WAIT =
        91, /* number: as they would have waited for long, or were refused a place [status] */
    SLUICE_FIELD_CALLS_SPILLED_ROOM = 92 /* number: as their model found no memory [status] */
};

/* 0 and "" for a field that this reply does not have. A REPLY is valid until sluice_call_free(),
 * since it is the last event; a STATUS until the next event is taken. */
uint64_t sluice_call_reply_number(const sluice_call *call, int field);
const char *sluice_call_reply_text(const sluice_call *call, int field);
size_t sluice_call_n_rows(const sluice_call *call);
uint64_t sluice_call_row_number(const sluice_call *call, size_t row, int field);
const char *sluice_call_row_text(const sluice_call *call, size_t row, int field);

/* Which rows these functions count and read, until it is said again: a reply's own, which is so at first, or of a status
 * those of its classes or of its callers. */
enum sluice_rows { SLUICE_ROWS_OWN = 0, SLUICE_ROWS_CLASSES = 1, SLUICE_ROWS_CALLERS = 2 };
void sluice_call_select_rows(sluice_call *call, int rows);

/*
 * Info: the google.protobuf.FileDescriptorSet of sluice.v1, for tools that make their own messages.
 */
const void *sluice_call_descriptor_set(const sluice_call *call, size_t *ret_n_bytes);

#ifdef __cplusplus
}
#endif

#endif
