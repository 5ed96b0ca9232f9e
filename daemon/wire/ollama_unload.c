/* See ollama_unload.h. */
#include "wire/ollama_unload.h"

#include <errno.h>

#include "wire/json.h"
#include "wire/ollama_names.h"
#include "wire/put.h"

int ollama_encode_unload(const char *model, struct buf *out)
{
    struct put put = {.out = out};

    put_z(&put, "{\"model\":");
    put_json_string(&put, str_from(model));
    put_z(&put, ",\"keep_alive\":0,\"stream\":false}");
    return put.r;
}

/*
 * 1: this value, a JSON string, names the model; 0: it does not, is no string, or longer than any
 * name; -ENOMEM.
 */
static int names(struct str value, const char *model)
{
    struct buf name;
    int r;

    buf_init(&name, OLLAMA_NAME_MAX_BYTES);
    r = json_string(value, &name);
    if (r != -ENOMEM) {
        r = r == 0 && ollama_name_is_same(buf_str(&name), str_from(model));
    }
    buf_done(&name);
    return r;
}

int ollama_list_has(struct str body, const char *model, bool *ret_has)
{
    struct str models, one;
    struct json_iter it;
    int r = json_check(body, NULL);

    if (r < 0 || json_type(body) != JSON_OBJECT) {
        return r < 0 ? r : -EBADMSG;
    }
    models = json_find(body, "models");
    if (!models.ptr || (json_type(models) != JSON_ARRAY && !json_is_null(models))) {
        return -EBADMSG;
    }
    json_iter_init(&it, models);
    while (r == 0 && json_next(&it, NULL, &one)) {
        r = names(json_find(one, "name"), model);
        r = r == 0 ? names(json_find(one, "model"), model) : r;
    }
    if (r < 0) {
        return r;
    }
    *ret_has = r == 1;
    return 0;
}
