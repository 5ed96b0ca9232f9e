/*
 * See config_headers.h.
 *
 * A header is written as the file has it, so it must be one: a name is a token and a value has no
 * line break (RFC 9110, sections 5.1 and 5.5), or one entry could smuggle in another, or a second
 * request. What frames a message or describes its body is sluice's own to say.
 *
 * Certificates are always verified. Whoever has an authority of his own names its file.
 *
 * Values may be keys: no message repeats one.
 */
#include "config/config_headers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "config/config_value.h"

#define MAX_NAME_BYTES  128
#define MAX_VALUE_BYTES 4096       /* as a key; servers take heads of 8 to 16 KiB */
#define MAX_BYTES       (8 * 1024) /* of all of a deployment */

/* RFC 9110 section 5.6.2: tchar */
static bool is_token(const char *name)
{
    const char *p = name;

    for (; *p; p++) {
        bool is_letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z');

        if (!is_letter && !(*p >= '0' && *p <= '9') && !strchr("!#$%&'*+-.^_`|~", *p)) {
            return false;
        }
    }
    return p > name && p - name <= MAX_NAME_BYTES;
}

/* RFC 9110 section 5.5: visible characters, blanks between them, nothing beyond ASCII */
static bool is_field_value(const char *value)
{
    size_t n = strlen(value);

    for (size_t i = 0; i < n; i++) {
        if ((value[i] < ' ' && value[i] != '\t') || value[i] >= 0x7f) {
            return false;
        }
    }
    return n <= MAX_VALUE_BYTES && (n == 0 || (value[0] > ' ' && value[n - 1] > ' '));
}

static bool is_ours(const char *name)
{
    static const char *const ours[] = {
        "host",       "content-length",  "transfer-encoding",
        "connection", "keep-alive",      "te",
        "trailer",    "upgrade",         "proxy-connection",
        "expect",     "accept-encoding", "content-type",
    };

    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (strcasecmp(name, ours[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The name as it is kept already, whatever its case; else as given. */
static const char *kept_name(const struct kv *headers, const char *name)
{
    for (size_t i = 0; i < headers->n_items; i++) {
        if (strcasecmp(headers->items[i].name, name) == 0) {
            return headers->items[i].name;
        }
    }
    return name;
}

static void keep(struct config_entry *e, const struct config_node *at, const char *name,
                 const char *value, bool wins)
{
    struct kv *headers = &e->deployment->headers;
    const char *kept = kept_name(headers, name);
    size_t n_bytes = strlen(name) + strlen(value);
    int r;

    if (!wins && kv_find(headers, kept)) {
        return;
    }
    for (size_t i = 0; i < headers->n_items; i++) {
        n_bytes += strlen(headers->items[i].name) + strlen(headers->items[i].value) + 4;
    }
    if (n_bytes > MAX_BYTES) {
        config_deployment_off(e, at, "more than %d bytes of headers", MAX_BYTES);
        return;
    }
    r = kv_set(headers, str_from(kept), str_from(value));
    if (r == -ENOBUFS) {
        config_deployment_off(e, at, "more than %d headers", KV_MAX);
    } else if (r < 0) {
        e->reader->is_out_of_memory = true;
    }
}

static void read_header(struct config_entry *e, const struct config_node *header, bool wins)
{
    if (header->kind == NODE_NULL || header->is_unresolved) {
        return; /* no value, or reported */
    }
    if (!is_token(header->key)) {
        config_deployment_off_at_key(e, header, "not the name of a header");
    } else if (is_ours(header->key)) {
        config_deployment_off_at_key(e, header, "sluice writes this header itself");
    } else if (header->kind == NODE_MAP || header->kind == NODE_LIST) {
        config_deployment_off(e, header, "expected a string, found %s",
                              config_node_kind_name(header->kind));
    } else if (!is_field_value(header->text)) {
        config_deployment_off(e, header,
                              "a header's value is at most %d ASCII characters without a line "
                              "break",
                              MAX_VALUE_BYTES);
    } else {
        keep(e, header, header->key, header->text, wins);
    }
}

void config_headers_read(struct config_entry *e, const struct config_node *map)
{
    if (map->kind != NODE_MAP) {
        config_deployment_off(e, map, "expected a map, found %s", config_node_kind_name(map->kind));
        return;
    }
    config_node_for_each(header, map)
    {
        /* litellm/main.py: headers, updated by extra_headers */
        read_header(e, header, strcmp(map->key, "extra_headers") == 0);
    }
}

/* Of a list the one that this deployment is for; NULL: none. */
static const struct config_node *choose_organization(const struct config_entry *e,
                                                     const struct config_node *at)
{
    size_t i = 0;

    if (at->kind != NODE_LIST) {
        return at;
    }
    config_node_for_each(item, at)
    {
        if (i++ == e->i_organization) {
            return item;
        }
    }
    return NULL;
}

void config_headers_read_organization(struct config_entry *e, const struct config_node *at)
{
    const struct config_node *name = choose_organization(e, at);

    if (e->provider && strcmp(e->provider->provider, "openai") != 0) {
        config_reader_note(e->reader, at, FINDING_IGNORED, "only servers of the OpenAI API ask");
    } else if (!name) {
        config_deployment_off(e, at, "the list is empty");
    } else if (name->kind != NODE_STRING || !is_field_value(name->text)) {
        config_deployment_off(e, name, "expected a string of ASCII characters, found %s",
                              config_node_kind_name(name->kind));
    } else {
        keep(e, name, "OpenAI-Organization", name->text, false);
    }
}

/* ---------------------------------------------------------------- TLS */

static bool has_tls(const struct config_entry *e)
{
    const char *base = e->deployment->api_base;

    return base && strncmp(base, "https://", 8) == 0;
}

static void read_ca_path(struct config_entry *e, const struct config_node *at)
{
    if (at->text[0] != '/') {
        config_deployment_off(e, at, "expected true, or the absolute path of a file");
    } else if (access(at->text, R_OK) < 0) {
        config_deployment_off(e, at, "the file cannot be read: %s", strerror(errno));
    } else {
        e->deployment->ca_file = config_reader_dup(e->reader, at->text);
    }
}

void config_headers_read_ca(struct config_entry *e, const struct config_node *at)
{
    bool is_verified = true;
    char why[CONFIG_WHY_MAX];

    if (at->is_unresolved) {
        return; /* reported, and off */
    }
    if (config_value_flag(at, &is_verified, why)) {
        if (!is_verified && has_tls(e)) {
            config_reader_note(
                e->reader, at, FINDING_UNSUPPORTED,
                "certificates are always verified: ssl_verify: /PATH/OF/CA.pem names "
                "an authority of one's own");
        } else if (!is_verified) {
            config_reader_note(e->reader, at, FINDING_IGNORED, "there is no TLS to http://");
        }
    } else if (at->kind == NODE_STRING) {
        read_ca_path(e, at);
    } else {
        config_deployment_off(e, at, "expected true, or the path of a file, found %s",
                              config_node_kind_name(at->kind));
    }
}
