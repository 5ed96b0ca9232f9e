/*
 * Requests: a thin, checked coat over the protobuf-c messages that go out.
 *
 * Owns every string and sub-message in it, all from malloc(), so that protobuf-c's own free
 * functions work on the parts. Class, deadline and id stand beside the message and are joined with
 * it when it is packed: a request is not changed by being started. What can be checked without a
 * daemon is checked here (sizes, counts, NUL bytes, ranges); whether text is UTF-8 and JSON is JSON
 * the daemon says, with the field's name.
 */
#include "request.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "macros.h"
#include "proto/frame.h"
#include "request_body.h"

/* envelope, options and sampling fit into the rest */
#define REQUEST_MAX_BYTES    ((size_t) FRAME_MAX_BYTES - 1024)
#define ITEM_MAX_OVERHEAD    16   /* tags and lengths of one string or message on the wire */
#define REQUEST_MAX_MESSAGES 4096 /* these three as sluice.proto has them */
#define REQUEST_MAX_INPUTS   2048
#define REQUEST_MAX_STOPS    16

static const struct request_method methods[_REQUEST_KIND_MAX] = {
    [REQUEST_CHAT] = {"sluice.v1.Engine", "Chat", true},
    [REQUEST_COMPLETE] = {"sluice.v1.Engine", "Complete", true},
    [REQUEST_EMBED] = {"sluice.v1.Engine", "Embed", true},
    [REQUEST_RERANK] = {"sluice.v1.Engine", "Rerank", true},
    [REQUEST_CLASSIFY] = {"sluice.v1.Engine", "Classify", true},
    [REQUEST_MODELS] = {"sluice.v1.Engine", "ListModels", false},
    [REQUEST_INFO] = {"sluice.v1.Engine", "GetInfo", false},
    [REQUEST_STATUS] = {"sluice.v1.Control", "Status", false},
    [REQUEST_CANCEL] = {"sluice.v1.Engine", "Cancel", false},
    [REQUEST_WATCH] = {"sluice.v1.Control", "Watch", true},
    [REQUEST_RELOAD] = {"sluice.v1.Control", "Reload", false},
    [REQUEST_DRAIN] = {"sluice.v1.Control", "Drain", false},
    [REQUEST_UNLOAD] = {"sluice.v1.Control", "Unload", false},
    [REQUEST_LOAD] = {"sluice.v1.Control", "Load", false},
    [REQUEST_EXPLAIN] = {"sluice.v1.Control", "Explain", false},
};

const struct request_method *request_method(enum request_kind kind)
{
    assert(kind < _REQUEST_KIND_MAX);
    return &methods[kind];
}

enum request_kind request_kind(const sluice_request *req)
{
    return req->kind;
}

uint64_t request_deadline_usec(const sluice_request *req)
{
    return (uint64_t) req->deadline_usec;
}

const char *request_id(const sluice_request *req)
{
    return req->id;
}

/* ---------------------------------------------------------------- strings */

static void free_string(char *s)
{
    if (s != protobuf_c_empty_string) { /* what init functions put there */
        free(s);
    }
}

/* Checks and charges n bytes to the request. */
static int charge(sluice_request *req, size_t n)
{
    if (n > REQUEST_MAX_BYTES || req->n_bytes + n + ITEM_MAX_OVERHEAD > REQUEST_MAX_BYTES) {
        return -EMSGSIZE;
    }
    req->n_bytes += n + ITEM_MAX_OVERHEAD;
    return 0;
}

/* An owned copy. protobuf-c knows strings by their NUL, so that none may be inside. */
static int copy_string(const char *text, size_t n, char **ret)
{
    if (n > 0 && memchr(text, '\0', n)) {
        return -EILSEQ;
    }

    char *copy = malloc(n + 1);

    if (!copy) {
        return -ENOMEM;
    }
    if (n > 0) {
        memcpy(copy, text, n);
    }
    copy[n] = '\0';
    *ret = copy;
    return 0;
}

/* Replaces *slot. */
int request_set_string(sluice_request *req, char **slot, const char *text, size_t n)
{
    size_t old = strlen(*slot);
    size_t before = req->n_bytes;
    char *copy;
    int r;

    req->n_bytes -= old > 0 ? old + ITEM_MAX_OVERHEAD : 0;
    r = n > 0 ? charge(req, n) : 0;
    r = r < 0 ? r : copy_string(text, n, &copy);
    if (r < 0) {
        req->n_bytes = before;
        return r;
    }
    free_string(*slot);
    *slot = copy;
    return 0;
}

/* Room for one more pointer in an array; capacity doubles. */
static int grow(void ***array, size_t n, size_t max)
{
    if (n >= max) {
        return -E2BIG;
    }
    if (n > 0 && (n & (n - 1)) != 0) {
        return 0; /* capacity is the next power of two */
    }

    void **grown = realloc(*array, (n == 0 ? 1 : 2 * n) * sizeof(void *));

    if (!grown) {
        return -ENOMEM;
    }
    *array = grown;
    return 0;
}

/* An array of strings in a message. */
struct string_list {
    char ***items;
    size_t *n;
    size_t max;
};

static int add_string(sluice_request *req, struct string_list to, const char *text, size_t n_bytes)
{
    void **pointers = (void **) *to.items;
    size_t before = req->n_bytes;
    char *copy;
    int r = grow(&pointers, *to.n, to.max);

    *to.items = (char **) pointers;
    r = r < 0 ? r : charge(req, n_bytes);
    r = r < 0 ? r : copy_string(text, n_bytes, &copy);
    if (r < 0) {
        req->n_bytes = before;
        return r;
    }
    (*to.items)[(*to.n)++] = copy;
    return 0;
}

/* ---------------------------------------------------------------- life */

sluice_request *request_new(enum request_kind kind)
{
    sluice_request *req = calloc(1, sizeof(*req));

    if (!req) {
        return NULL;
    }
    req->kind = kind;
    sluice__v1__sampling__init(&req->sampling);
    return req;
}

EXPORT int sluice_chat_new(const char *model, sluice_request **ret_request)
{
    sluice_request *req = request_new(REQUEST_CHAT);
    int r;

    if (!req) {
        return -ENOMEM;
    }
    sluice__v1__chat_request__init(&req->msg.chat);
    r = request_set_string(req, &req->msg.chat.model, model, strlen(model));
    if (r < 0) {
        sluice_request_free(req);
        return r;
    }
    *ret_request = req;
    return 0;
}

EXPORT int sluice_complete_new(const char *model, const char *prompt, size_t n_bytes,
                               sluice_request **ret_request)
{
    sluice_request *req = request_new(REQUEST_COMPLETE);
    int r;

    if (!req) {
        return -ENOMEM;
    }
    sluice__v1__complete_request__init(&req->msg.complete);
    r = request_set_string(req, &req->msg.complete.model, model, strlen(model));
    r = r < 0 ? r : request_set_string(req, &req->msg.complete.prompt, prompt, n_bytes);
    if (r < 0) {
        sluice_request_free(req);
        return r;
    }
    *ret_request = req;
    return 0;
}

EXPORT int sluice_embed_new(const char *model, sluice_request **ret_request)
{
    sluice_request *req = request_new(REQUEST_EMBED);
    int r;

    if (!req) {
        return -ENOMEM;
    }
    sluice__v1__embed_request__init(&req->msg.embed);
    r = request_set_string(req, &req->msg.embed.model, model, strlen(model));
    if (r < 0) {
        sluice_request_free(req);
        return r;
    }
    *ret_request = req;
    return 0;
}

EXPORT int sluice_rerank_new(const char *model, const char *query, size_t n_bytes,
                             sluice_request **ret_request)
{
    sluice_request *req = request_new(REQUEST_RERANK);
    int r;

    if (!req) {
        return -ENOMEM;
    }
    sluice__v1__rerank_request__init(&req->msg.rerank);
    r = request_set_string(req, &req->msg.rerank.model, model, strlen(model));
    r = r < 0 ? r : request_set_string(req, &req->msg.rerank.query, query, n_bytes);
    if (r < 0) {
        sluice_request_free(req);
        return r;
    }
    *ret_request = req;
    return 0;
}

EXPORT int sluice_classify_new(const char *model, sluice_request **ret_request)
{
    sluice_request *req = request_new(REQUEST_CLASSIFY);
    int r;

    if (!req) {
        return -ENOMEM;
    }
    sluice__v1__classify_request__init(&req->msg.classify);
    r = request_set_string(req, &req->msg.classify.model, model, strlen(model));
    if (r < 0) {
        sluice_request_free(req);
        return r;
    }
    *ret_request = req;
    return 0;
}

bool request_is_id(const char *text, size_t n)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

    if (n < 1 || n > REQUEST_ID_MAX_BYTES) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!memchr(allowed, text[i], sizeof(allowed) - 1)) {
            return false;
        }
    }
    return true;
}

static void free_strings(char **array, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free_string(array[i]);
    }
    free(array);
}

static void free_chat(Sluice__V1__ChatRequest *chat)
{
    for (size_t i = 0; i < chat->n_messages; i++) {
        sluice__v1__message__free_unpacked(chat->messages[i], NULL);
    }
    free(chat->messages);
    free_string(chat->model);
    free_string(chat->tools_json);
    free_string(chat->tool_choice_json);
    free_string(chat->response_format_json);
    free_string(chat->reasoning_effort);
}

EXPORT sluice_request *sluice_request_free(sluice_request *req)
{
    if (!req) {
        return NULL;
    }
    switch (req->kind) {
    case REQUEST_CHAT:
        free_chat(&req->msg.chat);
        break;
    case REQUEST_COMPLETE:
        free_string(req->msg.complete.model);
        free_string(req->msg.complete.prompt);
        free_string(req->msg.complete.suffix);
        break;
    case REQUEST_EMBED:
        free_string(req->msg.embed.model);
        free_strings(req->msg.embed.inputs, req->msg.embed.n_inputs);
        break;
    case REQUEST_RERANK:
        free_string(req->msg.rerank.model);
        free_string(req->msg.rerank.query);
        free_string(req->msg.rerank.extra_json);
        free_strings(req->msg.rerank.documents, req->msg.rerank.n_documents);
        break;
    case REQUEST_CLASSIFY:
        free_string(req->msg.classify.model);
        free_string(req->msg.classify.extra_json);
        free_strings(req->msg.classify.inputs, req->msg.classify.n_inputs);
        break;
    case REQUEST_CANCEL:
        free_string(req->msg.cancel.request_id);
        break;
    case REQUEST_UNLOAD:
        free_string(req->msg.unload.model);
        break;
    case REQUEST_LOAD:
        free_string(req->msg.load.model);
        break;
    case REQUEST_EXPLAIN:
        free_string(req->msg.explain.model);
        free_string(req->msg.explain.request_id);
        break;
    case REQUEST_MODELS:
    case REQUEST_INFO:
    case REQUEST_STATUS:
    case REQUEST_WATCH:
    case REQUEST_RELOAD:
    case REQUEST_DRAIN:
    case _REQUEST_KIND_MAX:
        break;
    }
    free_string(req->sampling.extra_json);
    free_strings(req->sampling.stop, req->sampling.n_stop);
    free(req);
    return NULL;
}

/* ---------------------------------------------------------------- messages and other lists */

EXPORT int sluice_request_add_message(sluice_request *req, int role, const char *text,
                                      size_t n_bytes)
{
    if (!request_is_kind(req, KIND(CHAT)) || role < SLUICE_ROLE_SYSTEM || role > SLUICE_ROLE_TOOL) {
        return -EINVAL;
    }

    Sluice__V1__ChatRequest *chat = &req->msg.chat;
    void **pointers = (void **) chat->messages;
    size_t before = req->n_bytes;
    int r = grow(&pointers, chat->n_messages, REQUEST_MAX_MESSAGES);

    chat->messages = (Sluice__V1__Message **) pointers;
    r = r < 0 ? r : charge(req, 0);
    if (r < 0) {
        return r;
    }

    Sluice__V1__Message *m = malloc(sizeof(*m));

    if (!m) {
        req->n_bytes = before;
        return -ENOMEM;
    }
    sluice__v1__message__init(m);
    m->role = (Sluice__V1__Role) role;
    r = request_set_string(req, &m->text, text, n_bytes);
    if (r < 0) {
        req->n_bytes = before;
        free(m);
        return r;
    }
    chat->messages[chat->n_messages++] = m;
    return 0;
}

Sluice__V1__Message *request_last_message(sluice_request *req)
{
    if (req->kind != REQUEST_CHAT || req->msg.chat.n_messages == 0) {
        return NULL;
    }
    return req->msg.chat.messages[req->msg.chat.n_messages - 1];
}

static int add_image(sluice_request *req, Sluice__V1__Image *image)
{
    Sluice__V1__Message *m = request_last_message(req);
    void **pointers = (void **) m->images;
    int r = grow(&pointers, m->n_images, REQUEST_MAX_MESSAGES);

    m->images = (Sluice__V1__Image **) pointers;
    if (r < 0) {
        return r;
    }
    m->images[m->n_images++] = image;
    return 0;
}

static int set_content(sluice_request *req, ProtobufCBinaryData *slot, const void *bytes, size_t n)
{
    int r = charge(req, n);

    if (r < 0 || n == 0) {
        return r;
    }
    slot->data = malloc(n);
    if (!slot->data) {
        return -ENOMEM;
    }
    memcpy(slot->data, bytes, n);
    slot->len = n;
    return 0;
}

static int new_image(sluice_request *req, const void *content, size_t n_bytes,
                     const char *media_type, const char *url)
{
    size_t before = req->n_bytes;
    Sluice__V1__Image *image = malloc(sizeof(*image));
    int r;

    if (!image) {
        return -ENOMEM;
    }
    sluice__v1__image__init(image);
    r = set_content(req, &image->content, content, n_bytes);
    r = r < 0 ? r : request_set_string(req, &image->media_type, media_type, strlen(media_type));
    r = r < 0 ? r : request_set_string(req, &image->url, url, strlen(url));
    r = r < 0 ? r : add_image(req, image);
    if (r < 0) {
        req->n_bytes = before;
        sluice__v1__image__free_unpacked(image, NULL);
    }
    return r;
}

EXPORT int sluice_request_add_image(sluice_request *req, const void *content, size_t n_bytes,
                                    const char *media_type)
{
    if (!request_last_message(req) || n_bytes == 0) {
        return -EINVAL;
    }
    return new_image(req, content, n_bytes, media_type ? media_type : "", "");
}

EXPORT int sluice_request_add_image_url(sluice_request *req, const char *url)
{
    if (!request_last_message(req) || url[0] == '\0') {
        return -EINVAL;
    }
    return new_image(req, NULL, 0, "", url);
}

EXPORT int sluice_request_add_tool_call(sluice_request *req, const char *id, const char *name,
                                        const char *arguments_json, size_t n_bytes)
{
    Sluice__V1__Message *m = request_last_message(req);

    if (!m || m->role != SLUICE__V1__ROLE__ROLE_ASSISTANT) {
        return -EINVAL;
    }

    void **pointers = (void **) m->tool_calls;
    size_t before = req->n_bytes;
    int r = grow(&pointers, m->n_tool_calls, REQUEST_MAX_MESSAGES);

    m->tool_calls = (Sluice__V1__ToolCall **) pointers;
    if (r < 0) {
        return r;
    }

    Sluice__V1__ToolCall *call = malloc(sizeof(*call));

    if (!call) {
        return -ENOMEM;
    }
    sluice__v1__tool_call__init(call);
    r = charge(req, 0);
    r = r < 0 ? r : request_set_string(req, &call->id, id, strlen(id));
    r = r < 0 ? r : request_set_string(req, &call->name, name, strlen(name));
    r = r < 0 ? r : request_set_string(req, &call->arguments_json, arguments_json, n_bytes);
    if (r < 0) {
        req->n_bytes = before;
        sluice__v1__tool_call__free_unpacked(call, NULL);
        return r;
    }
    m->tool_calls[m->n_tool_calls++] = call;
    return 0;
}

/* The texts of a request that has a list of them; items NULL: it has none. */
static struct string_list inputs_of(sluice_request *req)
{
    struct string_list none = {NULL, NULL, 0};

    if (req->kind == REQUEST_EMBED) {
        return (struct string_list) {&req->msg.embed.inputs, &req->msg.embed.n_inputs,
                                     REQUEST_MAX_INPUTS};
    }
    if (req->kind == REQUEST_RERANK) {
        return (struct string_list) {&req->msg.rerank.documents, &req->msg.rerank.n_documents,
                                     REQUEST_MAX_INPUTS};
    }
    if (req->kind == REQUEST_CLASSIFY) {
        return (struct string_list) {&req->msg.classify.inputs, &req->msg.classify.n_inputs,
                                     REQUEST_MAX_INPUTS};
    }
    return none;
}

EXPORT int sluice_request_add_input(sluice_request *req, const char *text, size_t n_bytes)
{
    struct string_list inputs = inputs_of(req);

    return inputs.items ? add_string(req, inputs, text, n_bytes) : -EINVAL;
}

EXPORT int sluice_request_add_stop(sluice_request *req, const char *text, size_t n_bytes)
{
    if (!request_is_kind(req, KIND(CHAT) | KIND(COMPLETE)) || n_bytes == 0) {
        return -EINVAL;
    }

    struct string_list stops = {&req->sampling.stop, &req->sampling.n_stop, REQUEST_MAX_STOPS};

    return add_string(req, stops, text, n_bytes);
}

/* ---------------------------------------------------------------- bytes */

/* Joins options, or the id alone, and sampling with a copy of the message's top level, and packs that. */
static size_t join_and_pack(const sluice_request *req, Sluice__V1__CallOptions *options,
                            Sluice__V1__Sampling *sampling, uint8_t *out)
{
    union message msg = req->msg;

    if (req->kind == REQUEST_CHAT) {
        msg.chat.options = options;
        msg.chat.sampling = sampling;
    } else if (req->kind == REQUEST_COMPLETE) {
        msg.complete.options = options;
        msg.complete.sampling = sampling;
    } else if (req->kind == REQUEST_EMBED) {
        msg.embed.options = options;
    } else if (req->kind == REQUEST_RERANK) {
        msg.rerank.options = options;
    } else if (req->kind == REQUEST_CLASSIFY) {
        msg.classify.options = options;
    } else if (req->kind == REQUEST_WATCH) {
        msg.watch.request_id = options->request_id;
    }
    return out ? protobuf_c_message_pack(&msg.base, out)
               : protobuf_c_message_get_packed_size(&msg.base);
}

int request_pack(const sluice_request *req, const char *id, uint8_t **ret_bytes, size_t *ret_n)
{
    Sluice__V1__Sampling sampling = req->sampling;
    Sluice__V1__CallOptions options;
    char own_id[REQUEST_ID_MAX_BYTES + 1] = "";

    if ((req->kind == REQUEST_CHAT && req->msg.chat.n_messages == 0) ||
        (req->kind == REQUEST_EMBED && req->msg.embed.n_inputs == 0) ||
        (req->kind == REQUEST_RERANK && req->msg.rerank.n_documents == 0) ||
        (req->kind == REQUEST_CLASSIFY && req->msg.classify.n_inputs == 0)) {
        return -EINVAL;
    }
    assert(strlen(id) <= REQUEST_ID_MAX_BYTES);
    memcpy(own_id, id, strlen(id));
    sluice__v1__call_options__init(&options);
    options.request_id = own_id;
    options.deadline_usec = (uint64_t) req->deadline_usec;
    options.class_ = (Sluice__V1__Class) req->class_of_service;

    size_t n = join_and_pack(req, &options, &sampling, NULL);

    if (n > FRAME_MAX_BYTES) {
        return -EMSGSIZE;
    }

    uint8_t *bytes = malloc(n + (n == 0));

    if (!bytes) {
        return -ENOMEM;
    }
    *ret_n = join_and_pack(req, &options, &sampling, bytes);
    *ret_bytes = bytes;
    return 0;
}
