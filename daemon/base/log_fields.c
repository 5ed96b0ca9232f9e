/* See log_fields.h. */
#include "base/log_fields.h"

#include <stdio.h>

void log_fields_add(struct log_fields *f, const char *name, struct str value)
{
    if (f->n < LOG_MAX_FIELDS) {
        f->items[f->n++] = (struct log_field) {name, value};
    }
}

void log_fields_add_number(struct log_fields *f, const char *name, uint64_t value)
{
    if (f->n < LOG_MAX_FIELDS) {
        char *text = f->numbers[f->n];
        int n = snprintf(text, LOG_NUMBER_BYTES, "%llu", (unsigned long long) value);

        log_fields_add(f, name, (struct str) {text, (size_t) n});
    }
}
