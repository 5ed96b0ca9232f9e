/*
 * What sluicectl doctor says of each Ollama on this machine: the settings that it was started with,
 * and what systemd does when memory runs out.
 *
 * Ollama's settings are variables of its environment and told by no request, so they are read where
 * they are: /proc/PID/environ of the process that listens, which takes root or Ollama's user; else
 * what systemd would give it, if it is ollama.service. Why each value: the drop-in that sluice
 * ships says it (examples/ollama.service.d/sluice.conf).
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "doctor.h"
#include "doctor_process.h"

#define UNIT        "ollama.service"
#define CACHE_MIB   256 /* of earlier prompts: more is taken from models */
#define QUEUE_CALLS 64  /* sluice lets no more wait there than there are slots */

struct look {
    struct doctor *d;
    const struct doctor_server *server;
    bool is_unit;            /* ollama.service is what listens, as far as is known */
    bool has_environment;    /* it could be read */
    char environment[65536]; /* NAME=VALUE NUL NAME=VALUE NUL ... NUL */
    struct doctor_unit unit;
};

/* ---------------------------------------------------------------- the environment */

/* The value of a variable, the last one as in a process that was given it twice; NULL: not set. */
static const char *get(const struct look *l, const char *name)
{
    size_t n = strlen(name);
    const char *found = NULL;

    for (const char *at = l->environment; *at != '\0'; at += strlen(at) + 1) {
        if (strncmp(at, name, n) == 0 && at[n] == '=') {
            found = at + n + 1;
        }
    }
    return found;
}

/* systemctl's line: blanks between assignments, "" around one that has blanks, \ before a character
 * that is meant as it is (systemd.syntax(7)). In place. */
static void split_words(char *text)
{
    char *out = text;
    bool is_quoted = false;

    for (const char *in = text; *in != '\0'; in++) {
        if (*in == '"') {
            is_quoted = !is_quoted;
        } else if (*in == ' ' && !is_quoted) {
            *out++ = '\0';
        } else {
            in += *in == '\\' && in[1] != '\0';
            *out++ = *in;
        }
    }
    *out++ = '\0';
    *out = '\0';
}

static bool read_environment(struct look *l, pid_t pid)
{
    char path[64];

    (void) snprintf(path, sizeof(path), "/proc/%ld/environ", (long) pid);

    int n = doctor_read(l->d, path, l->environment, sizeof(l->environment) - 1);

    if (n <= 0) {
        return false;
    }
    l->environment[n] = l->environment[n + 1] = '\0';
    return true;
}

static void environment_of_unit(struct look *l)
{
    /* a byte for the second NUL that split_words() writes */
    doctor_unit_get(&l->unit, "Environment", l->environment, sizeof(l->environment) - 1);
    split_words(l->environment);
    l->has_environment = true;
}

/* ---------------------------------------------------------------- who it is */

static bool is_called_ollama(const struct doctor *d, pid_t pid, char *comm, size_t size)
{
    char path[64];

    (void) snprintf(path, sizeof(path), "/proc/%ld/comm", (long) pid);
    if (doctor_read(d, path, comm, size) <= 0) {
        (void) snprintf(comm, size, "process %ld", (long) pid);
        return false;
    }
    comm[strcspn(comm, "\n")] = '\0';
    return strcmp(comm, "ollama") == 0;
}

static bool is_local(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           strncmp(host, "127.", 4) == 0 || strcmp(host, "0.0.0.0") == 0;
}

/* Finds what may be judged. False: nothing, and it has been said why. */
static bool find(struct look *l)
{
    struct doctor *d = l->d;
    const struct doctor_server *s = l->server;
    char main_pid[32], comm[64];
    pid_t pid = 0;
    enum listener listener;

    if (!is_local(s->host)) {
        doctor_tell(d, "ollama", DOCTOR_UNKNOWN,
                    "%s:%s is another machine: how its Ollama is set is to be looked at there",
                    s->host, s->port);
        return false;
    }
    listener = doctor_find_listener(d, (unsigned) strtoul(s->port, NULL, 10), &pid);
    doctor_unit_load(d, UNIT, &l->unit);
    doctor_unit_get(&l->unit, "MainPID", main_pid, sizeof(main_pid));
    if (listener == LISTENER_NONE) {
        doctor_tell(d, "ollama", DOCTOR_UNKNOWN, "nobody listens on port %s of this machine",
                    s->port);
        return false;
    }
    if (listener == LISTENER_FOUND && !is_called_ollama(d, pid, comm, sizeof(comm))) {
        doctor_tell(
            d, "ollama", DOCTOR_UNKNOWN,
            "%s listens on port %s: if an Ollama is behind it (in a container), how that is "
            "set is to be looked at there",
            comm, s->port);
        return false;
    }
    l->is_unit = l->unit.is_known && strtol(main_pid, NULL, 10) > 0 &&
                 (listener == LISTENER_HIDDEN || strtol(main_pid, NULL, 10) == (long) pid);
    l->has_environment = listener == LISTENER_FOUND && read_environment(l, pid);
    if (!l->has_environment && l->is_unit) {
        environment_of_unit(l);
    }
    if (!l->has_environment) {
        doctor_tell(d, "ollama", DOCTOR_UNKNOWN,
                    "how the Ollama on port %s is set is for root and its user to see", s->port);
        doctor_fix(d, "sudo sluicectl doctor");
    }
    return true;
}

/* ---------------------------------------------------------------- its settings */

static void fix_variable(struct look *l, const char *name, unsigned long long value)
{
    char line[96];

    (void) snprintf(line, sizeof(line), "Environment=%s=%llu", name, value);
    if (l->is_unit) {
        doctor_fix_unit(l->d, UNIT, line);
    } else {
        doctor_fix(l->d, "%s=%llu ollama serve # where it is started", name, value);
    }
}

/* value: of the variable; NULL: not set. A number as Ollama reads it; false: none. */
static bool parse(const char *value, unsigned long long *ret_number)
{
    char *end;

    if (!value || !isdigit((unsigned char) value[0])) {
        return false;
    }
    *ret_number = strtoull(value, &end, 10);
    return *end == '\0';
}

static void check_cache(struct look *l)
{
    static const char *const name = "LLAMA_ARG_CACHE_RAM";
    const char *value = get(l, name);
    unsigned long long mib = 0;

    if (parse(value, &mib) && mib <= CACHE_MIB) {
        doctor_tell(l->d, "ollama", DOCTOR_FINE, "%s=%llu: the cache of prompts is bounded", name,
                    mib);
        return;
    }
    doctor_tell(l->d, "ollama", DOCTOR_FINDING,
                value ? "%s=%s: the cache of earlier prompts may take that many MiB beside each "
                        "model"
                      : "%s is not set%s: the cache of earlier prompts grows by up to 8 GiB beside "
                        "each model",
                name, value ? value : "");
    fix_variable(l, name, 0);
}

static void check_parallel(struct look *l)
{
    static const char *const name = "OLLAMA_NUM_PARALLEL";
    unsigned long long parallel = 1, slots = l->server->slots; /* Ollama's own is 1 */

    (void) parse(get(l, name), &parallel);
    if (slots == 0) {
        doctor_tell(l->d, "ollama", DOCTOR_UNKNOWN,
                    "%s is %llu; sluice's slots for its models are to be the same, which only a "
                    "running daemon tells",
                    name, parallel);
    } else if (parallel == slots) {
        doctor_tell(l->d, "ollama", DOCTOR_FINE, "%s is %llu, as sluice has slots", name, parallel);
    } else {
        doctor_tell(l->d, "ollama", DOCTOR_FINDING, "%s is %llu, and sluice has %llu slots: %s",
                    name, parallel, slots,
                    parallel < slots ? "what is more waits inside Ollama, without order or deadline"
                                     : "memory is held for contexts that nobody uses");
        fix_variable(l, name, slots);
    }
}

/* A count that is to be set, and not above most. */
static void check_count(struct look *l, const char *name, unsigned long long most,
                        unsigned long long advised, const char *why)
{
    const char *value = get(l, name);
    unsigned long long n = 0;

    if (parse(value, &n) && n > 0 && n <= most) {
        doctor_tell(l->d, "ollama", DOCTOR_FINE, "%s=%llu", name, n);
        return;
    }
    doctor_tell(l->d, "ollama", DOCTOR_FINDING, "%s is %s: %s", name, value ? value : "not set",
                why);
    fix_variable(l, name, advised);
}

static void check_environment(struct look *l)
{
    check_cache(l);
    check_parallel(l);
    check_count(l, "OLLAMA_MAX_LOADED_MODELS", 3, 1,
                "Ollama keeps up to three models in memory, whether they fit or not");
    check_count(l, "OLLAMA_MAX_QUEUE", QUEUE_CALLS, 8,
                "up to 512 calls wait inside Ollama, where they have neither order nor deadline");
}

/* ---------------------------------------------------------------- its unit */

static void check_killing(struct look *l)
{
    char policy[32], adjust[32];

    doctor_unit_get(&l->unit, "OOMPolicy", policy, sizeof(policy));
    doctor_unit_get(&l->unit, "OOMScoreAdjust", adjust, sizeof(adjust));
    if (strcmp(policy, "continue") != 0) {
        doctor_tell(l->d, "ollama", DOCTOR_FINDING,
                    "%s has OOMPolicy=%s: when the kernel kills the runner of one model, systemd "
                    "stops all of Ollama",
                    UNIT, policy[0] ? policy : "stop");
        doctor_fix_unit(l->d, UNIT, "OOMPolicy=continue");
    } else {
        doctor_tell(l->d, "ollama", DOCTOR_FINE, "%s has OOMPolicy=continue", UNIT);
    }
    if (strtol(adjust, NULL, 10) <= 0) {
        doctor_tell(l->d, "ollama", DOCTOR_FINDING,
                    "%s has OOMScoreAdjust=%s: the kernel may kill something else than a model "
                    "first",
                    UNIT, adjust[0] ? adjust : "0");
        doctor_fix_unit(l->d, UNIT, "OOMScoreAdjust=300");
    } else {
        doctor_tell(l->d, "ollama", DOCTOR_FINE, "%s has OOMScoreAdjust=%s", UNIT, adjust);
    }
}

static bool is_bounded(const struct look *l, const char *property)
{
    char value[32];

    doctor_unit_get(&l->unit, property, value, sizeof(value));
    return value[0] != '\0' && strcmp(value, "infinity") != 0;
}

static void check_ceiling(struct look *l)
{
    if (is_bounded(l, "MemoryHigh") || is_bounded(l, "MemoryMax")) {
        doctor_tell(l->d, "ollama", DOCTOR_FINE, "%s has a ceiling for memory", UNIT);
    } else {
        doctor_tell(
            l->d, "ollama", DOCTOR_FINDING,
            "%s may take all of the memory: with MemoryHigh= it is slowed down before that, "
            "which sluice sees as pressure",
            UNIT);
        doctor_fix(l->d, "sudo systemctl set-property %s MemoryHigh=75%% MemoryMax=80%%", UNIT);
    }
    if (l->d->has_disk_swap && !is_bounded(l, "MemorySwapMax")) {
        doctor_tell(l->d, "ollama", DOCTOR_FINDING,
                    "%s may be swapped to the disk: weights there are minutes for a token", UNIT);
        doctor_fix(l->d, "sudo systemctl set-property %s MemorySwapMax=0", UNIT);
    }
}

/* Where this version of sluice has it installed. */
static const char *shipped_drop_in(const struct doctor *d)
{
    static const char *const places[] = {
        "/usr/share/doc/sluiced/examples/ollama.service.d/sluice.conf",
        "/usr/share/doc/sluice/examples/ollama.service.d/sluice.conf",
        "/usr/local/share/doc/sluice/examples/ollama.service.d/sluice.conf"};

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (doctor_exists(d, places[i])) {
            return places[i];
        }
    }
    return places[0];
}

static void check_unit(struct look *l)
{
    char drop_ins[1024];

    if (!l->is_unit) {
        doctor_tell(
            l->d, "ollama", DOCTOR_UNKNOWN,
            "the Ollama on port %s is not systemd's %s: what happens to it when memory runs "
            "out is not seen",
            l->server->port, UNIT);
        return;
    }
    doctor_unit_get(&l->unit, "DropInPaths", drop_ins, sizeof(drop_ins));
    if (strstr(drop_ins, "/sluice.conf")) {
        doctor_tell(l->d, "ollama", DOCTOR_FINE, "sluice's drop-in for %s is installed", UNIT);
    } else {
        doctor_tell(l->d, "ollama", DOCTOR_FINDING,
                    "sluice's drop-in for %s, which sets all of this at once, is not installed",
                    UNIT);
        doctor_fix(l->d,
                   "sudo install -D -m 644 %s /etc/systemd/system/" UNIT ".d/sluice.conf && sudo "
                   "systemctl daemon-reload && sudo systemctl restart " UNIT,
                   shipped_drop_in(l->d));
    }
    check_killing(l);
    check_ceiling(l);
}

void doctor_check_ollama(struct doctor *d)
{
    static struct look l;

    for (size_t i = 0; i < d->n_servers; i++) {
        memset(&l, 0, sizeof(l));
        l.d = d;
        l.server = &d->servers[i];
        if (find(&l)) {
            if (l.has_environment) {
                check_environment(&l);
            }
            check_unit(&l);
        }
        if (is_local(l.server->host)) { /* another machine has other memory */
            doctor_check_models(d, l.server);
        }
    }
}
