#pragma once
/* A tree of files that looks like the kernel's: /proc and /sys/fs/cgroup below a folder of our own. */
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

static char g_root[64];

static void tree_make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void) mkdir(path, 0755);
        *slash = '/';
    }
}

/* The file holds text now. In place: who has it open sees it. */
static void tree_put(const char *path, const char *text)
{
    char full[512];
    FILE *file;

    (void) snprintf(full, sizeof full, "%s%s", g_root, path);
    tree_make_folders(full);
    file = fopen(full, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static inline void tree_link(const char *path, const char *target)
{
    char full[512];

    (void) snprintf(full, sizeof full, "%s%s", g_root, path);
    tree_make_folders(full);
    ck_assert_int_eq(symlink(target, full), 0);
}

static int tree_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

/* A file, or a folder with all that is in it. */
static inline void tree_remove(const char *path)
{
    char full[512];

    (void) snprintf(full, sizeof full, "%s%s", g_root, path);
    ck_assert_int_eq(nftw(full, tree_remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* Nobody may read it; to be asked by tree_be_nobody(), as root may read all. */
static inline void tree_forbid(const char *path)
{
    char full[512];

    (void) snprintf(full, sizeof full, "%s%s", g_root, path);
    ck_assert_int_eq(chmod(full, 0), 0);
}

#define TREE_NOBODY 65534

/* From here on without root's rights, where we have them; what is opened meanwhile stays open. */
static inline void tree_be_nobody(void)
{
    if (getuid() == 0) {
        ck_assert_int_eq(chmod(g_root, 0755), 0);
        ck_assert_int_eq(seteuid(TREE_NOBODY), 0);
    }
}

static inline void tree_be_ourselves(void)
{
    ck_assert_int_eq(seteuid(getuid()), 0);
}

static void tree_setup(void)
{
    (void) snprintf(g_root, sizeof g_root, "/tmp/sluice-kernel-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(g_root));
}

static void tree_teardown(void)
{
    ck_assert_int_eq(nftw(g_root, tree_remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}
