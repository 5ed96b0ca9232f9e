/*
 * What sluicectl says when it cannot reach the daemon, for users, groups and errors that a test
 * machine need not have. The source is compiled in: a program has no library to link. The databases
 * of users and groups are ours; files are real.
 */
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

static struct group *own_group(gid_t gid);
static struct passwd *own_user(uid_t uid);
static int own_access(const char *path, int mode);

#define getgrgid own_group
#define getpwuid own_user
#define access   own_access
#define geteuid  own_uid
static uid_t own_uid(void);
#define getegid   own_gid
#define getgroups own_groups
static gid_t own_gid(void);
static int own_groups(int n, gid_t *groups);
#include "clients/cli/reach.c"
#undef access

#include <fcntl.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "support.h"

static char said[2048], code[64], folder[32];
static const char *connect_error = "";
static char *members[2];
static struct group group = {.gr_name = (char *) (uintptr_t) "sluice", .gr_mem = members};
static struct passwd user = {.pw_name = (char *) (uintptr_t) "ada"};
static bool has_names, is_denied;
static gid_t joined_gid; /* this process is in that group */

static struct group *own_group(gid_t gid)
{
    return has_names ? &group : NULL;
}

static struct passwd *own_user(uid_t uid)
{
    return has_names ? &user : NULL;
}

static uid_t own_uid(void)
{
    return 4711;
}

static gid_t own_gid(void)
{
    return 4712;
}

static int own_groups(int n, gid_t *groups)
{
    groups[0] = 4713;
    groups[1] = joined_gid;
    return 2;
}

/* Root may enter every folder; that the user may not is what is asked. */
static int own_access(const char *path, int mode)
{
    if (is_denied && mode == X_OK && strcmp(path, folder) == 0) {
        errno = EACCES;
        return -1;
    }
    return access(path, mode);
}

const char *sluice_connect_error(void)
{
    return connect_error;
}

int complain_with(enum exit_code exit_code, const char *word, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void) vsnprintf(said, sizeof(said), fmt, ap);
    va_end(ap);
    (void) snprintf(code, sizeof(code), "%s", word);
    return (int) exit_code;
}

/* What is said about path and error; it must be exit code 3 and that word. */
static const char *say(const char *path, int error, const char *want_code)
{
    ck_assert_int_eq(complain_unreachable(path, error), EXIT_UNREACHABLE);
    ck_assert_str_eq(code, want_code);
    return said;
}

#define ck_assert_says(text, part) ck_assert_msg(strstr(text, part), "'%s' lacks '%s'", text, part)

/* A socket file without a listener, with that mode. */
static void make_socket(char *path, size_t size, mode_t mode)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void) snprintf(path, size, "%s/rpc.sock", folder);
    (void) snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    (void) unlink(path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *) &sa, sizeof(sa)), 0);
    ck_assert_int_eq(chmod(path, mode), 0);
    (void) close(fd);
}

static void setup(void)
{
    (void) snprintf(folder, sizeof(folder), "/tmp/test_reach.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void) unsetenv("SLUICE_SOCKET");
    (void) unsetenv("XDG_RUNTIME_DIR");
    members[0] = NULL;
    has_names = true;
    is_denied = false;
    joined_gid = 4714;
    connect_error = "";
}

static void teardown(void)
{
    char path[64];

    (void) snprintf(path, sizeof(path), "%s/sluice/rpc.sock", folder);
    (void) unlink(path);
    (void) snprintf(path, sizeof(path), "%s/sluice", folder);
    (void) rmdir(path);
    (void) snprintf(path, sizeof(path), "%s/rpc.sock", folder);
    (void) unlink(path);
    (void) rmdir(folder);
}

START_TEST(the_group_is_named_and_how_to_join_it)
{
    char path[64], want[160];
    struct stat st;

    make_socket(path, sizeof(path), 0660);
    ck_assert_says(say(path, -EACCES, "permission_denied"), "it is for group sluice");
    ck_assert_says(said, "sudo usermod -aG sluice ada");
    members[0] = user.pw_name;
    ck_assert_says(say(path, -EACCES, "permission_denied"), "newgrp sluice");
    ck_assert_ptr_null(strstr(said, "usermod"));
    has_names = false;
    ck_assert_int_eq(stat(path, &st), 0);
    (void) snprintf(want, sizeof(want), "usermod -aG %lu 4711", (unsigned long) st.st_gid);
    ck_assert_says(say(path, -EACCES, "permission_denied"), want);

    /* who is in the group and still may not: something else forbids it */
    joined_gid = st.st_gid;
    ck_assert_says(say(path, -EACCES, "permission_denied"), "it belongs to user");
}
END_TEST

START_TEST(a_mode_that_forbids_the_group_is_shown)
{
    char path[64];

    make_socket(path, sizeof(path), 0600);
    ck_assert_says(say(path, -EACCES, "permission_denied"), "user ada and group sluice");
    ck_assert_says(said, "mode 0600");
}
END_TEST

START_TEST(a_folder_on_the_way_is_what_is_told)
{
    char path[64], want[64];

    make_socket(path, sizeof(path), 0666);
    is_denied = true;
    (void) snprintf(want, sizeof(want), "for %s (", folder);
    ck_assert_says(say(path, -EACCES, "permission_denied"), want);
}
END_TEST

START_TEST(the_path_that_is_meant_follows_the_rule_of_the_library)
{
    char path[64], sub[64];

    ck_assert_says(say("/x/named", -ENOENT, "no_daemon"), "/x/named, which --socket names");
    (void) setenv("SLUICE_SOCKET", "/x/variable", 1);
    ck_assert_says(say(NULL, -ENOENT, "no_daemon"), "/x/variable, which SLUICE_SOCKET names");
    (void) setenv("SLUICE_SOCKET", "", 1);
    connect_error = "here: no; there: no";
    ck_assert_says(say(NULL, -ENOENT, "no_daemon"), "(here: no; there: no)");
    ck_assert_says(said, "systemctl enable --now sluice.socket");
    (void) setenv("XDG_RUNTIME_DIR", folder, 1);
    ck_assert_says(say(NULL, -ENOENT, "no_daemon"), "systemctl --user enable");

    /* one's own socket that nobody listens at goes before the system's that is not there */
    (void) snprintf(sub, sizeof(sub), "%s/sluice", folder);
    ck_assert_int_eq(mkdir(sub, 0700), 0);
    make_socket(path, sizeof(path), 0600);
    (void) strcat(sub, "/rpc.sock");
    ck_assert_int_eq(rename(path, sub), 0);
    ck_assert_says(say(NULL, -ENOENT, "no_daemon"), sub);
    ck_assert_says(said, "systemctl --user restart sluice.socket");
    ck_assert_says(say(NULL, -ECONNREFUSED, "no_daemon"), sub);
    ck_assert_says(say(NULL, -ETIMEDOUT, "daemon_hangs"), "systemctl --user restart");
    /* but where it may be used, what may not be is the system's */
    ck_assert_says(say(NULL, -EACCES, "permission_denied"), SYSTEM_SOCKET);
}
END_TEST

START_TEST(every_other_error_has_its_words)
{
    char path[64];

    make_socket(path, sizeof(path), 0600);
    ck_assert_says(say(path, -ECONNREFUSED, "no_daemon"), "nobody listens");
    ck_assert_says(say("/", -ECONNREFUSED, "no_daemon"), "is no socket");
    ck_assert_says(say(path, -EPROTOTYPE, "no_daemon"), "another kind");
    ck_assert_says(say(path, -ETIMEDOUT, "daemon_hangs"), "systemctl restart sluice.service");
    ck_assert_says(say("/a/b", -ENOTDIR, "no_daemon"), "no socket at /a/b");
    connect_error = "/p: Too many open files";
    ck_assert_says(say(path, -EMFILE, "no_daemon"), "/p: Too many open files");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_group_is_named_and_how_to_join_it);
    tcase_add_test(tc, a_mode_that_forbids_the_group_is_shown);
    tcase_add_test(tc, a_folder_on_the_way_is_what_is_told);
    tcase_add_test(tc, the_path_that_is_meant_follows_the_rule_of_the_library);
    tcase_add_test(tc, every_other_error_has_its_words);
}
TEST_MAIN("cli_reach", add_tests)
