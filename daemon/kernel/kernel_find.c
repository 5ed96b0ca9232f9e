/*
 * See kernel_find.h.
 *
 * Processes of other users can be seen by nobody but root, and a service with ProtectProc=invisible sees not
 * even their folders: then only a unit's name leads to the group.
 *
 * Must not: be called for each sample: it reads all of /proc.
 */
#include "kernel/kernel_find.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "kernel/kernel_text.h"

#define MOUNT       "/sys/fs/cgroup"
#define MAX_DEPTH   5    /* user.slice/user-1000.slice/user@1000.service/app.slice/x.service */
#define MAX_FOLDERS 4096 /* looked at for a unit */
#define MAX_INODES  8    /* of sockets that listen on one port */

static bool join(char *ret, size_t size, const char *a, const char *b, const char *c)
{
    int n = snprintf(ret, size, "%s%s%s", a, b, c);

    return n >= 0 && (size_t) n < size;
}

static bool exists(const char *root, const char *a, const char *b)
{
    char path[PATH_MAX];

    return join(path, sizeof path, root, a, b) && access(path, F_OK) == 0;
}

const char *kernel_find_mount(const char *root)
{
    return exists(root, MOUNT, "/cgroup.controllers")           ? MOUNT
           : exists(root, MOUNT, "/unified/cgroup.controllers") ? MOUNT "/unified"
                                                                : NULL;
}

/* ---------------------------------------------------------------- port to process */

struct inodes {
    unsigned port;
    uint64_t list[MAX_INODES];
    size_t n;
};

static void take_listener(struct inodes *in, struct str line)
{
    unsigned port;
    uint64_t inode;

    if (kernel_parse_listener(line, &port, &inode) == 0 && port == in->port && inode > 0 &&
        in->n < MAX_INODES) {
        in->list[in->n++] = inode;
    }
}

/* The table can be long: by pieces, the half line at the end of one goes before the next. */
static void read_listeners(const char *root, const char *name, struct inodes *in)
{
    char path[PATH_MAX], text[4096];
    size_t len = 0;
    int fd = join(path, sizeof path, root, name, "") ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    while (fd >= 0) {
        ssize_t n = read(fd, text + len, sizeof text - len);
        struct str rest, line;

        if (n <= 0) {
            break;
        }
        rest = (struct str) {text, len + (size_t) n};
        while (kernel_next_line(&rest, &line)) {
            take_listener(in, line);
        }
        len = rest.len < sizeof text ? rest.len : 0; /* no line of the kernel is that long */
        memmove(text, rest.ptr, len);
    }
    (void) fd_close(fd);
}

static bool is_wanted(const struct inodes *in, const char *link)
{
    char name[64];

    for (size_t i = 0; i < in->n; i++) {
        (void) snprintf(name, sizeof name, "socket:[%llu]", (unsigned long long) in->list[i]);
        if (strcmp(name, link) == 0) {
            return true;
        }
    }
    return false;
}

/* Does the process hold one of the sockets? */
static bool holds_socket(const char *root, const char *pid, const struct inodes *in)
{
    char path[PATH_MAX], link[PATH_MAX];
    struct dirent *e;
    bool found = false;
    DIR *d;

    if (snprintf(path, sizeof path, "%s/proc/%s/fd", root, pid) >= (int) sizeof path) {
        return false;
    }
    d = opendir(path);
    while (d && !found && (e = readdir(d))) {
        ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof link - 1);

        link[n > 0 ? n : 0] = '\0';
        found = n > 0 && is_wanted(in, link);
    }
    if (d) {
        (void) closedir(d);
    }
    return found;
}

int kernel_find_listener(const char *root, unsigned port, unsigned *ret_pid)
{
    struct inodes in = {.port = port};
    char path[PATH_MAX];
    struct dirent *e;
    int r = -EACCES;
    DIR *d;

    read_listeners(root, "/proc/net/tcp", &in);
    read_listeners(root, "/proc/net/tcp6", &in);
    if (in.n == 0 || !join(path, sizeof path, root, "/proc", "")) {
        return -ENOENT;
    }
    d = opendir(path);
    while (d && r < 0 && (e = readdir(d))) {
        if (isdigit((unsigned char) e->d_name[0]) && holds_socket(root, e->d_name, &in)) {
            *ret_pid = (unsigned) strtoul(e->d_name, NULL, 10);
            r = 0;
        }
    }
    if (d) {
        (void) closedir(d);
    }
    return r;
}

/* ---------------------------------------------------------------- to the group */

static void copy_path(char *ret, struct str path)
{
    size_t n = path.len < PATH_MAX - 256 ? path.len : 0;

    n = n == 1 ? 0 : n; /* "/" is the root: it has no limit, and no pressure but the machine's */
    memcpy(ret, path.ptr, n);
    ret[n] = '\0';
}

int kernel_find_process(const char *root, unsigned pid, struct kernel_group_paths *ret)
{
    char path[PATH_MAX], text[PATH_MAX];
    struct str group;
    ssize_t n;
    int fd;

    if (snprintf(path, sizeof path, "%s/proc/%u/cgroup", root, pid) >= (int) sizeof path) {
        return -ENAMETOOLONG;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    n = fdio_pread_text(fd, text, sizeof text);
    (void) fd_close(fd);
    ret->v1[0] = ret->v2[0] = '\0';
    if (n < 0) {
        return (int) n;
    }
    if (kernel_parse_group((struct str) {text, (size_t) n}, "", &group) == 0) {
        copy_path(ret->v2, group);
    }
    if (kernel_parse_group((struct str) {text, (size_t) n}, "memory", &group) == 0) {
        copy_path(ret->v1, group);
    }
    return ret->v1[0] || ret->v2[0] ? 0 : -ENOENT;
}

int kernel_find_path(const char *path, struct kernel_group_paths *ret)
{
    if (path[0] != '/' || strlen(path) >= PATH_MAX - 256 || strstr(path, "..")) {
        return -EINVAL;
    }
    copy_path(ret->v2, str_from(path));
    copy_path(ret->v1, str_from(path));
    return ret->v2[0] ? 0 : -ENOENT;
}

struct walk {
    const char *unit;
    char path[PATH_MAX]; /* the folder that is looked at; found: the unit's */
    size_t n_folders;
};

/* Breadth would be nearer to the truth, depth needs no list: names of units are unique enough. */
static bool walk_into(struct walk *w, int depth)
{
    size_t len = strlen(w->path);
    DIR *d = opendir(w->path);
    bool found = false;
    struct dirent *e;

    while (d && !found && w->n_folders < MAX_FOLDERS && (e = readdir(d))) {
        size_t n = strlen(e->d_name);

        if (e->d_type != DT_DIR || e->d_name[0] == '.' || len + n + 2 > sizeof w->path) {
            continue;
        }
        w->n_folders++;
        w->path[len] = '/';
        memcpy(w->path + len + 1, e->d_name, n + 1);
        found = strcmp(e->d_name, w->unit) == 0 || (depth > 1 && walk_into(w, depth - 1));
        if (!found) {
            w->path[len] = '\0';
        }
    }
    if (d) {
        (void) closedir(d);
    }
    return found;
}

int kernel_find_unit(const char *root, const char *unit, struct kernel_group_paths *ret)
{
    const char *mounts[] = {kernel_find_mount(root), MOUNT "/memory"};

    for (size_t i = 0; i < ARRAY_LEN(mounts); i++) {
        struct walk w = {.unit = unit};

        if (mounts[i] && join(w.path, sizeof w.path, root, mounts[i], "") &&
            walk_into(&w, MAX_DEPTH)) {
            return kernel_find_path(w.path + strlen(root) + strlen(mounts[i]), ret);
        }
    }
    return -ENOENT;
}
