/* See announce.h. Field names are part of the interface: systemd/sluice.catalog shows them. */
#include "announce.h"

#include "base/log_fields.h"
#include "base/num.h"
#include "messages.h"

#define CONFIG_FIELD "SLUICE_CONFIG"

static void config_fields(struct log_fields *f, const char *path)
{
    log_fields_init(f);
    log_fields_add(f, CONFIG_FIELD, str_from(path));
}

void announce_started(const char *config_path)
{
    struct log_fields f;

    config_fields(&f, config_path);
    log_fields_add(&f, "SLUICE_VERSION", STR_LIT(SLUICE_VERSION));
    message_write(MESSAGE_STARTED, LOG_LEVEL_INFO, NULL, &f,
                  "sluiced " SLUICE_VERSION " starting with %s", config_path);
}

void announce_not_started(const char *config_path, const char *why)
{
    struct log_fields f;

    config_fields(&f, config_path);
    message_write(MESSAGE_NOT_STARTED, LOG_LEVEL_ERROR, NULL, &f, "not started: %s", why);
}

void announce_ready(const char *config_path, size_t n_models, const char *listens)
{
    struct log_fields f;

    config_fields(&f, config_path);
    log_fields_add_number(&f, "SLUICE_MODELS", n_models);
    message_write(MESSAGE_READY, LOG_LEVEL_NOTICE, NULL, &f, "ready: %zu model groups, %s",
                  n_models, listens);
}

void announce_reloaded(const char *config_path, size_t n_models, uint64_t generation)
{
    struct log_fields f;

    config_fields(&f, config_path);
    log_fields_add_number(&f, "SLUICE_MODELS", n_models);
    log_fields_add_number(&f, "SLUICE_GENERATION", generation);
    message_write(MESSAGE_RELOADED, LOG_LEVEL_NOTICE, NULL, &f,
                  "%s: taken: %zu model groups, generation %llu", config_path, n_models,
                  (unsigned long long) generation);
}

void announce_degraded(const char *config_path, const char *why)
{
    struct log_fields f;

    config_fields(&f, config_path);
    message_write(MESSAGE_DEGRADED, LOG_LEVEL_ERROR, NULL, &f,
                  "%s: cannot be used: every model call is refused until a reload takes it: %s",
                  config_path, why);
}

void announce_reload_refused(const char *config_path, const char *why)
{
    struct log_fields f;

    config_fields(&f, config_path);
    message_write(MESSAGE_RELOAD_REFUSED, LOG_LEVEL_ERROR, NULL, &f,
                  "%s: not taken: the running configuration stays%s%s", config_path,
                  why[0] ? ": " : "", why);
}

void announce_draining(size_t n_calls, uint64_t drain_usec)
{
    struct log_fields f;
    char text[32];

    log_fields_init(&f);
    log_fields_add_number(&f, "SLUICE_CALLS", n_calls);
    log_fields_add_number(&f, "SLUICE_DRAIN_USEC", drain_usec);
    message_write(MESSAGE_DRAINING, LOG_LEVEL_NOTICE, NULL, &f,
                  "stopping: %zu calls have %s to finish", n_calls,
                  num_format_duration(drain_usec, text));
}

void announce_drain_cut(size_t n_calls)
{
    struct log_fields f;

    log_fields_init(&f);
    log_fields_add_number(&f, "SLUICE_CALLS", n_calls);
    message_write(MESSAGE_DRAIN_CUT, LOG_LEVEL_WARNING, NULL, &f,
                  "the drain time is over: ending %zu calls", n_calls);
}

void announce_idle_exit(const char *why)
{
    message_write(MESSAGE_IDLE_EXIT, LOG_LEVEL_NOTICE, NULL, NULL,
                  "leaving: %s; the next connection starts sluiced again", why);
}

void announce_level(const struct pressure *p, enum pressure_level from, enum pressure_level to)
{
    static const char *const does[] = {"calls are taken again", "watching closely",
                                       "watching closely", "new calls are refused",
                                       "new calls are refused"};
    char why[PRESSURE_TEXT_MAX];
    struct log_fields f;

    log_fields_init(&f);
    log_fields_add_number(&f, "SLUICE_LEVEL_BEFORE", from);
    log_fields_add_number(&f, "SLUICE_LEVEL", to);
    log_fields_add_number(&f, "SLUICE_SOME_PERMILLE", p->some_permille);
    log_fields_add_number(&f, "SLUICE_FULL_PERMILLE", p->full_permille);
    if (p->headroom_bytes != UINT64_MAX) {
        log_fields_add_number(&f, "SLUICE_HEADROOM_BYTES", p->headroom_bytes);
    }
    log_fields_add(&f, "SLUICE_REASON", str_from(pressure_reason_name(p->cause.reason)));
    message_write(MESSAGE_PRESSURE_LEVEL, to > from ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE, NULL,
                  &f, "memory pressure level %d -> %d (%s): %s", from, to,
                  pressure_describe(&p->cause, why), does[to]);
}

void announce_memory_relief(size_t n_closed)
{
    struct log_fields f;

    log_fields_init(&f);
    log_fields_add_number(&f, "SLUICE_CONNECTIONS", n_closed);
    message_write(MESSAGE_MEMORY_RELIEF, LOG_LEVEL_NOTICE, NULL, &f,
                  "systemd says that memory is short: closed %zu idle connections, gave back what "
                  "is not used",
                  n_closed);
}

void announce_records_dropped(void)
{
    /* how many stands in a field that every record has when some were dropped */
    message_write(MESSAGE_RECORDS_DROPPED, LOG_LEVEL_WARNING, NULL, NULL,
                  "the journal was too slow: log records were dropped");
}
