/*
 * The daemon put together.
 *
 * One loop, one thread. Whatever happens in a wake-up (bytes, timers, upstream answers), its
 * consequences are drawn once, at its end, by turn(): registry_run() decides, frontends_turn()
 * sends and buries. A turn is asked for by on_work; it follows a batch of sockets at once, anything
 * else as a one-shot defer source.
 *
 * Owns every module of struct server (server_internal.h), makes them in order and unmakes them.
 * What the file says is server_config.c's, also at a reload; how it stops lifecycle.c's, what the
 * service manager hears supervisor.c's and watchdog.c's.
 */
#include "server.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <systemd/sd-event.h>

#include "announce.h"
#include "base/clock.h"
#include "call_record.h"
#include "config_open.h"
#include "config_params.h"
#include "model_info.h"
#include "plan.h"
#include "program_memory.h"
#include "server_internal.h"
#include "signals.h"
#include "state_dump.h"

#define FDS_PER_CONN 3 /* the client's, the upstream's, and room */

/* ---------------------------------------------------------------- the turn */

static void want_turn(void *ctx)
{
    struct server *s = ctx;

    if (s->turn_wanted_at_usec == USEC_NEVER) {
        s->turn_wanted_at_usec = clock_now_usec();
    }
    (void) sd_event_source_set_enabled(s->turn, SD_EVENT_ONESHOT);
}

static void want_run(void *ctx)
{
    struct server *s = ctx;

    s->run_wanted = true;
    want_turn(s);
}

static void arm_deadline(struct server *s)
{
    uint64_t at = registry_next_deadline(&s->registry);

    (void) sd_event_source_set_time(s->deadline, at);
    (void) sd_event_source_set_enabled(s->deadline,
                                       at == USEC_NEVER ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

static void run_registry(struct server *s, uint64_t now_usec)
{
    s->run_wanted = false;
    /* a new call is admitted by the pressure of now */
    memory_monitor_set_active(&s->memory, true, now_usec);
    server_guards_turn(&s->guards, now_usec);
    residency_driver_begin_run(&s->residency, now_usec);
    registry_run(&s->registry, now_usec);
    residency_driver_end_run(&s->residency, now_usec);
    memory_monitor_set_active(&s->memory, s->registry.n_calls > 0, now_usec);
    upstreams_turn(&s->upstreams);
    arm_deadline(s);
}

static struct supervisor_view supervisor_view(const struct server *s)
{
    return (struct supervisor_view) {.n_models = s->router.n_groups,
                                     .n_running = s->admission.n_granted,
                                     .n_queued = s->admission.n_queued,
                                     .level = s->pressure.level,
                                     .problem = s->registry.unusable};
}

static int turn(sd_event_source *source, void *ctx)
{
    struct server *s = ctx;
    uint64_t now = clock_now_usec();
    struct supervisor_view view;

    s->turn_wanted_at_usec = USEC_NEVER;
    if (s->run_wanted) {
        run_registry(s, now);
    }
    frontends_turn(&s->frontends, now);
    if (lifecycle_is_running(&s->lifecycle)) {
        memory_relief_turn(&s->memory_relief, now);
        idle_exit_turn(&s->idle_exit, now);
    }
    lifecycle_turn(&s->lifecycle, s->run_wanted);
    view = supervisor_view(s);
    supervisor_turn(&s->supervisor, &view, now);
    return 0;
}

static void on_memory_pressure(void *ctx)
{
    struct server *s = ctx;

    if (lifecycle_is_running(&s->lifecycle) &&
        memory_relief_begin(&s->memory_relief, clock_now_usec())) {
        want_turn(s);
    }
}

static struct watchdog_view oldest_work(void *ctx)
{
    const struct server *s = ctx;

    return (struct watchdog_view) {
        .turn_wanted_at_usec = s->turn_wanted_at_usec,
        .deadline_at_usec = registry_next_deadline(&s->registry),
        .output_due_at_usec = frontends_output_due(&s->frontends),
    };
}

/* One turn for the whole batch, at once: the defer source would cost an iteration of the loop. */
static int on_sockets_ready(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
    struct server *s = ctx;
    int wanted = SD_EVENT_OFF;

    (void) poller_dispatch(&s->poller);
    (void) sd_event_source_get_enabled(s->turn, &wanted);
    if (wanted == SD_EVENT_OFF) {
        return 0;
    }
    (void) sd_event_source_set_enabled(s->turn, SD_EVENT_OFF);
    return turn(s->turn, s);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *ctx)
{
    want_run(ctx);
    return 0;
}

static void on_ended(void *ctx, const struct call *call)
{
    struct server *s = ctx;

    call_record_write(call);
    incidents_call_ended(&s->incidents, call);
}

static void on_breaker(void *ctx, const struct deployment *d, enum health_news news,
                       uint64_t now_usec)
{
    incidents_breaker(d, news, now_usec);
}

static void on_attempt(void *ctx, const struct call *call, enum errcode code, uint64_t now_usec)
{
    struct server *s = ctx;

    server_guards_attempt(&s->guards, call, code, now_usec);
}

/* ctx: of all hooks of upstreams. */
static void on_unloaded(void *ctx, const struct unload_news *news)
{
    struct server *s = CONTAINER_OF(ctx, struct server, incidents);

    server_guards_unloaded(&s->guards, news, clock_now_usec());
}

/* ctx: as above. Calls that wait may go elsewhere now. */
static void on_checked(void *ctx, const char *returned)
{
    struct server *s = CONTAINER_OF(ctx, struct server, incidents);

    if (returned) {
        router_server_is_back(&s->router, returned, clock_now_usec());
    }
    want_run(s);
}

static void on_denied(void *ctx, const struct caller *caller)
{
    struct server *s = ctx;

    incidents_denied(&s->incidents, caller);
}

static void on_level(void *ctx, enum pressure_level from, enum pressure_level to)
{
    struct server *s = ctx;

    announce_level(&s->pressure, from, to);
    want_run(s); /* what a level closed opens again, and the other way round */
}

static void on_sample(void *ctx, struct pressure *pressure, uint64_t now_usec)
{
    const struct server *s = ctx;
    struct pressure_claims claims = residency_driver_claims(&s->residency, now_usec);

    pressure_set_claims(pressure, &claims);
}

static void on_stage(void *ctx, enum pressure_stage stage)
{
    want_run(ctx);
}

/* ---------------------------------------------------------------- asked by RPC, as by signals */

/* false: nothing has changed. */
static bool reload(struct server *s, struct problem *ret_problem)
{
    struct supervisor_view view;
    bool is_done;

    supervisor_reloading(&s->supervisor, clock_now_usec());
    is_done = server_reload(s, ret_problem);
    view = supervisor_view(s);
    supervisor_ready(&s->supervisor, &view, clock_now_usec());
    return is_done;
}

static bool control_reload(void *ctx, struct problem *ret_problem)
{
    struct server *s = ctx;

    *ret_problem = (struct problem) {.code = ERRCODE_DRAINING};
    if (!lifecycle_is_running(&s->lifecycle)) {
        return false;
    }
    ret_problem->code = ERRCODE_BAD_CONFIGURATION;
    return reload(s, ret_problem);
}

static void control_drain(void *ctx)
{
    struct server *s = ctx;

    if (lifecycle_is_running(&s->lifecycle)) {
        lifecycle_stop(&s->lifecycle);
    }
}

/* ---------------------------------------------------------------- asked by HTTP */

static int write_models(void *ctx, struct str id, const struct access_key *key, struct buf *out)
{
    const struct server *s = ctx;

    return model_info_write(s->config, id, key, out);
}

static int write_groups(void *ctx, const struct access_key *key, struct buf *out)
{
    const struct server *s = ctx;

    return model_info_write_groups(s->config, key, out);
}

/* ---------------------------------------------------------------- signals */

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *si, void *ctx)
{
    struct server *s = ctx;

    lifecycle_stop(&s->lifecycle);
    return 0;
}

static int on_hup(sd_event_source *source, const struct signalfd_siginfo *si, void *ctx)
{
    struct problem why; /* the log has it */

    (void) control_reload(ctx, &why);
    return 0;
}

static int on_usr1(sd_event_source *source, const struct signalfd_siginfo *si, void *ctx)
{
    const struct server *s = ctx;

    state_dump(&s->frontends, clock_now_usec());
    return 0;
}

/* ---------------------------------------------------------------- start and end */

static void raise_fd_limit(const struct config *c)
{
    rlim_t want = (rlim_t) c->max_connections * FDS_PER_CONN + 64;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < want) {
        limit.rlim_cur = want < limit.rlim_max ? want : limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit); /* accept() says so when it runs out */
    }
}

static int add_sources(struct server *s)
{
    int r = poller_init(&s->poller);

    if (r >= 0) {
        r = sd_event_add_io(s->event, &s->sockets_ready, poller_fd(&s->poller), EPOLLIN,
                            on_sockets_ready, s);
    }
    if (r >= 0) {
        r = sd_event_add_defer(s->event, &s->turn, turn, s);
    }
    if (r >= 0) {
        r = sd_event_add_time(s->event, &s->deadline, CLOCK_MONOTONIC, USEC_NEVER, 1000,
                              on_deadline, s);
    }
    if (r < 0) {
        return r;
    }
    (void) sd_event_source_set_enabled(s->turn, SD_EVENT_OFF);
    (void) sd_event_source_set_enabled(s->deadline, SD_EVENT_OFF);
    return 0;
}

static void wire_frontends(struct server *s)
{
    struct frontend_params params = config_params_frontend(s->config);

    frontends_init(&s->frontends, &params);
    s->frontends.event = s->event;
    s->frontends.poller = &s->poller;
    s->frontends.registry = &s->registry;
    s->frontends.router = &s->router;
    s->frontends.admission = &s->admission;
    s->frontends.pressure = &s->pressure;
    s->frontends.stats = &s->stats;
    s->frontends.on_work = want_turn;
    s->frontends.control = (struct control_ops) {control_reload, control_drain};
    s->frontends.info = (struct info_ops) {write_models, write_groups};
    s->frontends.on_denied = on_denied;
    s->frontends.ctx = s;
    s->frontends.started_at_usec = clock_now_usec();
}

static int init_lifecycle(struct server *s)
{
    const struct lifecycle_parts parts = {
        .event = s->event,
        .registry = &s->registry,
        .admission = &s->admission,
        .frontends = &s->frontends,
        .sockets = &s->sockets,
        .supervisor = &s->supervisor,
        .on_work = want_run,
        .ctx = s,
    };
    int r = supervisor_init(&s->supervisor, s->event);

    s->memory_relief = (struct memory_relief) {.frontends = &s->frontends,
                                               .upstreams = &s->upstreams,
                                               .idle_exit = &s->idle_exit,
                                               .sockets = &s->sockets};

    if (r >= 0) {
        r = watchdog_init(&s->watchdog, s->event, oldest_work, s);
    }
    if (r >= 0) {
        r = memory_watch_init(&s->memory_watch, s->event, on_memory_pressure, s);
    }
    if (r >= 0) {
        r = idle_exit_init(&s->idle_exit, s->event, &s->registry, &s->frontends, &s->supervisor);
    }
    return r < 0 ? r : lifecycle_init(&s->lifecycle, &parts);
}

/* Everything but sockets. On failure server_done() cleans up. */
static int init_modules(struct server *s, struct config *config)
{
    static const struct signals_row handlers[] = {
        {SIGTERM, on_stop}, {SIGINT, on_stop}, {SIGHUP, on_hup}, {SIGUSR1, on_usr1}};
    struct admission_params params = config_params_admission(config);
    struct call_hooks hooks = {.ctx = s,
                               .on_work = want_run,
                               .on_ended = on_ended,
                               .on_attempt = on_attempt,
                               .on_breaker = on_breaker};
    struct residency_params residency = config_params_residency(config);
    struct upstream_hooks upstream_hooks = incidents_upstream_hooks(&s->incidents);
    struct model_server_spec model_server = config_params_model_server(config);
    struct memory_sources sources = {
        .root = config_params_kernel_root(config), .server = &model_server, .trigger_fd = -1};
    struct memory_hooks memory_hooks = {
        .on_sample = on_sample, .on_level = on_level, .on_stage = on_stage, .ctx = s};
    int r;

    router_init(&s->router);
    s->router.provider_of = plan_provider_of;
    s->router.on_cooldown = incidents_cooldown;
    s->router.random = clock_now_usec() ^ (uint64_t) getpid() << 32;
    pressure_init(&s->pressure);
    admission_init(&s->admission, &params, &s->router,
                   config->pressure_enabled ? &s->pressure : NULL);
    quota_init(&s->quota, &s->admission.callers);
    registry_init(&s->registry, &s->admission, &s->router, &s->stats, &hooks);
    s->registry.quota = &s->quota;
    server_guards_init(&s->guards, s->event, &s->router, &s->registry, &s->residency, want_run, s);
    upstream_hooks.on_unloaded = on_unloaded;
    upstream_hooks.on_checked = on_checked;
    s->config = config;
    wire_frontends(s);
    r = add_sources(s);
    if (r >= 0) {
        r = signals_add(s->event, handlers, ARRAY_LEN(handlers), s);
    }
    if (r >= 0) {
        r = init_lifecycle(s);
    }
    if (r >= 0) {
        r = incidents_init(&s->incidents, s->event);
    }
    if (r >= 0) {
        r = upstreams_init(&s->upstreams, s->event, &s->poller, &upstream_hooks);
    }
    if (r >= 0) {
        s->residency.on_change = want_run;
        s->residency.ctx = s;
        r = residency_driver_init(&s->residency, s->event, &s->router, &s->upstreams, &s->memory,
                                  &residency, config->kernel_root);
    }
    if (r >= 0) {
        r = memory_monitor_init(&s->memory, s->event, &sources, &s->pressure, &memory_hooks);
    }
    if (r < 0) {
        return r;
    }
    s->config = NULL; /* server_adopt_config() takes it */
    r = server_adopt_config(s, config);
    s->config = config;
    return r;
}

static void server_done(struct server *s)
{
    sockets_close(&s->sockets);
    frontends_done(&s->frontends);
    registry_done(&s->registry);
    server_guards_done(&s->guards);
    residency_driver_done(&s->residency);
    router_done(&s->router);
    admission_done(&s->admission);
    quota_done(&s->quota);
    free(s->keys);
    free(s->callers);
    upstreams_done(&s->upstreams);
    memory_monitor_done(&s->memory);
    sd_event_source_disable_unref(s->sockets_ready);
    poller_done(&s->poller); /* after all who have sources in it */
    sd_event_source_disable_unref(s->turn);
    sd_event_source_disable_unref(s->deadline);
    incidents_done(&s->incidents);
    log_watch_done(&s->log_watch);
    watchdog_done(&s->watchdog);
    supervisor_done(&s->supervisor);
    idle_exit_done(&s->idle_exit);
    memory_watch_done(&s->memory_watch);
    lifecycle_done(&s->lifecycle);
    config_free(s->config);
    sd_event_unref(s->event);
}

static int start(struct server *s)
{
    struct supervisor_view view;
    int r = sockets_open(&s->sockets, s->options, s->config, &s->frontends);

    if (r < 0) {
        return r;
    }
    raise_fd_limit(s->config);
    server_begin_config(s);
    announce_ready(s->options->config_path, s->router.n_groups, sockets_describe(&s->sockets));
    view = supervisor_view(s);
    supervisor_ready(&s->supervisor, &view, clock_now_usec());
    return 0;
}

int server_run(const struct server_options *options)
{
    struct server s = {.options = options, .turn_wanted_at_usec = USEC_NEVER};
    struct problem why = {.code = ERRCODE_NONE};
    struct config *config;
    bool is_degraded;
    int r;

    announce_started(options->config_path);
    config = config_open(options->config_path, &why);
    is_degraded = !config && sockets_are_passed();
    config = is_degraded ? config_new() : config;
    if (!config) {
        announce_not_started(options->config_path, "`sluiced --check-config` says more");
        return EXIT_FAILURE;
    }
    s.sockets.serves_nobody = is_degraded;
    r = sd_event_new(&s.event);
    if (r < 0) {
        config_free(config);
        announce_not_started(options->config_path, strerror(-r));
        return EXIT_FAILURE;
    }
    log_watch_init(&s.log_watch, s.event);
    r = init_modules(&s, config);
    if (r >= 0 && is_degraded) {
        server_degrade(&s, &why);
    }
    if (r >= 0) {
        r = start(&s);
    }
    if (r >= 0) {
        program_memory_settle();
        r = sd_event_loop(s.event);
    } else {
        announce_not_started(options->config_path, strerror(-r));
    }
    server_done(&s);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
