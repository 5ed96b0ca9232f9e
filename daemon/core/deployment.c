/*
 * See deployment.h.
 *
 * Owns the deployment's strings, its terms and its backend. Must not: choose among deployments, or
 * tell a breaker anything: who runs a call does.
 */
#include "core/deployment.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static const struct deployment_terms plain_terms = {
    .max_retries = FAIL_POLICY_UNSET,
    .cooldown_usec = USEC_NEVER,
};

struct deployment *deployment_free(struct deployment *d)
{
    if (!d) {
        return NULL;
    }
    assert(d->in_use == 0);
    list_remove(&d->link);
    if (d->backend) {
        d->backend->ops->free(d->backend);
    }
    free(d->id);
    free(d->fingerprint);
    free(d->provider);
    free(d->upstream_model);
    free(d->prefix);
    free(d->api_base);
    free(d->off_reason);
    free(d->own_terms);
    free(d->planned_terms);
    free(d);
    return NULL;
}

static char *copy(const char *text)
{
    return strdup(text ? text : "");
}

struct deployment *deployment_new(const struct deployment_spec *spec, struct backend *backend)
{
    struct deployment *d = calloc(1, sizeof *d);

    assert(backend ? !spec->off_reason : spec->off_reason != NULL);
    assert(spec->slots > 0);
    if (!d) {
        return NULL;
    }
    list_init(&d->link);
    d->terms = &plain_terms;
    d->slots = spec->slots;
    d->id = strdup(spec->id);
    d->fingerprint = strdup(spec->fingerprint);
    d->provider = strdup(spec->provider);
    d->upstream_model = copy(spec->upstream_model);
    d->prefix = copy(spec->prefix);
    d->is_local = spec->is_local;
    d->api_base = copy(spec->api_base);
    d->off_reason = spec->off_reason ? strdup(spec->off_reason) : NULL;
    if (!d->id || !d->fingerprint || !d->provider || !d->upstream_model || !d->prefix ||
        !d->api_base || (spec->off_reason && !d->off_reason)) {
        return deployment_free(d);
    }
    d->backend = backend;
    return d;
}

uint64_t deployment_idle_usec(const struct deployment *d, uint64_t now_usec)
{
    bool has_rested = d->in_use == 0 && d->last_used_at_usec != 0;

    return has_rested && now_usec > d->last_used_at_usec ? now_usec - d->last_used_at_usec : 0;
}

unsigned deployment_slots(const struct deployment *d, enum pressure_level level)
{
    return slot_limit_now(&d->limit, d->slots, level, d->is_local);
}

bool deployment_is_loaded(const struct deployment *d, const char *model, uint64_t now_usec)
{
    return d->backend && d->backend->ops->is_loaded &&
           d->backend->ops->is_loaded(d->backend, model, now_usec);
}

void deployment_look(struct deployment *d, uint64_t now_usec)
{
    if (d->backend && d->backend->ops->look) {
        d->backend->ops->look(d->backend, now_usec);
    }
}

const char *deployment_server_version(const struct deployment *d)
{
    return d->backend && d->backend->ops->server_version
               ? d->backend->ops->server_version(d->backend)
               : "";
}

bool deployment_is_down(const struct deployment *d)
{
    return d->backend && d->backend->ops->is_down && d->backend->ops->is_down(d->backend);
}

bool deployment_checked(const struct deployment *d, struct backend_check *ret)
{
    return d->backend && d->backend->ops->checked && d->backend->ops->checked(d->backend, ret);
}

bool deployment_is_doubted(const struct deployment *d)
{
    struct backend_check check;

    return deployment_checked(d, &check) && check.is_failing;
}

/* A copy in one block: the terms, the array of tags, their text. */
static struct deployment_terms *copy_terms(const struct deployment_terms *terms)
{
    size_t n_bytes = sizeof *terms + terms->n_tags * sizeof(char *);
    struct deployment_terms *copied;
    const char **tags;
    char *text;

    for (size_t i = 0; i < terms->n_tags; i++) {
        n_bytes += strlen(terms->tags[i]) + 1;
    }
    copied = malloc(n_bytes);
    if (!copied) {
        return NULL;
    }
    tags = (const char **) (copied + 1);
    text = (char *) (tags + terms->n_tags);
    *copied = *terms;
    copied->tags = tags;
    for (size_t i = 0; i < terms->n_tags; i++) {
        tags[i] = text;
        text = stpcpy(text, terms->tags[i]) + 1;
    }
    return copied;
}

int deployment_plan_terms(struct deployment *d, const struct deployment_terms *terms)
{
    struct deployment_terms *copied = copy_terms(terms);

    if (!copied) {
        return -ENOMEM;
    }
    free(d->planned_terms);
    d->planned_terms = copied;
    return 0;
}

void deployment_adopt_terms(struct deployment *d)
{
    if (d->planned_terms) {
        free(d->own_terms);
        d->own_terms = TAKE(d->planned_terms);
        d->terms = d->own_terms;
    }
    /* as of the last call: what it took flows off at the new rate */
    gcra_set_rate(&d->rpm, d->terms->enforces_rates ? d->terms->rpm : 0, d->rpm.at_usec);
    gcra_set_rate(&d->tpm, d->terms->enforces_rates ? d->terms->tpm : 0, d->tpm.at_usec);
}

/* ---------------------------------------------------------------- pauses */

void deployment_hold(struct deployment *d, const char *why, uint64_t until_usec)
{
    d->held_why = why;
    d->held_until_usec = until_usec;
}

void deployment_release(struct deployment *d)
{
    d->held_why = NULL;
}

static bool is_held(const struct deployment *d, uint64_t now_usec)
{
    return d->held_why && now_usec < d->held_until_usec;
}

static uint64_t rate_wait_usec(const struct deployment *d, uint64_t now_usec)
{
    uint64_t rpm_usec = gcra_wait_usec(&d->rpm, 1, now_usec);
    uint64_t tpm_usec = gcra_wait_usec(&d->tpm, 1, now_usec);

    return rpm_usec > tpm_usec ? rpm_usec : tpm_usec;
}

enum deployment_pause deployment_paused_by(const struct deployment *d, uint64_t now_usec,
                                           uint64_t *ret_usec)
{
    uint64_t ignored, usec;

    ret_usec = ret_usec ? ret_usec : &ignored;
    if (is_held(d, now_usec)) {
        *ret_usec = d->held_until_usec - now_usec;
        return PAUSE_HELD;
    }
    if (!health_can_take(&d->health, now_usec)) {
        *ret_usec = health_retry_after(&d->health, now_usec);
        return PAUSE_BREAKER;
    }
    usec = cooldown_left_usec(&d->cooldown, now_usec);
    if (usec > 0) {
        *ret_usec = usec;
        return PAUSE_COOLDOWN;
    }
    usec = rate_wait_usec(d, now_usec);
    if (usec > 0) {
        *ret_usec = usec;
        return PAUSE_RATE;
    }
    return PAUSE_NONE;
}

static uint64_t sooner_after(uint64_t a, uint64_t b, uint64_t after_usec)
{
    return b > after_usec && b < a ? b : a;
}

uint64_t deployment_resumes_at(const struct deployment *d, uint64_t after_usec)
{
    uint64_t at = USEC_NEVER;

    if (d->held_why) {
        at = sooner_after(at, d->held_until_usec, after_usec);
    }
    if (d->health.state == HEALTH_OPEN) {
        at = sooner_after(at, d->health.open_until_usec, after_usec);
    }
    at = sooner_after(at, d->cooldown.until_usec, after_usec);
    at = sooner_after(at, usec_add(after_usec, rate_wait_usec(d, after_usec)), after_usec);
    return at;
}

static const char *describe_cooldown(const struct deployment *d, bool with_times, uint64_t left,
                                     char ret_text[DEPLOYMENT_TEXT_BYTES])
{
    const char *cause = cooldown_cause_name(d->cooldown.cause);

    if (with_times) {
        (void) snprintf(ret_text, DEPLOYMENT_TEXT_BYTES, "cooling down for %llu s after: %s",
                        (unsigned long long) ((left + USEC_PER_SEC - 1) / USEC_PER_SEC), cause);
    } else {
        (void) snprintf(ret_text, DEPLOYMENT_TEXT_BYTES, "cooling down after: %s", cause);
    }
    return ret_text;
}

static const char *describe_hold(const struct deployment *d, bool with_times, uint64_t now_usec,
                                 char ret_text[DEPLOYMENT_TEXT_BYTES])
{
    char text[HEALTH_TEXT_BYTES];
    const char *breaker = health_describe(&d->health, with_times, now_usec, text);

    (void) snprintf(ret_text, DEPLOYMENT_TEXT_BYTES, "%s%s%s", breaker ? breaker : "",
                    breaker ? "; " : "", d->held_why);
    return ret_text;
}

const char *deployment_describe_pause(const struct deployment *d, bool with_times,
                                      uint64_t now_usec, char ret_text[DEPLOYMENT_TEXT_BYTES])
{
    uint64_t left = 0;

    switch (deployment_paused_by(d, now_usec, &left)) {
    case PAUSE_NONE:
        return NULL;
    case PAUSE_HELD:
        return describe_hold(d, with_times, now_usec, ret_text);
    case PAUSE_BREAKER:
        return health_describe(&d->health, with_times, now_usec, ret_text);
    case PAUSE_COOLDOWN:
        return describe_cooldown(d, with_times, left, ret_text);
    case PAUSE_RATE:
        (void) snprintf(ret_text, DEPLOYMENT_TEXT_BYTES, "its rpm or tpm are used up");
        return ret_text;
    }
    return NULL;
}
