/*
 * sluiced: the command line. Everything else is server.c.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/num.h"
#include "config/config.h"
#include "config/config_check.h"
#include "credentials.h"
#include "server.h"

#define DEFAULT_CONFIG "/etc/sluice/sluice.yaml"
#define EXIT_USAGE     2

static const char usage[] =
    "Usage: sluiced [OPTION]...\n"
    "One gateway on this device for the language models that it can reach.\n"
    "\n"
    "  -c, --config FILE          configuration, in LiteLLM's format (default: $CONFIG_FILE_PATH,\n"
    "                             else " DEFAULT_CONFIG ")\n"
    "      --check-config [FILE]  say what every key of the file does here, and exit: 0 if all of it\n"
    "                             is served, 1 if anything in it is an error or unsupported\n"
    "      --strict               with --check-config: 1 also where a key does something near and\n"
    "                             not exactly what it does in LiteLLM\n"
    "      --json                 with --check-config: one JSON document\n"
    "      --host HOST            address of the HTTP port (default: loopback)\n"
    "      --port PORT            HTTP port (default: 4000)\n"
    "      --listen NAME=ADDRESS  rpc=unix:PATH, http=unix:PATH, http=tcp:HOST:PORT; repeatable; replaces\n"
    "                             the defaults of that name\n"
    "      --idle-exit DURATION   leave after that long without connections and calls, such as 5m; off:\n"
    "                             never. Only with sockets passed by systemd (default: sluice.idle_exit)\n"
    "      --credentials-dir DIR  where os.environ/NAME is looked up first, as file NAME (default:\n"
    "                             $CREDENTIALS_DIRECTORY, which systemd sets)\n"
    "      --log-format FORMAT    auto, text, json or journal (default: auto)\n"
    "      --log-level LEVEL      error, warning, notice, info or debug (default: info)\n"
    "  -h, --help                 this text\n"
    "  -V, --version              the version\n"
    "\n"
    "Signals: SIGHUP reads the configuration again, SIGTERM finishes running calls and stops,\n"
    "SIGUSR1 writes the state to the log.\n";

enum option_code {
    OPT_CHECK = 256,
    OPT_STRICT,
    OPT_JSON,
    OPT_HOST,
    OPT_PORT,
    OPT_LISTEN,
    OPT_IDLE_EXIT,
    OPT_CREDENTIALS,
    OPT_LOG_FORMAT,
    OPT_LOG_LEVEL
};

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"check-config", optional_argument, NULL, OPT_CHECK},
    {"strict", no_argument, NULL, OPT_STRICT},
    {"json", no_argument, NULL, OPT_JSON},
    {"host", required_argument, NULL, OPT_HOST},
    {"port", required_argument, NULL, OPT_PORT},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"idle-exit", required_argument, NULL, OPT_IDLE_EXIT},
    {"credentials-dir", required_argument, NULL, OPT_CREDENTIALS},
    {"log-format", required_argument, NULL, OPT_LOG_FORMAT},
    {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {0},
};

struct command {
    struct server_options server;
    enum log_format format;
    enum log_level level;
    bool is_check;
    struct config_check check;
};

struct word {
    const char *text;
    int value;
};

static const struct word formats[] = {{"auto", LOG_FORMAT_AUTO},
                                      {"text", LOG_FORMAT_TEXT},
                                      {"json", LOG_FORMAT_JSON},
                                      {"journal", LOG_FORMAT_JOURNAL}};
static const struct word levels[] = {{"error", LOG_LEVEL_ERROR},
                                     {"warning", LOG_LEVEL_WARNING},
                                     {"notice", LOG_LEVEL_NOTICE},
                                     {"info", LOG_LEVEL_INFO},
                                     {"debug", LOG_LEVEL_DEBUG}};

static bool find_word(const struct word *words, size_t n, const char *text, int *ret_value)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(words[i].text, text) == 0) {
            *ret_value = words[i].value;
            return true;
        }
    }
    return false;
}

static bool usage_error(const char *what, const char *value)
{
    fprintf(stderr, "sluiced: %s: \"%s\"; `sluiced --help` lists the options\n", what, value);
    return false;
}

static bool add_listen(struct server_options *o, char *argument)
{
    struct str name, address;
    const char *problem = config_split_listen(str_from(argument), &name, &address);

    if (problem || o->n_listens == SERVER_MAX_LISTENS) {
        return usage_error(problem ? problem : "too many --listen options at", argument);
    }
    argument[name.len] = '\0';
    o->listens[o->n_listens].name = argument;
    o->listens[o->n_listens].address = address.ptr;
    o->n_listens++;
    return true;
}

static bool take_idle_exit(struct server_options *o, const char *argument)
{
    o->has_idle_exit = true;
    o->idle_exit_usec = 0;
    if (strcmp(argument, "off") == 0 || strcmp(argument, "0") == 0 ||
        num_parse_duration(str_from(argument), &o->idle_exit_usec) == 0) {
        return true;
    }
    return usage_error("no duration such as 30s or 5m", argument);
}

/* One place says where they are, for this option and for systemd. */
static bool take_credentials(const char *argument)
{
    if (access(argument, X_OK) < 0) {
        return usage_error("no directory of credentials", argument);
    }
    return setenv(CREDENTIALS_DIRECTORY_VARIABLE, argument, 1) == 0 ||
           usage_error("out of memory at", argument);
}

static bool take_option(struct command *c, int code, char *argument)
{
    int value = 0;

    switch (code) {
    case 'c':
        c->server.config_path = argument;
        return true;
    case OPT_CHECK:
        c->is_check = true;
        c->server.config_path = argument ? argument : c->server.config_path;
        return true;
    case OPT_STRICT:
        c->check.is_strict = true;
        return true;
    case OPT_JSON:
        c->check.is_json = true;
        return true;
    case OPT_HOST:
        c->server.host = argument;
        return true;
    case OPT_PORT:
        c->server.port = argument;
        return true;
    case OPT_LISTEN:
        return add_listen(&c->server, argument);
    case OPT_IDLE_EXIT:
        return take_idle_exit(&c->server, argument);
    case OPT_CREDENTIALS:
        return take_credentials(argument);
    case OPT_LOG_FORMAT:
        if (!find_word(formats, ARRAY_LEN(formats), argument, &value)) {
            return usage_error("no such log format", argument);
        }
        c->format = (enum log_format) value;
        return true;
    case OPT_LOG_LEVEL:
        if (!find_word(levels, ARRAY_LEN(levels), argument, &value)) {
            return usage_error("no such log level", argument);
        }
        c->level = (enum log_level) value;
        return true;
    default:
        return false; /* getopt has said what is wrong */
    }
}

static const char *default_config(void)
{
    const char *path = getenv("CONFIG_FILE_PATH");

    return path && path[0] ? path : DEFAULT_CONFIG;
}

int main(int argc, char *argv[])
{
    struct command c = {.server = {.config_path = default_config()},
                        .format = LOG_FORMAT_AUTO,
                        .level = LOG_LEVEL_INFO};
    int code;

    if (fd_open_standard() < 0) {
        return EXIT_FAILURE; /* and there is nobody to tell why */
    }
    while ((code = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
        if (code == 'h') {
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        }
        if (code == 'V') {
            puts("sluiced " SLUICE_VERSION);
            return EXIT_SUCCESS;
        }
        if (!take_option(&c, code, optarg)) {
            return EXIT_USAGE;
        }
    }
    if (c.is_check && optind < argc) {
        c.server.config_path = argv[optind++]; /* --check-config FILE */
    }
    if (optind < argc) {
        (void) usage_error("unexpected argument", argv[optind]);
        return EXIT_USAGE;
    }
    if (c.is_check) {
        c.check.path = c.server.config_path;
        return config_check_run(&c.check, stdout, stderr);
    }
    if (c.check.is_json || c.check.is_strict) {
        (void) usage_error("wanted only with --check-config",
                           c.check.is_json ? "--json" : "--strict");
        return EXIT_USAGE;
    }
    credentials_protect_process();
    log_setup(c.format, c.level, getenv("SLUICE_JOURNAL_SOCKET")); /* for tests: NULL else */
    code = server_run(&c.server);
    (void) log_flush(); /* what journald still does not take is lost */
    return code;
}
