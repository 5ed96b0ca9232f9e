#pragma once
/*
 * The configuration as the composition reads it: an immutable snapshot of one file. config.c
 * builds, frees and describes it; config_sections.c and its helpers fill it. Nothing below the
 * composition includes this header: config_params.c fills each module's own parameter struct.
 *
 * Every key of the file is read as exact, approximated, ignored or unsupported, and reported with
 * its place: findings.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/kv.h"
#include "base/macros.h"
#include "core/caller_table.h"
#include "core/request.h"
#include "core/router_policy.h"
#include "core/spill.h"

enum finding_kind {
    FINDING_EXACT,        /* does what LiteLLM does */
    FINDING_APPROXIMATED, /* does something near; the text says what */
    FINDING_IGNORED,      /* known, without effect here */
    FINDING_UNSUPPORTED,  /* not known, or known and not served */
    FINDING_ERROR,        /* the file, the named deployment or the named key cannot be used */
};

/* Where in the configuration: of the file, or of one that it includes. */
struct finding_place {
    unsigned file;         /* 0: the file itself; n: files[n - 1] of struct config */
    unsigned line, column; /* from 1; 0: the file as a whole */
};

struct finding {
    enum finding_kind kind;
    struct finding_place place;
    char *path; /* owned: "model_list[0].litellm_params.api_base" */
    char *text; /* owned: what, why, and what was probably meant */
    /*
     * the whole configuration is refused (else: that deployment is off, or that mistyped key has no
     * effect)
     */
    bool is_fatal;
};

/* A list of words. */
struct config_names {
    char **items; /* owned, with its strings */
    size_t n_items;
};

struct config_deployment {
    char *model_name;  /* public name */
    char *provider;    /* "ollama", "openai", "mock" */
    char *model;       /* the upstream's name, without prefix */
    char *id;          /* model_info.id, else derived from the parameters: stable across reloads */
    char *api_base;    /* or NULL: the provider's default */
    char *api_key;     /* or NULL */
    char *off_reason;  /* why it is switched off (unresolved os.environ/...), or NULL */
    struct kv options; /* every other litellm_param: name -> JSON text */
    uint64_t total_usec;      /* timeout; 0: none */
    uint64_t first_byte_usec; /* stream_timeout, else sluice.timeouts.first_byte */
    uint64_t gap_usec;
    uint64_t connect_usec;
    unsigned slots; /* max_parallel_requests, else sluice.slots */

    uint64_t check_usec; /* time for a check of its server's health; 0: it is not checked */

    /* who serves among the deployments of a group; see core/router_policy.h */
    unsigned order;    /* the lowest first; 0: none given, which is behind all that have one */
    double weight;     /* of simple-shuffle: weight, else rpm, else tpm; 0 where none is given */
    uint64_t rpm, tpm; /* 0: none */
    bool
        enforces_rates; /* rpm and tpm are limits (optional_pre_call_checks) and not only weights */
    struct config_names tags;
    bool is_local_only; /* tagged local_only: a call that it could serve never leaves the device */
    int max_retries;    /* num_retries, max_retries; FAIL_POLICY_UNSET: as the group */
    uint64_t cooldown_usec; /* cooldown_time; USEC_NEVER: as the router; 0: never cooled */
    bool drops_params; /* drop_params: what the provider cannot say is left out, else refused */
    /* additional_drop_params, never sent: names of members, and paths into them (wire/json_cut.h) */
    struct config_names dropped_params;

    /* how its server is spoken to */
    struct kv headers;  /* extra_headers: name -> value as it is sent */
    struct kv body;     /* extra_body: name -> JSON text; wins over what the client sent */
    char *ca_file;      /* ssl_verify: a path; or NULL: the system's */
    char *restart_unit; /* sluice.upstreams: what is restarted when its server hangs; or NULL */

    /* what is known of the model; told on /model/info, and checked before a call where it can be */
    char *info;                /* model_info as JSON object text, or NULL */
    uint64_t max_input_tokens; /* 0: not known */
    bool is_hidden;            /* not listed; can be asked for */
    char *litellm_model;       /* litellm_params.model as the file has it */
};

/* Another name for a group: router_settings.model_group_alias. */
struct config_alias {
    char *name;  /* owned */
    char *group; /* owned */
    bool is_hidden;
};

/* One entry of fallbacks, context_window_fallbacks or content_policy_fallbacks. */
struct config_fallback {
    char *group; /* owned; "*": any */
    struct config_names targets;
};

/* model_group_retry_policy */
struct config_group_policy {
    char *group; /* owned */
    struct fail_policy retries;
};

/* router_settings, and the same keys under litellm_settings; router_settings wins. */
struct config_routing {
    enum routing_strategy strategy;
    unsigned max_retries;      /* num_retries: attempts after the first, in each order level */
    uint64_t retry_after_usec; /* least wait before a retry */
    struct fail_policy retries;
    struct config_group_policy *group_policies; /* owned */
    size_t n_group_policies;
    int allowed_fails; /* a minute; FAIL_POLICY_UNSET: the share of failures decides */
    struct fail_policy allowed_fails_by_cause;
    uint64_t cooldown_usec;
    bool has_no_cooldowns;                            /* disable_cooldowns */
    struct config_fallback *fallbacks[_FALLBACK_MAX]; /* owned */
    size_t n_fallbacks[_FALLBACK_MAX];
    struct config_names default_fallbacks;
    unsigned max_fallbacks;
    struct config_alias *aliases; /* owned */
    size_t n_aliases;
    bool has_tag_filter;   /* enable_tag_filtering */
    bool tags_match_any;   /* tag_filtering_match_any */
    bool checks_context;   /* enable_pre_call_checks: by max_input_tokens */
    bool drops_params;     /* litellm_settings.drop_params: default of the deployments */
    unsigned max_parallel; /* global_max_parallel_requests; 0: no limit beyond the slots */
};

#define CONFIG_SHA256_BYTES 32

/* One of sluice.keys. The key itself is not here, only its SHA-256. */
struct config_access_key {
    char *id; /* owned; what people and the log call it */
    uint8_t sha256[CONFIG_SHA256_BYTES];
    struct config_names models; /* what it may ask for, * allowed; none: everything */
    enum call_class class;      /* the highest class that it may have */
    unsigned weight;            /* its share; 1 where none is given */
    uint64_t rpm, tpm;          /* 0: no limit */
    unsigned max_parallel;      /* 0: no limit */
    uint64_t expires_at_sec;    /* Unix time; 0: never */
};

/* One of sluice.callers. */
struct config_caller {
    enum caller_kind kind; /* CALLER_UID, CALLER_UNIT, CALLER_KEY */
    uint32_t uid;
    char *name;            /* owned; of the unit, or the id of the key */
    enum call_class class; /* the highest that it may have */
    unsigned weight;       /* its share; 1 where none is given */
    unsigned max_running;  /* 0: no limit of its own */
    unsigned max_queued;   /* 0: as everybody */
    uint64_t rpm, tpm;     /* 0: no limit; of a key always */
    unsigned max_parallel; /* 0: no limit; of a key always */
};

struct config_listen {
    char *name;    /* "rpc", "http" */
    char *address; /* "unix:/path", "tcp:127.0.0.1:4000", "tcp:[::1]:4000" */
};

#define CONFIG_MAX_DEPLOYMENTS 256
#define CONFIG_MAX_FILE_BYTES  (1024 * 1024)
#define CONFIG_MAX_HOSTS       32 /* allowed hosts, and as many origins */
#define CONFIG_MAX_LISTENS     16
#define CONFIG_MAX_CALLERS     256
#define CONFIG_MAX_NAMES       64  /* of one list of words */
#define CONFIG_MAX_FALLBACKS   256 /* entries of one list */
#define CONFIG_MAX_ALIASES     256
#define CONFIG_MAX_STARS       16 /* of a model_name: the router takes no more of one pattern */
#define CONFIG_MAX_KEYS        256
#define CONFIG_MAX_INCLUDES    16 /* further files; CONFIG_MAX_FILE_BYTES is of all together */
#define CONFIG_MAX_DEPTH       4  /* of a file that a file includes that a file includes */

/* sizes that sluice finds out by itself */
#define CONFIG_SIZE_AUTO SIZE_MAX

struct config {
    struct config_deployment *deployments;
    size_t n_deployments;
    char *master_key; /* general_settings.master_key, or NULL: any key will do on loopback */

    struct config_access_key *keys; /* sluice.keys; with a master key, that one beside them */
    size_t n_keys;
    struct config_caller *callers; /* sluice.callers */
    size_t n_callers;
    struct config_routing routing;

    uint64_t health_usec;       /* background_health_checks: how often; 0: never */
    unsigned max_health_checks; /* at a time; 0: as many as there may be */

    struct config_listen *listens; /* none: the defaults */
    size_t n_listens;

    /* sluice: */
    size_t max_connections, max_connections_per_uid, max_calls_per_connection;
    /* the last: bodies and collected answers of all connections together */
    size_t max_head_bytes, max_body_bytes, max_buffered_bytes;
    uint64_t head_usec, body_usec, keep_alive_usec, stalled_reader_usec, drain_usec, heartbeat_usec;
    uint64_t idle_exit_usec; /* 0: never */
    uint64_t connect_usec, first_byte_usec, gap_usec;
    unsigned slots;
    size_t max_queued;
    size_t max_queued_bytes;
    size_t max_queued_caller;
    size_t max_queued_class[_CLASS_MAX]; /* 0: as many as there is room for */
    uint64_t max_wait_usec[_CLASS_MAX], patience_usec[_CLASS_MAX];
    char *kernel_root;    /* prefix of /proc and /sys for the readers of memory; "" */
    char *pressure_group; /* of the model server: "auto", "none", a unit's name or a path */
    bool pressure_enabled;
    bool memory_enabled, pins_threads;
    size_t memory_reserve_bytes, prompt_cache_bytes; /* or CONFIG_SIZE_AUTO */
    struct spill_rules spill;
    char **allowed_hosts; /* beside the loopback names */
    size_t n_allowed_hosts;
    char **allowed_origins;
    size_t n_allowed_origins;

    char **files; /* owned, with its strings: those of include, as messages show them */
    size_t n_files;
    struct finding *findings; /* in the order of the files */
    size_t n_findings;
};

/* A configuration with every default and no deployment. NULL: out of memory. */
struct config *config_new(void);
struct config *config_free(struct config *c); /* accepts NULL, returns NULL; wipes keys */

/*
 * A copy without control characters, C1 ones included: a terminal would obey them. NULL: out of
 * memory.
 */
char *config_printable(const char *text);

/* Adds a finding; the texts are copied. 0 or -ENOMEM. */
int config_add_finding(struct config *c, enum finding_kind kind, bool is_fatal,
                       struct finding_place place, const char *path, const char *text) MUST_USE;
/* The name of a finding's file; path: that of the configuration itself. */
const char *config_finding_file(const struct config *c, const struct finding *f, const char *path);
/* Puts the findings into the order of the files; those of one place stay as they came. */
void config_sort_findings(struct config *c);
bool config_is_fatal(const struct config *c);
/* Any FINDING_ERROR at all? */
bool config_has_errors(const struct config *c);
const char *finding_kind_name(enum finding_kind kind);

/*
 * Reads a file. 0: *ret is a usable configuration (some deployments may be off). -EBADMSG: it is
 * not; *ret is still set, for its findings. Other -errno: the file cannot be read (*ret unset).
 * Environment variables are read through getenv().
 */
int config_load(const char *path, struct config **ret) MUST_USE;

/*
 * The same from the text of the file at path, beside which included files are looked for; NULL:
 * there is no file, and none can be included. 0, -EBADMSG (with *ret) or -ENOMEM (without). Both in
 * config_sections.c.
 */
int config_parse_file(struct str text, const char *path, struct config **ret) MUST_USE;
int config_parse(struct str text, struct config **ret) MUST_USE;

/*
 * "rpc=unix:/path", "http=unix:/path", "http=tcp:127.0.0.1:4000", "http=tcp:[::1]:4000": the form
 * of sluice.listen and of --listen. NULL, or what is wrong with it (static). *ret_name and
 * *ret_address are the two sides of the =.
 */
const char *config_split_listen(struct str text, struct str *ret_name, struct str *ret_address);

/*
 * The findings as "FILE:LINE:COLUMN: kind: path: text" lines on a stream; verbose: the exact ones
 * too.
 */
void config_print_findings(const struct config *c, const char *path, bool verbose, FILE *out);
