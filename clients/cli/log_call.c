/*
 * See log_call.h. A record is what somebody wrote into the journal: any program may, and a file may
 * be damaged. So a field may be missing, stand there twice, be no number or no text, and none of
 * that is an error: it is absent.
 */
#include "log_call.h"

#include <errno.h>
#include <string.h>

#define NUMBER_DIGITS 20

#define TEXT(field, name, member)   {field, name, offsetof(struct log_call, member), false}
#define NUMBER(field, name, member) {field, name, offsetof(struct log_call, member), true}

const struct log_member log_members[] = {
    TEXT("SLUICE_REQUEST_ID", "id", id),
    TEXT("SLUICE_KIND", "kind", kind),
    TEXT("SLUICE_MODEL", "model", model),
    TEXT("SLUICE_DEPLOYMENT", "deployment", deployment),
    TEXT("SLUICE_PROVIDER", "provider", provider),
    TEXT("SLUICE_CLASS", "class", class_name),
    TEXT("SLUICE_FRONTEND", "frontend", frontend),
    TEXT("SLUICE_KEY_ID", "key_id", key_id),
    NUMBER("SLUICE_UID", "uid", uid),
    NUMBER("SLUICE_PID", "pid", pid),
    TEXT("SLUICE_OUTCOME", "outcome", outcome),
    NUMBER("SLUICE_QUEUE_USEC", "queue_usec", queue_usec),
    NUMBER("SLUICE_TTFT_USEC", "ttft_usec", ttft_usec),
    NUMBER("SLUICE_TOTAL_USEC", "total_usec", total_usec),
    NUMBER("SLUICE_BYTES_IN", "bytes_in", bytes_in),
    NUMBER("SLUICE_TOKENS_IN", "tokens_in", tokens_in),
    NUMBER("SLUICE_TOKENS_OUT", "tokens_out", tokens_out),
    {.field = NULL},
};

uint64_t log_number(const struct log_call *call, const struct log_member *m)
{
    uint64_t value;

    memcpy(&value, (const char *) call + m->offset, sizeof(value));
    return value;
}

const char *log_text(const struct log_call *call, const struct log_member *m)
{
    return (const char *) call + m->offset;
}

/* Digits only, and less than LOG_ABSENT. */
static uint64_t parse_number(const char *text, size_t n)
{
    uint64_t value = 0;

    if (n == 0 || n >= NUMBER_DIGITS) { /* 19 digits always fit */
        return LOG_ABSENT;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return LOG_ABSENT;
        }
        value = value * 10 + (uint64_t) (text[i] - '0');
    }
    return value;
}

static void store(struct log_call *call, const struct log_member *m, const char *value, size_t n)
{
    char *at = (char *) call + m->offset;

    if (m->is_number) {
        uint64_t number = parse_number(value, n);

        memcpy(at, &number, sizeof(number));
        return;
    }
    n = n < LOG_TEXT_BYTES - 1 ? n : LOG_TEXT_BYTES - 1;
    memcpy(at, value, n);
    at[n] = '\0';
}

static const struct log_member *find_member(const char *name, size_t n)
{
    for (const struct log_member *m = log_members; m->field; m++) {
        if (strlen(m->field) == n && memcmp(m->field, name, n) == 0) {
            return m;
        }
    }
    return NULL;
}

int log_call_read(sd_journal *j, struct log_call *ret)
{
    const void *data;
    size_t n;
    int r;

    *ret = (struct log_call) {.at_usec = 0};
    for (const struct log_member *m = log_members; m->field; m++) {
        if (m->is_number) {
            store(ret, m, "", 0);
        }
    }
    r = sd_journal_get_realtime_usec(j, &ret->at_usec);
    if (r < 0) {
        return r;
    }
    sd_journal_restart_data(j);
    while ((r = sd_journal_enumerate_available_data(j, &data, &n)) > 0) {
        const char *equals = memchr(data, '=', n);
        size_t n_name = equals ? (size_t) (equals - (const char *) data) : 0;
        const struct log_member *m = equals ? find_member(data, n_name) : NULL;

        if (m) {
            store(ret, m, equals + 1, n - n_name - 1);
        }
    }
    return r;
}

bool log_call_is_completed(const struct log_call *call)
{
    return strcmp(call->outcome, "completed") == 0;
}
