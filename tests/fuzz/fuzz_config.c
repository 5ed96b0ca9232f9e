/*
 * Any bytes as a configuration file. Whatever comes out must be whole: strings that others rely on
 * are there, options are JSON, ids are distinct, a configuration that is not refused keeps its
 * limits, and findings are printable.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "core/gcra.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_names(const struct config_names *names)
{
    assert(names->n_items <= CONFIG_MAX_NAMES);
    for (size_t i = 0; i < names->n_items; i++) {
        assert(names->items[i][0]);
    }
}

static void check_deployment(const struct config *c, size_t i)
{
    const struct config_deployment *d = &c->deployments[i];
    struct json_error ignored;

    assert(d->model_name && d->provider && d->model && d->id);
    assert(strlen(d->id) < 64 && d->id[0]);
    assert(d->slots >= 1 && d->connect_usec > 0 && d->first_byte_usec > 0 && d->gap_usec > 0);
    assert(d->off_reason || strcmp(d->provider, "mock") == 0 || d->api_base);
    for (size_t k = 0; k < i; k++) {
        assert(strcmp(c->deployments[k].id, d->id) != 0);
    }
    for (size_t k = 0; k < d->options.n_items; k++) {
        assert(json_check(str_from(d->options.items[k].value), &ignored) == 0);
    }
    for (size_t k = 0; k < d->body.n_items; k++) {
        assert(json_check(str_from(d->body.items[k].value), &ignored) == 0);
    }
    for (size_t k = 0; k < d->headers.n_items; k++) {
        assert(!strpbrk(d->headers.items[k].name, " :\r\n"));
        assert(!strpbrk(d->headers.items[k].value, "\r\n"));
    }
    assert(!d->info || json_check(str_from(d->info), &ignored) == 0);
    assert(d->off_reason || d->litellm_model);
    assert(d->weight >= 0 && d->max_retries >= FAIL_POLICY_UNSET);
    check_names(&d->tags);
    check_names(&d->dropped_params);
}

static void check_routing(const struct config_routing *r)
{
    for (int kind = 0; kind < _FALLBACK_MAX; kind++) {
        assert(r->n_fallbacks[kind] <= CONFIG_MAX_FALLBACKS);
        for (size_t i = 0; i < r->n_fallbacks[kind]; i++) {
            assert(r->fallbacks[kind][i].group);
            check_names(&r->fallbacks[kind][i].targets);
        }
    }
    assert(r->n_aliases <= CONFIG_MAX_ALIASES);
    for (size_t i = 0; i < r->n_aliases; i++) {
        assert(r->aliases[i].name[0] && r->aliases[i].group[0]);
        assert(strcmp(r->aliases[i].name, r->aliases[i].group) != 0);
    }
    assert(r->n_group_policies <= CONFIG_MAX_FALLBACKS && r->max_fallbacks <= CONFIG_MAX_NAMES);
    check_names(&r->default_fallbacks);
}

/* Of a configuration that is not refused. */
static void check_keys(const struct config *c)
{
    assert(c->n_keys <= CONFIG_MAX_KEYS);
    for (size_t i = 0; i < c->n_keys; i++) {
        const struct config_access_key *k = &c->keys[i];

        assert(k->id && k->id[0] && strlen(k->id) <= REQUEST_KEY_ID_MAX);
        assert(k->class < _CLASS_MAX && k->weight >= 1);
        assert(k->rpm <= GCRA_MAX && k->tpm <= GCRA_MAX);
        check_names(&k->models);
        for (size_t n = 0; n < i; n++) {
            assert(strcmp(c->keys[n].id, k->id) != 0);
            assert(memcmp(c->keys[n].sha256, k->sha256, CONFIG_SHA256_BYTES) != 0);
        }
    }
}

static void check_findings(const struct config *c)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);

    assert(out);
    config_print_findings(c, "f", true, out);
    (void) fclose(out);
    for (size_t i = 0; i < n; i++) {
        assert((unsigned char) text[i] >= ' ' || text[i] == '\n');
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *c = NULL;
    int r = config_parse((struct str) {(const char *) data, size}, &c);

    assert(r == 0 || r == -EBADMSG);
    assert(c && config_is_fatal(c) == (r < 0));
    for (size_t i = 0; i < c->n_deployments; i++) {
        check_deployment(c, i);
    }
    check_routing(&c->routing);
    assert(r < 0 || c->max_buffered_bytes >= c->max_body_bytes);
    if (r == 0) {
        check_keys(c);
    }
    check_findings(c);
    config_free(c);
    return 0;
}
