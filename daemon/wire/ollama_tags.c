/* See ollama_tags.h. */
#include "wire/ollama_tags.h"

#include <errno.h>
#include <string.h>

#include "core/request.h"
#include "wire/field.h"
#include "wire/json.h"
#include "wire/ollama_names.h"

enum { TAG_NAME, TAG_MODEL, TAG_REMOTE_HOST, TAG_REMOTE_MODEL, _TAG_MAX };

static const struct str tag_names[_TAG_MAX] = {
    [TAG_NAME] = FIELD_NAME("name"),
    [TAG_MODEL] = FIELD_NAME("model"),
    [TAG_REMOTE_HOST] = FIELD_NAME("remote_host"),
    [TAG_REMOTE_MODEL] = FIELD_NAME("remote_model"),
};

static bool is_said(struct str value)
{
    return !json_is_null(value) && !str_is(value, "\"\"");
}

static bool is_usable(struct str name)
{
    return name.len > 0 && name.len <= REQUEST_MODEL_MAX && !ollama_name_is_cloud(name) &&
           !memchr(name.ptr, '\0', name.len);
}

/* 1: added; 0: left out; -errno. */
static int add(struct str model, struct buf *name, struct buf *out)
{
    struct str values[_TAG_MAX];
    int r;

    field_pick(model, tag_names, _TAG_MAX, values);
    if (is_said(values[TAG_REMOTE_HOST]) || is_said(values[TAG_REMOTE_MODEL])) {
        return 0;
    }
    buf_clear(name);
    r = json_string(json_is_null(values[TAG_NAME]) ? values[TAG_MODEL] : values[TAG_NAME], name);
    if (r == -ENOMEM) {
        return r;
    }
    if (r < 0 || !is_usable(buf_str(name))) {
        return 0; /* no string, or longer than any name */
    }
    r = buf_append_str(out, buf_str(name));
    r = r < 0 ? r : buf_append_char(out, '\0');
    return r < 0 ? r : 1;
}

int ollama_read_tags(struct str body, struct buf *out)
{
    struct str models, one;
    struct json_iter it;
    struct buf name;
    size_t n = 0;
    int r = json_check(body, NULL);

    if (r < 0 || json_type(body) != JSON_OBJECT) {
        return r == -ENOMEM ? r : -EBADMSG;
    }
    models = json_find(body, "models");
    if (!models.ptr || (json_type(models) != JSON_ARRAY && !json_is_null(models))) {
        return -EBADMSG;
    }
    buf_init(&name, OLLAMA_NAME_MAX_BYTES);
    json_iter_init(&it, models);
    while (r >= 0 && n < OLLAMA_TAGS_MAX_MODELS && json_next(&it, NULL, &one)) {
        r = add(one, &name, out);
        n += r == 1;
    }
    buf_done(&name);
    return r < 0 ? r : 0;
}

bool ollama_is_forwarded(struct str answer)
{
    struct str values[_TAG_MAX];
    const char *end = answer.len > 0 ? memchr(answer.ptr, '\n', answer.len) : NULL;

    answer.len = end ? (size_t) (end - answer.ptr) : answer.len; /* of a stream the first line */
    if (json_check(answer, NULL) < 0 || json_type(answer) != JSON_OBJECT) {
        return false;
    }
    field_pick(answer, tag_names, _TAG_MAX, values);
    return is_said(values[TAG_REMOTE_HOST]) || is_said(values[TAG_REMOTE_MODEL]);
}
