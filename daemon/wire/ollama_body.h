#pragma once
/*
 * The body of a request to Ollama while it is written: what the source files behind
 * ollama_encode_request() share (ollama_request.c the body and the messages, ollama_options.c the
 * options, ollama_check.c what cannot be said). Nobody else includes it.
 */
#include "core/request.h"
#include "wire/ollama_json.h"
#include "wire/problem.h"
#include "wire/put.h"

struct ollama_body {
    const struct request *req; /* borrowed; NULL: the body only loads the model */
    const struct ollama_target *target;
    struct put put;
    bool is_empty; /* no member yet in the object at hand */
};

/*
 * A member of the client's body that the neutral request has no place for (HTTP's body, extra_json
 * of the RPC); absent for null, and where the deployment drops it.
 */
struct str ollama_client_value(const struct request *req, const struct ollama_target *target,
                               const char *name);

/* Does the deployment leave out what is said of it, by whomever (additional_drop_params)? */
bool ollama_drops(const struct ollama_target *target, const char *name);

/* JSON text out of the configuration, absent where there is none or null, and where it is dropped. */
struct str ollama_deployment_value(const struct ollama_target *target, const char *name);

/* Writes the name of a member; its value goes to what is returned. */
struct put *ollama_body_begin(struct ollama_body *b, const char *name);

/*
 * A value out of the configuration. Text that reads as a number or a boolean is sent as one: people
 * quote them in YAML, and Ollama refuses keep_alive "300" (no unit) and any option of the wrong
 * type.
 */
void ollama_put_configured(struct put *p, struct str value);

/* As a JSON array. */
void ollama_put_strings(struct put *p, const struct str *strings, size_t n);

/* The member "options". */
void ollama_body_options(struct ollama_body *b);

/*
 * 0; -EBADMSG with *ret_problem: a client's value has the wrong type for an option that it may set.
 */
int ollama_check_options(const struct request *req, const struct ollama_target *target,
                         struct problem *ret_problem) MUST_USE;

/* The value of "think" for a reasoning_effort; absent where there is no such effort. */
struct str ollama_think_of(struct str effort);

/* 0; -EBADMSG with *ret_problem: this request cannot be said in Ollama's dialect; -ENOMEM. */
int ollama_check_request(const struct request *req, const struct ollama_target *target,
                         struct problem *ret_problem) MUST_USE;

/*
 * How long a client wants the model to stay: Ollama's words (seconds, or "5m"), also a number in
 * quotes. *ret_sec is within OLLAMA_KEEP_ALIVE_MIN_SEC and _MAX_SEC, whatever was asked. 0 or
 * -EINVAL.
 */
#define OLLAMA_KEEP_ALIVE_MIN_SEC 60 /* twice as long as a model counts as loaded after a call */
#define OLLAMA_KEEP_ALIVE_MAX_SEC (24 * 60 * 60)
int ollama_keep_alive(struct str json, uint64_t *ret_sec) MUST_USE;
