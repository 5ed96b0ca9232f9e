/*
 * See config_health.h.
 *
 * Which deployments may be checked is kept apart from whether anything is, so switching the checks
 * on and off at a reload makes no other deployments of them.
 *
 * Owns nothing.
 */
#include "config/config_health.h"

#include "base/clock.h"
#include "config/config_routing.h"
#include "config/config_value.h"

#define MAX_PARALLEL 256 /* more servers than that cannot be (CONFIG_MAX_DEPLOYMENTS) */
#define MAX_SECONDS  60  /* LiteLLM's default, for checks that generate */

static const struct config_node *find(const struct config_reader *r, const char *name)
{
    const struct config_node *at =
        config_node_find(config_node_find(r->root, "general_settings"), name);

    return config_reader_is_unset(at) ? NULL : at;
}

/* A whole number; as it was where there is none, or none that can be read. */
static void read_count(struct config_reader *r, const char *name, uint64_t least, uint64_t most,
                       uint64_t *ret)
{
    const struct config_node *at = find(r, name);
    char why[CONFIG_WHY_MAX];

    if (at && !config_value_count(at, least, most, ret, why)) {
        config_reader_error(r, at, false, "%s", why);
    }
}

static bool is_on(struct config_reader *r)
{
    const struct config_node *at = find(r, "background_health_checks");
    char why[CONFIG_WHY_MAX];
    bool answer = false;

    if (at && !config_value_flag(at, &answer, why)) {
        config_reader_error(r, at, false, "%s", why);
    }
    return answer;
}

/* Only the deployments of these groups, where there is such a list. */
static void keep_groups(struct config_reader *r)
{
    const struct config_node *at = find(r, "background_health_check_model_groups"), *wrong;
    struct config_names names = {0};
    char why[CONFIG_WHY_MAX];

    if (!at) {
        return;
    }
    if (!config_value_names(r, at, &names, &wrong, why)) {
        config_reader_error(r, wrong, false, "%s", why);
    }
    for (size_t i = 0; i < r->config->n_deployments; i++) {
        struct config_deployment *d = &r->config->deployments[i];

        if (d->model_name && !config_names_has(&names, d->model_name)) {
            d->check_usec = 0;
        }
    }
    config_names_done(&names);
}

void config_health_read(struct config_reader *r)
{
    uint64_t seconds = CONFIG_DEFAULT_HEALTH_USEC / USEC_PER_SEC, n_parallel = 0;

    read_count(r, "health_check_interval", 0, CONFIG_MAX_SECONDS, &seconds);
    read_count(r, "health_check_concurrency", 1, MAX_PARALLEL, &n_parallel);
    keep_groups(r);
    r->config->health_usec = is_on(r) ? seconds * USEC_PER_SEC : 0;
    r->config->max_health_checks = (unsigned) n_parallel;
}

void config_health_read_info(struct config_entry *e, const struct config_node *info)
{
    const struct config_node *off = config_node_find(info, "disable_background_health_check");
    const struct config_node *limit = config_node_find(info, "health_check_timeout");
    uint64_t usec = CONFIG_DEFAULT_CHECK_USEC;
    char why[CONFIG_WHY_MAX];
    bool is_off = false;

    if (!config_reader_is_unset(off) && !config_value_flag(off, &is_off, why)) {
        config_reader_error(e->reader, off, false, "%s", why);
    }
    if (!config_reader_is_unset(limit) && !config_value_seconds(limit, false, &usec, why)) {
        config_reader_error(e->reader, limit, false, "%s", why);
    }
    if (usec > MAX_SECONDS * USEC_PER_SEC) {
        usec = MAX_SECONDS * USEC_PER_SEC;
    }
    e->deployment->check_usec = is_off ? 0 : usec;
}
