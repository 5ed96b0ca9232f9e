/*
 * Requests of the Control service, and what they may ask. They are small and have no arena of their
 * own: what is kept of them is copied out.
 */
#include "wire/rpc_msg.h"

#include <errno.h>
#include <string.h>

#include "sluice.pb-c.h"
#include "wire/field.h"
#include "wire/rpc_msg_unpack.h"

/* As rpc_unpack(), but being out of memory is a verdict as well. */
static int unpack(struct rpc_unpacked *u, const ProtobufCMessageDescriptor *type,
                  struct str payload, struct problem *ret_problem)
{
    int r = rpc_unpack(u, type, payload, ret_problem);

    if (r == -ENOMEM) {
        r = field_fail(ret_problem, "", "%s", errcode_info(ERRCODE_OUT_OF_MEMORY)->text);
        ret_problem->code = ERRCODE_OUT_OF_MEMORY;
    }
    return r;
}

int rpc_decode_watch(struct str payload, struct rpc_watch_request *ret, struct problem *ret_problem)
{
    CLEANUP(rpc_unpacked_done) struct rpc_unpacked u = {0};
    int r = unpack(&u, &sluice__v1__watch_request__descriptor, payload, ret_problem);

    if (r < 0) {
        return r;
    }

    const Sluice__V1__WatchRequest *m = (const Sluice__V1__WatchRequest *) u.message;
    uint64_t usec = m->interval_usec > 0 ? m->interval_usec : RPC_WATCH_DEFAULT_USEC;

    if (usec < RPC_WATCH_MIN_USEC || usec > RPC_WATCH_MAX_USEC) {
        return field_fail(ret_problem, "interval_usec",
                          "'interval_usec' must be between 100000 and 60000000, or 0");
    }
    if (m->request_id[0] != '\0' && !request_id_is_valid(str_from(m->request_id))) {
        return field_fail(ret_problem, "request_id",
                          "'request_id' must be 1 to %d characters of [A-Za-z0-9._-]",
                          REQUEST_ID_MAX);
    }
    ret->interval_usec = usec;
    memcpy(ret->id, m->request_id, strlen(m->request_id) + 1);
    return 0;
}

static int take_model(const char *model, char ret_model[REQUEST_MODEL_MAX + 1],
                      struct problem *ret_problem)
{
    size_t n = strlen(model);

    if (n < 1 || n > REQUEST_MODEL_MAX) {
        return field_fail(ret_problem, "model", "'model' must be 1 to %d bytes", REQUEST_MODEL_MAX);
    }
    memcpy(ret_model, model, n + 1);
    return 0;
}

int rpc_decode_unload(struct str payload, char ret_model[REQUEST_MODEL_MAX + 1],
                      struct problem *ret_problem)
{
    CLEANUP(rpc_unpacked_done) struct rpc_unpacked u = {0};
    int r = unpack(&u, &sluice__v1__unload_request__descriptor, payload, ret_problem);

    return r < 0 ? r
                 : take_model(((const Sluice__V1__UnloadRequest *) u.message)->model, ret_model,
                              ret_problem);
}

int rpc_decode_load(struct str payload, char ret_model[REQUEST_MODEL_MAX + 1],
                    struct problem *ret_problem)
{
    CLEANUP(rpc_unpacked_done) struct rpc_unpacked u = {0};
    int r = unpack(&u, &sluice__v1__load_request__descriptor, payload, ret_problem);

    return r < 0 ? r
                 : take_model(((const Sluice__V1__LoadRequest *) u.message)->model, ret_model,
                              ret_problem);
}

int rpc_decode_explain(struct str payload, struct rpc_explain_request *ret,
                       struct problem *ret_problem)
{
    static const enum call_class classes[] = {CLASS_INTERACTIVE, CLASS_INTERACTIVE, CLASS_BATCH,
                                              CLASS_BACKGROUND};
    CLEANUP(rpc_unpacked_done) struct rpc_unpacked u = {0};
    int r = unpack(&u, &sluice__v1__explain_request__descriptor, payload, ret_problem);

    if (r < 0) {
        return r;
    }

    const Sluice__V1__ExplainRequest *m = (const Sluice__V1__ExplainRequest *) u.message;
    bool has_id = request_id_is_valid(str_from(m->request_id));
    size_t n = strlen(m->model);

    if (n > REQUEST_MODEL_MAX || (n == 0 && !has_id)) {
        return field_fail(ret_problem, "model", "'model' must be 1 to %d bytes", REQUEST_MODEL_MAX);
    }
    if (m->request_id[0] != '\0' && !has_id) {
        return field_fail(ret_problem, "request_id",
                          "'request_id' must be 1 to %d characters of [A-Za-z0-9._-]",
                          REQUEST_ID_MAX);
    }
    if ((size_t) m->class_ >= ARRAY_LEN(classes)) { /* open enums: any int32 may come */
        return field_fail(ret_problem, "class", "'class' is not one of enum Class");
    }
    memcpy(ret->model, m->model, n + 1);
    memcpy(ret->id, m->request_id, strlen(m->request_id) + 1);
    ret->class = classes[m->class_];
    return 0;
}

int rpc_decode_empty(struct str payload, struct problem *ret_problem)
{
    CLEANUP(rpc_unpacked_done) struct rpc_unpacked u = {0};

    return unpack(&u, &sluice__v1__reload_request__descriptor, payload, ret_problem);
}
