/*
 * Requests that run no model: what there is, what the daemon does, and telling it to do something
 * else. Each is one message with at most one value in it, and no options.
 */
#include <errno.h>
#include <string.h>

#include "macros.h"
#include "request_body.h"

/* as sluice.proto has them */
#define WATCH_MIN_USEC UINT64_C(100000)
#define WATCH_MAX_USEC UINT64_C(60000000)

EXPORT int sluice_models_new(sluice_request **ret_request)
{
    sluice_request *req = request_new(REQUEST_MODELS);

    if (!req) {
        return -ENOMEM;
    }
    sluice__v1__list_models_request__init(&req->msg.models);
    *ret_request = req;
    return 0;
}

EXPORT int sluice_info_new(sluice_request **ret_request)
{
    sluice_request *req = request_new(REQUEST_INFO);

    if (!req) {
        return -ENOMEM;
    }
    sluice__v1__get_info_request__init(&req->msg.info);
    *ret_request = req;
    return 0;
}

EXPORT int sluice_status_new(sluice_request **ret_request)
{
    sluice_request *req = request_new(REQUEST_STATUS);

    if (!req) {
        return -ENOMEM;
    }
    sluice__v1__status_request__init(&req->msg.status);
    *ret_request = req;
    return 0;
}

EXPORT int sluice_cancel_new(const char *request_id, sluice_request **ret_request)
{
    if (!request_is_id(request_id, strlen(request_id))) {
        return -EINVAL;
    }

    sluice_request *req = request_new(REQUEST_CANCEL);
    int r;

    if (!req) {
        return -ENOMEM;
    }
    sluice__v1__cancel_request__init(&req->msg.cancel);
    r = request_set_string(req, &req->msg.cancel.request_id, request_id, strlen(request_id));
    if (r < 0) {
        sluice_request_free(req);
        return r;
    }
    *ret_request = req;
    return 0;
}

EXPORT int sluice_watch_new(uint64_t interval_usec, sluice_request **ret_request)
{
    if (interval_usec != 0 && (interval_usec < WATCH_MIN_USEC || interval_usec > WATCH_MAX_USEC)) {
        return -EINVAL;
    }

    sluice_request *req = request_new(REQUEST_WATCH);

    if (!req) {
        return -ENOMEM;
    }
    sluice__v1__watch_request__init(&req->msg.watch);
    req->msg.watch.interval_usec = interval_usec;
    *ret_request = req;
    return 0;
}

EXPORT int sluice_reload_new(sluice_request **ret_request)
{
    sluice_request *req = request_new(REQUEST_RELOAD);

    if (!req) {
        return -ENOMEM;
    }
    sluice__v1__reload_request__init(&req->msg.reload);
    *ret_request = req;
    return 0;
}

EXPORT int sluice_drain_new(sluice_request **ret_request)
{
    sluice_request *req = request_new(REQUEST_DRAIN);

    if (!req) {
        return -ENOMEM;
    }
    sluice__v1__drain_request__init(&req->msg.drain);
    *ret_request = req;
    return 0;
}

EXPORT int sluice_unload_new(const char *model, sluice_request **ret_request)
{
    sluice_request *req = request_new(REQUEST_UNLOAD);
    int r;

    if (!req) {
        return -ENOMEM;
    }
    sluice__v1__unload_request__init(&req->msg.unload);
    r = request_set_string(req, &req->msg.unload.model, model, strlen(model));
    if (r < 0) {
        sluice_request_free(req);
        return r;
    }
    *ret_request = req;
    return 0;
}

EXPORT int sluice_load_new(const char *model, sluice_request **ret_request)
{
    sluice_request *req = request_new(REQUEST_LOAD);
    int r;

    if (!req) {
        return -ENOMEM;
    }
    sluice__v1__load_request__init(&req->msg.load);
    r = request_set_string(req, &req->msg.load.model, model, strlen(model));
    if (r < 0) {
        sluice_request_free(req);
        return r;
    }
    *ret_request = req;
    return 0;
}

EXPORT int sluice_explain_new(const char *model, const char *request_id, int class_of_service,
                              sluice_request **ret_request)
{
    size_t n_model = strlen(model), n_id = strlen(request_id);

    if (n_model + n_id == 0 || (n_id > 0 && !request_is_id(request_id, n_id)) ||
        class_of_service < 0 || class_of_service > SLUICE_CLASS_BACKGROUND) {
        return -EINVAL;
    }

    sluice_request *req = request_new(REQUEST_EXPLAIN);
    int r;

    if (!req) {
        return -ENOMEM;
    }
    sluice__v1__explain_request__init(&req->msg.explain);
    req->msg.explain.class_ = (Sluice__V1__Class) class_of_service;
    r = request_set_string(req, &req->msg.explain.model, model, n_model);
    r = r < 0 ? r : request_set_string(req, &req->msg.explain.request_id, request_id, n_id);
    if (r < 0) {
        sluice_request_free(req);
        return r;
    }
    *ret_request = req;
    return 0;
}
