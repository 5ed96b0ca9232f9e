/*
 * See config_open.h.
 *
 * The log hears what an operator should know of the file: errors, and what has no effect. The rest
 * is for --check-config. Findings hold no secrets and no control characters (config.c).
 */
#include "config_open.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

static void log_findings(const struct config *c, const char *path)
{
    for (size_t i = 0; i < c->n_findings; i++) {
        const struct finding *f = &c->findings[i];

        if (f->kind == FINDING_ERROR || f->kind == FINDING_UNSUPPORTED) {
            log_printf(f->kind == FINDING_ERROR ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING,
                       "%s:%u:%u: %s: %s", config_finding_file(c, f, path), f->place.line,
                       f->place.column, f->path, f->text);
        }
    }
}

static void put_text(struct problem *ret, const char *text)
{
    struct str cut = str_clip(str_from(text), sizeof ret->text - 1);

    (void) snprintf(ret->text, sizeof ret->text, "%.*s", STR_ARG(cut));
}

static void describe(const struct config *c, const char *path, struct problem *ret)
{
    char text[4 * PROBLEM_TEXT_MAX];

    for (size_t i = 0; i < c->n_findings; i++) {
        const struct finding *f = &c->findings[i];

        if (!f->is_fatal) {
            continue;
        }
        (void) snprintf(text, sizeof text, "%s:%u:%u: %s%s%s", config_finding_file(c, f, path),
                        f->place.line, f->place.column, f->path, f->path[0] ? ": " : "", f->text);
        put_text(ret, text);
        return;
    }
}

struct config *config_open(const char *path, struct problem *ret_problem)
{
    char text[2 * PROBLEM_TEXT_MAX];
    struct config *c = NULL;
    int r = config_load(path, &c);

    if (r < 0 && r != -EBADMSG) {
        (void) snprintf(text, sizeof text, "%s: cannot be read: %s", path, strerror(-r));
        put_text(ret_problem, text);
        log_printf(LOG_LEVEL_ERROR, "%s", ret_problem->text);
        return NULL;
    }
    log_findings(c, path);
    if (r < 0) {
        describe(c, path, ret_problem);
        return config_free(c);
    }
    return c;
}
