/* See messages.h. */
#include "messages.h"

#include <assert.h>
#include <stdarg.h>

#include "base/clock.h"
#include "base/log_fields.h"

static const struct message_info table[_MESSAGE_MAX] = {
#define X(name, ev, id) [MESSAGE_##name] = {.event = ev, .message_id = id},
#include "messages.def"
#undef X
};

static struct log_limit g_limits[_MESSAGE_MAX];

const struct message_info *message_info(enum message_code m)
{
    assert(m < _MESSAGE_MAX);
    return &table[m];
}

void message_write(enum message_code m, enum log_level level, struct log_limit *limit,
                   const struct log_fields *fields, const char *fmt, ...)
{
    const struct message_info *info = message_info(m);
    struct log_fields all;
    uint32_t n_suppressed;
    va_list ap;

    if (!log_is_enabled(level) ||
        !log_limit_pass(limit ? limit : &g_limits[m], clock_now_usec(), &n_suppressed)) {
        return;
    }
    log_fields_init(&all);
    log_fields_add(&all, "SLUICE_EVENT", str_from(info->event));
    for (size_t i = 0; fields && i < fields->n; i++) {
        log_fields_add(&all, fields->items[i].name, fields->items[i].value);
    }
    if (n_suppressed > 0) {
        log_fields_add_number(&all, "SLUICE_SUPPRESSED", n_suppressed);
    }
    va_start(ap, fmt);
    log_vrecord(level, info->message_id, all.items, all.n, fmt, ap);
    va_end(ap);
}
