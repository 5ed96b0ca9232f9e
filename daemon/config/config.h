#pragma once
/*
 * The configuration as the composition reads it: an immutable snapshot of one file. config.c
 * builds, frees and describes it; config_sections.c and its helpers fill it. Nothing below the
 * composition includes this header: server.c fills each module's own parameter struct.
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
#include "core/request.h"

enum finding_kind {
    FINDING_EXACT,        /* does what LiteLLM does */
    FINDING_APPROXIMATED, /* does something near; the text says what */
    FINDING_IGNORED,      /* known, without effect here */
    FINDING_UNSUPPORTED,  /* not known, or known and not served */
    FINDING_ERROR,        /* the file, the named deployment or the named key cannot be used */
};

struct finding {
    enum finding_kind kind;
    unsigned line, column; /* from 1; 0: the file as a whole */
    char *path;            /* owned: "model_list[0].litellm_params.api_base" */
    char *text;            /* owned: what, why, and what was probably meant */
    /*
     * the whole configuration is refused (else: that deployment is off, or that mistyped key has no
     * effect)
     */
    bool is_fatal;
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
};

struct config_listen {
    char *name;    /* "rpc", "http" */
    char *address; /* "unix:/path", "tcp:127.0.0.1:4000", "tcp:[::1]:4000" */
};

#define CONFIG_MAX_DEPLOYMENTS 256
#define CONFIG_MAX_FILE_BYTES  (1024 * 1024)
#define CONFIG_MAX_HOSTS       32 /* allowed hosts, and as many origins */
#define CONFIG_MAX_LISTENS     16

struct config {
    struct config_deployment *deployments;
    size_t n_deployments;
    char *master_key; /* general_settings.master_key, or NULL: any key will do on loopback */

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
    uint64_t max_wait_usec[_CLASS_MAX];
    char *kernel_root; /* prefix of /proc for the pressure reader; "" */
    bool pressure_enabled;
    char **allowed_hosts; /* beside the loopback names */
    size_t n_allowed_hosts;
    char **allowed_origins;
    size_t n_allowed_origins;

    struct finding *findings; /* in the order of the file */
    size_t n_findings;
};

/* A configuration with every default and no deployment. NULL: out of memory. */
struct config *config_new(void);
struct config *config_free(struct config *c); /* accepts NULL, returns NULL; wipes keys */

/* Adds a finding; the texts are copied. 0 or -ENOMEM. */
int config_add_finding(struct config *c, enum finding_kind kind, bool is_fatal, unsigned line,
                       unsigned column, const char *path, const char *text) MUST_USE;
/* Puts the findings into the order of the file; those of one place stay as they came. */
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

/* The same from text. 0, -EBADMSG (with *ret) or -ENOMEM (without). In config_sections.c. */
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
