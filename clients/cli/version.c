/*
 * sluicectl version: of this program, of the library that it runs with, and of the daemon where one
 * answers. Without a daemon it is no failure: a program may ask for its own version alone.
 */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "report.h"
#include "term.h"

static const struct option_row version_rows[] = {OPTION_JSON, OPTION_SOCKET, {.name = NULL}};

/* The daemon's version; "" where none answers: a program may ask for its own version without a
 * daemon. */
static void daemon_version(const char *path, char *ret, size_t size)
{
    sluice_client *client;
    sluice_request *req;

    ret[0] = '\0';
    if (sluice_connect(path, &client) < 0) {
        return;
    }
    fault_set_form(FAULT_TEXT); /* what goes wrong from here on belongs on stderr alone */
    if (sluice_info_new(&req) == 0) {
        int code;
        sluice_call *call = session_ask(client, req, "version", &code);

        if (call) {
            (void) snprintf(ret, size, "%s", sluice_call_reply_text(call, SLUICE_FIELD_VERSION));
        }
        session_finish(call);
    }
    sluice_client_free(client);
}

static void print_version(const char *daemon)
{
    uint32_t abi = sluice_abi();

    (void) printf("sluicectl %s\nlibsluice %s (interface %u.%u)\nsluiced   ", SLUICE_VERSION,
                  sluice_version_string(), abi >> 16, abi & 0xffff);
    if (daemon[0] != '\0') {
        term_print(stdout, daemon);
        (void) printf("\n");
    } else {
        (void) printf("not reachable at ");
        term_print(stdout, sluice_connect_error());
        (void) printf("\n");
    }
}

int run_version(const struct command *command, int argc, char **argv)
{
    struct common_options options = {.socket = NULL};
    char daemon[64];
    int code = options_parse(command, version_rows, argc, argv, &options);

    code = code == OPTIONS_GO_ON ? options_want_words(command, argc, argv, &options, 0, 0) : code;
    if (code != OPTIONS_GO_ON) {
        return code;
    }
    daemon_version(options.socket, daemon, sizeof(daemon));
    if (!options.is_json) {
        print_version(daemon);
        return EXIT_OK;
    }

    cJSON *document = json_object();

    json_add_text(document, "sluicectl", SLUICE_VERSION);
    json_add_text(document, "libsluice", sluice_version_string());
    if (daemon[0] != '\0') {
        json_add_text(document, "sluiced", daemon);
    }
    json_print(document);
    return EXIT_OK;
}
