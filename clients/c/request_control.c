/*
 * Requests that run no model: what there is, what the daemon does, and telling it to do something
 * else. Each is one message with at most one value in it, and no options.
 */
#include <errno.h>
#include <string.h>

#include "macros.h"
#include "request_body.h"

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
