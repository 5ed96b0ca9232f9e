/*
 * sluicectl: the hands on sluiced. Finds the command and runs it; everything else is the commands'.
 *
 * A new command is a row here and a file of its own. Only the public library is used, so that this
 * program is also the first example of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "options.h"

static int run_help(const struct command *command, int argc, char **argv);

const struct command commands[] = {
    {"chat", "[OPTION]... [PROMPT]...", "Ask a model, or hold a conversation with it.", run_chat},
    {"run", "[OPTION]... MODEL [PROMPT]...", "The same, with the model as the first word.",
     run_run},
    {"complete", "[OPTION]... [TEXT]...", "Let a model continue a text.", run_complete},
    {"embed", "[OPTION]... [TEXT]...",
     "Turn texts (arguments, or lines of standard input) into vectors.", run_embed},
    {"rerank", "[OPTION]... QUERY [DOCUMENT]...",
     "Order documents (arguments, or lines of standard input) by their relevance.", run_rerank},
    {"classify", "[OPTION]... [TEXT]...",
     "Show the labels of texts (arguments, or lines of standard input).", run_classify},
    {"models", "[OPTION]...", "List the models.", run_models},
    {"list", "[OPTION]...", "The same as models.", run_models},
    {"ls", "[OPTION]...", "The same as models.", run_models},
    {"show", "[OPTION]... MODEL", "Show the deployments of a model.", run_show},
    {"ps", "[OPTION]...", "List what is in memory or at work.", run_ps},
    {"status", "[OPTION]...", "Show what the daemon is doing.", run_status},
    {"top", "[OPTION]...", "Watch level, headroom, queue, models, callers and speed.", run_top},
    {"explain", "[OPTION]... MODEL|ID",
     "Say why a call would be admitted, queued or refused now, or where one stands.", run_explain},
    {"load", "[OPTION]... MODEL", "Load a model into memory.", run_load},
    {"unload", "[OPTION]... MODEL", "Free the memory of a model.", run_unload},
    {"stop", "[OPTION]... MODEL", "The same as unload.", run_unload},
    {"cancel", "[OPTION]... ID", "End a running or waiting call by its request id.", run_cancel},
    {"reload", "[OPTION]...", "Let the daemon read its configuration again.", run_reload},
    {"drain", "[OPTION]...", "Let the daemon finish what runs, take nothing new, and end.",
     run_drain},
    {"log", "[OPTION]...", "Show the calls that have ended, from the journal.", run_log},
    {"doctor", "[OPTION]...",
     "Look whether this machine is set up well, and say which commands mend it.", run_doctor},
    {"key", "new|hash [OPTION]...", "Make a new random API key, or hash one.", run_key},
    {"check-config", "[OPTION]... [FILE]",
     "Say what each key of a configuration does, and whether it can be used.", run_check_config},
    {"version", "[OPTION]...", "Show the versions of this program, its library and the daemon.",
     run_version},
    {"help", "[COMMAND]", "Explain a command.", run_help},
    {.name = NULL},
};

static const struct command *find_command(const char *name)
{
    for (const struct command *c = commands; c->name; c++) {
        if (strcmp(c->name, name) == 0) {
            return c;
        }
    }
    return NULL;
}

static void print_overview(FILE *f)
{
    (void) fputs("Usage: sluicectl [--socket PATH] [--json] COMMAND [OPTION]... [WORD]...\n\n"
                 "Talks to sluiced, the gateway to language models.\n\nCommands:\n",
                 f);
    for (const struct command *c = commands; c->name; c++) {
        (void) fprintf(f, "  %-13s %s\n", c->name, c->summary);
    }
    (void) fputs(
        "\nsluicectl COMMAND --help explains one.\n\n"
        "Environment: SLUICE_SOCKET (the daemon's socket), SLUICE_MODEL (the model), NO_COLOR.\n"
        "Exit status: 0 done, 1 it failed, 2 bad command line, 3 no daemon, 4 refused for now: try\n"
        "again, 130 interrupted. With --json a failure is {\"error\": {...}} on standard output.\n",
        f);
}

static int unknown_command(const char *name)
{
    return complain_with(EXIT_USAGE, "usage",
                         "there is no command \"%s\"; sluicectl help lists them", name);
}

static int run_help(const struct command *command, int argc, char **argv)
{
    if (argc < 2 || argv[1][0] == '-') {
        print_overview(stdout);
        return EXIT_OK;
    }

    const struct command *about = find_command(argv[1]);
    char name[32], option[] = "--help";

    if (!about) {
        return unknown_command(argv[1]);
    }
    if (about->run == run_help) {
        print_overview(stdout);
        return EXIT_OK;
    }
    (void) snprintf(name, sizeof(name), "%s", about->name);

    char *words[] = {name, option, NULL};

    return about->run(about, 2, words);
}

/* Options before the command. The index of the command, or of argc; negative: -(exit code) - 1. */
static int parse_global(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_overview(stdout);
            return -EXIT_OK - 1;
        }
        if (strcmp(argv[i], "--version") == 0) {
            (void) printf("sluicectl %s\n", SLUICE_VERSION);
            return -EXIT_OK - 1;
        }
        if (strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "-j") == 0) {
            options_set_json();
        } else if (strncmp(argv[i], "--socket=", strlen("--socket=")) == 0) {
            options_set_socket(argv[i] + strlen("--socket="));
        } else if (strcmp(argv[i], "--socket") == 0 || strcmp(argv[i], "-s") == 0) {
            if (++i == argc) {
                return -complain_with(EXIT_USAGE, "usage", "--socket wants a path") - 1;
            }
            options_set_socket(argv[i]);
        } else if (argv[i][0] == '-') {
            return -complain_with(EXIT_USAGE, "usage",
                                  "there is no option %s; sluicectl --help shows what there is",
                                  argv[i]) -
                   1;
        } else {
            return i;
        }
    }
    return argc;
}

/*
 * A closed 0, 1 or 2 would be the number of the daemon's socket: text would go into the protocol.
 * Each that is missing is opened the wrong way round, so that it fails when it is used, and only
 * then.
 */
static bool keep_standard_fds(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        int wrong_way = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;

        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", wrong_way) != fd) {
            return false;
        }
    }
    return true;
}

/* A full disk must not look like success. */
static int check_output(int code)
{
    return output_flush() || code != EXIT_OK ? code : complain_output();
}

int main(int argc, char **argv)
{
    if (!keep_standard_fds()) {
        return EXIT_FAILED;
    }

    int at = parse_global(argc, argv);

    if (at < 0) {
        return -(at + 1);
    }
    if (at == argc && options_is_json()) {
        return complain_with(EXIT_USAGE, "usage", "there is no command; sluicectl help lists them");
    }
    if (at == argc) {
        print_overview(stderr);
        return EXIT_USAGE;
    }

    const struct command *command = find_command(argv[at]);

    if (!command) {
        return unknown_command(argv[at]);
    }
    interrupt_install();
    return check_output(command->run(command, argc - at, argv + at));
}
