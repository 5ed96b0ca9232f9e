/*
 * A configuration as an object: defaults, findings, addresses, release. What the keys mean is read
 * elsewhere (config_sections.c and on).
 *
 * The defaults are those of the design and of its overload rules, and config/sluice.yaml shows each
 * of them; a unit test compares the two. Findings are the only place where text of the file reaches
 * a terminal or a log, so control characters are taken out here, once, for all of them, and no
 * caller passes the value of a key that may hold a secret.
 *
 * Keys are overwritten before their memory is given back: master_key, api_key, and the options,
 * which may carry one under a name that we do not know. The file's own text is overwritten by
 * config_load() and the nodes by config_parse().
 */
#include "config/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fdio.h"
#include "base/num.h"
#include "config/config_routing.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)

static char *wipe_free(char *secret)
{
    if (secret) {
        explicit_bzero(secret, strlen(secret));
        free(secret);
    }
    return NULL;
}

struct config *config_new(void)
{
    struct config *c = calloc(1, sizeof *c);

    if (!c) {
        return NULL;
    }
    *c = (struct config) {
        .max_connections = 256,
        .max_connections_per_uid = 64,
        .max_calls_per_connection = 16,
        .max_head_bytes = 16 * KIB,
        .max_body_bytes = 32 * MIB,
        .max_buffered_bytes = 64 * MIB,
        .head_usec = 10 * USEC_PER_SEC,
        .body_usec = 30 * USEC_PER_SEC,
        .keep_alive_usec = 60 * USEC_PER_SEC,
        .stalled_reader_usec = 30 * USEC_PER_SEC,
        .drain_usec = 30 * USEC_PER_SEC,
        .heartbeat_usec = 15 * USEC_PER_SEC,
        .connect_usec = 5 * USEC_PER_SEC,
        .first_byte_usec = 300 * USEC_PER_SEC,
        .gap_usec = 60 * USEC_PER_SEC,
        .slots = 1,
        .max_queued = 96,
        .max_queued_caller = 64,
        .max_queued_bytes = 16 * MIB,
        .max_wait_usec = {[CLASS_INTERACTIVE] = 15 * USEC_PER_SEC,
                          [CLASS_BATCH] = 120 * USEC_PER_SEC,
                          [CLASS_BACKGROUND] = 600 * USEC_PER_SEC},
        .patience_usec = {[CLASS_INTERACTIVE] = 4 * USEC_PER_SEC,
                          [CLASS_BATCH] = 30 * USEC_PER_SEC,
                          [CLASS_BACKGROUND] = 120 * USEC_PER_SEC},
        .kernel_root = strdup(""),
        .pressure_group = strdup("auto"),
        .pressure_enabled = true,
        .memory_enabled = true,
        .pins_threads = true,
        .memory_reserve_bytes = CONFIG_SIZE_AUTO,
        .prompt_cache_bytes = CONFIG_SIZE_AUTO,
    };
    config_routing_init(&c->routing);
    return c->kernel_root && c->pressure_group ? c : config_free(c);
}

static void done_deployment(struct config_deployment *d)
{
    free(d->model_name);
    free(d->provider);
    free(d->model);
    free(d->id);
    free(d->api_base);
    wipe_free(d->api_key);
    free(d->off_reason);
    kv_wipe(&d->options);
    kv_done(&d->options);
    config_names_done(&d->tags);
    config_names_done(&d->dropped_params);
    kv_wipe(&d->headers);
    kv_done(&d->headers);
    kv_wipe(&d->body);
    kv_done(&d->body);
    free(d->ca_file);
    free(d->restart_unit);
    free(d->info);
    free(d->litellm_model);
}

static void done_key(struct config_access_key *key)
{
    free(key->id);
    explicit_bzero(key->sha256, sizeof key->sha256);
    config_names_done(&key->models);
}

static void free_strings(char **strings, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(strings[i]);
    }
    free(strings);
}

struct config *config_free(struct config *c)
{
    if (!c) {
        return NULL;
    }
    for (size_t i = 0; i < c->n_deployments; i++) {
        done_deployment(&c->deployments[i]);
    }
    free(c->deployments);
    for (size_t i = 0; i < c->n_keys; i++) {
        done_key(&c->keys[i]);
    }
    free(c->keys);
    for (size_t i = 0; i < c->n_callers; i++) {
        free(c->callers[i].name);
    }
    free(c->callers);
    config_routing_done(&c->routing);
    for (size_t i = 0; i < c->n_listens; i++) {
        free(c->listens[i].name);
        free(c->listens[i].address);
    }
    free(c->listens);
    for (size_t i = 0; i < c->n_findings; i++) {
        free(c->findings[i].path);
        free(c->findings[i].text);
    }
    free(c->findings);
    free_strings(c->files, c->n_files);
    free_strings(c->allowed_hosts, c->n_allowed_hosts);
    free_strings(c->allowed_origins, c->n_allowed_origins);
    wipe_free(c->master_key);
    free(c->kernel_root);
    free(c->pressure_group);
    free(c);
    return NULL;
}

/* ---------------------------------------------------------------- findings */

char *config_printable(const char *text)
{
    char *copy = strdup(text);

    for (char *p = copy; p && *p; p++) {
        if ((unsigned char) *p < 0x20 || *p == 0x7f) {
            *p = '?';
        } else if ((unsigned char) *p == 0xc2 && (unsigned char) p[1] >= 0x80 &&
                   (unsigned char) p[1] < 0xa0) {
            p[0] = p[1] = '?';
        }
    }
    return copy;
}

int config_add_finding(struct config *c, enum finding_kind kind, bool is_fatal,
                       struct finding_place place, const char *path, const char *text)
{
    size_t n = c->n_findings;

    if ((n & (n - 1)) == 0) { /* full: room doubles at 0, 1, 2, 4, 8 ... */
        struct finding *grown = realloc(c->findings, (n > 0 ? 2 * n : 1) * sizeof *grown);

        if (!grown) {
            return -ENOMEM;
        }
        c->findings = grown;
    }

    struct finding f = {
        .kind = kind,
        .place = place,
        .path = config_printable(path),
        .text = config_printable(text),
        .is_fatal = is_fatal,
    };

    if (!f.path || !f.text) {
        free(f.path);
        free(f.text);
        return -ENOMEM;
    }
    c->findings[c->n_findings++] = f;
    return 0;
}

static bool is_before(const struct finding_place *a, const struct finding_place *b)
{
    return a->file != b->file   ? a->file < b->file
           : a->line != b->line ? a->line < b->line
                                : a->column < b->column;
}

/*
 * By insertion: stable, and the sections are read in the order of the file, so that little has to
 * move.
 */
void config_sort_findings(struct config *c)
{
    for (size_t i = 1; i < c->n_findings; i++) {
        struct finding f = c->findings[i];
        size_t to = i;

        while (to > 0 && is_before(&f.place, &c->findings[to - 1].place)) {
            to--;
        }
        memmove(&c->findings[to + 1], &c->findings[to], (i - to) * sizeof f);
        c->findings[to] = f;
    }
}

bool config_is_fatal(const struct config *c)
{
    for (size_t i = 0; i < c->n_findings; i++) {
        if (c->findings[i].is_fatal) {
            return true;
        }
    }
    return false;
}

bool config_has_errors(const struct config *c)
{
    for (size_t i = 0; i < c->n_findings; i++) {
        if (c->findings[i].kind == FINDING_ERROR) {
            return true;
        }
    }
    return false;
}

const char *finding_kind_name(enum finding_kind kind)
{
    switch (kind) {
    case FINDING_EXACT:
        return "exact";
    case FINDING_APPROXIMATED:
        return "approximated";
    case FINDING_IGNORED:
        return "ignored";
    case FINDING_UNSUPPORTED:
        return "unsupported";
    case FINDING_ERROR:
        return "error";
    }
    return "?";
}

const char *config_finding_file(const struct config *c, const struct finding *f, const char *path)
{
    return f->place.file > 0 ? c->files[f->place.file - 1] : path;
}

void config_print_findings(const struct config *c, const char *path, bool verbose, FILE *out)
{
    for (size_t i = 0; i < c->n_findings; i++) {
        const struct finding *f = &c->findings[i];

        if (f->kind == FINDING_EXACT && !verbose) {
            continue;
        }
        (void) fputs(config_finding_file(c, f, path), out);
        if (f->place.line > 0) {
            (void) fprintf(out, ":%u:%u", f->place.line, f->place.column);
        }
        (void) fprintf(out, ": %s", finding_kind_name(f->kind));
        if (f->path[0]) {
            (void) fprintf(out, ": %s", f->path);
        }
        if (f->text[0]) {
            (void) fprintf(out, ": %s", f->text);
        }
        (void) fputc('\n', out);
    }
}

/* ---------------------------------------------------------------- addresses */

/* "127.0.0.1:4000", "[::1]:4000": the host without brackets. False: not that form. */
static bool split_tcp(struct str s, char ret_host[INET6_ADDRSTRLEN], bool *ret_is_v6)
{
    const char *colon = s.len > 0 ? memrchr(s.ptr, ':', s.len) : NULL;
    uint64_t port;

    if (!colon) {
        return false;
    }

    struct str host = {s.ptr, (size_t) (colon - s.ptr)};
    struct str digits = {colon + 1, s.len - host.len - 1};

    if (num_parse_u64(digits, &port) < 0 || port < 1 || port > 65535) {
        return false;
    }
    *ret_is_v6 = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (*ret_is_v6) {
        host = (struct str) {host.ptr + 1, host.len - 2};
    }
    if (host.len >= INET6_ADDRSTRLEN) {
        return false;
    }
    memcpy(ret_host, host.ptr, host.len);
    ret_host[host.len] = '\0';
    return true;
}

static const char *check_unix(struct str path)
{
    if (path.len == 0 || path.ptr[0] != '/') {
        return "the path of a Unix socket must begin with /";
    }
    if (path.len >= sizeof(((struct sockaddr_un *) 0)->sun_path)) {
        return "the path of a Unix socket must be shorter than 108 bytes";
    }
    return memchr(path.ptr, '\0', path.len) ? "a NUL character" : NULL;
}

static const char *check_tcp(struct str s)
{
    char host[INET6_ADDRSTRLEN];
    unsigned char ignored[sizeof(struct in6_addr)];
    bool is_v6;

    if (split_tcp(s, host, &is_v6) && (inet_pton(is_v6 ? AF_INET6 : AF_INET, host, ignored) == 1 ||
                                       (!is_v6 && strcmp(host, "localhost") == 0))) {
        return NULL;
    }
    return "expected tcp:ADDRESS:PORT with a numeric address or localhost, such as tcp:127.0.0.1:4000 "
           "or tcp:[::1]:4000";
}

const char *config_split_listen(struct str text, struct str *ret_name, struct str *ret_address)
{
    static const char *const form = "expected rpc=unix:PATH, http=unix:PATH or http=tcp:HOST:PORT";
    const char *equals = text.len > 0 ? memchr(text.ptr, '=', text.len) : NULL;
    const char *problem;

    if (!equals) {
        return form;
    }

    struct str name = {text.ptr, (size_t) (equals - text.ptr)};
    struct str address = {equals + 1, text.len - name.len - 1};

    if (!str_is(name, "rpc") && !str_is(name, "http")) {
        return form;
    }
    if (str_has_prefix(address, "unix:")) {
        problem = check_unix((struct str) {address.ptr + 5, address.len - 5});
    } else if (!str_has_prefix(address, "tcp:")) {
        problem = form;
    } else if (str_is(name, "rpc")) {
        problem = "rpc is for Unix sockets only: the caller is known by the socket";
    } else {
        problem = check_tcp((struct str) {address.ptr + 4, address.len - 4});
    }
    if (!problem) {
        *ret_name = name;
        *ret_address = address;
    }
    return problem;
}

/* ---------------------------------------------------------------- files */

int config_load(const char *path, struct config **ret)
{
    CLEANUP(buf_wipe) struct buf text;
    struct stat st;
    int r;

    buf_init(&text, CONFIG_MAX_FILE_BYTES);
    if (stat(path, &st) < 0) {
        return -errno;
    }

    /*
     * all at once, with room for the last short read: a buffer that grows leaves copies of the keys
     * in it behind
     */
    size_t want = (size_t) num_clamp_u64((uint64_t) st.st_size, 0, CONFIG_MAX_FILE_BYTES - 8192);

    if (!buf_reserve(&text, want + 8192)) {
        return -ENOMEM;
    }
    r = fdio_read_file(path, &text);
    return r < 0 ? r : config_parse_file(buf_str(&text), path, ret);
}
