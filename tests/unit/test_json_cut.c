/* json_cut.h: what paths are, what they cut and what they leave. JSON has ' for ". */
#include "support.h"

#include <errno.h>
#include <stdio.h>

#include "wire/json.h"
#include "wire/json_cut.h"

/* What is left of json after a cut by paths that stand in one text, with blanks between them. */
static void expect_left(const char *paths, const char *json, const char *left)
{
    char path[256], shown[1024];
    struct json_cut cut = {0};
    struct buf text;
    int n = 0;

    buf_init(&text, 4096);
    for (const char *c = json; *c; c++) {
        ck_assert_int_eq(buf_append_char(&text, *c == '\'' ? '"' : *c), 0);
    }
    ck_assert_msg(json_check(buf_str(&text), NULL) == 0, "%s", json);
    for (; sscanf(paths, " %255s%n", path, &n) == 1; paths += n) {
        ck_assert_msg(json_cut_add(&cut, path) == 0, "%s: %s", path, json_cut_check(path));
    }
    json_cut_apply(&cut, &text);
    ck_assert_int_eq(json_check(buf_str(&text), NULL), 0);
    str_copy(buf_str(&text), shown, sizeof shown);
    for (char *c = shown; *c; c++) {
        *c = *c == '"' ? '\'' : *c;
    }
    ck_assert_str_eq(shown, left);
    json_cut_done(&cut);
    buf_done(&text);
}

START_TEST(members_are_cut)
{
    expect_left("a.b", "{'a':{'b':1}}", "{'a':{}}");
    expect_left("a.b", "{'a':{'b':1,'c':2}}", "{'a':{'c':2}}");
    expect_left("a.b", "{'a':{'c':2,'b':{'x':[1]}},'b':3}", "{'a':{'c':2},'b':3}");
    expect_left("a.c", "{'a':{'b':1,'c':2,'d':3}}", "{'a':{'b':1,'d':3}}");
    expect_left("a.b.c.d", "{'a':{'b':{'c':{'d':1}}}}", "{'a':{'b':{'c':{}}}}");
    expect_left("a", "{'a':1,'b':2}", "{'b':2}"); /* a whole one, too */
    expect_left("a b", "{'a':1,'b':2}", "{}");
}
END_TEST

START_TEST(members_of_elements_are_cut)
{
    const char *tools =
        "{'tools':[{'function':{'name':'f','strict':true}},{'function':{'strict':1}}]}";

    expect_left("tools[*].function.strict", tools,
                "{'tools':[{'function':{'name':'f'}},{'function':{}}]}");
    expect_left("tools[1].function.strict", tools,
                "{'tools':[{'function':{'name':'f','strict':true}},{'function':{}}]}");
    expect_left("tools[2].function.strict", tools, tools);
    expect_left("tools[*].function", tools, "{'tools':[{},{}]}");
    expect_left("a[0][1].b", "{'a':[[{'b':1},{'b':2}],[{'b':3},{'b':4}]]}",
                "{'a':[[{'b':1},{}],[{'b':3},{'b':4}]]}");
    expect_left("a[*][*].b", "{'a':[[{'b':1}],[],[{'b':3},4]]}", "{'a':[[{}],[],[{},4]]}");
    expect_left("a[0]b", "{'a':[{'b':1}]}", "{'a':[{}]}"); /* as LiteLLM reads it */
}
END_TEST

START_TEST(paths_do_not_disturb_each_other)
{
    expect_left("a.b a.b a.c.d", "{'a':{'b':1,'c':{'d':2,'e':3}}}", "{'a':{'c':{'e':3}}}");
    expect_left("a.b a.b.c", "{'a':{'b':{'c':1}}}", "{'a':{}}");
    expect_left("t[*].x t[0].y t[1].z", "{'t':[{'x':1,'y':2,'z':3},{'x':1,'y':2,'z':3}]}",
                "{'t':[{'z':3},{'y':2}]}");
}
END_TEST

START_TEST(what_is_not_met_stays)
{
    const char *same = "{ 'a' : [ 1 , {'b' : 2} ] , 'c' : 'a.b' }";

    expect_left("", same, same);
    expect_left("x.y", "{'a':{'y':1}}", "{'a':{'y':1}}");
    expect_left("a.b", "{'a':[{'b':1}]}", "{'a':[{'b':1}]}");
    expect_left("a[*].b", "{'a':{'b':1,'*':2}}", "{'a':{'b':1,'*':2}}");
    expect_left("a[0].b", "{'a':{'0':{'b':1}}}", "{'a':{'0':{'b':1}}}");
    expect_left("a.b a[0].b", "{'a':'b'}", "{'a':'b'}");
    expect_left("a.b", "{'a':null,'B':1}", "{'a':null,'B':1}");
    expect_left("a.b", "{'a':{},'c':[]}", "{'a':{},'c':[]}");
    expect_left("a.b", "[{'a':{'b':1}}]", "[{'a':{'b':1}}]");
    expect_left("a.b", "7", "7");
}
END_TEST

START_TEST(text_is_read_as_json)
{
    expect_left("a.b", "{'a':{'\\u0062':1,'c':'}'}}", "{'a':{'c':'}'}}"); /* the name resolved */
    expect_left("a.b", "{'\\u0061':{'b':1}}", "{'\\u0061':{}}");
    expect_left("a.b", "{'a\\'':{'b':1}, 'a' : { 'b' : 1 , 'c' : [ 1 , 2 ] } }",
                "{'a\\'':{'b':1},'a':{'c':[ 1 , 2 ]}}");
    expect_left("\xc3\xa4.b", "{'\xc3\xa4':{'b':1}}", "{'\xc3\xa4':{}}");
}
END_TEST

START_TEST(bad_paths_are_refused)
{
    static const struct {
        const char *path, *why;
    } table[] = {
        {"", "a name is empty"},
        {".a", "a name is empty"},
        {"a.", "a name is empty"},
        {"a..b", "a name is empty"},
        {"a.[0].b", "a name is empty"},
        {"[0].a", "a name is empty"},
        {"a[].b", "between brackets"},
        {"a[x].b", "between brackets"},
        {"a[-1].b", "between brackets"},
        {"a[1234567890].b", "between brackets"},
        {"a[", "between brackets"},
        {"a[0", "a bracket is not closed"},
        {"a[*b].c", "a bracket is not closed"},
        {"a[0].b]", "names with"},
        {"a\\.b", "names with"},
        {"a[0]", "elements of a list"},
        {"a[*]", "elements of a list"},
        {"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q", "it goes too deep"},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct json_cut cut = {0};
        const char *why = json_cut_check(table[i].path);

        ck_assert_msg(why && strstr(why, table[i].why) == why, "%s: %s", table[i].path, why);
        ck_assert_int_eq(json_cut_add(&cut, table[i].path), -EINVAL);
        ck_assert(!cut.paths);
    }
    ck_assert(!json_cut_check("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p")); /* 16 steps */
    ck_assert(!json_cut_check("a[999999999].b"));
    ck_assert(json_cut_is_path("a.b") && json_cut_is_path("a[") && !json_cut_is_path("a_b"));
}
END_TEST

START_TEST(as_many_paths_as_there_may_be)
{
    struct json_cut cut = {0};
    struct buf text;
    char path[16];

    buf_init(&text, 4096);
    ck_assert_int_eq(buf_append_z(&text, "{\"a\":{\"x\":0"), 0);
    for (int i = 0; i < JSON_CUT_MAX_PATHS; i++) {
        (void) snprintf(path, sizeof path, "a.n%d", i);
        ck_assert_int_eq(json_cut_add(&cut, path), 0);
        ck_assert_int_eq(buf_printf(&text, ",\"n%d\":%d", i, i), 0);
    }
    ck_assert_int_eq(json_cut_add(&cut, "b.c"), -ENOBUFS);
    ck_assert_int_eq(buf_append_z(&text, "}}"), 0);
    json_cut_apply(&cut, &text);
    ck_assert(str_is(buf_str(&text), "{\"a\":{\"x\":0}}"));
    json_cut_done(&cut);
    json_cut_done(&cut); /* again: it has no paths any more */
    buf_done(&text);
}
END_TEST

static void add_some(void)
{
    static const char *const paths[] = {"a.b", "tools[*].function.strict", "c"};
    struct json_cut cut = {0};
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_LEN(paths); i++) {
        r = json_cut_add(&cut, paths[i]);
    }
    ck_assert_int_eq(r, allocation_failed() ? -ENOMEM : 0);
    json_cut_done(&cut);
}

START_TEST(every_allocation_may_fail)
{
    for_each_failed_allocation(add_some);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, members_are_cut);
    tcase_add_test(tc, members_of_elements_are_cut);
    tcase_add_test(tc, paths_do_not_disturb_each_other);
    tcase_add_test(tc, what_is_not_met_stays);
    tcase_add_test(tc, text_is_read_as_json);
    tcase_add_test(tc, bad_paths_are_refused);
    tcase_add_test(tc, as_many_paths_as_there_may_be);
    tcase_add_test(tc, every_allocation_may_fail);
}

TEST_MAIN("json_cut", add_tests)
