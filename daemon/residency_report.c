/* See residency_report.h. Field names are part of the interface, as in announce.c. */
#include "residency_report.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log_fields.h"
#include "messages.h"

#define MIB            (UINT64_C(1) << 20)
#define NAME_SHOWN_MAX 100 /* bytes of a name in the message; the field has all */

static struct str shown(const struct residency_model *m)
{
    return str_clip(str_from(m->name), NAME_SHOWN_MAX);
}

static void model_fields(struct log_fields *f, const struct residency_model *m)
{
    log_fields_init(f);
    log_fields_add(f, "SLUICE_SERVER", str_from(m->server));
    log_fields_add(f, "SLUICE_MODEL", str_from(m->name));
}

void residency_report_stopped(const struct residency_model *m, enum residency_reason reason,
                              char ret_why[RESIDENCY_TEXT_BYTES])
{
    struct log_fields f;
    char numbers[64] = "";

    if (reason == RESIDENCY_OVER_PLAN) {
        (void) snprintf(numbers, sizeof numbers, ": %llu MiB, planned were %llu",
                        (unsigned long long) (m->held_bytes / MIB),
                        (unsigned long long) (m->reserved_bytes / MIB));
    }
    (void) snprintf(ret_why, RESIDENCY_TEXT_BYTES, "%s%s", residency_reason_name(reason), numbers);

    model_fields(&f, m);
    log_fields_add(&f, "SLUICE_REASON", str_from(residency_reason_name(reason)));
    log_fields_add_number(&f, "SLUICE_HELD_BYTES", m->held_bytes);
    log_fields_add_number(&f, "SLUICE_RESERVED_BYTES", m->reserved_bytes);
    message_write(MESSAGE_MODEL_LOAD_STOPPED, LOG_LEVEL_WARNING, NULL, &f,
                  "the load of model \"%.*s\" on %s is stopped: %s", STR_ARG(shown(m)), m->server,
                  ret_why);
}

void residency_report_makes_room(const struct residency_action *action)
{
    const struct residency_model *m = action->model;
    struct str other = action->favour ? shown(action->favour) : STR_NONE;
    struct log_fields f;

    model_fields(&f, m);
    log_fields_add(&f, "SLUICE_REASON", str_from(residency_reason_name(action->reason)));
    log_fields_add_number(&f, "SLUICE_HELD_BYTES", m->held_bytes);
    if (action->favour) {
        log_fields_add(&f, "SLUICE_FOR_MODEL", str_from(action->favour->name));
    }
    message_write(MESSAGE_MODEL_MAKES_ROOM, LOG_LEVEL_INFO, NULL, &f,
                  "model \"%.*s\" (%llu MiB) is unloaded from %s: %s%s%.*s%s", STR_ARG(shown(m)),
                  (unsigned long long) (m->held_bytes / MIB), m->server,
                  residency_reason_name(action->reason), other.ptr ? " (" : "", STR_ARG(other),
                  other.ptr ? ")" : "");
}

void residency_report_stuck(const struct residency_model *m, const char *why)
{
    struct log_fields f;

    model_fields(&f, m);
    log_fields_add(&f, "SLUICE_REASON", str_from(why));
    message_write(MESSAGE_UNLOAD_STUCK, LOG_LEVEL_WARNING, NULL, &f,
                  "model \"%.*s\" was not unloaded from %s: %s", STR_ARG(shown(m)), m->server, why);
}

void residency_report_quarantined(const struct residency_model *m, const char *why,
                                  uint64_t now_usec)
{
    uint64_t usec = usec_since(m->quarantined_until_usec, now_usec);
    struct log_fields f;

    model_fields(&f, m);
    log_fields_add(&f, "SLUICE_REASON", str_from(why));
    log_fields_add_number(&f, "SLUICE_QUARANTINE_USEC", usec);
    message_write(MESSAGE_MODEL_QUARANTINED, LOG_LEVEL_WARNING, NULL, &f,
                  "model \"%.*s\" on %s is not loaded again for %llu s: %s", STR_ARG(shown(m)),
                  m->server, (unsigned long long) (usec / USEC_PER_SEC), why);
}
