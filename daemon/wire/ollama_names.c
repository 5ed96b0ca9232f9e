/* See ollama_names.h. Owns nothing, allocates nothing. */
#include "wire/ollama_names.h"

#include <string.h>
#include <strings.h>

#include "wire/problem.h"

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

bool ollama_name_is_same(struct str a, struct str b)
{
    a = without_prefix(without_prefix(a, "registry.ollama.ai/"), "library/");
    b = without_prefix(without_prefix(b, "registry.ollama.ai/"), "library/");
    if (a.len == 0 || b.len == 0) {
        return false;
    }

    struct str tag_a = split_tag(&a), tag_b = split_tag(&b);

    return is_equal_nocase(a, b) && is_equal_nocase(tag_a, tag_b);
}

bool ollama_name_is_cloud(struct str name)
{
    struct str tag = split_tag(&name);

    return str_is_nocase(tag, "cloud") ||
           (tag.len > 6 && strncasecmp(tag.ptr + tag.len - 6, "-cloud", 6) == 0);
}

void ollama_refuse_cloud(struct problem *ret_problem)
{
    *ret_problem = (struct problem) {
        .code = ERRCODE_FORBIDDEN,
        .param = "model",
        .text = "Ollama would forward this model's prompts to ollama.com; that is not done here",
    };
}
