#pragma once
/*
 * A model server: where it is, and whether it answers, as the exchanges with it show. Nothing is sent
 * to find out, but where the configuration wants that (health_check.h).
 *
 *   (up) ──no connection, or no answer in time──► down ──an answer, of any kind──► (up)
 *
 * A server counts as up until it fails, so one that was never there is down with its first use.
 * Each change is told once (upstreams.hooks). Nobody routes by this.
 *
 * One for each api_base, shared by its deployments, its loader and whoever asks it something: each
 * holds a reference. Who keeps one thing for each server finds it by this one.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/log.h"
#include "base/macros.h"
#include "proto/errcode.h"
#include "upstream/server_address.h"

struct upstreams;
struct server_state;

/* 0; -EINVAL: no address; -ENOMEM. */
int server_state_ref(struct upstreams *up, const char *api_base,
                     struct server_state **ret) MUST_USE;
struct server_state *server_state_retain(struct server_state *s); /* returns s */
/* accepts NULL, returns NULL */
struct server_state *server_state_unref(struct server_state *s);

/* What messages call it: its api_base without credentials and query. */
const char *server_state_name(const struct server_state *s);
const struct server_address *server_state_address(const struct server_state *s);
bool server_state_is_down(const struct server_state *s);

/*
 * Counts the times when nobody was there, or broke off in the middle. What was known of the server's memory before the count
 * changed is worth nothing: it may be another process now.
 */
unsigned server_state_epoch(const struct server_state *s);

/* Another process may be there now: the count changes. */
void server_state_renew(struct server_state *s);

/* A head arrived, whatever its status. */
void server_state_answered(struct server_state *s, uint64_t now_usec);

/* No connection, or no answer in time; to a health check also none that is HTTP. why: for people, without secrets. */
void server_state_failed(struct server_state *s, enum errcode code, const char *why,
                         uint64_t now_usec);

/* A change, as upstreams.hooks.on_server has it. Borrowed for the duration of the call. */
struct server_report {
    const char *server;
    bool is_down;
    enum errcode code;   /* down: why */
    const char *why;     /* down */
    uint64_t down_usec;  /* up: how long it was down */
    uint64_t n_failures; /* up: attempts that failed meanwhile */
    struct log_limit *limit;
};
