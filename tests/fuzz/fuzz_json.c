/*
 * Fuzzes wire/json: any bytes through the check; what it accepts is walked, read, written and
 * compared with cJSON, which accepts more but must agree on the shape.
 */
#include <assert.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_string(struct str value)
{
    struct buf text, again, back;
    struct arena a;
    struct str dup;

    arena_init(&a, 1024 * 1024);
    buf_init(&text, 1024 * 1024);
    buf_init(&again, 8 * 1024 * 1024);
    buf_init(&back, 1024 * 1024);
    assert(json_string(value, &text) == 0);
    assert(str_is_utf8(buf_str(&text)));
    assert(json_string_dup(value, &a, &dup) == 0);
    assert(str_is_equal(dup, buf_str(&text)));
    assert(json_write_string(&again, buf_str(&text)) == 0);
    assert(json_check(buf_str(&again), NULL) == 0);
    assert(json_string(buf_str(&again), &back) == 0);
    assert(str_is_equal(buf_str(&back), buf_str(&text)));
    buf_done(&text);
    buf_done(&again);
    buf_done(&back);
    arena_done(&a);
}

static void check_number(struct str value)
{
    struct buf text;
    double d, back;
    int64_t i;
    int r = json_i64(value, &i);

    assert(r == 0 || r == -EINVAL || r == -ERANGE);
    if (json_double(value, &d) < 0) {
        assert(r != 0);
        return;
    }
    assert(r != 0 || (double) i == d);
    buf_init(&text, 64);
    assert(json_write_double(&text, d) == 0);
    assert(json_double(buf_str(&text), &back) == 0 && back == d);
    buf_done(&text);
}

static enum json_type type_of(const cJSON *tree)
{
    switch (tree->type & 0xff) { /* the bits above are cJSON's own flags */
    case cJSON_False:
        return JSON_FALSE;
    case cJSON_True:
        return JSON_TRUE;
    case cJSON_Number:
        return JSON_NUMBER;
    case cJSON_String:
        return JSON_STRING;
    case cJSON_Array:
        return JSON_ARRAY;
    case cJSON_Object:
        return JSON_OBJECT;
    default: /* cJSON's kinds are macros, and cJSON_NULL is the last of them */
        return JSON_NULL;
    }
}

/* value has passed the check; tree is what cJSON makes of it, NULL where that is not known. */
static void check_value(struct str value, const cJSON *tree)
{
    enum json_type type = json_type(value);
    struct str name, member;
    struct json_iter it;
    size_t count = 0;

    assert(json_check(value, NULL) == 0);
    assert(!tree || type_of(tree) == type);
    if (type == JSON_STRING) {
        check_string(value);
    } else if (type == JSON_NUMBER) {
        check_number(value);
    }
    json_iter_init(&it, value);
    while (json_next(&it, &name, &member)) {
        assert(member.ptr >= value.ptr && member.ptr + member.len < value.ptr + value.len);
        assert((name.ptr != NULL) == (type == JSON_OBJECT));
        if (name.ptr && !memchr(name.ptr, '\\', name.len)) {
            char *z = strndup(name.ptr, name.len);

            assert(z && json_find(value, z).ptr == member.ptr);
            free(z);
        }
        /* the first few are enough, as cJSON counts from the start each time */
        check_value(member, tree && count < 8 ? cJSON_GetArrayItem(tree, (int) count) : NULL);
        count++;
    }
    assert(!tree || (size_t) cJSON_GetArraySize(tree) == count);
}

/* cJSON gives up on a number of 64 characters. */
static bool has_long_number(struct str s)
{
    size_t run = 0;

    for (size_t i = 0; i < s.len; i++) {
        run = strchr("0123456789+-.eE", s.ptr[i]) && s.ptr[i] ? run + 1 : 0;
        if (run > 60) {
            return true;
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct str text = {(const char *) bytes, n};
    struct json_error error = {0};
    struct buf written;

    buf_init(&written, 8 * n + 64);
    assert(json_write_string(&written, text) == 0);
    assert(json_check(buf_str(&written), NULL) == 0);
    buf_done(&written);

    int r = json_check(text, &error);

    if (r < 0) {
        assert(r == -EBADMSG && error.text && error.offset <= n);
        return 0;
    }
    assert(str_is_utf8(text));

    cJSON *tree = cJSON_ParseWithLength(text.ptr, text.len);

    assert(tree || has_long_number(text));
    check_value(text, tree);
    cJSON_Delete(tree);
    return 0;
}
