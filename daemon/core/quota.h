#pragma once
/*
 * What callers may use: requests and tokens a minute (core/gcra.h), and calls at a time. One account
 * for each API key, and for each uid or unit that has limits; callers are told apart as they are for
 * their share of the slots (core/caller_table.h). All others have none, and no limits.
 *
 * A charge is embedded in the object that it pays for (struct call), as a ticket is. It is taken
 * when the call is admitted, with a guess of its tokens, and brought home when the call has ended,
 * with what it really used. quota_done() asserts that all are home.
 *
 * An account outlives a reload, with what was taken from it: its limits are renewed, its debts are
 * not. One that the configuration names no more is freed when its last charge has come home.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "core/caller_table.h"
#include "core/gcra.h"
#include "proto/errcode.h"

#define QUOTA_TEXT_BYTES 192

/* What the configuration says of one account. */
struct quota_limit {
    struct caller_name owner; /* its name is borrowed; never CALLER_OTHERS */
    uint64_t rpm, tpm;        /* a minute; 0: no limit */
    unsigned max_parallel;    /* 0: no limit */
};

struct quota_account {
    struct list link; /* quota.accounts */
    enum caller_kind kind;
    uint32_t uid;                 /* CALLER_UID */
    char name[CALLER_NAME_BYTES]; /* CALLER_UNIT, CALLER_KEY */
    struct gcra requests, tokens;
    unsigned max_parallel; /* 0: no limit */
    unsigned n_charges;    /* out */
    bool is_planned;       /* the configuration names it */
};

struct quota {
    struct list accounts;               /* quota_account.link */
    const struct caller_table *callers; /* borrowed: who a caller is */
};

/* All zero: home. */
struct quota_charge {
    struct quota_account *account; /* borrowed; NULL: nothing is charged */
    uint64_t n_tokens;             /* guessed, and taken */
};

/* Why a call is refused. */
struct quota_refusal {
    enum errcode code;
    uint64_t retry_after_usec;   /* 0: no waiting helps */
    char text[QUOTA_TEXT_BYTES]; /* for the client */
};

void quota_init(struct quota *q, const struct caller_table *callers);
void quota_done(struct quota *q); /* asserts that every charge is home */

/*
 * The accounts of a new configuration: one for every key, also without limits, for a key without an
 * account is refused; uids and units with limits. No two have the same owner. 0, or -ENOMEM: nothing
 * has changed.
 */
int quota_set(struct quota *q, const struct quota_limit *limits, size_t n_limits,
              uint64_t now_usec) MUST_USE;

/* The account of who came with a request, or NULL. Borrowed until the next call that is not const. */
const struct quota_account *quota_find(const struct quota *q, const struct caller *who);

/* Whose it is: "key ci", "uid 1000", "unit x.service". */
const char *quota_account_describe(const struct quota_account *a,
                                   char ret_text[CALLER_DESCRIPTION_BYTES]);

/*
 * About how many tokens a request will use: a quarter of the bytes of its text, and as many as it
 * asks for at most, for each choice. Images count nothing.
 */
uint64_t quota_guess_tokens(const struct request *req);

/* Would a call of that many tokens be refused now? ERRCODE_NONE, or that of ret_refusal. */
enum errcode quota_look(const struct quota *q, const struct caller *who, uint64_t n_tokens,
                        uint64_t now_usec, struct quota_refusal *ret_refusal);

/*
 * Charges a call to its caller, once, or says why not: ERRCODE_NONE, or that of ret_refusal. charge
 * must be home.
 */
enum errcode quota_take(struct quota *q, struct quota_charge *charge, const struct request *req,
                        uint64_t now_usec, struct quota_refusal *ret_refusal);

/* The call is over and has used so many tokens. Idempotent: brings the charge home. */
void quota_settle(struct quota *q, struct quota_charge *charge, uint64_t n_used, uint64_t now_usec);
