#pragma once
/*
 * Secrets that the service manager hands over as files: LoadCredential=NAME:/path of a unit puts
 * them into $CREDENTIALS_DIRECTORY (systemd.exec(5), "Credentials"), readable by the service alone.
 * Where a file NAME is there it stands for the variable NAME and goes before the environment, which
 * children inherit and others can read in /proc.
 *
 * A credential that is there and cannot be used is an error, never a reason to look elsewhere: what
 * was meant to be that secret would then be another one, or none.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

#define CREDENTIALS_DIRECTORY_VARIABLE "CREDENTIALS_DIRECTORY"
/* of one; keys are far shorter, certificates with their chain are not */
#define CREDENTIAL_MAX_BYTES (64 * 1024)
/* of all that one configuration names */
#define CREDENTIALS_MAX_TOTAL_BYTES (1024 * 1024)

struct credential;

/* What one reading of a configuration has seen. Zero-initialise; each file is read once. */
struct credentials {
    struct credential *first; /* owned */
    size_t total_bytes;
    bool is_out_of_memory; /* one could not be kept */
};

/* Overwrites and frees all values. */
void credentials_done(struct credentials *c);

/*
 * The credential of that name, without one newline at its end. 0 with *ret_value, which is borrowed
 * until credentials_done(). -ENOENT: there is none, or no directory, or the name is none of a file.
 * Else it is there and cannot be used: -EFBIG, -EINVAL (a NUL byte in it, or no regular file),
 * -ENODATA (empty), -EILSEQ (not UTF-8), -ENOMEM, or what open() said.
 */
int credentials_find(struct credentials *c, const char *name, const char **ret_value) MUST_USE;

/* Those that were asked for and could not be used, in any order. */
void credentials_for_each_unusable(const struct credentials *c,
                                   void (*fn)(void *ctx, const char *name, const char *why),
                                   void *ctx);

/*
 * Where there is a directory of credentials: no core dumps, and no reading of this process by
 * others of its user (prctl(2), PR_SET_DUMPABLE). Not in builds with sanitizers (SLUICE_SANITIZED):
 * their leak check traces the process.
 */
void credentials_protect_process(void);
