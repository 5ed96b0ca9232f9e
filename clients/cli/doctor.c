/*
 * sluicectl doctor: is this machine set up so that models and memory get along, and if not, which
 * command mends it? It looks and asks; it changes nothing.
 *
 * It needs neither the daemon nor an Ollama nor root: what cannot be looked at is said, and is no
 * finding. Each finding has a command line that can be pasted, or says in words why there is none.
 *
 * Owns the list of what was found. The order of the list is that of the checks: what is below the
 * rest (kernel, memory) first.
 */
#include "doctor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "options.h"
#include "term.h"

struct doctor_options {
    struct common_options common;
    const char *root;
    const char *ollama;
};

static const struct option_row doctor_rows[] = {
    {"ollama", 0, OPTION_TEXT, "URL",
     "an Ollama to look at (default: those of the daemon, else http://127.0.0.1:11434)",
     offsetof(struct doctor_options, ollama)},
    {"root", 0, OPTION_TEXT, "DIR", "look at the files and programs below this folder",
     offsetof(struct doctor_options, root)},
    OPTION_JSON,
    OPTION_SOCKET,
    {.name = NULL},
};

/* ---------------------------------------------------------------- the list */

void doctor_tell(struct doctor *d, const char *check, enum doctor_state state, const char *fmt, ...)
{
    struct doctor_entry *e = &d->entries[d->n];
    va_list ap;

    if (d->n == DOCTOR_MAX_FINDINGS) {
        d->n_untold++;
        d->n_untold_findings += state == DOCTOR_FINDING;
        return;
    }
    d->n++;
    e->check = check;
    e->state = state;
    e->fix[0] = '\0';
    va_start(ap, fmt);
    (void) vsnprintf(e->text, sizeof(e->text), fmt, ap);
    va_end(ap);
}

void doctor_fix(struct doctor *d, const char *fmt, ...)
{
    struct doctor_entry *e = &d->entries[d->n - 1];
    va_list ap;

    if (d->n_untold > 0) {
        return; /* it is not that of the last entry */
    }
    va_start(ap, fmt);
    (void) vsnprintf(e->fix, sizeof(e->fix), fmt, ap);
    va_end(ap);
}

/* What the list had no place for, in the place that is kept for that. */
static void tell_untold(struct doctor *d)
{
    struct doctor_entry *e = &d->entries[d->n];

    if (d->n_untold > 0) {
        d->n++;
        *e = (struct doctor_entry) {.check = "more", .state = DOCTOR_UNKNOWN};
        e->state = d->n_untold_findings > 0 ? DOCTOR_FINDING : DOCTOR_UNKNOWN;
        (void) snprintf(
            e->text, sizeof(e->text),
            "left out here: %zu, of which are to fix: %zu; mend the others, and look again",
            d->n_untold, d->n_untold_findings);
    }
}

/* ---------------------------------------------------------------- which Ollamas */

bool doctor_parse_server(struct doctor_server *s, const char *url)
{
    const char *at = strncmp(url, "http://", 7) == 0 ? url + 7 : url;
    bool is_bracketed = at[0] == '[';
    size_t n = is_bracketed ? strcspn(at + 1, "]") : strcspn(at, ":/");
    const char *rest = is_bracketed ? at + 1 + n : at + n;
    size_t n_port;

    if (strstr(at, "://") || n == 0 || n >= sizeof(s->host) || (is_bracketed && *rest != ']')) {
        return false;
    }
    (void) snprintf(s->host, sizeof(s->host), "%.*s", (int) n, at + is_bracketed);
    rest += is_bracketed;
    (void) snprintf(s->port, sizeof(s->port), "%s", url == at ? "11434" : "80");
    if (*rest == ':') {
        n_port = strspn(rest + 1, "0123456789");
        if (n_port == 0 || n_port > 5) {
            return false;
        }
        (void) snprintf(s->port, sizeof(s->port), "%.*s", (int) n_port, rest + 1);
    }
    return true;
}

bool doctor_add_server(struct doctor *d, const char *url, unsigned long long slots)
{
    struct doctor_server s = {.slots = slots};

    if (!doctor_parse_server(&s, url)) {
        return false;
    }
    for (size_t i = 0; i < d->n_servers; i++) {
        struct doctor_server *known = &d->servers[i];

        if (strcmp(known->host, s.host) == 0 && strcmp(known->port, s.port) == 0) {
            known->slots = slots > known->slots ? slots : known->slots;
            return true;
        }
    }
    if (d->n_servers < DOCTOR_MAX_SERVERS) {
        d->servers[d->n_servers++] = s;
    }
    return true;
}

/* ---------------------------------------------------------------- printing */

static size_t count(const struct doctor *d, enum doctor_state state)
{
    size_t n = 0;

    for (size_t i = 0; i < d->n; i++) {
        n += d->entries[i].state == state;
    }
    return n;
}

static void print_entry(const struct doctor_entry *e)
{
    static const char *const words[] = {
        [DOCTOR_FINE] = "fine", [DOCTOR_FINDING] = "FIX", [DOCTOR_UNKNOWN] = "?"};
    static const enum style styles[] = {
        [DOCTOR_FINE] = STYLE_PLAIN, [DOCTOR_FINDING] = STYLE_RED, [DOCTOR_UNKNOWN] = STYLE_DIM};

    term_style(stdout, styles[e->state]);
    (void) printf("%-4s  %-8s  ", words[e->state], e->check);
    term_style(stdout, STYLE_PLAIN);
    term_print(stdout, e->text);
    (void) printf("\n");
    if (e->fix[0] != '\0') {
        (void) printf("                $ ");
        term_style(stdout, STYLE_BOLD);
        term_print(stdout, e->fix);
        term_style(stdout, STYLE_PLAIN);
        (void) printf("\n");
    }
}

static void print_page(const struct doctor *d)
{
    size_t n_findings = count(d, DOCTOR_FINDING);

    for (size_t i = 0; i < d->n; i++) {
        print_entry(&d->entries[i]);
    }
    (void) printf("\n%zu to fix, %zu fine, %zu to be judged or not to be seen from here\n",
                  n_findings, count(d, DOCTOR_FINE), count(d, DOCTOR_UNKNOWN));
}

static void print_document(const struct doctor *d)
{
    static const char *const words[] = {
        [DOCTOR_FINE] = "fine", [DOCTOR_FINDING] = "finding", [DOCTOR_UNKNOWN] = "unknown"};
    cJSON *document = json_object();
    cJSON *array;

    json_add_number(document, "findings", count(d, DOCTOR_FINDING));
    array = json_add_array(document, "checks");
    for (size_t i = 0; i < d->n; i++) {
        const struct doctor_entry *e = &d->entries[i];
        cJSON *object = json_add_object(array, NULL);

        json_add_text(object, "check", e->check);
        json_add_text(object, "state", words[e->state]);
        json_add_text(object, "text", e->text);
        json_add_text(object, "fix", e->fix);
    }
    json_print(document);
}

/* ---------------------------------------------------------------- the command */

static int examine(const struct doctor_options *options, struct doctor *d)
{
    if (options->ollama && !doctor_add_server(d, options->ollama, 0)) {
        return complain_with(EXIT_USAGE, "usage",
                             "doctor: --ollama wants the address of an Ollama, "
                             "http://HOST:PORT");
    }
    doctor_check_kernel(d);
    doctor_check_daemon(d);
    doctor_check_restart(d);
    if (d->n_servers == 0) {
        (void) doctor_add_server(d, "http://127.0.0.1:11434", 0);
    }
    doctor_check_ollama(d);
    tell_untold(d);
    if (options->common.is_json) {
        print_document(d);
    } else {
        print_page(d);
    }
    return count(d, DOCTOR_FINDING) > 0 ? EXIT_FAILED : EXIT_OK;
}

int run_doctor(const struct command *command, int argc, char **argv)
{
    struct doctor_options options = {.root = NULL};
    int code = options_parse(command, doctor_rows, argc, argv, &options.common);

    code = code == OPTIONS_GO_ON ? options_want_words(command, argc, argv, &options.common, 0, 0)
                                 : code;
    if (code != OPTIONS_GO_ON) {
        return code;
    }

    struct doctor *d = calloc(1, sizeof(*d));

    if (!d) {
        return complain_errno("doctor", -ENOMEM);
    }
    d->root = options.root ? options.root : "";
    d->socket = options.common.socket;
    d->ollama_url = options.ollama;
    code = examine(&options, d);
    free(d);
    return code;
}
