/*
 * See config_rules.h.
 *
 * Weights are one measure for all of a group (litellm/router_strategy/simple_shuffle.py): weight
 * where any deployment of it has one, else rpm, else tpm; who has none of the measure has 0 then,
 * and is only asked when nobody else can. Without any measure all count alike.
 *
 * LiteLLM derives max_parallel_requests where it is missing: rpm, else six for each thousand of tpm
 * (litellm/utils.py, calculate_max_parallel_requests). So here, but not for Ollama: its calls would
 * wait in a queue of Ollama's own that nobody can look into, and its slots cost memory.
 */
#include "config/config_rules.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "config/config_routing.h"
#include "config/config_target.h"
#include "config/config_value.h"
#include "wire/json_cut.h"

#define MAX_SLOTS  1024 /* as sluice.slots */
#define MAX_ORDER  1000000
#define MAX_RATE   UINT64_C(1000000000000) /* a minute; still fits into the arithmetic of rates */
#define MAX_WEIGHT 1e9
#define LOCAL_ONLY "local_only"

static bool count(struct config_entry *e, const struct config_node *at, uint64_t least,
                  uint64_t most, uint64_t *ret)
{
    char why[CONFIG_WHY_MAX];

    if (!config_value_count(at, least, most, ret, why)) {
        config_deployment_off(e, at, "%s", why);
        return false;
    }
    return true;
}

static void read_order(struct config_entry *e, const struct config_node *at)
{
    uint64_t n;

    if (count(e, at, 0, MAX_ORDER, &n)) {
        e->deployment->order = (unsigned) n;
    }
}

static void read_weight(struct config_entry *e, const struct config_node *at)
{
    char why[CONFIG_WHY_MAX];

    if (!config_value_number(at, MAX_WEIGHT, &e->deployment->weight, why)) {
        config_deployment_off(e, at, "%s", why);
    }
}

/* num_retries is the router's word and goes before max_retries, which is the client library's. */
static void read_retries(struct config_entry *e, const struct config_node *at)
{
    bool is_second = strcmp(at->key, "max_retries") == 0 &&
                     !config_reader_is_unset(config_deployment_param(e, "num_retries"));
    uint64_t n;

    if (is_second) {
        config_reader_note(e->reader, at, FINDING_IGNORED, "num_retries says it");
    } else if (count(e, at, 0, CONFIG_MAX_RETRIES, &n)) {
        e->deployment->max_retries = (int) n;
    }
}

static void read_cooldown(struct config_entry *e, const struct config_node *at)
{
    char why[CONFIG_WHY_MAX];

    if (!config_value_seconds(at, true, &e->deployment->cooldown_usec, why)) {
        config_deployment_off(e, at, "%s", why);
    }
}

static void read_tags(struct config_entry *e, const struct config_node *at)
{
    const struct config_node *wrong;
    char why[CONFIG_WHY_MAX];

    if (!config_value_names(e->reader, at, &e->deployment->tags, &wrong, why)) {
        config_deployment_off(e, wrong, "%s", why);
    }
    e->deployment->is_local_only = config_names_has(&e->deployment->tags, LOCAL_ONLY);
}

static void read_drop(struct config_entry *e, const struct config_node *at)
{
    char why[CONFIG_WHY_MAX];

    if (!config_value_flag(at, &e->deployment->drops_params, why)) {
        config_deployment_off(e, at, "%s", why);
    }
}

/*
 * LiteLLM cuts paths out of what it made of the parameters, where what is asked and of whom is not
 * among them; "options" is sluice's own, for Ollama, and must be the same for every call.
 */
static bool is_always_whole(const char *path)
{
    static const char *const heads[] = {"model", "messages",  "prompt", "input",
                                        "query", "documents", "options"};
    struct str head = {path, strcspn(path, ".[")};

    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        if (str_is(head, heads[i])) {
            return true;
        }
    }
    return false;
}

/* What LiteLLM keeps under this name stands beside all others in the body that is sent. */
static const char *without_extra_body(const char *path)
{
    static const char prefix[] = "extra_body.";

    return path + (str_has_prefix(str_from(path), prefix) ? strlen(prefix) : 0);
}

static void check_paths(struct config_entry *e, const struct config_node *at)
{
    const char *path = at->kind == NODE_STRING ? without_extra_body(at->text) : "";
    const char *why = json_cut_is_path(path) ? json_cut_check(path) : NULL;

    if (why) {
        config_deployment_off(e, at, "not a path: %s", why);
    } else if (json_cut_is_path(path) && is_always_whole(path)) {
        config_reader_note(e->reader, at, FINDING_IGNORED, "this is always sent whole");
    }
    config_node_for_each(item, at)
    {
        check_paths(e, item); /* a list of strings, as read_dropped() has seen: one level */
    }
}

/* Leaves the names and paths that mean something, in the words of the body that is sent. */
static void settle_paths(struct config_names *names)
{
    size_t n_kept = 0;

    for (size_t i = 0; i < names->n_items; i++) {
        char *text = names->items[i];
        const char *rest = without_extra_body(text);

        if (json_cut_is_path(rest) && is_always_whole(rest)) {
            free(text);
            continue;
        }
        memmove(text, rest, strlen(rest) + 1);
        names->items[n_kept++] = text;
    }
    names->n_items = n_kept;
}

static void read_dropped(struct config_entry *e, const struct config_node *at)
{
    struct config_names *names = &e->deployment->dropped_params;
    const struct config_node *wrong;
    char why[CONFIG_WHY_MAX];

    if (!config_value_names(e->reader, at, names, &wrong, why)) {
        config_deployment_off(e, wrong, "%s", why);
        return;
    }
    check_paths(e, at);
    settle_paths(names);
}

static void read_rpm(struct config_entry *e, const struct config_node *at)
{
    (void) count(e, at, 1, MAX_RATE, &e->deployment->rpm);
}

static void read_tpm(struct config_entry *e, const struct config_node *at)
{
    (void) count(e, at, 1, MAX_RATE, &e->deployment->tpm);
}

void config_rules_read(struct config_entry *e, const struct config_key *row,
                       const struct config_node *param)
{
    static void (*const readers[])(struct config_entry *, const struct config_node *) = {
        [USE_ORDER] = read_order,       [USE_WEIGHT] = read_weight, [USE_RPM] = read_rpm,
        [USE_TPM] = read_tpm,           [USE_TAGS] = read_tags,     [USE_RETRIES] = read_retries,
        [USE_COOLDOWN] = read_cooldown, [USE_DROP] = read_drop,     [USE_DROPPED] = read_dropped,
    };

    assert(row->use < ARRAY_LEN(readers) && readers[row->use]);
    readers[row->use](e, param);
}

/*
 * The tag is the file's word that what is sent there stays here, and core takes it. For a vendor's
 * own address it cannot be true.
 */
static void check_local_only(struct config_entry *e)
{
    const struct config_deployment *d = e->deployment;
    const struct config_node *tags = config_deployment_param(e, "tags");
    const char *vendor = e->provider ? e->provider->base : NULL;

    if (!d->is_local_only || !tags || !d->api_base || config_target_is_here(d->api_base)) {
        return;
    }
    if (vendor && strcmp(vendor, d->api_base) == 0) {
        config_deployment_off(e, tags, LOCAL_ONLY ": this is the address of a vendor");
    } else {
        config_reader_note(e->reader, tags, FINDING_APPROXIMATED,
                           LOCAL_ONLY
                           ": the server is not on this device; what must not leave it is "
                           "sent there all the same, as the tag says so");
    }
}

void config_rules_inherit(struct config_entry *e)
{
    const struct config_node *common = config_node_find(e->globals, "drop_params");
    char ignored[CONFIG_WHY_MAX]; /* a wrong one is reported with its section */

    if (config_reader_is_unset(config_deployment_param(e, "drop_params")) &&
        !config_reader_is_unset(common)) {
        (void) config_value_flag(common, &e->deployment->drops_params, ignored);
    }
    check_local_only(e);
}

/* ---------------------------------------------------------------- the whole list */

/* One measure for a group: of its deployments' weight, rpm or tpm the first that any of them has. */
static void weigh_group(struct config *c, const char *group)
{
    bool has_weight = false, has_rpm = false;

    for (size_t i = 0; i < c->n_deployments; i++) {
        const struct config_deployment *d = &c->deployments[i];

        if (strcmp(d->model_name, group) == 0) {
            has_weight |= d->weight > 0;
            has_rpm |= d->rpm > 0;
        }
    }
    for (size_t i = 0; i < c->n_deployments && !has_weight; i++) {
        struct config_deployment *d = &c->deployments[i];

        if (strcmp(d->model_name, group) == 0) {
            d->weight = (double) (has_rpm ? d->rpm : d->tpm);
        }
    }
}

static bool is_first_of_group(const struct config *c, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (strcmp(c->deployments[k].model_name, c->deployments[i].model_name) == 0) {
            return false;
        }
    }
    return true;
}

static unsigned derived_slots(const struct config_deployment *d)
{
    uint64_t n = d->rpm > 0 ? d->rpm : d->tpm * 6 / 1000;

    if ((d->rpm == 0 && d->tpm == 0) || strcmp(d->provider, "ollama") == 0) {
        return 0;
    }
    return (unsigned) num_clamp_u64(n, 1, MAX_SLOTS);
}

void config_rules_finish(struct config *c)
{
    for (size_t i = 0; i < c->n_deployments; i++) {
        struct config_deployment *d = &c->deployments[i];

        d->slots = d->slots > 0 ? d->slots : derived_slots(d);
        if (is_first_of_group(c, i)) {
            weigh_group(c, d->model_name);
        }
    }
}
