/*
 * See router_tags.h. A tag of a call is a sign ('!', '&' or none) and what it is about; a deployment's
 * tags are plain text. Owns nothing, never allocates: a wish has few tags, and they are compared one
 * by one.
 */
#include "core/router_tags.h"

static bool carries(const struct deployment *d, struct str tag)
{
    for (size_t i = 0; i < d->terms->n_tags; i++) {
        if (str_is(tag, d->terms->tags[i])) {
            return true;
        }
    }
    return false;
}

/* '!' or '&' with the tag behind it; 0 with the plain tag. A lone sign is no tag: absent. */
static char split_sign(struct str tag, struct str *ret_tag)
{
    char sign = tag.len > 0 && (tag.ptr[0] == '!' || tag.ptr[0] == '&') ? tag.ptr[0] : '\0';

    *ret_tag = sign ? (struct str) {tag.ptr + 1, tag.len - 1} : tag;
    *ret_tag = ret_tag->len > 0 ? *ret_tag : STR_NONE;
    return sign;
}

static bool is_known(const struct model_group *g, struct str tag)
{
    for (size_t i = 0; i < g->n_deployments; i++) {
        if (carries(g->deployments[i], tag)) {
            return true;
        }
    }
    return false;
}

enum tag_rule router_tag_rule(const struct router *r, const struct model_group *g,
                              const struct router_wish *wish)
{
    bool has_plain = false, has_known = false, has_required = false;

    if (!r->policy.has_tag_filter || g->is_single) {
        return TAGS_IGNORED;
    }
    for (size_t i = 0; i < wish->n_tags; i++) {
        struct str tag;
        char sign = split_sign(wish->tags[i], &tag);

        if (sign == '\0' && tag.ptr) {
            has_plain = true;
            has_known |= is_known(g, tag);
        }
        has_required |= sign == '&' && tag.ptr;
    }
    if (has_plain && (has_known || !g->has_default)) {
        return TAGS_MATCH;
    }
    return has_required && !has_plain ? TAGS_REQUIRE : TAGS_DEFAULT;
}

/* Of signs it has none that speaks against it, of plain tags one in common, or all. */
bool router_tags_allow(const struct router *r, const struct model_group *g, enum tag_rule rule,
                       const struct deployment *d, const struct router_wish *wish)
{
    size_t n_plain = 0, n_common = 0;

    if (rule == TAGS_IGNORED) {
        return true;
    }
    for (size_t i = 0; i < wish->n_tags; i++) {
        struct str tag;
        char sign = split_sign(wish->tags[i], &tag);
        bool has = tag.ptr && carries(d, tag);

        if (tag.ptr && ((sign == '!' && has) || (sign == '&' && !has))) {
            return false;
        }
        n_plain += sign == '\0' && tag.ptr;
        n_common += sign == '\0' && has;
    }
    switch (rule) {
    case TAGS_MATCH:
        return r->policy.tags_match_any ? n_common > 0 : n_common == n_plain;
    case TAGS_DEFAULT:
        return !g->has_default || carries(d, STR_LIT(ROUTER_DEFAULT_TAG));
    case TAGS_REQUIRE:
    case TAGS_IGNORED:
        break;
    }
    return true;
}
