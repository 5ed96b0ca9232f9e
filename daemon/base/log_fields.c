/* See log_fields.h. */
#include "base/log_fields.h"

void log_fields_add(struct log_fields *f, const char *name, struct str value)
{
    if (f->n < LOG_MAX_FIELDS) {
        f->items[f->n++] = (struct log_field) {name, value};
    }
}

void log_fields_add_number(struct log_fields *f, const char *name, uint64_t value)
{
    if (f->n < LOG_MAX_FIELDS) {
        log_fields_add(f, name, num_format_u64(value, f->numbers[f->n]));
    }
}
