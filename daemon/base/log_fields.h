#pragma once
/* The fields of one log record, collected on the stack. */
#include <stdint.h>

#include "base/log.h"
#include "base/num.h"

struct log_fields {
    size_t n;
    struct log_field items[LOG_MAX_FIELDS];
    char numbers[LOG_MAX_FIELDS][NUM_U64_BYTES];
};

/* Not zeroed: the rest is written before it is read. */
static inline void log_fields_init(struct log_fields *f)
{
    f->n = 0;
}

/* name is borrowed for good, value until the record is written. One too many is left out. */
void log_fields_add(struct log_fields *f, const char *name, struct str value);
void log_fields_add_number(struct log_fields *f, const char *name, uint64_t value);
