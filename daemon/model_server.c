/*
 * See model_server.h.
 *
 * Must not: be costly where nothing is to be found: /proc is searched by a daemon that works, at
 * most every 15 s at first and every 5 min in the end.
 */
#include "model_server.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/own_host.h"
#include "kernel/kernel_find.h"

#define FIRST_WAIT_USEC (15 * USEC_PER_SEC)
#define LAST_WAIT_USEC  (5 * 60 * USEC_PER_SEC)
#define OLLAMA_UNIT     "ollama.service"

/* The port of "http://127.0.0.1:11434/v1"; 0: not of this machine, or nothing that listens on TCP. */
static unsigned own_port(const char *api_base)
{
    const char *host = strstr(api_base, "://"), *at;
    struct str rest, number;
    uint64_t port;
    size_t n;

    if (!host || strncmp(api_base, "http", 4) != 0) {
        return 0;
    }
    rest = str_from(host + 3);
    rest.len = strcspn(rest.ptr, "/?#");
    n = rest.len > 0 && rest.ptr[0] == '[' ? strcspn(rest.ptr, "]") : strcspn(rest.ptr, ":/?#");
    at = n < rest.len ? memchr(rest.ptr + n, ':', rest.len - n) : NULL;
    if (!own_host_is((struct str) {rest.ptr, at ? (size_t) (at - rest.ptr) : rest.len})) {
        return 0;
    }
    if (!at) {
        return strncmp(api_base, "https", 5) == 0 ? 443 : 80;
    }
    number = (struct str) {at + 1, rest.len - (size_t) (at + 1 - rest.ptr)};
    return num_parse_u64(number, &port) == 0 && port < 65536 ? (unsigned) port : 0;
}

void model_server_add(struct model_server_spec *spec, const char *api_base, bool is_ollama)
{
    unsigned port = api_base ? own_port(api_base) : 0;

    if (port == 0) {
        return;
    }
    spec->has_ollama = spec->has_ollama || is_ollama;
    for (size_t i = 0; i < spec->n_ports; i++) {
        if (spec->ports[i] == port) {
            return;
        }
    }
    if (spec->n_ports < MODEL_SERVER_MAX_PORTS) {
        spec->ports[spec->n_ports++] = port;
    }
}

void model_server_init(struct model_server *m, struct memory_reader *reader, const char *root)
{
    *m = (struct model_server) {.reader = reader, .root = root, .wait_usec = FIRST_WAIT_USEC};
}

static int find_by_port(const struct model_server *m, struct kernel_group_paths *ret)
{
    int r = -ENOENT;

    for (size_t i = 0; i < m->spec.n_ports && r < 0; i++) {
        unsigned pid;

        r = kernel_find_listener(m->root, m->spec.ports[i], &pid);
        if (r == 0) {
            r = kernel_find_process(m->root, pid, ret);
        }
    }
    if (r < 0 && m->spec.has_ollama) {
        r = kernel_find_unit(m->root, OLLAMA_UNIT, ret);
    }
    return r;
}

static int find(const struct model_server *m, struct kernel_group_paths *ret)
{
    const char *group = m->spec.group;

    return strcmp(group, "auto") == 0 ? find_by_port(m, ret)
           : group[0] == '/'          ? kernel_find_path(group, ret)
                                      : kernel_find_unit(m->root, group, ret);
}

void model_server_look(struct model_server *m, uint64_t now_usec)
{
    struct kernel_group_paths paths;
    bool is_auto = strcmp(m->spec.group, "auto") == 0;
    int r;

    if (m->reader->has_group || now_usec < m->next_look_usec || !m->spec.group[0] ||
        strcmp(m->spec.group, "none") == 0 || (is_auto && m->spec.n_ports == 0)) {
        return;
    }
    r = find(m, &paths);
    if (r == 0) {
        r = memory_reader_set_group(m->reader, &paths);
    }
    m->next_look_usec = usec_add(now_usec, m->wait_usec);
    m->wait_usec = m->wait_usec * 2 < LAST_WAIT_USEC ? m->wait_usec * 2 : LAST_WAIT_USEC;
    if (r == 0) {
        m->wait_usec = FIRST_WAIT_USEC;
        m->has_said = false;
        log_printf(LOG_LEVEL_INFO, "the model server's control group is %s",
                   paths.v2[0] ? paths.v2 : paths.v1);
    } else if (!m->has_said) {
        m->has_said = true;
        log_printf(is_auto ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING,
                   "the model server's control group is not found (%s, %s): only the memory of the "
                   "machine is watched; sluice.pressure.group can name it",
                   m->spec.group, strerror(-r));
    }
}

void model_server_set(struct model_server *m, const struct model_server_spec *spec,
                      uint64_t now_usec)
{
    if (memcmp(&m->spec, spec, sizeof m->spec) == 0) {
        return;
    }
    m->spec = *spec;
    m->next_look_usec = 0;
    m->wait_usec = FIRST_WAIT_USEC;
    m->has_said = false;
    memory_reader_forget_group(m->reader);
    model_server_look(m, now_usec);
}
