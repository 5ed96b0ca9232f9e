/*
 * See openai_tools.h. A value of a type that is known is looked into, and a word that is none of
 * those that OpenAI or a server of its dialect has is refused; an object of a type that is not known
 * is some server's own, and passes. Each value is walked once for each level; nothing is recursive.
 */
#include "wire/openai_tools.h"

#include <errno.h>

#include "wire/field.h"
#include "wire/json.h"

static bool is_one_of(struct str word, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (str_is(word, words[i])) {
            return true;
        }
    }
    return false;
}

/* The member "type", resolved; absent where there is none. */
static int read_type(struct request *req, struct str value, struct problem *problem,
                     struct str *ret_type)
{
    struct field f = {"type", value, problem};

    return field_string(&f, &req->arena, ret_type);
}

/* ---- functions */

enum { FUNCTION_NAME, FUNCTION_DESCRIPTION, FUNCTION_PARAMETERS, FUNCTION_STRICT, _FUNCTION_MAX };

static const struct str function_names[_FUNCTION_MAX] = {
    [FUNCTION_NAME] = FIELD_NAME("name"),
    [FUNCTION_DESCRIPTION] = FIELD_NAME("description"),
    [FUNCTION_PARAMETERS] = FIELD_NAME("parameters"),
    [FUNCTION_STRICT] = FIELD_NAME("strict"),
};

static const unsigned function_types[_FUNCTION_MAX] = {
    [FUNCTION_NAME] = FIELD_STRING,
    [FUNCTION_DESCRIPTION] = FIELD_STRING,
    [FUNCTION_PARAMETERS] = FIELD_OBJECT,
    [FUNCTION_STRICT] = FIELD_BOOL,
};

/* What has a name: a function, a custom tool, the one that is chosen. */
static int check_function(struct request *req, struct str value, struct problem *problem)
{
    struct str values[_FUNCTION_MAX], name = STR_NONE;
    struct field f = {"", value, problem};
    int r;

    if (json_type(value) != JSON_OBJECT) {
        return field_fail(problem, "", "a function must be an object");
    }
    field_pick(value, function_names, _FUNCTION_MAX, values);
    for (size_t i = 0; i < _FUNCTION_MAX; i++) {
        f = (struct field) {function_names[i].ptr, values[i], problem};
        r = field_types(&f, function_types[i]);
        if (r < 0) {
            return r;
        }
    }
    f = (struct field) {"name", values[FUNCTION_NAME], problem};
    r = field_string(&f, &req->arena, &name);
    return r == 0 && name.len == 0 ? field_fail(problem, f.name, "a function needs a 'name'") : r;
}

int openai_check_functions(struct request *req, struct str functions, struct problem *problem)
{
    struct json_iter it;
    struct str element;
    int r = 0;

    if (field_count(functions) > OPENAI_MAX_TOOLS) {
        return field_fail(problem, "", "there may be at most %d functions", OPENAI_MAX_TOOLS);
    }
    json_iter_init(&it, functions);
    for (size_t i = 0; r == 0 && json_next(&it, NULL, &element); i++) {
        r = field_within(check_function(req, element, problem), problem, "[%zu]", i);
    }
    return r;
}

int openai_check_function_call(struct request *req, struct str call, struct problem *problem)
{
    static const char *const words[] = {"none", "auto"};
    struct field f = {"", call, problem};
    struct str word = STR_NONE;
    int r;

    if (json_type(call) == JSON_OBJECT) {
        return check_function(req, call, problem);
    }
    if (json_type(call) != JSON_STRING) {
        return field_fail(problem, "", "a function call must be a string or an object");
    }
    r = field_string(&f, &req->arena, &word);
    return r == 0 && !is_one_of(word, words, ARRAY_LEN(words))
               ? field_fail(problem, "", "a function call may be none, auto or an object")
               : r;
}

/* ---- tools */

enum { TOOL_TYPE, TOOL_FUNCTION, TOOL_CUSTOM, _TOOL_MAX };

static const struct str tool_names[_TOOL_MAX] = {
    [TOOL_TYPE] = FIELD_NAME("type"),
    [TOOL_FUNCTION] = FIELD_NAME("function"),
    [TOOL_CUSTOM] = FIELD_NAME("custom"),
};

/* A tool, or the choice of one: {"type":"function","function":{"name":...}}. */
static int check_tool(struct request *req, struct str tool, bool *ret_is_plain,
                      struct problem *problem)
{
    struct str values[_TOOL_MAX], type = STR_LIT("function");
    int which, r;

    if (json_type(tool) != JSON_OBJECT) {
        return field_fail(problem, "", "a tool must be an object");
    }
    field_pick(tool, tool_names, _TOOL_MAX, values);
    r = read_type(req, values[TOOL_TYPE], problem, &type);
    if (r < 0) {
        return r;
    }
    *ret_is_plain = str_is(type, "function");
    if (!*ret_is_plain && !str_is(type, "custom")) {
        return 0;
    }
    which = *ret_is_plain ? TOOL_FUNCTION : TOOL_CUSTOM;

    const char *name = tool_names[which].ptr;

    if (json_is_null(values[which])) {
        return field_fail(problem, name, "a tool needs a '%s'", name);
    }
    return field_within(check_function(req, values[which], problem), problem, "%s", name);
}

int openai_check_tools(struct request *req, struct str tools, bool *ret_is_plain,
                       struct problem *problem)
{
    bool is_plain = true;
    struct json_iter it;
    struct str tool;

    if (field_count(tools) > OPENAI_MAX_TOOLS) {
        return field_fail(problem, "", "'tools' may hold at most %d tools", OPENAI_MAX_TOOLS);
    }
    json_iter_init(&it, tools);
    for (size_t i = 0; json_next(&it, NULL, &tool); i++) {
        bool is_function = true;
        int r = check_tool(req, tool, &is_function, problem);

        if (r < 0) {
            return field_within(r, problem, "[%zu]", i);
        }
        is_plain = is_plain && is_function;
    }
    *ret_is_plain = is_plain;
    return 0;
}

/* {"type":"allowed_tools","allowed_tools":{"mode":...,"tools":[...]}} */
static int check_allowed(struct str choice, struct problem *problem)
{
    struct str allowed = json_find(choice, "allowed_tools");
    struct field f = {"allowed_tools", allowed, problem};
    struct field mode = {"mode", json_find(allowed, "mode"), problem};
    struct field tools = {"tools", json_find(allowed, "tools"), problem};
    int r = field_types(&f, FIELD_OBJECT);

    if (r < 0) {
        return r;
    }
    if (!allowed.ptr) {
        return field_fail(problem, f.name, "this choice needs 'allowed_tools'");
    }
    r = field_types(&mode, FIELD_STRING);
    r = r < 0 ? r : field_types(&tools, FIELD_ARRAY);
    return field_within(r, problem, "allowed_tools");
}

int openai_check_tool_choice(struct request *req, struct str choice, struct problem *problem)
{
    static const char *const words[] = {"none", "auto", "required", "any" /* Mistral's */};
    struct field f = {"", choice, problem};
    struct str word = STR_NONE;
    bool is_plain;
    int r;

    if (json_type(choice) != JSON_STRING) {
        r = read_type(req, json_find(choice, "type"), problem, &word);
        if (r < 0) {
            return r;
        }
        return str_is(word, "allowed_tools") ? check_allowed(choice, problem)
                                             : check_tool(req, choice, &is_plain, problem);
    }
    r = field_string(&f, &req->arena, &word);
    return r == 0 && !is_one_of(word, words, ARRAY_LEN(words))
               ? field_fail(problem, "", "'tool_choice' may be none, auto, required or an object")
               : r;
}

/* ---- the form of the answer */

enum { SCHEMA_NAME, SCHEMA_DESCRIPTION, SCHEMA_SCHEMA, SCHEMA_STRICT, _SCHEMA_MAX };

static const struct str schema_names[_SCHEMA_MAX] = {
    [SCHEMA_NAME] = FIELD_NAME("name"),
    [SCHEMA_DESCRIPTION] = FIELD_NAME("description"),
    [SCHEMA_SCHEMA] = FIELD_NAME("schema"),
    [SCHEMA_STRICT] = FIELD_NAME("strict"),
};

static const unsigned schema_types[_SCHEMA_MAX] = {
    [SCHEMA_NAME] = FIELD_STRING,
    [SCHEMA_DESCRIPTION] = FIELD_STRING,
    [SCHEMA_SCHEMA] = FIELD_OBJECT,
    [SCHEMA_STRICT] = FIELD_BOOL,
};

static int check_schema(struct str schema, struct problem *problem)
{
    struct str values[_SCHEMA_MAX];
    int r = 0;

    field_pick(schema, schema_names, _SCHEMA_MAX, values);
    for (size_t i = 0; r == 0 && i < _SCHEMA_MAX; i++) {
        struct field f = {schema_names[i].ptr, values[i], problem};

        r = field_types(&f, schema_types[i]);
    }
    return r;
}

enum { FORMAT_TYPE, FORMAT_JSON_SCHEMA, FORMAT_SCHEMA, _FORMAT_MAX };

static const struct str format_names[_FORMAT_MAX] = {
    [FORMAT_TYPE] = FIELD_NAME("type"),
    [FORMAT_JSON_SCHEMA] = FIELD_NAME("json_schema"),
    [FORMAT_SCHEMA] = FIELD_NAME("schema"), /* where llama-server reads it too */
};

int openai_check_response_format(struct request *req, struct str format, bool *ret_is_text,
                                 struct problem *problem)
{
    /* OpenAI's; then those of vLLM, Fireworks and TGI */
    static const char *const words[] = {
        "text", "json_object", "json_schema", "structural_tag", "grammar", "regex", "json",
    };
    struct str values[_FORMAT_MAX], type = STR_NONE;
    int r;

    field_pick(format, format_names, _FORMAT_MAX, values);

    struct field outer = {"json_schema", values[FORMAT_JSON_SCHEMA], problem};
    struct field schema = {"schema", values[FORMAT_SCHEMA], problem};

    r = read_type(req, values[FORMAT_TYPE], problem, &type);
    if (r < 0) {
        return r;
    }
    if (!type.ptr) {
        return field_fail(problem, "type", "'response_format' needs a 'type'");
    }
    if (!is_one_of(type, words, ARRAY_LEN(words))) {
        return field_fail(problem, "type",
                          "'response_format.type' may be text, json_object or json_schema");
    }
    *ret_is_text = str_is(type, "text");
    r = field_types(&outer, FIELD_OBJECT);
    r = r < 0 ? r : field_types(&schema, FIELD_OBJECT);
    if (r < 0) {
        return r;
    }
    if (str_is(type, "json_schema") && json_is_null(outer.value) && json_is_null(schema.value)) {
        return field_fail(problem, outer.name, "'response_format' needs a 'json_schema'");
    }
    return field_within(check_schema(outer.value, problem), problem, "json_schema");
}
