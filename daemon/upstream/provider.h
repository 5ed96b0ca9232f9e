#pragma once
/*
 * What makes a kind of model server a provider: a row in providers.c that turns the parameters of a
 * deployment into a backend. Adding one is one file, one row, one test (docs/adding-a-provider.md).
 */
#include <stdint.h>

#include "base/kv.h"
#include "base/macros.h"
#include "core/ports.h"

struct curl_loop;
struct upstreams;

/* One deployment, as the configuration has it. All borrowed: a backend copies what it keeps. */
struct provider_params {
    const char *id;    /* of the deployment, for messages */
    const char *model; /* the upstream's name for the model */
    /* "http://host:port[/path]", "unix:/path"; NULL for providers without a server */
    const char *api_base;
    const char *api_key;      /* or NULL */
    const struct kv *headers; /* name -> value, sent with every request; or NULL */
    const struct kv *body;    /* name -> JSON text: wins over what the client sends; or NULL */
    const char *ca_file;      /* of the certificates to trust instead of the system's; or NULL */
    const struct kv *options; /* name -> JSON text; uninterpreted until here */
    /* drop_params: what the provider cannot say is left out, else refused */
    bool drops_params;
    /* additional_drop_params, never sent: names of members, and paths into them (wire/json_cut.h) */
    char *const *dropped_params;
    size_t n_dropped_params;
    uint64_t connect_usec; /* time to get a connection */
    /* from sending to the first byte of the answer: load and prompt included */
    uint64_t first_byte_usec;
    uint64_t gap_usec;   /* between bytes of a started answer */
    uint64_t total_usec; /* for the whole exchange; 0: no limit */
    uint64_t check_usec; /* time for a check of its health; 0: it is not checked */
};

struct provider_ops {
    const char *name;
    /* 0 or -errno; -EINVAL: these parameters do not make sense for the provider. */
    int (*backend_new)(struct upstreams *up, const struct provider_params *params,
                       struct backend **ret);
};

extern const struct provider_ops provider_ollama;
extern const struct provider_ops provider_openai;
extern const struct provider_ops provider_mock;

/* The provider of that name, or NULL. */
const struct provider_ops *provider_find(const char *name);
