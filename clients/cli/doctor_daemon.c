/*
 * What sluicectl doctor says of sluiced: may this user connect, does it answer, does it see memory
 * pressure, can all its deployments be used, and what does its unit allow it.
 *
 * Without a daemon that is one finding and not the end: the advice is that of every other command
 * (reach.c), told here as an entry. From the daemon come also the Ollamas to look at, and what it knows
 * of the sizes of their models.
 */
#include <stdlib.h>
#include <string.h>

#include "doctor.h"

#define MIN_FILES 1024 /* connections (256), and two for each call that runs */
#define MAX_NAMED 8    /* deployments that are off, and that pause: of up to 256 */

/* The command that advice has between backquotes. */
static void fix_as_advised(struct doctor *d, const char *advice)
{
    const char *start = strchr(advice, '`');
    const char *end = start ? strchr(start + 1, '`') : NULL;

    if (end) {
        doctor_fix(d, "%s%.*s", strncmp(start + 1, "systemctl ", 10) == 0 ? "sudo " : "",
                   (int) (end - start - 1), start + 1);
    }
}

/* ---------------------------------------------------------------- what it says */

static unsigned long long number(const sluice_call *call, int field)
{
    return sluice_call_reply_number(call, field);
}

/* Ollamas of its deployments, to be looked at. */
static void note_servers(struct doctor *d, const sluice_call *call)
{
    size_t n_others = 0;
    const char *other = "";

    for (size_t i = 0; i < sluice_call_n_rows(call); i++) {
        const char *base = sluice_call_row_text(call, i, SLUICE_FIELD_API_BASE);

        if (strncmp(sluice_call_row_text(call, i, SLUICE_FIELD_PROVIDER), "ollama", 6) == 0 &&
            !doctor_add_server(d, base, sluice_call_row_number(call, i, SLUICE_FIELD_SLOTS)) &&
            strcmp(base, other) != 0) {
            n_others++;
            other = base;
        }
    }
    if (n_others > 0) {
        doctor_tell(d, "ollama", DOCTOR_UNKNOWN, "%s%s not looked at: only http is spoken here",
                    other, n_others > 1 ? " and others are" : " is");
    }
}

enum use { USE_ALL, USE_PAUSED, USE_OFF };

/* What pauses is asked again by itself: a breaker is open, it cools down, its rate is used up. */
static enum use use_of(const sluice_call *call, size_t row)
{
    return sluice_call_row_number(call, row, SLUICE_FIELD_AVAILABLE)         ? USE_ALL
           : sluice_call_row_number(call, row, SLUICE_FIELD_PAUSED_USEC) > 0 ? USE_PAUSED
                                                                             : USE_OFF;
}

/* Nothing that its configuration could mend. What led to it is in the records of its calls and of its
 * server; an id that a shell would take apart gets no command. */
static void tell_pause(struct doctor *d, const sluice_call *call, size_t row)
{
    const char *id = sluice_call_row_text(call, row, SLUICE_FIELD_DEPLOYMENT);

    doctor_tell(d, "models", DOCTOR_UNKNOWN, "a deployment of %s pauses: %s",
                sluice_call_row_text(call, row, SLUICE_FIELD_MODEL),
                sluice_call_row_text(call, row, SLUICE_FIELD_UNAVAILABLE_REASON));
    if (!strchr(id, '\'')) {
        doctor_fix(d, "journalctl -n 20 SLUICE_DEPLOYMENT='%s' # shows what led to it", id);
    }
}

static void tell_off(struct doctor *d, const sluice_call *call, size_t row)
{
    doctor_tell(d, "models", DOCTOR_FINDING, "a deployment of %s is off: %s",
                sluice_call_row_text(call, row, SLUICE_FIELD_MODEL),
                sluice_call_row_text(call, row, SLUICE_FIELD_UNAVAILABLE_REASON));
    doctor_fix(d, "sluicectl check-config");
}

/* The first of them by name, and how many more: their number. */
static size_t tell_deployments(struct doctor *d, const sluice_call *call, enum use use)
{
    size_t n = 0;

    for (size_t i = 0; i < sluice_call_n_rows(call); i++) {
        if (use_of(call, i) == use && n++ < MAX_NAMED) {
            (use == USE_OFF ? tell_off : tell_pause)(d, call, i);
        }
    }
    if (n > MAX_NAMED) {
        doctor_tell(d, "models", use == USE_OFF ? DOCTOR_FINDING : DOCTOR_UNKNOWN,
                    "further deployments that %s: %zu", use == USE_OFF ? "are off" : "pause",
                    n - MAX_NAMED);
        doctor_fix(d, "sluicectl status # shows which, and why");
    }
    return n;
}

static void look_at_deployments(struct doctor *d, const sluice_call *call)
{
    size_t n_off = tell_deployments(d, call, USE_OFF);
    size_t n_paused = tell_deployments(d, call, USE_PAUSED);

    if (n_off + n_paused == 0) {
        doctor_tell(d, "models", DOCTOR_FINE, "all %zu deployments can be used",
                    sluice_call_n_rows(call));
    }
    if (!d->ollama_url) {
        note_servers(d, call);
    }
}

static void note_size(struct doctor *d, const sluice_call *call, size_t row)
{
    const char *name = sluice_call_row_text(call, row, SLUICE_FIELD_UPSTREAM_MODEL);
    const char *source = sluice_call_row_text(call, row, SLUICE_FIELD_NEED_SOURCE);
    struct doctor_size *size = &d->sizes[d->n_sizes];

    if (d->n_sizes == DOCTOR_MAX_SIZES || source[0] == '\0' || strlen(name) >= sizeof(size->name) ||
        !doctor_parse_server(&size->server,
                             sluice_call_row_text(call, row, SLUICE_FIELD_API_BASE))) {
        return;
    }
    d->n_sizes++;
    size->need_bytes = sluice_call_row_number(call, row, SLUICE_FIELD_NEED_BYTES);
    (void) snprintf(size->name, sizeof(size->name), "%s", name);
    (void) snprintf(size->source, sizeof(size->source), "%s", source);
    (void) snprintf(size->fits, sizeof(size->fits), "%s",
                    sluice_call_row_text(call, row, SLUICE_FIELD_FITS));
}

static void note_sizes(struct doctor *d, sluice_client *client, int (*ask)(sluice_request **req))
{
    sluice_call *call = session_ask_memory(client, ask, "models");

    for (size_t i = 0; call && i < sluice_call_n_rows(call); i++) {
        note_size(d, call, i);
    }
    session_finish(call);
}

/*
 * Of its deployments, and of the models that wildcards stand for, which are only listed. What is not
 * to be had is computed without it (doctor_models.c).
 */
static void look_at_sizes(struct doctor *d, sluice_client *client)
{
    sluice_request *req;
    sluice_call *call = NULL;
    int code;

    if (sluice_models_new(&req) == 0) { /* which makes it ask for sizes */
        call = session_ask(client, req, "models", &code);
    }
    session_finish(call);
    if (call) {
        note_sizes(d, client, sluice_status_new);
        note_sizes(d, client, sluice_models_new);
    }
}

static void look_at_status(struct doctor *d, const sluice_call *call)
{
    unsigned long long level = number(call, SLUICE_FIELD_PRESSURE_LEVEL);

    if (number(call, SLUICE_FIELD_DRAINING)) {
        doctor_tell(d, "daemon", DOCTOR_FINDING, "sluiced is draining: it takes no new calls");
        doctor_fix(d, "sudo systemctl restart sluice.service");
    } else {
        doctor_tell(d, "daemon", DOCTOR_FINE, "sluiced %s answers",
                    sluice_call_reply_text(call, SLUICE_FIELD_VERSION));
    }
    if (strcmp(sluice_call_reply_text(call, SLUICE_FIELD_PRESSURE_SOURCE), "none") == 0) {
        doctor_tell(
            d, "pressure", DOCTOR_UNKNOWN,
            "sluiced does not watch memory pressure: PSI is off, or sluice.pressure.enabled "
            "is false");
    } else {
        doctor_tell(d, "pressure", level >= 3 ? DOCTOR_FINDING : DOCTOR_FINE,
                    "memory pressure is L%llu%s", level,
                    level >= 3 ? ": new calls are refused" : "");
        if (level >= 3) {
            doctor_fix(d,
                       "sluicectl top # shows what holds memory; sluicectl unload MODEL frees it");
        }
    }
    look_at_deployments(d, call);
}

static void check_answer(struct doctor *d, const char *path)
{
    static char advice[1536];
    sluice_client *client = NULL;
    sluice_call *call = NULL;
    sluice_request *req = NULL;
    int code = EXIT_FAILED;

    fault_capture(advice, sizeof(advice));
    client = session_connect(path, &code);
    if (client && sluice_status_new(&req) == 0) {
        call = session_ask(client, req, "asking the daemon", &code);
    }
    if (call) {
        look_at_status(d, call);
        session_finish(call);
        look_at_sizes(d, client);
    } else {
        doctor_tell(d, "daemon", DOCTOR_FINDING, "%s", advice);
        fix_as_advised(d, advice);
    }
    fault_capture(NULL, 0);
    sluice_client_free(client);
}

/* ---------------------------------------------------------------- its unit */

static void check_unit(struct doctor *d)
{
    static struct doctor_unit unit;
    char adjust[32], files[32], most[32];

    doctor_unit_load(d, "sluice.service", &unit);
    if (!unit.is_known) {
        doctor_tell(d, "unit", DOCTOR_UNKNOWN,
                    "systemd knows no sluice.service here, or cannot be asked: its limits are not "
                    "seen");
        return;
    }
    doctor_unit_get(&unit, "OOMScoreAdjust", adjust, sizeof(adjust));
    doctor_unit_get(&unit, "LimitNOFILE", files, sizeof(files));
    doctor_unit_get(&unit, "MemoryMax", most, sizeof(most));
    if (strtol(adjust, NULL, 10) >= 0) {
        doctor_tell(d, "unit", DOCTOR_FINDING,
                    "sluice.service has OOMScoreAdjust=%s: when memory runs out it is killed as "
                    "early as anything else, and nobody refuses more work",
                    adjust[0] ? adjust : "0");
        doctor_fix_unit(d, "sluice.service", "OOMScoreAdjust=-900");
    } else if (strcmp(files, "infinity") != 0 && strtoull(files, NULL, 10) < MIN_FILES) {
        doctor_tell(d, "unit", DOCTOR_FINDING,
                    "sluice.service may open %s files: too few for its connections", files);
        doctor_fix_unit(d, "sluice.service", "LimitNOFILE=65536");
    } else {
        doctor_tell(d, "unit", DOCTOR_FINE, "sluice.service: OOMScoreAdjust=%s, MemoryMax=%s",
                    adjust, most);
    }
}

void doctor_check_daemon(struct doctor *d)
{
    char path[DOCTOR_PATH_BYTES];
    bool is_elsewhere = d->root[0] != '\0' && !d->socket;

    check_unit(d);
    check_answer(d,
                 is_elsewhere && doctor_path(d, path, "/run/sluice/rpc.sock") ? path : d->socket);
}
