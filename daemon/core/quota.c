/*
 * Accounts of callers.
 *
 * All that one request is asked is looked at before anything is taken, so a refusal costs nothing.
 * Invariants: an account's n_charges is the number of charges that point to it; an account is
 * planned, or has charges out.
 *
 * Owns the accounts. Must not: read a clock, know calls, decide statuses beyond a code.
 */
#include "core/quota.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"

/* English text has about four bytes a token, in the tokenizers of today; code somewhat fewer. */
#define BYTES_PER_TOKEN 4
/* a model server that counts nonsense must not shut a caller out for longer than an hour */
#define MAX_MINUTES_PER_CALL 60
/* what clients take for a Retry-After (node drops longer ones); the text says the true time */
#define RETRY_MIN_USEC USEC_PER_SEC
#define RETRY_MAX_USEC (60 * USEC_PER_SEC)
#define OWNER_BYTES    (CALLER_NAME_BYTES + 16)

void quota_init(struct quota *q, const struct caller_table *callers)
{
    list_init(&q->accounts);
    q->callers = callers;
}

static void account_free(struct quota_account *a)
{
    assert(a->n_charges == 0);
    list_remove(&a->link);
    free(a);
}

void quota_done(struct quota *q)
{
    list_for_each_safe (l, &q->accounts) {
        account_free(CONTAINER_OF(l, struct quota_account, link));
    }
}

/* ---------------------------------------------------------------- accounts */

static struct caller_name owner_of(const struct quota_account *a)
{
    return (struct caller_name) {.kind = a->kind, .uid = a->uid, .name = a->name};
}

static struct quota_account *find(const struct quota *q, const struct caller_name *owner)
{
    list_for_each (l, &q->accounts) {
        struct quota_account *a = CONTAINER_OF(l, struct quota_account, link);
        struct caller_name own = owner_of(a);

        if (caller_name_is_same(&own, owner)) {
            return a;
        }
    }
    return NULL;
}

static struct quota_account *account_of(const struct quota *q, const struct caller *who)
{
    struct caller_name name;

    if (list_is_empty(&q->accounts)) { /* as nearly everywhere: no rules to look through */
        return NULL;
    }
    name = caller_name_of(q->callers, who);
    return find(q, &name);
}

const struct quota_account *quota_find(const struct quota *q, const struct caller *who)
{
    return account_of(q, who);
}

const char *quota_account_describe(const struct quota_account *a,
                                   char ret_text[CALLER_DESCRIPTION_BYTES])
{
    struct caller_name owner = owner_of(a);

    return caller_name_describe(&owner, ret_text);
}

/* Accounts that nobody names, without a charge. */
static void sweep(struct quota *q)
{
    list_for_each_safe (l, &q->accounts) {
        struct quota_account *a = CONTAINER_OF(l, struct quota_account, link);

        if (!a->is_planned && a->n_charges == 0) {
            account_free(a);
        }
    }
}

/* Accounts for those that have none yet, unplanned. */
static int add_missing(struct quota *q, const struct quota_limit *limits, size_t n_limits)
{
    for (size_t i = 0; i < n_limits; i++) {
        const struct caller_name *owner = &limits[i].owner;
        struct quota_account *a;

        assert(owner->kind != CALLER_OTHERS);
        if (find(q, owner)) {
            continue;
        }
        a = calloc(1, sizeof *a);
        if (!a) {
            return -ENOMEM;
        }
        a->kind = owner->kind;
        a->uid = owner->uid;
        (void) snprintf(a->name, sizeof a->name, "%s", owner->name ? owner->name : "");
        list_append(&q->accounts, &a->link);
    }
    return 0;
}

int quota_set(struct quota *q, const struct quota_limit *limits, size_t n_limits, uint64_t now_usec)
{
    int r = add_missing(q, limits, n_limits);

    if (r < 0) {
        sweep(q); /* those that were just made: all others are planned, or charged */
        return r;
    }
    list_for_each (l, &q->accounts) {
        CONTAINER_OF(l, struct quota_account, link)->is_planned = false;
    }
    for (size_t i = 0; i < n_limits; i++) {
        struct quota_account *a = find(q, &limits[i].owner);

        gcra_set_rate(&a->requests, limits[i].rpm, now_usec);
        gcra_set_rate(&a->tokens, limits[i].tpm, now_usec);
        a->max_parallel = limits[i].max_parallel;
        a->is_planned = true;
    }
    sweep(q);
    return 0;
}

/* ---------------------------------------------------------------- the guess */

static uint64_t bytes_of_message(const struct message *m)
{
    uint64_t n = m->thinking.len;

    for (size_t i = 0; i < m->n_parts; i++) {
        n += m->parts[i].text.len;
    }
    for (size_t i = 0; i < m->n_tool_calls; i++) {
        n += m->tool_calls[i].name.len + m->tool_calls[i].arguments.len;
    }
    return n;
}

static uint64_t bytes_of_text(const struct request *req)
{
    uint64_t n = req->tools.len + req->response_format.len + req->prompt.len + req->suffix.len +
                 req->query.len;

    for (size_t i = 0; i < req->n_messages; i++) {
        n += bytes_of_message(&req->messages[i]);
    }
    for (size_t i = 0; i < req->n_inputs; i++) {
        n += req->inputs[i].len;
    }
    /* a form that only its dialect can read (token ids, say): all that was sent */
    return n == 0 && req->is_raw_only ? req->total_bytes : n;
}

uint64_t quota_guess_tokens(const struct request *req)
{
    const struct sampling *s = &req->sampling;
    uint64_t answer = s->set & SAMPLING_MAX_TOKENS ? s->max_tokens : 0;
    uint64_t n_choices = s->n_choices > 1 ? s->n_choices : 1;

    return (bytes_of_text(req) + BYTES_PER_TOKEN - 1) / BYTES_PER_TOKEN + answer * n_choices;
}

/* ---------------------------------------------------------------- charges */

/* For clients, in a sentence: the key "ci", uid 1000, the unit "x.service". */
static const char *put_owner(const struct quota_account *a, char ret_text[OWNER_BYTES])
{
    switch (a->kind) {
    case CALLER_OTHERS:
        break; /* has no account */
    case CALLER_UID:
        (void) snprintf(ret_text, OWNER_BYTES, "uid %u", (unsigned) a->uid);
        return ret_text;
    case CALLER_UNIT:
        (void) snprintf(ret_text, OWNER_BYTES, "the unit \"%s\"", a->name);
        return ret_text;
    case CALLER_KEY:
        (void) snprintf(ret_text, OWNER_BYTES, "the key \"%s\"", a->name);
        return ret_text;
    }
    return "this caller";
}

static enum errcode refuse_parallel(const struct quota_account *a, struct quota_refusal *ret)
{
    char owner[OWNER_BYTES];

    (void) snprintf(ret->text, sizeof ret->text, "limit of %s reached: %u calls at a time",
                    put_owner(a, owner), a->max_parallel);
    ret->retry_after_usec = RETRY_MIN_USEC;
    return ret->code = ERRCODE_KEY_RATE_LIMITED;
}

/* The last words are OpenAI's: agents look for "try again in 3s". */
static enum errcode refuse_rate(const struct quota_account *a, const char *what,
                                const struct gcra *rate, uint64_t wait_usec,
                                struct quota_refusal *ret)
{
    uint64_t wait_sec = (wait_usec + USEC_PER_SEC - 1) / USEC_PER_SEC;
    char owner[OWNER_BYTES];

    (void) snprintf(ret->text, sizeof ret->text,
                    "limit of %s reached: %llu %s a minute; try again in %llus",
                    put_owner(a, owner), (unsigned long long) rate->per_min, what,
                    (unsigned long long) wait_sec);
    ret->retry_after_usec = num_clamp_u64(wait_usec, RETRY_MIN_USEC, RETRY_MAX_USEC);
    return ret->code = ERRCODE_KEY_RATE_LIMITED;
}

static enum errcode refuse_size(const struct quota_account *a, uint64_t n_tokens,
                                struct quota_refusal *ret)
{
    char owner[OWNER_BYTES];

    (void) snprintf(ret->text, sizeof ret->text,
                    "this request may use about %llu tokens, and %s has %llu a minute",
                    (unsigned long long) n_tokens, put_owner(a, owner),
                    (unsigned long long) a->tokens.per_min);
    return ret->code = ERRCODE_INSUFFICIENT_QUOTA;
}

/* Its key was taken out of the configuration since the request was read. */
static enum errcode refuse_unknown(struct quota_refusal *ret)
{
    return ret->code = ERRCODE_INVALID_API_KEY;
}

/* May an account be charged with a call of that many tokens? Nothing is taken. */
static enum errcode refuse(const struct quota_account *a, uint64_t n_tokens, uint64_t now_usec,
                           struct quota_refusal *ret)
{
    uint64_t wait_usec;

    if (a->tokens.per_min > 0 && n_tokens > a->tokens.per_min) {
        return refuse_size(a, n_tokens, ret);
    }
    if (a->max_parallel > 0 && a->n_charges >= a->max_parallel) {
        return refuse_parallel(a, ret);
    }
    wait_usec = gcra_wait_usec(&a->requests, 1, now_usec);
    if (wait_usec > 0) {
        return refuse_rate(a, "requests", &a->requests, wait_usec, ret);
    }
    wait_usec = gcra_wait_usec(&a->tokens, n_tokens, now_usec);
    if (wait_usec > 0) {
        return refuse_rate(a, "tokens", &a->tokens, wait_usec, ret);
    }
    return ERRCODE_NONE;
}

enum errcode quota_look(const struct quota *q, const struct caller *who, uint64_t n_tokens,
                        uint64_t now_usec, struct quota_refusal *ret_refusal)
{
    const struct quota_account *a = account_of(q, who);

    *ret_refusal = (struct quota_refusal) {.code = ERRCODE_NONE};
    if (a && a->is_planned) {
        return refuse(a, n_tokens, now_usec, ret_refusal);
    }
    return who->key_id[0] ? refuse_unknown(ret_refusal) : ERRCODE_NONE;
}

enum errcode quota_take(struct quota *q, struct quota_charge *charge, const struct request *req,
                        uint64_t now_usec, struct quota_refusal *ret_refusal)
{
    struct quota_account *a = account_of(q, &req->caller);
    uint64_t n_tokens = a && a->tokens.per_min > 0 ? quota_guess_tokens(req) : 0;
    enum errcode code = quota_look(q, &req->caller, n_tokens, now_usec, ret_refusal);

    assert(!charge->account);
    if (code != ERRCODE_NONE || !a || !a->is_planned) {
        return code;
    }
    gcra_take(&a->requests, 1, now_usec);
    gcra_take(&a->tokens, n_tokens, now_usec);
    a->n_charges++;
    *charge = (struct quota_charge) {.account = a, .n_tokens = n_tokens};
    return ERRCODE_NONE;
}

void quota_settle(struct quota *q, struct quota_charge *charge, uint64_t n_used, uint64_t now_usec)
{
    struct quota_account *a = TAKE(charge->account);

    if (!a) {
        return;
    }
    if (n_used > charge->n_tokens) {
        n_used = num_clamp_u64(n_used, 0, MAX_MINUTES_PER_CALL * a->tokens.per_min);
        n_used = n_used > charge->n_tokens ? n_used : charge->n_tokens;
        gcra_take(&a->tokens, n_used - charge->n_tokens, now_usec);
    } else {
        gcra_give_back(&a->tokens, charge->n_tokens - n_used, now_usec);
    }
    charge->n_tokens = 0;
    assert(a->n_charges > 0);
    a->n_charges--;
    sweep(q);
}
