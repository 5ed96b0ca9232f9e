/*
 * See config_include.h. As LiteLLM does it (litellm/proxy/common_utils/config_includes.py): files
 * one after the other in the order in which they are named, those of an included file behind all
 * that were named before; a list (model_list) goes on with the list of the included file, any other
 * section is replaced by that of the included file as a whole. A file that was read already is not
 * read again, so a circle ends.
 *
 * Two things differ. A name is looked for beside the file that names it, and nowhere else. And what
 * a replaced section takes with it is said; where that is the master key or sluice: the
 * configuration is refused, as the door would stand open, or a limit would be gone.
 *
 * Owns what it reads only while it reads it: nodes are in the reader's arena, with their file's
 * number.
 */
#include "config/config_include.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "config/config_yaml.h"

#define PATH_MAX_BYTES   1024
#define READ_AHEAD_BYTES 8192 /* room for the last short read, as in config_load() */

struct file {
    char path[PATH_MAX_BYTES]; /* as it is opened */
    dev_t dev;
    ino_t ino;
    unsigned depth; /* 0: the file itself */
};

/* One entry of a list that waits for its turn. */
struct pending {
    const struct config_node *node; /* for messages: its text may be wiped by then */
    char path[PATH_MAX_BYTES];
    unsigned depth;
};

#define MAX_PENDING (4 * CONFIG_MAX_INCLUDES) /* files may be named more than once */

struct include {
    struct config_reader *reader; /* borrowed */
    struct config_node *root;     /* borrowed: what everything goes into */
    struct file files[1 + CONFIG_MAX_INCLUDES];
    size_t n_files;
    struct pending pending[MAX_PENDING];
    size_t n_pending;
    size_t n_bytes, n_nodes; /* of all files together */
};

static void fail(const struct include *in, const struct config_node *at, const char *text)
{
    config_reader_error(in->reader, at, true, "%s", text);
}

/* ---------------------------------------------------------------- names */

/* "models.yaml" beside "/etc/sluice/sluice.yaml"; false: too long. */
static bool join(const char *beside, const char *name, char ret_path[PATH_MAX_BYTES])
{
    const char *slash = strrchr(beside, '/');
    int n = snprintf(ret_path, PATH_MAX_BYTES, "%.*s%s",
                     name[0] == '/' || !slash ? 0 : (int) (slash + 1 - beside), beside, name);

    return n >= 0 && n < PATH_MAX_BYTES;
}

static void add_pending(struct include *in, const struct config_node *entry,
                        const struct file *from)
{
    struct pending *p = &in->pending[in->n_pending];

    if (entry->kind != NODE_STRING || entry->is_unresolved || entry->text[0] == '\0') {
        fail(in, entry, "expected the path of a file");
    } else if (in->n_pending == MAX_PENDING) {
        fail(in, entry, "too many files");
    } else if (!join(from->path, entry->text, p->path)) {
        fail(in, entry, "the path is too long");
    } else {
        p->node = entry;
        p->depth = from->depth + 1;
        in->n_pending++;
    }
}

/* The include key of a file, if it has one. */
static void queue(struct include *in, const struct config_node *map, const struct file *from)
{
    struct config_node *include = config_node_find(map, "include");

    if (config_reader_is_unset(include)) {
        return;
    }
    config_reader_resolve_from_process(in->reader, include);
    if (include->kind == NODE_STRING) {
        add_pending(in, include, from);
    } else if (include->kind != NODE_LIST) {
        fail(in, include, "expected a list of paths");
    } else {
        config_node_for_each(entry, include)
        {
            add_pending(in, entry, from);
        }
    }
}

/* ---------------------------------------------------------------- merging */

/* Gives a tree its file's number; answers how many nodes there are. */
static size_t mark(struct config_node *node, unsigned file)
{
    size_t n = 1;

    node->file = file;
    config_node_for_each(child, node)
    {
        n += mark(child, file); /* at most CONFIG_YAML_MAX_DEPTH levels */
    }
    return n;
}

static void continue_list(struct config_node *list, struct config_node *more)
{
    while (more->first) {
        struct config_node *item = more->first;

        config_node_unlink(item);
        config_node_append(list, item);
    }
}

/* What a section that is replaced may not take with it. */
static bool may_replace(const struct include *in, const struct config_node *old,
                        const struct config_node *new)
{
    if (strcmp(old->key, "sluice") == 0) {
        config_reader_error_at_key(in->reader, new, true, "sluice: may stand in one file only");
        return false;
    }
    if (config_node_find(old, "master_key") && !config_node_find(new, "master_key")) {
        config_reader_error_at_key(in->reader, new, true,
                                   "this takes the place of the general_settings that have the "
                                   "master_key: write it here, or both into one file");
        return false;
    }
    return true;
}

static void merge_section(struct include *in, struct config_node *section)
{
    struct config_node *old = config_node_find(in->root, section->key);

    if (old && section->kind == NODE_NULL) {
        return; /* says nothing */
    }
    if (old && old->kind == NODE_LIST && section->kind == NODE_LIST) {
        continue_list(old, section);
        return;
    }
    if (old && old->kind != NODE_NULL) {
        if (!may_replace(in, old, section)) {
            return;
        }
        config_reader_note(in->reader, old, FINDING_IGNORED,
                           "replaced as a whole by that of an included file, as in LiteLLM");
    }
    if (old) {
        config_node_wipe(old);
        config_node_unlink(old);
    }
    config_node_unlink(section);
    config_node_append(in->root, section);
}

static void merge(struct include *in, struct config_node *map)
{
    struct config_node *next;

    for (struct config_node *section = map->first; section; section = next) {
        next = section->next;
        if (strcmp(section->key, "include") == 0) {
            config_reader_note(in->reader, section, FINDING_EXACT, "%s", "");
        } else {
            merge_section(in, section);
        }
    }
}

/* ---------------------------------------------------------------- files */

static bool was_read(const struct include *in, const struct stat *st)
{
    for (size_t i = 0; i < in->n_files; i++) {
        if (in->files[i].dev == st->st_dev && in->files[i].ino == st->st_ino) {
            return true;
        }
    }
    return false;
}

/* A name for messages: it may hold anything that a path may. */
static int keep_name(struct config *c, const char *path)
{
    char **grown = realloc(c->files, (c->n_files + 1) * sizeof *grown);

    if (!grown) {
        return -ENOMEM;
    }
    c->files = grown;
    c->files[c->n_files] = config_printable(path);
    if (!c->files[c->n_files]) {
        return -ENOMEM;
    }
    c->n_files++;
    return 0;
}

static int parse(struct include *in, struct str text, const struct file *file,
                 const struct config_node *at)
{
    struct config_reader *reader = in->reader;
    unsigned number = (unsigned) reader->config->n_files + 1;
    struct config_yaml_error err;
    struct config_node *map = NULL;
    bool is_yaml;
    int r;

    r = config_yaml_parse(text, reader->arena, &map, &err);
    is_yaml = r == 0;
    r = r == -ENOMEM ? r : keep_name(reader->config, file->path);
    if (r < 0) {
        config_node_wipe(map);
        return r;
    }
    if (!is_yaml) {
        struct finding_place place = {.file = number, .line = err.line, .column = err.column};

        return config_add_finding(reader->config, FINDING_ERROR, true, place, "", err.text);
    }
    if (!map) {
        return 0; /* an empty file adds nothing */
    }
    in->n_nodes += mark(map, number);
    if (map->kind != NODE_MAP) {
        fail(in, map, "expected a map such as {model_list: [...]}");
    } else if (in->n_nodes > CONFIG_YAML_MAX_NODES) {
        fail(in, at, "too many values in all files together");
    } else {
        in->files[in->n_files++] = *file;
        queue(in, map, file);
        merge(in, map);
    }
    config_node_wipe(map); /* what was not taken over */
    return 0;
}

static int read_file(struct include *in, const struct file *file, size_t size,
                     const struct config_node *at)
{
    size_t room = CONFIG_MAX_FILE_BYTES - in->n_bytes;
    size_t want = size + READ_AHEAD_BYTES < room ? size + READ_AHEAD_BYTES : room;
    CLEANUP(buf_wipe) struct buf text;
    int r;

    buf_init(&text, room);
    /* all at once: a buffer that grows leaves copies of the keys in it behind */
    if (size > room || (want > 0 && !buf_reserve(&text, want))) {
        r = size > room ? -EFBIG : -ENOMEM;
    } else {
        r = fdio_read_file(file->path, &text);
    }
    if (r == -EFBIG) {
        fail(in, at, "more than 1 MiB in all files together");
        return 0;
    }
    if (r < 0) {
        config_reader_error(in->reader, at, true, "cannot be read: %s", strerror(-r));
        return r == -ENOMEM ? r : 0;
    }
    in->n_bytes += text.len;
    return parse(in, buf_str(&text), file, at);
}

static int read_pending(struct include *in, const struct pending *p)
{
    struct file file = {.depth = p->depth};
    struct stat st;

    memcpy(file.path, p->path, sizeof file.path);
    if (stat(file.path, &st) < 0) {
        config_reader_error(in->reader, p->node, true, "cannot be read: %s", strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        fail(in, p->node, "not a file");
    } else if (was_read(in, &st)) {
        config_reader_note(in->reader, p->node, FINDING_IGNORED, "read already");
    } else if (file.depth > CONFIG_MAX_DEPTH) {
        fail(in, p->node, "files are nested too deeply");
    } else if (in->n_files > CONFIG_MAX_INCLUDES) {
        fail(in, p->node, "too many files");
    } else {
        file.dev = st.st_dev;
        file.ino = st.st_ino;
        return read_file(in, &file, (size_t) st.st_size, p->node);
    }
    return 0;
}

int config_include_read(struct config_reader *r, struct config_node *root, const char *path,
                        size_t n_bytes)
{
    struct include *in;
    struct stat st = {0};
    int error = 0;

    if (config_reader_is_unset(config_node_find(root, "include"))) {
        return 0;
    }
    in = calloc(1, sizeof *in); /* some 80 KiB, for as long as files are read */
    if (!in) {
        return -ENOMEM;
    }
    in->reader = r;
    in->root = root;
    in->n_bytes = n_bytes;
    in->n_nodes = mark(root, 0);
    if (!path || stat(path, &st) < 0 || !join("", path, in->files[0].path)) {
        fail(in, config_node_find(root, "include"), "there is no file to look beside");
        goto out;
    }
    in->files[0].dev = st.st_dev;
    in->files[0].ino = st.st_ino;
    in->n_files = 1;
    queue(in, root, &in->files[0]);
    for (size_t i = 0; error == 0 && i < in->n_pending; i++) {
        error = read_pending(in, &in->pending[i]);
    }
out:
    free(in);
    return error;
}
