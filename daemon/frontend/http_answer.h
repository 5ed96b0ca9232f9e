#pragma once
/*
 * Answers of an exchange: whole bodies, errors, streams of events. Each ends the exchange, and the
 * connection where it must.
 */
#include "frontend/http_conn.h"
#include "wire/problem.h"

/* A whole answer. */
void http_answer_body(struct http_conn *h, int status, const char *type, struct str body,
                      uint64_t now_usec);

/* 204 to OPTIONS, with what a preflight of an allowed origin asks for. */
void http_answer_options(struct http_conn *h, uint64_t now_usec);

/* p's status, type and code from errors.def; its text and param where it has them. */
void http_answer_problem(struct http_conn *h, const struct problem *p, uint64_t retry_after_usec,
                         uint64_t now_usec);

/* The same, and the connection closes: the request cannot be trusted to end where it seems to. */
void http_answer_refusal(struct http_conn *h, const struct problem *p, uint64_t now_usec);

/* A sign of life for a stream that has nothing to say yet; its head if that was not sent. */
void http_answer_heartbeat(struct http_conn *h, uint64_t now_usec);
void http_answer_arm_heartbeat(struct http_conn *h, uint64_t now_usec);

/* "100 Continue" */
void http_answer_continue(struct http_conn *h);

/* The sink of the exchange's call. */
enum sink_answer http_answer_deliver(struct event_sink *sink, const struct event *ev);
