#pragma once
/* Command line of one command: a table says what there is, and the same table writes --help. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli.h"

enum option_type {
    OPTION_FLAG,     /* bool */
    OPTION_DOCUMENT, /* bool: --json, which makes failures one JSON document as well */
    OPTION_EVENTS,   /* bool: --json, where each line is an event */
    OPTION_TEXT,     /* const char *, borrowed from argv */
    OPTION_INT,      /* struct int_option */
    OPTION_COUNT,    /* struct int_option; from 1 to what the RPC holds */
    OPTION_DOUBLE,   /* struct double_option */
    OPTION_DURATION, /* uint64_t microseconds, from "30s", "2min", "500ms" */
    OPTION_CLASS     /* int, enum sluice_class */
};

struct int_option {
    int64_t value;
    bool is_set;
};

struct double_option {
    double value;
    bool is_set;
};

struct option_row {
    const char *name;
    char letter; /* 0: none */
    enum option_type type;
    const char *argument; /* "N"; NULL for flags */
    const char *help;
    size_t offset; /* of the value in the command's struct */
};

/* What every command has. First member of each command's struct, so that OPTIONS_COMMON fits. */
struct common_options {
    const char *socket;
    bool is_json;
    int first_word; /* index in argv of the first word that is no option */
};
#define OPTION_SOCKET                                                                              \
    {"socket",                                                                                     \
     's',                                                                                          \
     OPTION_TEXT,                                                                                  \
     "PATH",                                                                                       \
     "the daemon's socket (default: $SLUICE_SOCKET, then the usual places)",                       \
     offsetof(struct common_options, socket)}
#define OPTION_JSON                                                                                \
    {"json", 'j', OPTION_DOCUMENT, NULL, "print JSON", offsetof(struct common_options, is_json)}
#define OPTION_JSON_EVENTS                                                                         \
    {"json",                                                                                       \
     'j',                                                                                          \
     OPTION_EVENTS,                                                                                \
     NULL,                                                                                         \
     "print each event as a line of JSON",                                                         \
     offsetof(struct common_options, is_json)}

/* What every command has that asks a model. First member as well. */
struct ask_options {
    struct common_options common;
    const char *model;
    uint64_t timeout_usec; /* 0: none */
    int class_of_service;  /* enum sluice_class; 0: not said */
};
#define OPTION_ASK_MODEL                                                                           \
    {"model",                                                                                      \
     'm',                                                                                          \
     OPTION_TEXT,                                                                                  \
     "NAME",                                                                                       \
     "the model (default: $SLUICE_MODEL, then the first of the list)",                             \
     offsetof(struct ask_options, model)}
#define OPTION_ASK_CLASS                                                                           \
    {"class",                                                                                      \
     'c',                                                                                          \
     OPTION_CLASS,                                                                                 \
     "CLASS",                                                                                      \
     "who waits: interactive (default), batch or background",                                      \
     offsetof(struct ask_options, class_of_service)}
#define OPTION_ASK_TIMEOUT                                                                         \
    {"timeout",                                                                                    \
     0,                                                                                            \
     OPTION_DURATION,                                                                              \
     "TIME",                                                                                       \
     "give up after this long (30s, 2min)",                                                        \
     offsetof(struct ask_options, timeout_usec)}

#define OPTIONS_GO_ON (-1)

/* Reads argv into values (zeroed by the caller). rows end with one without a name. OPTIONS_GO_ON,
 * or the exit code when --help was printed or something is wrong. */
int options_parse(const struct command *command, const struct option_row *rows, int argc,
                  char **argv, struct common_options *values);

/* Are there from min to max words behind the options? OPTIONS_GO_ON, or the exit code after saying
 * what is missing or too much. */
int options_want_words(const struct command *command, int argc, char **argv,
                       const struct common_options *values, int min, int max);

/* --json was given before the command: it counts for whichever command follows. */
void options_set_json(void);
bool options_is_json(void);

/* The socket that was named before the command ("sluicectl --socket PATH chat"); NULL: none.
 * Default of every command. */
void options_set_socket(const char *path);
