/*
 * The table of methods: what proto/sluice.proto declares, and which of it is served. A method that
 * is declared and not served is told from one that nobody knows, so that a newer client can say
 * which daemon it needs.
 */
#include "frontend/rpc_method.h"

#include "base/macros.h"
#include "base/str.h"

struct method_row {
    const char *service, *name;
    enum rpc_method method;
};

static const struct method_row methods[] = {
    {"sluice.v1.Engine", "GetInfo", METHOD_GET_INFO},
    {"sluice.v1.Engine", "ListModels", METHOD_LIST_MODELS},
    {"sluice.v1.Engine", "Chat", METHOD_CHAT},
    {"sluice.v1.Engine", "Complete", METHOD_COMPLETE},
    {"sluice.v1.Engine", "Embed", METHOD_EMBED},
    {"sluice.v1.Engine", "Rerank", METHOD_RERANK},
    {"sluice.v1.Engine", "Classify", METHOD_CLASSIFY},
    {"sluice.v1.Engine", "Cancel", METHOD_CANCEL},
    {"sluice.v1.Engine", "Upload", METHOD_UPLOAD},
    {"sluice.v1.Control", "Status", METHOD_STATUS},
    {"sluice.v1.Control", "Watch", METHOD_WATCH},
    {"sluice.v1.Control", "Load", METHOD_LOAD},
    {"sluice.v1.Control", "Unload", METHOD_UNLOAD},
    {"sluice.v1.Control", "Reload", METHOD_RELOAD},
    {"sluice.v1.Control", "Drain", METHOD_DRAIN},
    {"sluice.v1.Control", "Explain", METHOD_EXPLAIN},
};

enum rpc_method rpc_method_of(const struct frame_request *frame)
{
    struct str service = {(const char *) frame->service.ptr, frame->service.len};
    struct str name = {(const char *) frame->method.ptr, frame->method.len};

    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (str_is(service, methods[i].service) && str_is(name, methods[i].name)) {
            return methods[i].method;
        }
    }
    return METHOD_UNKNOWN;
}
