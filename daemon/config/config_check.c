/*
 * See config_check.h. Owns nothing that outlives a call and changes nothing: a check must be safe
 * to run beside the daemon. The findings are printable (config_add_finding() sees to that); the
 * name of the file is not, and goes through the JSON writer like any other text.
 */
#include "config/config_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/put.h"

/* A file of CONFIG_MAX_FILE_BYTES has so many keys at most that this holds a finding for each. */
#define DOCUMENT_MAX_BYTES ((size_t) 256 << 20)

#define N_KINDS (FINDING_ERROR + 1)

/* How many findings of each kind there are. */
static void count(const struct config *c, size_t ret_n[N_KINDS])
{
    memset(ret_n, 0, N_KINDS * sizeof *ret_n);
    for (size_t i = 0; i < c->n_findings; i++) {
        ret_n[c->findings[i].kind]++;
    }
}

const char *config_check_verdict(const struct config *c, bool is_strict)
{
    size_t n[N_KINDS];

    count(c, n);
    if (config_is_fatal(c)) {
        return "refused";
    }
    if (n[FINDING_ERROR] > 0) {
        return "degraded";
    }
    if (n[FINDING_UNSUPPORTED] > 0) {
        return "unsupported";
    }
    return is_strict && n[FINDING_APPROXIMATED] > 0 ? "not exact" : "ok";
}

static bool is_ok(const struct config *c, bool is_strict)
{
    return strcmp(config_check_verdict(c, is_strict), "ok") == 0;
}

/* ---------------------------------------------------------------- JSON */

static void put_member(struct put *p, const char *name, const char *text)
{
    put_json_string(p, str_from(name));
    put_char(p, ':');
    put_json_string(p, str_from(text));
}

static void put_finding(struct put *p, const struct finding *f, const char *file)
{
    put_char(p, '{');
    put_member(p, "file", file);
    put_z(p, ",\"line\":");
    put_u64(p, f->place.line);
    put_z(p, ",\"column\":");
    put_u64(p, f->place.column);
    put_char(p, ',');
    put_member(p, "kind", finding_kind_name(f->kind));
    put_char(p, ',');
    put_member(p, "path", f->path);
    put_char(p, ',');
    put_member(p, "text", f->text);
    put_z(p, f->is_fatal ? ",\"fatal\":true}" : ",\"fatal\":false}");
}

/* The name of a number of findings: errors are counted things, the rest are what they are. */
static const char *plural(enum finding_kind kind)
{
    return kind == FINDING_ERROR ? "errors" : finding_kind_name(kind);
}

static void put_summary(struct put *p, const struct config *c)
{
    size_t n[N_KINDS];

    count(c, n);
    put_z(p, ",\"summary\":{");
    for (int kind = 0; kind < N_KINDS; kind++) {
        put_z(p, kind > 0 ? "," : "");
        put_json_string(p, str_from(plural(kind)));
        put_char(p, ':');
        put_u64(p, n[kind]);
    }
    put_char(p, '}');
}

int config_check_json(const struct config *c, const struct config_check *check, struct buf *out)
{
    struct put p = {.out = out};

    put_char(&p, '{');
    put_member(&p, "file", check->path);
    put_char(&p, ',');
    put_member(&p, "verdict", config_check_verdict(c, check->is_strict));
    put_z(&p, config_is_fatal(c) ? ",\"usable\":false" : ",\"usable\":true");
    put_z(&p, ",\"deployments\":");
    put_u64(&p, c->n_deployments);
    put_summary(&p, c);
    put_z(&p, ",\"findings\":[");
    for (size_t i = 0; i < c->n_findings; i++) {
        put_z(&p, i > 0 ? "," : "");
        put_finding(&p, &c->findings[i], config_finding_file(c, &c->findings[i], check->path));
    }
    put_z(&p, "]}\n");
    return p.r;
}

static int unreadable_json(const struct config_check *check, int error, struct buf *out)
{
    struct put p = {.out = out};

    put_char(&p, '{');
    put_member(&p, "file", check->path);
    put_char(&p, ',');
    put_member(&p, "verdict", "unreadable");
    put_z(&p, ",\"error\":{");
    put_member(&p, "code", "unreadable");
    put_char(&p, ',');
    put_member(&p, "message", strerror(-error));
    put_z(&p, "}}\n");
    return p.r;
}

/* ---------------------------------------------------------------- text */

static const char *in_words(const struct config *c, bool is_strict)
{
    const char *verdict = config_check_verdict(c, is_strict);

    if (config_is_fatal(c)) {
        return "cannot be used";
    }
    return strcmp(verdict, "degraded") == 0
               ? "can be used, with deployments switched off or mistaken keys "
                 "without effect"
           : strcmp(verdict, "unsupported") == 0 ? "can be used, but not every key is served"
           : strcmp(verdict, "not exact") == 0
               ? "can be used, but not every key does exactly what it does in LiteLLM"
               : verdict;
}

static void print_text(const struct config *c, const struct config_check *check, FILE *out)
{
    size_t n[N_KINDS];

    count(c, n);
    config_print_findings(c, check->path, true, out);
    (void) fprintf(out, "%s: %s: %zu deployments", check->path, in_words(c, check->is_strict),
                   c->n_deployments);
    for (int kind = 0; kind < N_KINDS; kind++) {
        (void) fprintf(out, "%s%zu %s", kind > 0 ? ", " : "; ", n[kind], plural(kind));
    }
    (void) fputc('\n', out);
}

/* ---------------------------------------------------------------- both */

/* c NULL: the file could not be read, because of error. */
static int print_json(const struct config *c, const struct config_check *check, int error,
                      FILE *out)
{
    CLEANUP(buf_done) struct buf document;
    int r;

    buf_init(&document, DOCUMENT_MAX_BYTES);
    r = c ? config_check_json(c, check, &document) : unreadable_json(check, error, &document);
    if (r == 0 && fwrite(buf_ptr(&document), 1, document.len, out) != document.len) {
        r = errno > 0 ? -errno : -EIO;
    }
    return r;
}

int config_check_run(const struct config_check *check, FILE *out, FILE *err)
{
    struct config *c = NULL;
    int r = config_load(check->path, &c); /* -EBADMSG: its findings say why */
    bool is_good = c && is_ok(c, check->is_strict);

    if (check->is_json) {
        r = print_json(c, check, r, out);
        if (r < 0) {
            (void) fprintf(err, "sluiced: %s\n", strerror(-r));
        }
        is_good = is_good && r == 0;
    } else if (c) {
        print_text(c, check, out);
    } else {
        (void) fprintf(err, "sluiced: %s: %s\n", check->path, strerror(-r));
    }
    config_free(c);
    if (fflush(out) != 0 || ferror(out)) { /* the first failed write may be long ago */
        (void) fprintf(err, "sluiced: cannot write the findings: %s\n", strerror(errno));
        is_good = false;
    }
    return is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}
