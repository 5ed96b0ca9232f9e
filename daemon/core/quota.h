#pragma once
/*
 * What API keys may use: requests and tokens a minute (core/gcra.h), and calls at a time. One
 * account for each key, found by the key's id; callers without a key have none, and no limits.
 *
 * A charge is embedded in the object that it pays for (struct call), as a ticket is. It is taken
 * when the call is admitted, with a guess of its tokens, and brought home when the call has ended,
 * with what it really used. quota_done() asserts that all are home.
 *
 * An account outlives a reload, with what was taken from it: its limits are renewed, its debts are
 * not. One whose key is gone is freed when its last charge has come home.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "core/access_key.h"
#include "core/gcra.h"
#include "proto/errcode.h"

#define QUOTA_TEXT_BYTES 192

struct quota_account {
    struct list link; /* quota.accounts */
    char id[REQUEST_KEY_ID_MAX + 1];
    struct gcra requests, tokens;
    unsigned max_parallel; /* 0: no limit */
    unsigned n_charges;    /* out */
    bool is_planned;       /* its key is in the configuration */
};

struct quota {
    struct list accounts; /* quota_account.link */
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

void quota_init(struct quota *q);
void quota_done(struct quota *q); /* asserts that every charge is home */

/* The keys of a new configuration. 0, or -ENOMEM: nothing has changed. */
int quota_set_keys(struct quota *q, const struct access_key *keys, size_t n_keys,
                   uint64_t now_usec) MUST_USE;

/* The account of a key, or NULL. Borrowed until the next call that is not const. */
const struct quota_account *quota_find(const struct quota *q, const char *key_id);

/*
 * About how many tokens a request will use: a quarter of the bytes of its text, and as many as it
 * asks for at most, for each choice. Images count nothing.
 */
uint64_t quota_guess_tokens(const struct request *req);

/*
 * Charges a call of its caller's key, once, or says why not: ERRCODE_NONE, or that of ret_refusal.
 * charge must be home.
 */
enum errcode quota_take(struct quota *q, struct quota_charge *charge, const struct request *req,
                        uint64_t now_usec, struct quota_refusal *ret_refusal);

/* The call is over and has used so many tokens. Idempotent: brings the charge home. */
void quota_settle(struct quota *q, struct quota_charge *charge, uint64_t n_used, uint64_t now_usec);
