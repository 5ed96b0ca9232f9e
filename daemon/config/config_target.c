/*
 * The target of a deployment. One rule stands above LiteLLM's: prompts and keys go where the file
 * says, or nowhere.
 *
 *   api_base written but empty, or os.environ/NAME unset   off; LiteLLM would use the vendor's
 *                                                          public address
 *   api_base mistyped (api_bse)                            off (config_deployment.c)
 *   a vendor's key in the environment, api_base elsewhere  not sent there; LiteLLM would
 *   no key for a vendor that wants one                     off; LiteLLM would try
 *   an Ollama name that ends in cloud                      off: Ollama would forward the prompt to
 *                                                          ollama.com
 *   user:password@ in a URL                                off, and never repeated in a message
 *
 * A key from the environment belongs to a provider. It is sent to that provider's own address, or,
 * for servers that have none (hosted_vllm, lm_studio ...), to the api_base of the deployment. A key
 * that the deployment writes itself goes where the deployment points.
 *
 * Messages name keys, variables and providers; of values only model names.
 */
#include "config/config_target.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "base/num.h"
#include "base/own_host.h"
#include "config/config_options.h"
#include "wire/ollama_names.h"

#define KEY_MAX_BYTES      4096
#define BASE_MAX_BYTES     2048
#define VARIABLE_MAX_BYTES 64 /* of a name in the provider table */

/* ---------------------------------------------------------------- base URLs */

static size_t scheme_len(struct str s)
{
    return s.len >= 7 && strncasecmp(s.ptr, "http://", 7) == 0    ? 7
           : s.len >= 8 && strncasecmp(s.ptr, "https://", 8) == 0 ? 8
                                                                  : 0;
}

/* Where the path begins, or the end. */
static size_t authority_end(struct str s)
{
    size_t i = scheme_len(s);

    while (i < s.len && s.ptr[i] != '/') {
        i++;
    }
    return i;
}

static bool is_host(struct str host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr ignored;

    if (host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']') {
        if (host.len - 2 >= sizeof text) {
            return false;
        }
        memcpy(text, host.ptr + 1, host.len - 2);
        text[host.len - 2] = '\0';
        return inet_pton(AF_INET6, text, &ignored) == 1;
    }
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '.' || c == '_')) {
            return false;
        }
    }
    return host.len > 0 && host.len <= 253;
}

static const char *check_authority(struct str authority)
{
    const char *bracket = memrchr(authority.ptr, ']', authority.len);
    const char *colon = memrchr(authority.ptr, ':', authority.len);
    struct str host = authority;
    uint64_t port;

    if (memchr(authority.ptr, '@', authority.len)) {
        return "no user or password belongs into it: use api_key";
    }
    if (colon && (!bracket || colon > bracket)) {
        host.len = (size_t) (colon - authority.ptr);
        if (num_parse_u64((struct str) {colon + 1, authority.len - host.len - 1}, &port) < 0 ||
            port < 1 || port > 65535) {
            return "the port must be a number from 1 to 65535";
        }
    }
    return is_host(host) ? NULL : "the host is not a name or an address";
}

/* "/path/to.sock", and where the server is not at the root of its URLs ":/prefix" behind it */
static const char *check_unix(struct str s)
{
    const char *colon = s.len > 0 ? memchr(s.ptr, ':', s.len) : NULL;
    size_t n = colon ? (size_t) (colon - s.ptr) : s.len;

    if (n < 2 || s.ptr[0] != '/' || (colon && (s.len == n + 1 || colon[1] != '/'))) {
        return "expected unix:/PATH or unix:/PATH:/PREFIX";
    }
    return n < sizeof(((struct sockaddr_un *) 0)->sun_path) ? NULL
                                                            : "the path of the socket is too long";
}

const char *config_target_check_base(struct str base)
{
    if (base.len > BASE_MAX_BYTES) {
        return "it is longer than 2048 bytes";
    }
    for (size_t i = 0; i < base.len; i++) {
        unsigned char c = (unsigned char) base.ptr[i];

        if (c <= ' ' || c >= 0x7f || strchr("\"<>\\^`{|}", c)) {
            return "it holds a blank or another character that no URL has";
        }
    }
    if (str_has_prefix(base, "unix:")) {
        return check_unix((struct str) {base.ptr + 5, base.len - 5});
    }
    if (scheme_len(base) == 0) {
        return "expected http://HOST, https://HOST or unix:/PATH";
    }
    if (memchr(base.ptr, '?', base.len) || memchr(base.ptr, '#', base.len)) {
        return "no query (?) and no fragment (#) belongs into it";
    }

    size_t start = scheme_len(base);

    return check_authority((struct str) {base.ptr + start, authority_end(base) - start});
}

static struct str trim_slashes(struct str s)
{
    while (s.len > 0 && s.ptr[s.len - 1] == '/') {
        s.len--;
    }
    return s;
}

/* Are both at one scheme, host and port? */
static bool is_same_place(struct str a, struct str b)
{
    size_t n = authority_end(a);

    return n == authority_end(b) && scheme_len(a) > 0 && strncasecmp(a.ptr, b.ptr, n) == 0;
}

bool config_target_is_here(const char *base)
{
    return str_has_prefix(str_from(base), "unix:") || own_host_of_url(base);
}

static void keep_base(struct config_entry *e, struct str base, const char *suffix)
{
    char text[BASE_MAX_BYTES + 16];
    /* RFC 3986 section 6.2.2.1 */
    size_t n_to_lower = scheme_len(base) > 0 ? authority_end(base) : 0;

    (void) snprintf(text, sizeof text, "%.*s%s", STR_ARG(base), suffix);
    for (size_t i = 0; i < n_to_lower; i++) {
        text[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char) (text[i] - 'A' + 'a') : text[i];
    }
    e->deployment->api_base = config_reader_dup(e->reader, text);
}

/* What has to be put behind a base that its server's documentation writes without /v1 as well. */
static const char *missing_suffix(const struct config_provider *p, struct str base)
{
    bool is_unix = scheme_len(base) == 0;
    bool is_bare =
        is_unix ? !memchr(base.ptr + 5, ':', base.len - 5) : authority_end(base) == base.len;

    return !p->wants_v1 || !is_bare ? "" : is_unix ? ":/v1" : "/v1";
}

/* Ollama's own API is at the root, whatever way in LiteLLM's users have written behind it. */
static struct str cut_ollama_path(struct config_entry *e, const struct config_node *at,
                                  struct str base)
{
    static const char *const ollama_paths[] = {"/v1", "/api/chat", "/api/generate", "/api"};
    size_t n = authority_end(base);
    struct str path = {base.ptr + n, base.len - n};

    for (size_t i = 0; i < ARRAY_LEN(ollama_paths) && scheme_len(base) > 0; i++) {
        if (str_is(path, ollama_paths[i])) {
            config_reader_note(e->reader, at, FINDING_APPROXIMATED,
                               "used without %s: Ollama's own API is spoken", ollama_paths[i]);
            base.len = n;
        }
    }
    return base;
}

/* at: where the base was written, or the parameters when it comes from a variable. */
static void adapt_base(struct config_entry *e, const struct config_node *at, struct str base)
{
    const char *suffix = missing_suffix(e->provider, base);

    if (strcmp(e->provider->provider, "ollama") == 0) {
        base = cut_ollama_path(e, at, base);
    }
    if (suffix[0]) {
        config_reader_note(e->reader, at, FINDING_APPROXIMATED,
                           "used with %s behind it: that is where such a server listens", suffix);
    }
    keep_base(e, base, suffix);
}

/* The first of several variables that is set; ret_name says which. */
static const char *first_variable(const struct config_reader *r, const char *names,
                                  char ret_name[VARIABLE_MAX_BYTES])
{
    while (*names) {
        size_t n = strcspn(names, " ");
        const char *value;

        (void) snprintf(ret_name, VARIABLE_MAX_BYTES, "%.*s", (int) n, names);
        value = config_reader_variable(r, ret_name);
        if (value) {
            return value;
        }
        names += n + (names[n] == ' ' ? 1 : 0);
    }
    return NULL;
}

/* Nothing is written: the provider's variable, else its own address. */
static void read_implied_base(struct config_entry *e)
{
    char name[VARIABLE_MAX_BYTES];
    const char *value = first_variable(e->reader, e->provider->base_variables, name);
    const char *problem = value ? config_target_check_base(trim_slashes(str_from(value))) : NULL;

    if (problem) {
        config_deployment_off(e, e->params, "the variable %s is not a base URL: %s", name, problem);
    } else if (value) {
        adapt_base(e, e->params, trim_slashes(str_from(value)));
    } else if (e->provider->base) {
        keep_base(e, str_from(e->provider->base), "");
    } else {
        config_deployment_off(e, e->params,
                              "api_base is missing, and %s/ has no address of its own",
                              e->provider->prefix);
    }
}

static void read_base(struct config_entry *e)
{
    const struct config_node *base = config_deployment_param(e, "api_base");
    const struct config_node *alias = config_deployment_param(e, "base_url");
    const struct config_node *at = base ? base : alias;

    if (base && alias) {
        config_deployment_off(e, alias, "api_base and base_url are both there; write one of them");
        return;
    }
    if (!at) {
        read_implied_base(e);
        return;
    }
    if (at->is_unresolved) {
        return; /* reported, and off */
    }
    if (at->kind != NODE_STRING || at->text[0] == '\0') {
        config_deployment_off(e, at, "expected a URL, found %s; leave the key out for the default",
                              at->kind == NODE_STRING ? "an empty string"
                                                      : config_node_kind_name(at->kind));
        return;
    }

    struct str url = trim_slashes(str_from(at->text));
    const char *problem = config_target_check_base(url);

    if (problem) {
        config_deployment_off(e, at, "not a base URL: %s", problem);
        return;
    }
    adapt_base(e, at, url);
}

/* ---------------------------------------------------------------- keys */

static bool is_usable_key(const char *key)
{
    size_t n = strlen(key);

    for (size_t i = 0; i < n; i++) {
        if (key[i] <= ' ' || key[i] >= 0x7f) { /* a line break would end the header */
            return false;
        }
    }
    return n <= KEY_MAX_BYTES;
}

/* Has it an address of its own that is not on this device, and wants a key? */
static bool is_vendors(const struct config_provider *p)
{
    return p->base && str_has_prefix(str_from(p->base), "https://");
}

/* The provider's own variable, if the calls go where that key belongs. */
static void read_implied_key(struct config_entry *e)
{
    const struct config_provider *p = e->provider;
    char name[VARIABLE_MAX_BYTES] = "";
    const char *value = first_variable(e->reader, p->key_variables, name);
    const char *base = e->deployment->api_base;
    bool is_vendor = is_vendors(p);
    bool is_at_home = base && p->base && is_same_place(str_from(base), str_from(p->base));
    bool is_written =
        config_deployment_param(e, "api_base") || config_deployment_param(e, "base_url");

    if (is_vendor && is_written && !is_at_home) {
        if (value) {
            config_reader_note(e->reader, e->params, FINDING_APPROXIMATED,
                               "%s is not sent to this api_base, as it is not %s's own; write "
                               "api_key if it should be",
                               name, p->prefix);
        }
        return;
    }
    if (value && !is_usable_key(value)) {
        config_deployment_off(e, e->params,
                              "the variable %s holds a blank, a line break or another character "
                              "that no key has",
                              name);
    } else if (value) {
        e->deployment->api_key = config_reader_dup(e->reader, value);
    } else if (is_vendor && is_at_home) {
        config_deployment_off(e, e->params, "api_key is missing, and %.*s is not set",
                              (int) strcspn(p->key_variables, " "), p->key_variables);
    }
}

static void read_key(struct config_entry *e)
{
    const struct config_node *key = config_deployment_param(e, "api_key");

    if (key && key->is_unresolved) {
        return; /* reported, and off */
    }
    if (config_reader_is_unset(key) || (key->kind == NODE_STRING && key->text[0] == '\0')) {
        read_implied_key(e); /* an empty key is no key, for LiteLLM too */
    } else if (key->kind != NODE_STRING) {
        config_deployment_off(e, key, "expected a string, found %s; quote it",
                              config_node_kind_name(key->kind));
    } else if (!is_usable_key(key->text)) {
        config_deployment_off(e, key, "a blank, a line break or another character that no key has");
    } else {
        e->deployment->api_key = config_reader_dup(e->reader, key->text);
    }
}

bool config_target_is_at_hand(const struct config_reader *r, const struct config_provider *p)
{
    char name[VARIABLE_MAX_BYTES];

    return is_vendors(p) ? first_variable(r, p->key_variables, name) != NULL
                         : p->base || first_variable(r, p->base_variables, name);
}

/* ---------------------------------------------------------------- provider and model */

static void not_served(struct config_entry *e, const struct config_node *at, struct str prefix)
{
    char name[64];
    const struct config_provider *row = config_provider_find(prefix);
    const char *near;

    prefix = at->variable ? str_from(config_node_shown(at)) : prefix;
    (void) snprintf(name, sizeof name, "%.*s", STR_ARG(prefix));
    near = config_provider_suggest(name);
    if (row) {
        config_deployment_off(e, at, "provider \"%s\" is not served: %s", name, row->text);
    } else if (near) {
        config_deployment_off(e, at, "provider \"%s\" is not known; did you mean \"%s\"?", name,
                              near);
    } else {
        config_deployment_off(
            e, at,
            "provider \"%s\" is not known; a server that speaks the OpenAI API is "
            "openai/MODEL with its api_base",
            name);
    }
}

/*
 * The provider of "prefix/model", of custom_llm_provider, or of a bare name; *ret_model is what is
 * left. NULL: off, and reported.
 */
static const struct config_provider *
choose_provider(struct config_entry *e, const struct config_node *model, struct str *ret_model)
{
    const struct config_node *custom = config_deployment_param(e, "custom_llm_provider");
    struct str name = str_from(model->text);
    const char *slash = strchr(model->text, '/');
    struct str prefix = {name.ptr, slash ? (size_t) (slash - name.ptr) : 0};
    const struct config_provider *p;

    if (!config_reader_is_unset(custom)) {
        if (custom->kind != NODE_STRING) {
            config_deployment_off(e, custom, "expected a string, found %s",
                                  config_node_kind_name(custom->kind));
            return NULL;
        }
        if (!str_is_equal(prefix, str_from(custom->text))) {
            slash = NULL; /* "org/model" of that provider: the name stays whole */
        }
        prefix = str_from(custom->text);
        model = custom;
    }
    if (e->every) {
        *ret_model = name;
        return e->every;
    }
    p = prefix.len > 0 ? config_provider_find(prefix) : config_provider_of_bare(name);
    if (!p && prefix.len == 0 && str_is(name, "*")) {
        config_deployment_off(
            e, model,
            "the provider must be named: ollama/*, or openai/* with the api_base of "
            "its server; all of them can only be meant by a model_name of * without an api_base "
            "and an api_key, which would go to each");
        return NULL;
    }
    if (!p && prefix.len == 0) {
        config_deployment_off(e, model,
                              "\"%.100s\" names no provider; write ollama/%.100s, or "
                              "openai/%.100s with the api_base of its server",
                              config_node_shown(model), config_node_shown(model),
                              config_node_shown(model));
        return NULL;
    }
    if (!p || !p->provider) {
        not_served(e, model, prefix);
        return NULL;
    }
    *ret_model = slash ? str_from(slash + 1) : name;
    return p;
}

/* The answer is in the file: no server, and no prefix that must be known. */
static void read_mock(struct config_entry *e, const struct config_node *mock,
                      const struct config_node *model)
{
    const char *slash = strchr(model->text, '/');

    if (mock->kind != NODE_STRING) {
        config_deployment_off(e, mock, "expected a string, found %s; quote it",
                              config_node_kind_name(mock->kind));
    } else {
        config_option_set(e, mock);
    }
    e->deployment->provider = config_reader_dup(e->reader, "mock");
    e->deployment->model = config_reader_dup(e->reader, slash ? slash + 1 : model->text);
}

/* A model that is a name; NULL: off, and reported. */
static const struct config_node *read_model(struct config_entry *e)
{
    const struct config_node *model = config_deployment_param(e, "model");

    if (config_reader_is_unset(model)) {
        config_deployment_off(e, e->params, "model is missing");
        return NULL;
    }
    if (model->is_unresolved) {
        return NULL; /* reported, and off */
    }
    if (model->kind != NODE_STRING) {
        config_deployment_off(e, model, "expected a string, found %s; quote it",
                              config_node_kind_name(model->kind));
        return NULL;
    }

    size_t n = strlen(model->text);

    for (size_t i = 0; i < n; i++) {
        if ((unsigned char) model->text[i] <= ' ' || model->text[i] == 0x7f) {
            config_deployment_off(e, model, "a blank or a control character in a model name");
            return NULL;
        }
    }
    if (n == 0 || n > REQUEST_MODEL_MAX || model->text[n - 1] == '/') {
        config_deployment_off(e, model, "expected PROVIDER/MODEL of at most %d bytes",
                              REQUEST_MODEL_MAX);
        return NULL;
    }
    return model;
}

static size_t count_stars(const char *text)
{
    size_t n = 0;

    for (; *text; text++) {
        n += *text == '*' ? 1 : 0;
    }
    return n;
}

void config_target_read(struct config_entry *e)
{
    const struct config_node *model = read_model(e);
    const struct config_node *mock = config_deployment_param(e, "mock_response");
    struct str name;

    if (!model) {
        return;
    }
    /* of "*" the name says which provider it is for */
    e->deployment->litellm_model =
        config_reader_dup(e->reader, e->every ? e->deployment->model_name : model->text);
    if (!config_reader_is_unset(mock)) {
        read_mock(e, mock, model);
        return;
    }
    e->provider = choose_provider(e, model, &name);
    if (!e->provider) {
        return;
    }
    e->deployment->provider = config_reader_dup(e->reader, e->provider->provider);
    e->deployment->model = config_reader_dup(e->reader, name.ptr); /* to the end of the text */
    if (count_stars(name.ptr) > count_stars(e->deployment->model_name)) {
        config_deployment_off(
            e, model,
            "a * here stands for what the one in model_name stands for, and there "
            "%s",
            count_stars(e->deployment->model_name) == 0 ? "is none" : "are fewer");
    } else if (strcmp(e->provider->provider, "ollama") == 0 && ollama_name_is_cloud(name)) {
        config_deployment_off(e, model,
                              "Ollama would forward this model's prompts to ollama.com; that is "
                              "not done here");
    }
    if (e->provider->text[0]) {
        config_reader_note(e->reader, model, FINDING_APPROXIMATED, "%s", e->provider->text);
    }
    read_base(e);
    read_key(e);
}
