/*
 * See config_upstreams.h.
 *
 * A server is named as model_list names it, so that one slip of the pen does not lead to a setting
 * without effect: an api_base that no deployment has is an error, as is a unit for a server that is
 * not on this machine, which no service manager here could restart.
 */
#include "config/config_upstreams.h"

#include <stdlib.h>
#include <string.h>

#define UNIT_NAME_MAX 255 /* systemd.unit(5) */
#define UNIT_SUFFIX   ".service"

/*
 * systemd.unit(5): one or more of ASCII letters, digits, ":", "-", "_", ".", "\", an @ before an
 * instance, and a suffix; 255 characters at most. Only services are restarted, and no template.
 */
static bool is_service(const char *name)
{
    static const char valid[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                ":-_.\\@";
    size_t len = strlen(name), n_suffix = strlen(UNIT_SUFFIX);
    const char *at = strchr(name, '@');

    return len > n_suffix && len <= UNIT_NAME_MAX && strspn(name, valid) == len &&
           strcmp(name + len - n_suffix, UNIT_SUFFIX) == 0 && at != name &&
           !(at && at + 1 == name + len - n_suffix);
}

static bool ends_host(char c)
{
    return c == '\0' || c == ':' || c == '/';
}

/* Does it lead to this machine for certain? A name that only the resolver knows does not. */
static bool is_here(const char *api_base)
{
    static const char *const names[] = {"localhost", "[::1]"};
    const char *host = strstr(api_base, "://");

    if (!host) {
        return strncmp(api_base, "unix:", 5) == 0;
    }
    host += 3;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t n = strlen(names[i]);

        if (strncmp(host, names[i], n) == 0 && ends_host(host[n])) {
            return true;
        }
    }
    return strncmp(host, "127.", 4) == 0 && ends_host(host[strspn(host, "0123456789.")]);
}

static void read_unit(struct config_reader *r, const struct config_node *at)
{
    if (config_reader_is_off(at)) {
        return;
    }
    if (at->kind != NODE_STRING || at->is_unresolved) {
        config_reader_error(r, at, true, "expected the name of a unit, found %s",
                            config_node_kind_name(at->kind));
    } else if (!is_service(at->text)) {
        config_reader_error(
            r, at, true,
            "\"%.64s\" is no name of a service: write it as systemctl shows it, such "
            "as ollama.service",
            at->text);
    } else if (!is_here(at->parent->key)) {
        config_reader_error(r, at, true,
                            "only a server on this machine can be restarted: its api_base begins "
                            "with http://127.0.0.1, http://[::1], http://localhost or unix:");
    }
}

static void read_server(struct config_reader *r, const struct config_node *server)
{
    if (config_reader_is_unset(server)) {
        return;
    }
    if (server->kind != NODE_MAP) {
        config_reader_error(r, server, true, "expected a map, found %s",
                            config_node_kind_name(server->kind));
        return;
    }
    config_node_for_each(key, server)
    {
        if (strcmp(key->key, "restart_unit") == 0) {
            config_reader_note(r, key, FINDING_EXACT, "%s", "");
            read_unit(r, key);
        } else {
            config_reader_error_at_key(r, key, true,
                                       config_keys_are_near(key->key, "restart_unit")
                                           ? "unknown key; did you mean restart_unit?"
                                           : "unknown key");
        }
    }
}

void config_upstreams_read(struct config_reader *r, const struct config_node *map)
{
    if (config_reader_is_unset(map)) {
        return;
    }
    if (map->kind != NODE_MAP) {
        config_reader_error(r, map, true, "expected a map of api_base to settings, found %s",
                            config_node_kind_name(map->kind));
        return;
    }
    config_node_for_each(server, map)
    {
        read_server(r, server);
    }
}

/* ---------------------------------------------------------------- which deployments */

/* The same server? One slash at the end more or less makes none. */
static bool is_same_base(const char *a, const char *b)
{
    size_t n_a = strlen(a), n_b = strlen(b);

    n_a -= n_a > 0 && a[n_a - 1] == '/';
    n_b -= n_b > 0 && b[n_b - 1] == '/';
    return n_a == n_b && memcmp(a, b, n_a) == 0;
}

static void give(struct config_reader *r, const struct config_node *server)
{
    const struct config_node *unit = config_node_find(server, "restart_unit");
    bool is_known = false;

    for (size_t i = 0; i < r->config->n_deployments; i++) {
        struct config_deployment *d = &r->config->deployments[i];

        if (!d->api_base || !is_same_base(d->api_base, server->key)) {
            continue;
        }
        is_known = true;
        if (unit && unit->kind == NODE_STRING && !d->restart_unit) {
            d->restart_unit = config_reader_dup(r, unit->text);
        }
    }
    if (!is_known) {
        config_reader_error_at_key(r, server, true,
                                   "no deployment of model_list has this api_base");
    }
}

void config_upstreams_finish(struct config_reader *r)
{
    const struct config_node *map =
        config_node_find(config_node_find(r->root, "sluice"), "upstreams");

    if (!map || map->kind != NODE_MAP) {
        return;
    }
    config_node_for_each(server, map)
    {
        give(r, server);
    }
}
