/*
 * sluicectl check-config: sluiced knows what its configuration means, so it is asked: this process
 * becomes `sluiced --check-config`, and output and exit status are that one's own.
 *
 * The sluiced beside this program comes first (../sbin, then the same folder), so that a build tree
 * or an installation below a prefix of its own checks with its own version; then PATH, where /sbin
 * is missing for most users; then the usual places.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "options.h"

#define PATH_MAX_BYTES 4096 /* PATH_MAX, limits.h(0p) */

struct check_options {
    struct common_options common;
    bool is_strict;
};

static const struct option_row check_rows[] = {
    {"strict", 0, OPTION_FLAG, NULL,
     "fail also where a key is not read exactly as LiteLLM reads it",
     offsetof(struct check_options, is_strict)},
    OPTION_JSON,
    {.name = NULL},
};

/* folder (n bytes) + "/" + name: is that a program? Then it is in path. */
static bool is_program(char *path, const char *folder, size_t n, const char *name)
{
    struct stat st;
    int length = snprintf(path, PATH_MAX_BYTES, "%.*s/%s", (int) n, folder, name);

    return length > 0 && length < PATH_MAX_BYTES && stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
           access(path, X_OK) == 0;
}

static bool find_beside_us(char *path)
{
    char self[PATH_MAX_BYTES];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n <= 0) {
        return false;
    }
    self[n] = '\0';

    size_t folder = (size_t) (strrchr(self, '/') - self);

    return is_program(path, self, folder, "../sbin/sluiced") ||
           is_program(path, self, folder, "sluiced");
}

/* In the folders of PATH; an empty one, which means the current folder, is left out. */
static bool find_in_path(char *path)
{
    const char *at = getenv("PATH");

    while (at && *at) {
        size_t n = strcspn(at, ":");

        if (n > 0 && is_program(path, at, n, "sluiced")) {
            return true;
        }
        at += n + (at[n] == ':');
    }
    return false;
}

static bool find_in_usual_places(char *path)
{
    static const char *const folders[] = {"/usr/local/sbin", "/usr/sbin"};

    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        if (is_program(path, folders[i], strlen(folders[i]), "sluiced")) {
            return true;
        }
    }
    return false;
}

int run_check_config(const struct command *command, int argc, char **argv)
{
    struct check_options options = {.is_strict = false};
    char sluiced[PATH_MAX_BYTES], file[PATH_MAX_BYTES];
    char check[] = "--check-config", strict[] = "--strict", json[] = "--json";
    char *words[5] = {sluiced, check};
    size_t n = 2;
    int code = options_parse(command, check_rows, argc, argv, &options.common);

    code = code == OPTIONS_GO_ON ? options_want_words(command, argc, argv, &options.common, 0, 1)
                                 : code;
    if (code != OPTIONS_GO_ON) {
        return code;
    }
    if (options.common.first_word < argc) {
        /* in one word: a file may be called --help */
        (void) snprintf(file, sizeof(file), "%s=%s", check, argv[options.common.first_word]);
        words[1] = file;
    }
    if (options.is_strict) {
        words[n++] = strict;
    }
    if (options.common.is_json) {
        words[n++] = json;
    }
    words[n] = NULL;
    if (!find_beside_us(sluiced) && !find_in_path(sluiced) && !find_in_usual_places(sluiced)) {
        return complain_with(EXIT_UNREACHABLE, "no_daemon",
                             "check-config: sluiced, which checks, is not installed here: neither "
                             "beside sluicectl nor in PATH nor in /usr/sbin");
    }
    (void) execv(sluiced, words);
    return complain_with(EXIT_UNREACHABLE, "no_daemon", "check-config: %s: %s", sluiced,
                         strerror(errno));
}
