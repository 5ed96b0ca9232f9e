/* See ollama_unload.h. */
#include "wire/ollama_unload.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "wire/json.h"
#include "wire/put.h"

#define NAME_MAX_BYTES 512 /* Ollama's own limit is 350 */

int ollama_encode_unload(const char *model, struct buf *out)
{
    struct put put = {.out = out};

    put_z(&put, "{\"model\":");
    put_json_string(&put, str_from(model));
    put_z(&put, ",\"keep_alive\":0,\"stream\":false}");
    return put.r;
}

static struct str without_prefix(struct str name, const char *prefix)
{
    size_t n = strlen(prefix);

    if (name.len > n && strncasecmp(name.ptr, prefix, n) == 0) {
        return (struct str) {name.ptr + n, name.len - n};
    }
    return name;
}

/* Takes the tag off the end of *name; "latest" where there is none. */
static struct str split_tag(struct str *name)
{
    const char *colon = memrchr(name->ptr, ':', name->len);
    const char *slash = memrchr(name->ptr, '/', name->len);

    if (!colon || (slash && slash > colon)) {
        return STR_LIT("latest"); /* "host:port/name" has no tag */
    }

    struct str tag = {colon + 1, name->len - (size_t) (colon + 1 - name->ptr)};

    name->len = (size_t) (colon - name->ptr);
    return tag;
}

static bool is_equal_nocase(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.ptr, b.ptr, a.len) == 0);
}

static bool is_same_model(struct str a, struct str b)
{
    a = without_prefix(without_prefix(a, "registry.ollama.ai/"), "library/");
    b = without_prefix(without_prefix(b, "registry.ollama.ai/"), "library/");
    if (a.len == 0 || b.len == 0) {
        return false;
    }

    struct str tag_a = split_tag(&a), tag_b = split_tag(&b);

    return is_equal_nocase(a, b) && is_equal_nocase(tag_a, tag_b);
}

/*
 * 1: this value, a JSON string, names the model; 0: it does not, is no string, or longer than any
 * name; -ENOMEM.
 */
static int names(struct str value, const char *model)
{
    struct buf name;
    int r;

    buf_init(&name, NAME_MAX_BYTES);
    r = json_string(value, &name);
    if (r != -ENOMEM) {
        r = r == 0 && is_same_model(buf_str(&name), str_from(model));
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
