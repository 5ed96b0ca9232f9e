/*
 * The configuration of the running daemon: what of a file goes to which module, at the start and at
 * each reload.
 *
 * Adopting one swaps the configuration snapshot, the router's plan and the parameters of modules;
 * running calls keep their deployments. All that can fail comes first: a file that cannot be used,
 * or for which there is no memory, changes nothing. config_open.c reads the file, config_params.c
 * and plan.c turn it into what modules take; here it is only handed out.
 *
 * Must not: read the file, make or unmake modules, talk to the service manager.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "announce.h"
#include "base/clock.h"
#include "base/log.h"
#include "config_open.h"
#include "config_params.h"
#include "plan.h"
#include "server_internal.h"
#include "upstream/health_check.h"

/* Who may use how much. What was taken stays taken. Where it fails nothing has changed. */
static int set_quotas(struct server *s, const struct config *c)
{
    struct quota_limit *limits = NULL;
    size_t n = 0;
    int r = config_params_quotas(c, &limits, &n);

    r = r < 0 ? r : quota_set(&s->quota, limits, n, clock_now_usec());
    free(limits);
    return r;
}

int server_adopt_config(struct server *s, struct config *c)
{
    struct router_plan plan = {0};
    struct admission_params admission = config_params_admission(c);
    struct model_server_spec server = config_params_model_server(c);
    struct residency_params residency = config_params_residency(c);
    struct access_key *keys = NULL;
    struct caller_rule *callers = NULL;
    size_t n_callers = 0;
    int r = plan_build(&plan, c, &s->router, &s->upstreams);

    if (r >= 0) {
        r = config_params_keys(c, &keys);
    }
    if (r >= 0) {
        r = config_params_callers(c, &callers, &n_callers);
    }
    if (r >= 0) {
        r = plan_units(c, &s->guards);
    }
    if (r >= 0) {
        r = set_quotas(s, c);
    }
    if (r < 0) {
        router_plan_done(&plan);
        free(keys);
        free(callers);
        return r;
    }
    router_commit(&s->router, &plan);
    admission_set_params(&s->admission, &admission);
    caller_table_set_rules(&s->admission.callers, callers, n_callers);
    free(s->callers);
    s->callers = callers;
    residency_set_params(&s->residency.residency, &residency);
    s->frontends.params = config_params_frontend(c);
    s->frontends.params.keys = keys;
    s->frontends.params.n_keys = c->n_keys;
    free(s->keys);
    s->keys = keys;
    s->frontends.config_generation = ++s->generation;
    s->lifecycle.drain_usec = c->drain_usec;
    s->registry.unusable = NULL;
    config_free(s->config);
    s->config = c;
    memory_monitor_set_server(&s->memory, &server, clock_now_usec());
    return 0;
}

/*
 * No call can be served, and each is told why. Under socket activation sluiced goes on like that:
 * an exit would be a restart with the next connection, and the same exit again, until systemd gives
 * up and refuses connections.
 */
void server_degrade(struct server *s, const struct problem *why)
{
    static const char tail[] = "; `sluiced --check-config` says more";
    static const char head[] = "the configuration cannot be used: ";
    struct str text = str_clip(str_from(why->text), sizeof s->unusable - sizeof tail - sizeof head);

    (void) snprintf(s->unusable, sizeof s->unusable, "%s%.*s%s", head, STR_ARG(text), tail);
    s->registry.unusable = s->unusable;
    announce_degraded(s->options->config_path, why->text);
}

/*
 * Nothing while the configuration cannot be used. Without memory for it servers are not checked:
 * calls find out by themselves.
 */
static void set_health_checks(struct server *s)
{
    const struct config *c = s->config;
    unsigned n_parallel = c->max_health_checks ? c->max_health_checks : HEALTH_CHECKS_PARALLEL;

    if (c->health_usec == 0) {
        health_checks_stop(&s->upstreams);
    } else if (health_checks_start(&s->upstreams, c->health_usec, n_parallel, clock_now_usec()) <
               0) {
        log_printf(LOG_LEVEL_ERROR, "no background health checks: out of memory");
    }
}

/* After sockets_open(): it is of use only where the service manager starts sluiced again. */
static void set_idle_exit(struct server *s)
{
    const struct server_options *o = s->options;
    uint64_t after = o->has_idle_exit ? o->idle_exit_usec : s->config->idle_exit_usec;

    if (after > 0 && !s->sockets.is_passed && !s->has_warned_idle_exit) {
        log_printf(LOG_LEVEL_WARNING,
                   "idle_exit has no effect: systemd passed no sockets, so nobody "
                   "would start sluiced again");
        s->has_warned_idle_exit = true;
    }
    idle_exit_set(&s->idle_exit, s->sockets.is_passed ? after : 0, clock_now_usec());
}

void server_begin_config(struct server *s)
{
    set_idle_exit(s);
    set_health_checks(s);
}

bool server_reload(struct server *s, struct problem *ret_problem)
{
    const char *path = s->options->config_path;
    struct config *c = config_open(path, ret_problem);
    int r;

    if (c && !sockets_allow(&s->sockets, c)) {
        (void) snprintf(ret_problem->text, sizeof ret_problem->text,
                        "general_settings.master_key and sluice.keys cannot both go while sluiced "
                        "listens on the network");
        c = config_free(c);
    }
    r = c ? server_adopt_config(s, c) : -EBADMSG;
    if (r < 0 && c) {
        *ret_problem = (struct problem) {.code = ERRCODE_OUT_OF_MEMORY, .text = "out of memory"};
        config_free(c);
    }
    if (r < 0) {
        announce_reload_refused(path, ret_problem->text);
        if (r == -EBADMSG && s->registry.unusable) {
            server_degrade(s, ret_problem); /* another reason, perhaps */
        }
    } else {
        server_begin_config(s);
        registry_reroute(&s->registry, clock_now_usec());
        announce_reloaded(path, s->router.n_groups, s->generation);
    }
    return r >= 0;
}
