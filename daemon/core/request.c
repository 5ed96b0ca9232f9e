/*
 * The neutral request: construction and look-ups. It is filled by the codecs of wire/ and read by
 * everybody else; nothing here knows a protocol.
 */
#include "core/request.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct request *request_new(enum request_kind kind, size_t max_bytes)
{
    struct request *req = calloc(1, sizeof *req);

    if (!req) {
        return NULL;
    }
    req->kind = kind;
    req->sampling.n_choices = 1;
    arena_init(&req->arena, max_bytes);
    return req;
}

struct request *request_free(struct request *req)
{
    if (req) {
        arena_done(&req->arena);
        free(req);
    }
    return NULL;
}

struct str request_member(const struct request *req, const char *name)
{
    struct str wanted = str_from(name);

    for (size_t i = 0; i < req->n_members; i++) {
        if (str_is_equal(req->members[i].name, wanted)) {
            return req->members[i].value;
        }
    }
    return STR_NONE;
}

const char *request_kind_name(enum request_kind kind)
{
    switch (kind) {
    case REQUEST_CHAT:
        return "chat";
    case REQUEST_COMPLETE:
        return "complete";
    case REQUEST_EMBED:
        return "embed";
    case REQUEST_RERANK:
        return "rerank";
    case REQUEST_CLASSIFY:
        return "classify";
    }
    assert(0);
    return "?";
}

bool request_kind_is_text(enum request_kind kind)
{
    return kind == REQUEST_CHAT || kind == REQUEST_COMPLETE;
}

const char *message_role_name(enum message_role role)
{
    switch (role) {
    case ROLE_SYSTEM:
        return "system";
    case ROLE_USER:
        return "user";
    case ROLE_ASSISTANT:
        return "assistant";
    case ROLE_TOOL:
        return "tool";
    }
    assert(0);
    return "?";
}

static const char *const class_names[_CLASS_MAX] = {
    [CLASS_INTERACTIVE] = "interactive",
    [CLASS_BATCH] = "batch",
    [CLASS_BACKGROUND] = "background",
};

const char *call_class_name(enum call_class class)
{
    assert(class < _CLASS_MAX);
    return class_names[class];
}

int call_class_from_name(struct str name, enum call_class *ret_class)
{
    for (int i = 0; i < _CLASS_MAX; i++) {
        if (str_is(name, class_names[i])) {
            *ret_class = (enum call_class) i;
            return 0;
        }
    }
    return -EINVAL;
}

bool request_id_is_valid(struct str id)
{
    if (id.len < 1 || id.len > REQUEST_ID_MAX) {
        return false;
    }
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-')) {
            return false;
        }
    }
    return true;
}
