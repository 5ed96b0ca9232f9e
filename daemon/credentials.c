/*
 * See credentials.h.
 *
 * A value is read into a buffer of its final size (a buffer that grows leaves copies behind), kept
 * for as long as the configuration is being read, and overwritten. Values never reach a message.
 */
#include "credentials.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/fdio.h"
#include "base/str.h"

struct credential {
    struct credential *next; /* owned */
    char *name, *value;      /* owned; value NULL: it cannot be used */
    int result;              /* of credentials_find() */
};

static struct credential *credential_free(struct credential *c)
{
    if (!c) {
        return NULL;
    }
    if (c->value) {
        explicit_bzero(c->value, strlen(c->value));
    }
    free(c->value);
    free(c->name);
    free(c);
    return NULL;
}

void credentials_done(struct credentials *c)
{
    while (c->first) {
        struct credential *next = c->first->next;

        (void) credential_free(c->first);
        c->first = next;
    }
    *c = (struct credentials) {0};
}

/* A name comes from a file that others may have written: it must not lead out of the directory. */
static int make_path(const char *name, char ret[PATH_MAX])
{
    const char *dir = getenv(CREDENTIALS_DIRECTORY_VARIABLE);
    size_t n = strlen(name);

    if (!dir || !dir[0] || n == 0 || n > NAME_MAX || name[0] == '.' || strchr(name, '/')) {
        return -ENOENT;
    }
    return snprintf(ret, PATH_MAX, "%s/%s", dir, name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Room for the whole at once: a buffer that grows leaves copies behind. */
static int read_whole(const char *path, struct buf *ret)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        return -errno;
    }
    if (!S_ISREG(st.st_mode)) {
        return -EINVAL; /* a FIFO would hold the daemon until somebody writes */
    }
    return buf_reserve(ret, CREDENTIAL_MAX_BYTES) ? fdio_read_file(path, ret) : -ENOMEM;
}

static int read_value(const char *path, size_t max_bytes, char **ret)
{
    CLEANUP(buf_wipe) struct buf text;
    struct str s;
    int r;

    buf_init(&text, CREDENTIAL_MAX_BYTES);
    r = read_whole(path, &text);
    if (r < 0) {
        return r;
    }
    s = buf_str(&text);
    if (s.len > 0 && s.ptr[s.len - 1] == '\n') {
        s.len--;
    }
    if (s.len == 0) {
        return -ENODATA;
    }
    if (s.len > max_bytes) {
        return -EFBIG;
    }
    if (memchr(s.ptr, '\0', s.len)) {
        return -EINVAL;
    }
    if (!str_is_utf8(s)) {
        return -EILSEQ;
    }
    *ret = strndup(s.ptr, s.len);
    return *ret ? 0 : -ENOMEM;
}

static int load(struct credentials *all, const char *name, const char *path)
{
    size_t left = CREDENTIALS_MAX_TOTAL_BYTES - all->total_bytes;
    struct credential *c;
    char *value = NULL;
    int r = read_value(path, left, &value);

    if (r == -ENOENT) {
        return r;
    }
    c = calloc(1, sizeof *c);
    if (!c) {
        all->is_out_of_memory = true;
        if (value) {
            explicit_bzero(value, strlen(value));
        }
        free(value);
        return -ENOMEM;
    }
    *c = (struct credential) {.name = strdup(name), .value = value, .result = r};
    if (!c->name) {
        (void) credential_free(c);
        all->is_out_of_memory = true;
        return -ENOMEM;
    }
    all->is_out_of_memory = all->is_out_of_memory || r == -ENOMEM;
    all->total_bytes += value ? strlen(value) : 0;
    c->next = all->first;
    all->first = c;
    return r;
}

int credentials_find(struct credentials *c, const char *name, const char **ret_value)
{
    char path[PATH_MAX];
    int r = make_path(name, path);

    if (r < 0) {
        return r;
    }
    for (const struct credential *k = c->first; k; k = k->next) {
        if (strcmp(k->name, name) == 0) {
            *ret_value = k->value ? k->value : *ret_value;
            return k->result;
        }
    }
    r = load(c, name, path);
    *ret_value = r == 0 ? c->first->value : *ret_value;
    return r;
}

static const char *describe(int result)
{
    switch (result) {
    case -EFBIG:
        return "it is larger than 64 KiB, or all are larger than 1 MiB";
    case -EINVAL:
        return "it holds a NUL byte, or is no regular file";
    case -ENODATA:
        return "it is empty";
    case -EILSEQ:
        return "it is not UTF-8 text";
    default:
        return strerror(-result);
    }
}

void credentials_for_each_unusable(const struct credentials *c,
                                   void (*fn)(void *ctx, const char *name, const char *why),
                                   void *ctx)
{
    for (const struct credential *k = c->first; k; k = k->next) {
        if (k->result < 0) {
            fn(ctx, k->name, describe(k->result));
        }
    }
}

void credentials_protect_process(void)
{
#ifndef SLUICE_SANITIZED
    const char *dir = getenv(CREDENTIALS_DIRECTORY_VARIABLE);

    if (dir && dir[0]) {
        (void) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* cannot fail with these values */
    }
#endif
}
