/*
 * See unit_restart.h.
 *
 *   open ──► match JobRemoved ──► RestartUnit ──► its job ──► JobRemoved of that job ──► told
 *
 * The bus is opened for one restart and closed after it: a daemon that restarts nothing has no
 * connection there. libsystemd's sd-bus connects and authenticates on the loop as well. The match
 * is asked for before the call, and messages keep their order, so the signal cannot come unseen; it
 * may come in the same read as the reply, after it. Whoever may call RestartUnit is polkit's to say
 * (org.freedesktop.systemd1.manage-units); a user's own manager asks nobody.
 *
 * Owns the connection and its slots. What came is told from a defer source, as nothing is freed
 * inside a callback of the bus. There is no time limit in here: the caller has one.
 */
#include "unit_restart.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-login.h>

#define MANAGER           "org.freedesktop.systemd1"
#define MANAGER_PATH      "/org/freedesktop/systemd1"
#define MANAGER_INTERFACE "org.freedesktop.systemd1.Manager"

#define ERROR_BYTES 200
#define JOB_BYTES   128 /* "/org/freedesktop/systemd1/job/4294967295" */

struct unit_restart {
    sd_bus *bus;
    sd_bus_slot *match, *call;
    sd_event_source *done; /* on when it is over */
    unit_restart_fn on_done;
    void *ctx;
    char *unit;              /* owned */
    char job[JOB_BYTES];     /* "" until the reply */
    char error[ERROR_BYTES]; /* "": none */
};

struct unit_restart *unit_restart_cancel(struct unit_restart *u)
{
    if (!u) {
        return NULL;
    }
    sd_event_source_disable_unref(u->done);
    sd_bus_slot_unref(u->match);
    sd_bus_slot_unref(u->call);
    sd_bus_close_unref(u->bus);
    free(u->unit);
    free(u);
    return NULL;
}

static int tell(sd_event_source *source, void *ctx)
{
    struct unit_restart *u = ctx;
    char error[ERROR_BYTES];
    unit_restart_fn on_done = u->on_done;
    void *of = u->ctx;

    memcpy(error, u->error, sizeof error);
    unit_restart_cancel(u);
    on_done(of, error[0] ? error : NULL);
    return 0;
}

/* why NULL: it was restarted. What comes after the first end changes nothing. */
static void end(struct unit_restart *u, const char *why)
{
    int state = SD_EVENT_OFF;

    (void) sd_event_source_get_enabled(u->done, &state);
    if (state == SD_EVENT_OFF) {
        (void) snprintf(u->error, sizeof u->error, "%s", why ? why : "");
        (void) sd_event_source_set_enabled(u->done, SD_EVENT_ONESHOT);
    }
}

/* JobRemoved(u id, o job, s unit, s result), of every job that ends meanwhile */
static int on_job_removed(sd_bus_message *m, void *ctx, sd_bus_error *ret_error)
{
    struct unit_restart *u = ctx;
    const char *job, *unit, *result;
    uint32_t id;
    char why[ERROR_BYTES];

    if (sd_bus_message_read(m, "uoss", &id, &job, &unit, &result) < 0 || !u->job[0] ||
        strcmp(job, u->job) != 0) {
        return 0;
    }
    (void) snprintf(why, sizeof why, "the job of the service manager ended with: %.64s", result);
    end(u, strcmp(result, "done") == 0 ? NULL : why);
    return 0;
}

static const char *text_of(const sd_bus_error *error)
{
    return error->message ? error->message : error->name;
}

/* Without polkit, or without a rule: systemd of one's own accord lets root do it, and nobody else. */
static void refused(struct unit_restart *u, const sd_bus_error *error)
{
    char why[ERROR_BYTES];

    if (!sd_bus_error_has_names(error, SD_BUS_ERROR_ACCESS_DENIED,
                                SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED)) {
        end(u, text_of(error));
        return;
    }
    (void) snprintf(why, sizeof why,
                    "polkit does not let this user do it, `sudo sluicectl doctor` says what does "
                    "(%.64s)",
                    text_of(error));
    end(u, why);
}

static int on_reply(sd_bus_message *m, void *ctx, sd_bus_error *ret_error)
{
    struct unit_restart *u = ctx;
    const sd_bus_error *error = sd_bus_message_get_error(m);
    const char *job;

    if (error) {
        refused(u, error);
    } else if (sd_bus_message_read(m, "o", &job) < 0 || strlen(job) >= sizeof u->job) {
        end(u, "the service manager answered with something else than a job");
    } else {
        memcpy(u->job, job, strlen(job) + 1);
    }
    return 0;
}

/* The manager may not be on the bus, or not tell: then there is no end to wait for. */
static int on_matched(sd_bus_message *m, void *ctx, sd_bus_error *ret_error)
{
    const sd_bus_error *error = sd_bus_message_get_error(m);
    char why[ERROR_BYTES];

    if (error) {
        (void) snprintf(why, sizeof why, UNIT_RESTART_NO_BUS "%.100s", text_of(error));
        end(ctx, why);
    }
    return 0;
}

/* A service of a user's manager has that one's bus. */
static int open_bus(sd_bus **ret)
{
    char *unit = NULL;
    bool is_of_user = sd_pid_get_user_unit(0, &unit) >= 0;

    free(unit);
    return is_of_user ? sd_bus_open_user(ret) : sd_bus_open_system(ret);
}

static int ask(struct unit_restart *u, sd_event *event)
{
    int r = open_bus(&u->bus);

    if (r >= 0) {
        r = sd_bus_attach_event(u->bus, event, SD_EVENT_PRIORITY_NORMAL);
    }
    if (r >= 0) {
        r = sd_bus_match_signal_async(u->bus, &u->match, MANAGER, MANAGER_PATH, MANAGER_INTERFACE,
                                      "JobRemoved", on_job_removed, on_matched, u);
    }
    if (r >= 0) {
        r = sd_bus_call_method_async(u->bus, &u->call, MANAGER, MANAGER_PATH, MANAGER_INTERFACE,
                                     "RestartUnit", on_reply, u, "ss", u->unit, "replace");
    }
    return r;
}

int unit_restart_start(sd_event *event, const char *unit, unit_restart_fn on_done, void *ctx,
                       struct unit_restart **ret)
{
    struct unit_restart *u = calloc(1, sizeof *u);
    int r;

    if (!u) {
        return -ENOMEM;
    }
    u->on_done = on_done;
    u->ctx = ctx;
    u->unit = strdup(unit);
    r = u->unit ? sd_event_add_defer(event, &u->done, tell, u) : -ENOMEM;
    if (r >= 0) {
        r = sd_event_source_set_enabled(u->done, SD_EVENT_OFF);
    }
    if (r >= 0) {
        r = ask(u, event);
    }
    if (r < 0) {
        unit_restart_cancel(u);
        return r;
    }
    *ret = u;
    return 0;
}
