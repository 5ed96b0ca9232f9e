/*
 * YAML to nodes: what PyYAML makes of scalars, what is refused and where, and the limits. Values
 * are looked at as JSON.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config/config_yaml.h"
#include "support.h"

struct document {
    struct arena arena;
    struct config_node *root;
    struct config_yaml_error err;
    int r;
};

static struct document parse(struct str text)
{
    struct document d = {0};

    arena_init(&d.arena, CONFIG_YAML_ARENA_BYTES);
    d.r = config_yaml_parse(text, &d.arena, &d.root, &d.err);
    return d;
}

static void assert_json(const char *yaml, const char *json)
{
    struct document d = parse(str_from(yaml));
    struct buf out;

    ck_assert_msg(d.r == 0, "%s: %s", yaml, d.err.text);
    buf_init(&out, 4096);
    ck_assert_int_eq(config_node_write_json(d.root, &out), 0);
    ck_assert_msg(str_is(buf_str(&out), json), "%s: is %s, not %s", yaml, buf_z(&out), json);
    buf_done(&out);
    arena_done(&d.arena);
}

static void assert_refused(struct str yaml, unsigned line, unsigned column, const char *text)
{
    struct document d = parse(yaml);

    ck_assert_int_eq(d.r, -EBADMSG);
    ck_assert_ptr_null(d.root);
    ck_assert_msg(strstr(d.err.text, text), "says '%s', not '%s'", d.err.text, text);
    ck_assert_msg(d.err.line == line && d.err.column == column, "'%s' at %u:%u, not %u:%u",
                  d.err.text, d.err.line, d.err.column, line, column);
    arena_done(&d.arena);
}

START_TEST(scalars_are_those_of_pyyaml)
{
    static const struct {
        const char *yaml, *json;
    } cases[] = {
        {"true", "true"},
        {"yes", "true"},
        {"On", "true"},
        {"FALSE", "false"},
        {"no", "false"},
        {"oFF", "\"oFF\""},
        {"y", "\"y\""},
        {"~", "null"},
        {"null", "null"},
        {"Null", "null"},
        {"nUll", "\"nUll\""},
        {"---", "null"},
        {"0", "0"},
        {"-0", "-0"},
        {"+12", "12"},
        {"8_192", "8192"},
        {"010", "8"},
        {"-017", "-15"},
        {"08", "\"08\""},
        {"0o10", "\"0o10\""},
        {"0x1F", "31"},
        {"0b101", "5"},
        {"0xffffffffffffffff", "18446744073709551615"},
        {"123456789012345678901234567890", "123456789012345678901234567890"},
        {"1:30", "90"},
        {"-1:30:00", "-5400"},
        {"0:30", "\"0:30\""},
        {"1:60", "\"1:60\""},
        {"127.0.0.1:4000", "\"127.0.0.1:4000\""},
        {"1.5", "1.5"},
        {"1.", "1.0"},
        {".5", "0.5"},
        {"-.5", "\"-.5\""},
        {"007.50", "7.50"},
        {"1_0.2_5", "10.25"},
        {"1.0e+5", "1.0e+5"},
        {"1e5", "\"1e5\""},
        {"1.0e5", "\"1.0e5\""},
        {".", "\".\""},
        {"1.2.3", "\"1.2.3\""},
        {"_1", "\"_1\""},
        {"2026-01-31", "\"2026-01-31\""},
        {"'true'", "\"true\""},
        {"\"12\"", "\"12\""},
        {"''", "\"\""},
        {"\"a\\tb\\u00e9\\x41\"", "\"a\\tb\303\251A\""},
        {"|\n  1\n  2\n", "\"1\\n2\\n\""},
        {">-\n  a\n  b\n", "\"a b\""},
        {"[]", "[]"},
        {"{}", "{}"},
        {"[1, .5, a, null, [no]]", "[1,0.5,\"a\",null,[false]]"},
        {"{on: 1, 2: x, ~: y, \"q\\\"\": z}",
         "{\"true\":1,\"2\":\"x\",\"null\":\"y\",\"q\\\"\":\"z\"}"},
        {"a:\n- b\n-\n- c: 1\n  d: {e: f}\n", "{\"a\":[\"b\",null,{\"c\":1,\"d\":{\"e\":\"f\"}}]}"},
        {"\xef\xbb\xbf# with a byte order mark\na: \xc3\xa9", "{\"a\":\"\xc3\xa9\"}"},
        {"%YAML 1.1\n---\na: 1\n...\n", "{\"a\":1}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_json(cases[i].yaml, cases[i].json);
    }
}
END_TEST

START_TEST(what_is_not_read_is_refused_with_its_place)
{
    static const struct {
        const char *yaml;
        unsigned line, column;
        const char *text;
    } cases[] = {
        {"a: &x 1\n", 1, 4, "anchors"},
        {"a: 1\nb: *x\n", 2, 4, "aliases"},
        {"a: &x [1]\nb: [*x, *x]\n", 1, 4, "anchors"},
        {"a: !foo 1\n", 1, 4, "tags"},
        {"a: !!str 1\n", 1, 4, "tags"},
        {"a: ! 1\n", 1, 4, "tags"},
        {"a: !!python/object:os.system {}\n", 1, 4, "tags"},
        {"x:\n  <<: {a: 1}\n", 2, 3, "merge keys"},
        {"a: 1\n---\nb: 2\n", 2, 1, "second document"},
        {"a: 1\nb: 2\na: 3\n", 3, 1, "\"a\" stands here twice, first on line 1, column 1"},
        {"x: {k: 1, 'k': 2}\n", 1, 11, "first on line 1, column 5"},
        {"{1: a, 01: b}", 1, 8, "\"1\" stands here twice"},
        {"? [a]\n: 1\n", 1, 3, "a key must be a plain word, not a list"},
        {"? {a: b}\n: 1\n", 1, 3, "not a map"},
        {"a: \"x\\0y\"\n", 1, 4, "NUL"},
        {"a: .inf\n", 1, 4, "JSON"},
        {"a: -.INF\n", 1, 4, "JSON"},
        {"a: .nan\n", 1, 4, "JSON"},
        {"a: 1.0e+999\n", 1, 4, "JSON"},
        {"a: 0x1ffffffffffffffff\n", 1, 4, "JSON"},
        {"a: 1:30.5\n", 1, 4, "JSON"},
        {"a: [1, 2\nb: 3\n", 2, 2, "not YAML: did not find expected ',' or ']'"},
        {"a: \"never closed\n", 2, 1, "not YAML: found unexpected end of stream"},
        {"a:\n\tb: 1\n", 2, 1, "a tab"},
        {"\xc3\xa9:\n\tb: 1\n", 2, 1, "a tab"},
        {"a: @x\n", 1, 4, "not YAML"},
        {"a: b: c\n", 1, 5, "mapping values are not allowed"},
        {"  a: 1\n b: 2\n", 2, 2, "not YAML"},
        {"a: \x01\n", 1, 4, "control characters are not allowed"},
        {"ok: 1\na: \xff\xfe\n", 2, 4, "UTF-8"},
        {"a: \xed\xa0\x80\n", 1, 4, "not YAML"},
        {"a: \xc3", 1, 4, "UTF-8"},
        {"%TAG ! tag:x,2000:\n---\na: !y 1\n", 3, 4, "tags"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_refused(str_from(cases[i].yaml), cases[i].line, cases[i].column, cases[i].text);
    }
    assert_refused(STR_LIT("a: x\0y\n"), 1, 5, "control characters are not allowed");
    /* UTF-16 is not guessed at, with or without its mark */
    assert_refused(STR_LIT("\xff\xfe"
                           "a\0:\0"),
                   1, 1, "UTF-8");
}
END_TEST

START_TEST(an_alias_bomb_is_refused_at_its_first_anchor)
{
    struct buf bomb;

    buf_init(&bomb, 4096);
    ck_assert_int_eq(buf_append_z(&bomb, "a: &a [x, x]\n"), 0);
    for (char c = 'b'; c <= 'z'; c++) {
        ck_assert_int_eq(buf_printf(&bomb, "%c: &%c [*%c, *%c, *%c]\n", c, c, c - 1, c - 1, c - 1),
                         0);
    }
    assert_refused(buf_str(&bomb), 1, 4, "anchors");
    buf_done(&bomb);
}
END_TEST

/* n times piece */
static struct buf repeated(const char *piece, size_t n)
{
    struct buf b;

    buf_init(&b, 2 * 1024 * 1024);
    ck_assert_ptr_nonnull(buf_reserve(&b, n * strlen(piece)));
    for (size_t i = 0; i < n; i++) {
        memcpy(buf_reserve(&b, strlen(piece)), piece, strlen(piece));
        buf_commit(&b, strlen(piece));
    }
    return b;
}

START_TEST(depth_is_bounded)
{
    struct buf b = repeated("[", CONFIG_YAML_MAX_DEPTH);
    struct buf close = repeated("]", CONFIG_YAML_MAX_DEPTH);
    struct document d;

    ck_assert_int_eq(buf_append_str(&b, buf_str(&close)), 0);
    d = parse(buf_str(&b));
    ck_assert_int_eq(d.r, 0);
    arena_done(&d.arena);
    buf_done(&b);
    buf_done(&close);

    b = repeated("[", CONFIG_YAML_MAX_DEPTH + 1);
    assert_refused(buf_str(&b), 1, CONFIG_YAML_MAX_DEPTH + 1, "levels deep");
    buf_done(&b);
    b = repeated("[", 100000);
    assert_refused(buf_str(&b), 1, CONFIG_YAML_MAX_DEPTH + 1, "levels deep");
    buf_done(&b);
    b = repeated("- ", 50000);
    assert_refused(buf_str(&b), 1, 2 * CONFIG_YAML_MAX_DEPTH + 1, "levels deep");
    buf_done(&b);
}
END_TEST

START_TEST(values_keys_and_texts_are_bounded)
{
    struct buf b = repeated("- a\n", CONFIG_YAML_MAX_NODES - 1);
    struct document d = parse(buf_str(&b));

    ck_assert_int_eq(d.r, 0);
    ck_assert_uint_eq(d.root->n_children, CONFIG_YAML_MAX_NODES - 1);
    arena_done(&d.arena);
    ck_assert_int_eq(buf_append_z(&b, "- a\n"), 0);
    assert_refused(buf_str(&b), CONFIG_YAML_MAX_NODES, 3, "more than 16384 values");
    buf_done(&b);

    buf_init(&b, 1024 * 1024);
    for (int i = 0; i <= CONFIG_YAML_MAX_KEYS; i++) {
        ck_assert_int_eq(buf_printf(&b, "k%d: 1\n", i), 0);
    }
    assert_refused(buf_str(&b), CONFIG_YAML_MAX_KEYS + 1, 1, "more than 1024 keys");
    buf_done(&b);

    b = repeated("x", CONFIG_YAML_MAX_SCALAR_BYTES);
    d = parse(buf_str(&b));
    ck_assert_int_eq(d.r, 0);
    arena_done(&d.arena);
    ck_assert_int_eq(buf_append_z(&b, "x"), 0);
    assert_refused(buf_str(&b), 1, 1, "a value of 65537 bytes");
    buf_done(&b);

    b = repeated("\"", 1);
    struct buf letters = repeated("y", 1024 * 1024);

    ck_assert_int_eq(buf_append_str(&b, buf_str(&letters)), 0);
    assert_refused(buf_str(&b), 1, 1024 * 1024 + 2, "unexpected end of stream");
    buf_done(&b);
    buf_done(&letters);
}
END_TEST

START_TEST(an_empty_file_is_no_node)
{
    static const char *const empty[] = {"", "\n\n", "# only a comment\n", "   "};

    for (size_t i = 0; i < ARRAY_LEN(empty); i++) {
        struct document d = parse(str_from(empty[i]));

        ck_assert_int_eq(d.r, 0);
        ck_assert_ptr_null(d.root);
        arena_done(&d.arena);
    }
}
END_TEST

START_TEST(nodes_know_their_places_and_paths)
{
    struct document d = parse(STR_LIT("list:\n  - name: a\n    deep: {k: v}\n  - 7\n"));
    const struct config_node *list = config_node_find(d.root, "list");
    const struct config_node *k;
    char path[CONFIG_NODE_PATH_MAX];

    ck_assert_int_eq(d.r, 0);
    k = config_node_find(config_node_find(list->first, "deep"), "k");
    ck_assert_uint_eq(k->line, 3);
    ck_assert_uint_eq(k->column, 15);
    ck_assert_uint_eq(k->key_line, 3);
    ck_assert_uint_eq(k->key_column, 12);
    config_node_path(k, path);
    ck_assert_str_eq(path, "list[0].deep.k");
    config_node_path(list->last, path);
    ck_assert_str_eq(path, "list[1]");
    config_node_path(d.root, path);
    ck_assert_str_eq(path, "");
    config_node_path(NULL, path);
    ck_assert_str_eq(path, "");
    ck_assert_ptr_null(config_node_find(list, "name"));
    ck_assert_ptr_null(config_node_find(NULL, "name"));
    config_node_wipe(d.root);
    ck_assert_str_eq(k->text, "");
    arena_done(&d.arena);
}
END_TEST

START_TEST(a_long_path_is_cut)
{
    struct buf b;
    struct document d;
    const struct config_node *at;
    char path[CONFIG_NODE_PATH_MAX];

    buf_init(&b, 8192);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(buf_append_z(&b, "{an_unreasonably_long_name_of_a_key_for_a_path: "), 0);
    }
    ck_assert_int_eq(buf_append_z(&b, "1}}}}}}}}}}}}}}}}}}}}"), 0);
    d = parse(buf_str(&b));
    ck_assert_int_eq(d.r, 0);
    for (at = d.root; at->first; at = at->first) {
    }
    config_node_path(at, path);
    ck_assert_uint_lt(strlen(path), sizeof path);
    arena_done(&d.arena);
    buf_done(&b);
}
END_TEST

static void parse_and_forget(void)
{
    struct document d = parse(STR_LIT("a: [1, .5, 0x10, 1:30, \"q\", yes, ~]\nb: {c: \"d\"}\n"));

    ck_assert_int_eq(d.r, allocation_failed() ? -ENOMEM : 0);
    if (d.r == 0) {
        struct buf out;
        int r;

        buf_init(&out, 4096);
        r = config_node_write_json(d.root, &out);
        ck_assert_int_eq(r, allocation_failed() ? -ENOMEM : 0);
        buf_done(&out);
    }
    arena_done(&d.arena);
}

START_TEST(every_allocation_may_fail)
{
    for_each_failed_allocation(parse_and_forget);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, scalars_are_those_of_pyyaml);
    tcase_add_test(tc, what_is_not_read_is_refused_with_its_place);
    tcase_add_test(tc, an_alias_bomb_is_refused_at_its_first_anchor);
    tcase_add_test(tc, depth_is_bounded);
    tcase_add_test(tc, values_keys_and_texts_are_bounded);
    tcase_add_test(tc, an_empty_file_is_no_node);
    tcase_add_test(tc, nodes_know_their_places_and_paths);
    tcase_add_test(tc, a_long_path_is_cut);
    tcase_add_test(tc, every_allocation_may_fail);
}

TEST_MAIN("config_yaml", add_tests)
