/*
 * See runner_memory.h.
 *
 * Ollama starts one process for each model: "llama-server --model /.../blobs/sha256-DIGEST --port
 * ...", before its 0.30 "ollama runner --model ...". The digest is what core/residency knows a
 * model by.
 *
 * A process may end between two of our reads, and its number may be another's then: so each look
 * reads the command line anew. Between that and the status there is a moment left; numbers that are
 * wrong by it stand until the next look.
 *
 * Where the model server's control group is known only its processes count: anybody may start a
 * process with such a command line. Those of groups below it are not looked at.
 *
 * Must not: be called for each event: a search reads all of /proc where there is no group.
 */
#include "kernel/runner_memory.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/fdio.h"
#include "base/num.h"
#include "kernel/kernel_text.h"

/* ---------------------------------------------------------------- one process */

static bool take_argument(struct str *words, struct str *ret)
{
    const char *end = words->len > 0 ? memchr(words->ptr, '\0', words->len) : NULL;

    if (!end) {
        return false;
    }
    *ret = (struct str) {words->ptr, (size_t) (end - words->ptr)};
    words->ptr += ret->len + 1;
    words->len -= ret->len + 1;
    return true;
}

static struct str without_folders(struct str path)
{
    const char *slash = path.len > 0 ? memrchr(path.ptr, '/', path.len) : NULL;
    size_t n = slash ? (size_t) (slash + 1 - path.ptr) : 0;

    return (struct str) {path.ptr + n, path.len - n};
}

int runner_memory_parse_model(struct str words, struct str *ret_file)
{
    static const char with_value[] = "--model=";
    struct str word, path = STR_NONE;

    while (!path.ptr && take_argument(&words, &word)) {
        if (str_has_prefix(word, with_value)) {
            path = (struct str) {word.ptr + strlen(with_value), word.len - strlen(with_value)};
        } else if ((str_is(word, "--model") || str_is(word, "-m")) &&
                   !take_argument(&words, &path)) {
            return -EBADMSG;
        }
    }
    if (!path.ptr || without_folders(path).len == 0) {
        return -EBADMSG;
    }
    *ret_file = without_folders(path);
    return 0;
}

/* A file of the process, from its beginning. How many bytes, or -errno. */
static ssize_t read_of(const char *root, unsigned pid, const char *name, char *ret_text,
                       size_t size)
{
    char path[PATH_MAX];
    ssize_t n;
    int fd;

    if (snprintf(path, sizeof path, "%s/proc/%u/%s", root, pid, name) >= (int) sizeof path) {
        return -ENAMETOOLONG;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    n = fdio_pread_text(fd, ret_text, size);
    (void) fd_close(fd);
    return n;
}

static bool serves(const char *root, unsigned pid, const char *file)
{
    char text[RUNNER_COMMAND_BYTES];
    ssize_t n = read_of(root, pid, "cmdline", text, sizeof text);
    struct str its;

    return n > 0 && runner_memory_parse_model((struct str) {text, (size_t) n}, &its) == 0 &&
           str_is(its, file);
}

static uint64_t sum(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

int runner_memory_read(const char *root, unsigned pid, const char *file, struct runner_memory *ret)
{
    char text[RUNNER_COMMAND_BYTES];
    struct kernel_status s;
    ssize_t n;
    int r;

    if (!serves(root, pid, file)) {
        return -ENOENT;
    }
    n = read_of(root, pid, "status", text, sizeof text);
    if (n < 0) {
        return (int) n;
    }
    r = kernel_parse_status((struct str) {text, (size_t) n}, &s);
    if (r < 0) {
        return r;
    }
    *ret = (struct runner_memory) {.anon_bytes = sum(s.rss_anon_bytes, s.swap_bytes),
                                   .file_bytes = s.rss_file_bytes};
    return 0;
}

/* ---------------------------------------------------------------- which one */

struct search {
    const char *root, *file;
    unsigned n_left; /* processes that may still be looked at */
    unsigned pid;    /* 0: none yet */
    struct runner_memory memory;
};

static void look_at(struct search *s, struct str number)
{
    struct runner_memory memory;
    uint64_t pid;

    if (s->n_left == 0 || num_parse_u64(number, &pid) < 0 || pid == 0 || pid > INT_MAX) {
        return;
    }
    s->n_left--;
    if (runner_memory_read(s->root, (unsigned) pid, s->file, &memory) == 0 &&
        (s->pid == 0 || sum(memory.anon_bytes, memory.file_bytes) >
                            sum(s->memory.anon_bytes, s->memory.file_bytes))) {
        s->pid = (unsigned) pid;
        s->memory = memory;
    }
}

static bool search_group(struct search *s, struct kernel_group *group)
{
    char text[KERNEL_TEXT_BYTES];
    ssize_t n =
        group && group->procs.path ? kernel_file_read(&group->procs, text, sizeof text) : -ENOENT;
    struct str rest = {text, n > 0 ? (size_t) n : 0}, line;

    while (kernel_next_line(&rest, &line)) {
        look_at(s, line);
    }
    return n >= 0;
}

static void search_all(struct search *s)
{
    char path[PATH_MAX];
    struct dirent *e;
    DIR *d;

    if (snprintf(path, sizeof path, "%s/proc", s->root) >= (int) sizeof path) {
        return;
    }
    d = opendir(path);
    while (d && s->n_left > 0 && (e = readdir(d))) {
        if (isdigit((unsigned char) e->d_name[0])) {
            look_at(s, str_from(e->d_name));
        }
    }
    if (d) {
        (void) closedir(d);
    }
}

int runner_memory_find(const char *root, struct kernel_group *group, const char *file,
                       unsigned *ret_pid, struct runner_memory *ret)
{
    struct search s = {.root = root, .file = file, .n_left = RUNNER_MAX_PROCESSES};

    if (!search_group(&s, group)) {
        search_all(&s);
    }
    if (s.pid == 0) {
        return -ENOENT;
    }
    *ret_pid = s.pid;
    *ret = s.memory;
    return 0;
}
