/*
 * The JSON check: what is accepted and refused (the classes of JSONTestSuite, RFC 8259, and the
 * defects of cJSON that the check must hide), where errors are said to be, depth, names by the
 * thousand, every allocation failed.
 */
#include "support.h"

#include <errno.h>
#include <string.h>

#include "wire/json.h"

/* Text with NUL bytes inside. */
#define T(s) {"" s, sizeof(s) - 1}

static const struct str must_accept[] = {
    /* structures */
    T("{}"),
    T("[]"),
    T("[[]]"),
    T("[{}]"),
    T("{\"a\":[]}"),
    T("[[],[[]],{}]"),
    T(" [ ] "),
    T("\t{\r\n}\n "),
    T("[1,2,3]"),
    T("[1 , 2]"),
    T("{\"a\":1,\"b\":2}"),
    T("{ \"a\" : 1 , \"b\" : { } }"),
    T("{\"\":0}"),
    T("[null,true,false]"),
    T("{\"asd\":\"sdf\"}"),
    T("[[[[[[1]]]]]]"),
    T("{\"x\":[{\"id\":\"xxxx\"}],\"id\":\"x\"}"),
    T("{\"a\":{\"a\":{\"a\":1}}}"),
    T("[{\"a\":1},{\"a\":1}]"),
    T("{\"a\":1,\"A\":2}"),
    T("{\"a\":1,\"aa\":2,\"aaa\":3}"),
    /* a scalar alone is a text */
    T("null"),
    T("true"),
    T("false"),
    T("0"),
    T("-1"),
    T("42"),
    T("\"\""),
    T("\"x\""),
    T(" 1 "),
    T("\"\\\"\""),
    /* numbers */
    T("[0]"),
    T("[-0]"),
    T("[-0.0]"),
    T("[0e1]"),
    T("[0e+1]"),
    T("[1E22]"),
    T("[1E-2]"),
    T("[1E+2]"),
    T("[123e45]"),
    T("[123.456e78]"),
    T("[1e-2]"),
    T("[1e+2]"),
    T("[-123]"),
    T("[123.456789]"),
    T("[20e1]"),
    T("[0.4e00669999999999999999999999999999999999999999999]"),
    T("[1e400]"),
    T("[-1e-400]"),
    T("[100000000000000000000000000000000000000000000000000000000000000000000000000]"),
    T("[-0.000000000000000000000000000000000000000000000000000000000000000000000000000001]"),
    T("[9007199254740993]"),
    /* strings */
    T("[\"\\u0060\\u012a\\u12AB\"]"),
    T("[\"\\uD801\\udc37\"]"),
    T("[\"\\ud83d\\ude39\\ud83d\\udc8d\"]"),
    T("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"),
    T("[\"\\\\u0000\"]"),
    T("[\"\\u0000\"]"),
    T("[\"a/*b*/c/*d//e\"]"),
    T("[\"\\\\a\"]"),
    T("[\"\\u0012\"]"),
    T("[\"\\uFFFF\"]"),
    T("[\"\xf4\x8f\xbf\xbf\"]"),
    T("[\"\xef\xbf\xbf\"]"),
    T("[\"\\uDBFF\\uDFFF\"]"),
    T("[\"new\\u00A0line\"]"),
    T("[\"\xcf\x80\"]"),
    T("[\"\xf0\x9b\xbf\xbf\"]"),
    T("[\"\\u002c\"]"),
    T("[\"asd \"]"),
    T("\" \""),
    T("[\"\xe2\x80\xa8\xe2\x80\xa9\"]"),
    T("[\"\x7f\"]"),
    T("[\"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80\"]"),
    T("[\"\\u20ac\xe2\x82\xac\"]"),
    T("[\"\\uA66D\\u005C\\u0022\"]"),
    T("\"0123456789abcdef0123456789abcdef\\n0123456789abcdef\xe4\xb8\xad\xe6\x96\x87\""),
    /* names */
    T("{\"foo\\u0001bar\":42}"),
    T("{\"a\\u0062\":1,\"ac\":2}"),
    T("{\"\xe2\x82\xac\":1,\"\\u20ad\":2}"),
    T("{\"\\\"\":1}"),
};

struct refusal {
    struct str text;
    size_t offset;
    const char *why;
};

#define CHARACTER "unexpected character"
#define END       "unexpected end"
#define NUMBER    "bad number"
#define CONTROL   "control character in a string"
#define ESCAPE    "bad escape"
#define SURROGATE "unpaired surrogate"
#define UTF8      "invalid UTF-8"
#define TWICE     "duplicate name"

static const struct refusal must_refuse[] = {
    /* nothing there, or not the whole */
    {T(""), 0, END},
    {T(" "), 1, END},
    {T("["), 1, END},
    {T("[1"), 2, END},
    {T("[1,"), 3, END},
    {T("{"), 1, END},
    {T("{\"a\""), 4, END},
    {T("{\"a\":"), 5, END},
    {T("{\"a\":1"), 6, END},
    {T("{\"a\":1,"), 7, END},
    {T("\"abc"), 4, END},
    {T("[\"a"), 3, END},
    {T("{\"a"), 3, END},
    {T("nul"), 0, CHARACTER},
    {T("tru"), 0, CHARACTER},
    {T("[[["), 3, END},
    {T("[{\"a\":[{"), 8, END},
    {T("[1,\n1\n,1"), 8, END},
    /* something behind it */
    {T("[]]"), 2, CHARACTER},
    {T("{}}"), 2, CHARACTER},
    {T("[1]x"), 3, CHARACTER},
    {T("1 2"), 2, CHARACTER},
    {T("{}#"), 2, CHARACTER},
    {T("[]\0"), 2, CHARACTER},
    {T("123\0"), 3, CHARACTER},
    {T("{\"a\":1}{\"b\":2}"), 7, CHARACTER},
    {T("\"\"x"), 2, CHARACTER},
    {T("{\"a\":\"b\"}/**/"), 9, CHARACTER},
    {T("{\"a\":\"b\"}//"), 9, CHARACTER},
    {T("[\"\"],"), 4, CHARACTER},
    {T("2@"), 1, CHARACTER},
    {T("[1]\0\0\0"), 3, CHARACTER},
    /* arrays */
    {T("[1 2]"), 3, CHARACTER},
    {T("[,1]"), 1, CHARACTER},
    {T("[1,,2]"), 3, CHARACTER},
    {T("[1,]"), 3, CHARACTER},
    {T("[\"\",,]"), 4, CHARACTER},
    {T("[,]"), 1, CHARACTER},
    {T("[1}"), 2, CHARACTER},
    {T("]"), 0, CHARACTER},
    {T("[\"a\":1]"), 4, CHARACTER},
    {T("[1:2]"), 2, CHARACTER},
    {T("[a]"), 1, CHARACTER},
    {T("[*]"), 1, CHARACTER},
    {T("[3[4]]"), 2, CHARACTER},
    {T("[\"x\"\"y\"]"), 4, CHARACTER},
    {T("[x"), 1, CHARACTER},
    {T("[][]"), 2, CHARACTER},
    /* objects */
    {T("{\"a\",1}"), 4, CHARACTER},
    {T("{\"a\" 1}"), 5, CHARACTER},
    {T("{a:1}"), 1, CHARACTER},
    {T("{'a':1}"), 1, CHARACTER},
    {T("{\"a\":1,}"), 7, CHARACTER},
    {T("{,\"a\":1}"), 1, CHARACTER},
    {T("{1:1}"), 1, CHARACTER},
    {T("{\"a\":1 \"b\":2}"), 7, CHARACTER},
    {T("{\"a\":1,,\"b\":2}"), 7, CHARACTER},
    {T("{\"a\"::1}"), 5, CHARACTER},
    {T("{null:null}"), 1, CHARACTER},
    {T("{[:1}"), 1, CHARACTER},
    {T("{\"a\":1]"), 6, CHARACTER},
    {T("{\"a\":}"), 5, CHARACTER},
    {T("{\"a\"}"), 4, CHARACTER},
    {T("}"), 0, CHARACTER},
    {T("{\"a\":\"a\" 123}"), 9, CHARACTER},
    {T("{key:'value'}"), 1, CHARACTER},
    {T("{\"a\":/*c*/1}"), 5, CHARACTER},
    {T("{:\"b\"}"), 1, CHARACTER},
    /* words */
    {T("[True]"), 1, CHARACTER},
    {T("[nul]"), 1, CHARACTER},
    {T("[truth]"), 1, CHARACTER},
    {T("[fals]"), 1, CHARACTER},
    {T("NaN"), 0, CHARACTER},
    {T("Infinity"), 0, CHARACTER},
    {T("nulll"), 4, CHARACTER},
    {T("truefalse"), 4, CHARACTER},
    {T("undefined"), 0, CHARACTER},
    {T("[NULL]"), 1, CHARACTER},
    /* numbers, most of which cJSON takes */
    {T("01"), 1, CHARACTER},
    {T("-01"), 2, CHARACTER},
    {T("[012]"), 2, CHARACTER},
    {T("[-012]"), 3, CHARACTER},
    {T("[00]"), 2, CHARACTER},
    {T("[0x1]"), 2, CHARACTER},
    {T("+1"), 0, CHARACTER},
    {T("[++1]"), 1, CHARACTER},
    {T("-"), 1, NUMBER},
    {T("[-]"), 2, NUMBER},
    {T("[--1]"), 2, NUMBER},
    {T("[-x]"), 2, NUMBER},
    {T("[-NaN]"), 2, NUMBER},
    {T("[-Infinity]"), 2, NUMBER},
    {T("2."), 2, NUMBER},
    {T("[2.]"), 3, NUMBER},
    {T("[0.]"), 3, NUMBER},
    {T("[-2.]"), 4, NUMBER},
    {T("[2.e3]"), 3, NUMBER},
    {T("[2.e+3]"), 3, NUMBER},
    {T("[0.e1]"), 3, NUMBER},
    {T(".5"), 0, CHARACTER},
    {T("[.123]"), 1, CHARACTER},
    {T("[-.123]"), 2, NUMBER},
    {T("[.-1]"), 1, CHARACTER},
    {T("[1.2.3]"), 4, CHARACTER},
    {T("1e"), 2, NUMBER},
    {T("[0e]"), 3, NUMBER},
    {T("[0E]"), 3, NUMBER},
    {T("[0e+]"), 4, NUMBER},
    {T("[1eE2]"), 3, NUMBER},
    {T("[0.3e+]"), 6, NUMBER},
    {T("[0.3e]"), 5, NUMBER},
    {T("[1.0e-]"), 6, NUMBER},
    {T("[1 000.0]"), 3, CHARACTER},
    {T("[1+2]"), 2, CHARACTER},
    {T("[1-]"), 2, CHARACTER},
    {T("[1a]"), 2, CHARACTER},
    {T("[1.8011670033376514H-308]"), 19, CHARACTER},
    {T("[1e1.5]"), 4, CHARACTER},
    {T("[\xef\xbc\x91]"), 1, CHARACTER},
    {T("[- 1]"), 2, NUMBER},
    {T("[1_000]"), 2, CHARACTER},
    {T("[0.1.2]"), 4, CHARACTER},
    {T("1\0"), 1, CHARACTER},
    /* blanks that JSON does not have */
    {T("[\f]"), 1, CHARACTER},
    {T("\v1"), 0, CHARACTER},
    {T("[\xe2\x81\xa0]"), 1, CHARACTER},
    {T("\xef\xbb\xbf{}"), 0, CHARACTER},
    {T("[\xc2\xa0]"), 1, CHARACTER},
    {T("\0"), 0, CHARACTER},
    {T("[1,\0 2]"), 3, CHARACTER},
    {T("\x1e{}"), 0, CHARACTER},
    /* strings: control characters, escapes */
    {T("[\"a\nb\"]"), 3, CONTROL},
    {T("[\"\t\"]"), 2, CONTROL},
    {T("[\"a\0b\"]"), 3, CONTROL},
    {T("[\"\x1f\"]"), 2, CONTROL},
    {T("\"0123456789\r\""), 11, CONTROL},
    {T("{\"a\nb\":1}"), 3, CONTROL},
    {T("\"0123456789abc\x01\""), 14, CONTROL},
    {T("[\"\\a\"]"), 2, ESCAPE},
    {T("[\"\\x00\"]"), 2, ESCAPE},
    {T("[\"\\'\"]"), 2, ESCAPE},
    {T("[\"\\0\"]"), 2, ESCAPE},
    {T("[\"\\\n\"]"), 2, ESCAPE},
    {T("[\"\\\xf0\x9f\x8c\x80\"]"), 2, ESCAPE},
    {T("[\"\\U0041\"]"), 2, ESCAPE},
    {T("[\"\\\0\"]"), 2, ESCAPE},
    {T("[\"\\"), 2, ESCAPE},
    {T("[\"\\u"), 2, ESCAPE},
    {T("[\"\\u00\"]"), 2, ESCAPE},
    {T("[\"\\u00A\"]"), 2, ESCAPE},
    {T("[\"\\u00G0\"]"), 2, ESCAPE},
    {T("[\"\\u-123\"]"), 2, ESCAPE},
    {T("[\"\\u 123\"]"), 2, ESCAPE},
    {T("[\"\\u+123\"]"), 2, ESCAPE},
    {T("[\"\\uqqqq\"]"), 2, ESCAPE},
    {T("\"\\u004"), 1, ESCAPE},
    {T("[\"\\\"]"), 5, END},
    {T("[\"\\\\\\\"]"), 7, END},
    /* strings: surrogates */
    {T("[\"\\ud800\"]"), 2, SURROGATE},
    {T("[\"\\udc00\"]"), 2, SURROGATE},
    {T("[\"\\uDd1e\\uD834\"]"), 2, SURROGATE},
    {T("[\"\\ud800abc\"]"), 2, SURROGATE},
    {T("[\"\\ud800\\n\"]"), 2, SURROGATE},
    {T("[\"\\ud800\\ud800\"]"), 2, SURROGATE},
    {T("[\"\\uD800\\u\"]"), 2, SURROGATE},
    {T("[\"\\uD800\\u1\"]"), 2, SURROGATE},
    {T("[\"\\uD800\\u1x\"]"), 2, SURROGATE},
    {T("[\"\\ud800\\u0041\"]"), 2, SURROGATE},
    {T("[\"\\ud800\\uqqqq\"]"), 2, SURROGATE},
    {T("[\"\\ud800\\\\udc00\"]"), 2, SURROGATE},
    /* strings: UTF-8 */
    {T("[\"\xff\"]"), 2, UTF8},
    {T("[\"\x80\"]"), 2, UTF8},
    {T("[\"\xc0\xaf\"]"), 2, UTF8},
    {T("[\"\xc1\xbf\"]"), 2, UTF8},
    {T("[\"\xe0\x80\xaf\"]"), 2, UTF8},
    {T("[\"\xe0\x9f\xbf\"]"), 2, UTF8},
    {T("[\"\xed\xa0\x80\"]"), 2, UTF8},
    {T("[\"\xed\xbf\xbf\"]"), 2, UTF8},
    {T("[\"\xf0\x80\x80\x80\"]"), 2, UTF8},
    {T("[\"\xf0\x8f\xbf\xbf\"]"), 2, UTF8},
    {T("[\"\xf4\x90\x80\x80\"]"), 2, UTF8},
    {T("[\"\xf5\x80\x80\x80\"]"), 2, UTF8},
    {T("[\"\xfc\x83\xbf\xbf\xbf\xbf\"]"), 2, UTF8},
    {T("[\"\xe4\xb8\"]"), 2, UTF8},
    {T("[\"\xc3\"]"), 2, UTF8},
    {T("\"\xf0\x9f\x98"), 1, UTF8},
    {T("\"\xc3"), 1, UTF8},
    {T("[\"\xe4\x41\xad\"]"), 2, UTF8},
    {T("[\"abcdefgh\xe4\xb8\xad\xb8\"]"), 13, UTF8},
    {T("{\"\xff\":1}"), 2, UTF8},
    {T("[\xff]"), 1, CHARACTER},
    {T("\xe5"), 0, CHARACTER},
    {T("[1\xe5]"), 2, CHARACTER},
    {T("[\0\"\0a\0\"\0]\0"), 1, CHARACTER},
    {T("\xfe\xff\0["), 0, CHARACTER},
    {T("[1e1\xe5]"), 4, CHARACTER},
    /* names */
    {T("{\"\\u0000\":1}"), 2, "U+0000 in a name"},
    {T("{\"good\\u0000evil\":1}"), 6, "U+0000 in a name"},
    {T("{\"a\":1,\"a\":2}"), 8, TWICE},
    {T("{\"a\":1,\"a\":1}"), 8, TWICE},
    {T("{\"\":1,\"\":1}"), 7, TWICE},
    {T("{\"a\":1,\"\\u0061\":2}"), 8, TWICE},
    {T("{\"\\u0061\":1,\"a\":2}"), 13, TWICE},
    {T("{\"b\":{\"a\":1,\"c\":[],\"a\":2}}"), 20, TWICE},
    {T("{\"a\":{\"a\":1},\"a\":2}"), 14, TWICE},
    {T("{\"\\u20ac\":1,\"\xe2\x82\xac\":2}"), 13, TWICE},
    {T("{\"\\/\":1,\"/\":2}"), 9, TWICE},
    {T("{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}"), 19, TWICE},
    {T("[{\"model\":1,\"messages\":2,\"model\":3}]"), 26, TWICE},
    {T("{\"prompt_tokens_details\":1,\"prompt_tokens_details\":2}"), 28, TWICE},
    {T("{\"a name that is longer than thirty-two bytes\":1,\"b\":2,\"a name that is longer than thirty-two bytes\":1}"),
     56, TWICE},
    /* looks like JSON */
    {T("<!-- -->"), 0, CHARACTER},
    {T("['a']"), 1, CHARACTER},
    {T("[\xe2\x80\x9cx\xe2\x80\x9d]"), 1, CHARACTER},
    {T("[1,//c\n2]"), 3, CHARACTER},
    {T("#[]"), 0, CHARACTER},
    {T("data: {}"), 0, CHARACTER},
    {T("\\u0041"), 0, CHARACTER},
    {T("[\\u0020\"asd\"]"), 1, CHARACTER},
};

START_TEST(accepts)
{
    for (size_t i = 0; i < ARRAY_LEN(must_accept); i++) {
        struct json_error error = {0};

        ck_assert_msg(json_check(must_accept[i], &error) == 0, "'%.*s': %s at %zu",
                      STR_ARG(must_accept[i]), error.text, error.offset);
    }
}
END_TEST

START_TEST(refuses)
{
    for (size_t i = 0; i < ARRAY_LEN(must_refuse); i++) {
        const struct refusal *t = &must_refuse[i];
        struct json_error error = {0};

        /* a copy of its own size, so that the sanitizer sees one byte too far */
        char *copy = malloc(t->text.len ? t->text.len : 1);

        ck_assert_ptr_nonnull(copy);
        memcpy(copy, t->text.ptr, t->text.len);

        int r = json_check((struct str) {copy, t->text.len}, &error);

        free(copy);
        ck_assert_msg(r == -EBADMSG, "'%.*s' is %d", STR_ARG(t->text), r);
        ck_assert_msg(strcmp(error.text, t->why) == 0 && error.offset == t->offset,
                      "'%.*s': %s at %zu, not %s at %zu", STR_ARG(t->text), error.text,
                      error.offset, t->why, t->offset);
        ck_assert_int_eq(json_check(t->text, NULL), -EBADMSG);
    }
    ck_assert_int_eq(json_check(STR_NONE, NULL), -EBADMSG);
}
END_TEST

/* n times open, then n times close. */
static void nested(struct buf *out, const char *open, const char *close, unsigned n)
{
    buf_clear(out);
    int r = 0;

    for (unsigned i = 0; i < n && r == 0; i++) {
        r = buf_append_z(out, open);
    }
    for (unsigned i = 0; i < n && r == 0; i++) {
        r = buf_append_z(out, close);
    }
    ck_assert_int_eq(r, 0);
}

START_TEST(depth_has_a_limit)
{
    static const char *const pairs[][2] = {{"[", "]"}, {"{\"a\":[", "]}"}, {"[{\"a\":", "0}]"}};
    struct json_error error;
    struct buf text;

    buf_init(&text, 4 * 1024 * 1024);
    nested(&text, pairs[0][0], pairs[0][1], JSON_MAX_DEPTH);
    ck_assert_int_eq(json_check(buf_str(&text), &error), 0);
    nested(&text, pairs[0][0], pairs[0][1], JSON_MAX_DEPTH + 1);
    ck_assert_int_eq(json_check(buf_str(&text), &error), -EBADMSG);
    ck_assert_str_eq(error.text, "nested too deeply");
    ck_assert_uint_eq(error.offset, JSON_MAX_DEPTH);
    nested(&text, pairs[1][0], pairs[1][1], JSON_MAX_DEPTH / 2);
    ck_assert_int_eq(json_check(buf_str(&text), &error), 0);
    nested(&text, pairs[2][0], "", 100000);
    ck_assert_int_eq(json_check(buf_str(&text), &error), -EBADMSG);
    ck_assert_str_eq(error.text, "nested too deeply");
    buf_done(&text);
}
END_TEST

/*
 * {"<prefix>0000000":0, ...} with n different names; then again name number `twice` when that is
 * below n. (One assertion for all: each costs as much as a thousand names.)
 */
static void many_names(struct buf *out, const char *prefix, unsigned n, unsigned twice)
{
    int r;

    buf_clear(out);
    r = buf_append_z(out, "{");
    for (unsigned i = 0; i < n && r == 0; i++) {
        r = buf_printf(out, "\"%s%07u\":%u,", prefix, i, i % 10);
    }
    r = r < 0 ? r : buf_printf(out, "\"%s%07u\":0}", prefix, twice);
    ck_assert_int_eq(r, 0);
}

START_TEST(duplicates_among_many)
{
    static const char *const prefixes[] = {"", "n", "a prefix of many names of this one object ",
                                           "\\u0061", "\\ud83d\\ude00\\n"};
    static const unsigned sizes[] = {1, 2, 23, 24, 25, 95, 96, 97, 1000, 20000};
    struct json_error error;
    struct buf text;

    buf_init(&text, 8 * 1024 * 1024);
    for (size_t p = 0; p < ARRAY_LEN(prefixes); p++) {
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            unsigned n = sizes[i];

            many_names(&text, prefixes[p], n, n);
            ck_assert_int_eq(json_check(buf_str(&text), &error), 0);
            for (unsigned at = 0; at < n; at += n / 3 + 1) {
                many_names(&text, prefixes[p], n, at);
                ck_assert_int_eq(json_check(buf_str(&text), &error), -EBADMSG);
                ck_assert_str_eq(error.text, "duplicate name");
                /* the later one is the last of all */
                ck_assert_uint_eq(error.offset, text.len - 11 - strlen(prefixes[p]));
            }
        }
    }
    buf_done(&text);
}
END_TEST

START_TEST(escaped_twin_among_many)
{
    struct json_error error;
    struct buf text;

    buf_init(&text, 1024 * 1024);
    many_names(&text, "x", 1000, 1000);
    text.len--; /* the brace */
    ck_assert_int_eq(buf_append_z(&text, ",\"\\u0078000500\\u0030\":1}"), 0);
    ck_assert_int_eq(json_check(buf_str(&text), &error), 0);
    text.len -= strlen("\"\\u0078000500\\u0030\":1}");
    ck_assert_int_eq(buf_append_z(&text, "\"\\u0078000\\u00305\\u00300\":1}"), 0);
    ck_assert_int_eq(json_check(buf_str(&text), &error), -EBADMSG);
    ck_assert_str_eq(error.text, "duplicate name");
    buf_done(&text);
}
END_TEST

/* Names of an object that is still open are not mixed up with those of the objects inside it. */
START_TEST(names_of_nested_objects)
{
    struct json_error error;
    struct buf text;

    buf_init(&text, 1024 * 1024);
    for (unsigned i = 0; i < 60; i++) {
        ck_assert_int_eq(buf_append_z(&text, "{\"a\":1,\"b\":[{\"a\":2},{\"b\":3}],\"c\":"), 0);
    }
    ck_assert_int_eq(buf_append_z(&text, "0"), 0);
    for (unsigned i = 0; i < 60; i++) {
        ck_assert_int_eq(buf_append_z(&text, ",\"d\":{\"c\":1}}"), 0);
    }
    ck_assert_int_eq(json_check(buf_str(&text), &error), 0);
    text.len--;
    ck_assert_int_eq(buf_append_z(&text, ",\"b\":1}"), 0);
    ck_assert_int_eq(json_check(buf_str(&text), &error), -EBADMSG);
    ck_assert_str_eq(error.text, "duplicate name");
    buf_done(&text);
}
END_TEST

START_TEST(names_have_a_limit)
{
    struct json_error error;
    struct buf text;

    buf_init(&text, 8 * 1024 * 1024);
    many_names(&text, "", 65535, 65535);
    ck_assert_int_eq(json_check(buf_str(&text), &error), 0);
    many_names(&text, "", 65536, 65536);
    ck_assert_int_eq(json_check(buf_str(&text), &error), -EBADMSG);
    ck_assert_str_eq(error.text, "too many names");
    buf_done(&text);
}
END_TEST

/* Any text cut short is an error, never a read behind its end. */
START_TEST(every_prefix_is_refused)
{
    static const char whole[] =
        "{\"id\":\"c-1\",\"n\":-12.5e+3,\"l\":[true,false,null,{\"\\ud83d\\ude00\":\"\xf0\x9f\x98\x80\\n\"}]}";
    struct json_error error;

    ck_assert_int_eq(json_check(str_from(whole), &error), 0);
    for (size_t n = 0; n < sizeof whole - 1; n++) {
        char *cut = malloc(n + 1);

        ck_assert_ptr_nonnull(cut);
        memcpy(cut, whole, n);
        cut = realloc(cut, n > 0 ? n : 1);
        ck_assert_int_eq(json_check((struct str) {cut, n}, &error), -EBADMSG);
        ck_assert_uint_le(error.offset, n);
        free(cut);
    }
}
END_TEST

static struct buf g_many;

static void check_many(void)
{
    struct json_error error = {0};
    int r = json_check(buf_str(&g_many), &error);

    ck_assert_int_eq(r, allocation_failed() ? -ENOMEM : 0);
    ck_assert(r == 0 || strcmp(error.text, "out of memory") == 0);
}

START_TEST(allocation_failures)
{
    buf_init(&g_many, 1024 * 1024);
    many_names(&g_many, "m", 5000, 5000);
    for_each_failed_allocation(check_many);
    buf_done(&g_many);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, accepts);
    tcase_add_test(tc, refuses);
    tcase_add_test(tc, depth_has_a_limit);
    tcase_add_test(tc, duplicates_among_many);
    tcase_add_test(tc, escaped_twin_among_many);
    tcase_add_test(tc, names_of_nested_objects);
    tcase_add_test(tc, names_have_a_limit);
    tcase_add_test(tc, every_prefix_is_refused);
    tcase_add_test(tc, allocation_failures);
}

TEST_MAIN("json_check", add_tests)
