/* Where libsluice looks for the daemon, and what it says when there is none. */
#include "support.h"

#include <sys/stat.h>
#include <sys/un.h>

#include "libsluice_peer.h"

static int listen_at(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    (void) snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *) &sa, sizeof(sa)), 0);
    ck_assert_int_eq(listen(fd, 4), 0);
    return fd;
}

START_TEST(the_socket_is_found_in_its_places)
{
    char dir[] = "/tmp/sluice-test-XXXXXX", path[96], folder[64], nowhere[64];
    sluice_client *client = NULL;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void) snprintf(folder, sizeof(folder), "%s/sluice", dir);
    (void) snprintf(path, sizeof(path), "%s/rpc.sock", folder);
    (void) snprintf(nowhere, sizeof(nowhere), "%s/nowhere.sock", dir);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", dir, 1), 0);
    ck_assert_int_eq(setenv("SLUICE_SOCKET", nowhere, 1), 0);

    int fd = listen_at(path);

    /* the environment's own word is the only one */
    ck_assert_int_eq(sluice_connect(NULL, &client), -ENOENT);
    ck_assert_ptr_nonnull(strstr(sluice_connect_error(), nowhere));
    ck_assert_ptr_null(strstr(sluice_connect_error(), "/run/sluice"));
    ck_assert_ptr_null(client);

    ck_assert_int_eq(setenv("SLUICE_SOCKET", "", 1), 0); /* empty is not set */
    ck_assert_int_eq(sluice_connect(NULL, &client), 0);
    ck_assert_str_eq(sluice_connect_error(), "");
    client = sluice_client_free(client);

    ck_assert_int_eq(sluice_connect(path, &client), 0); /* a path that is named */
    client = sluice_client_free(client);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_int_eq(sluice_connect(path, &client), -ECONNREFUSED);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(folder), 0);
    ck_assert_int_eq(rmdir(dir), 0);
    ck_assert_int_eq(unsetenv("SLUICE_SOCKET"), 0);
    ck_assert_int_eq(unsetenv("XDG_RUNTIME_DIR"), 0);
}
END_TEST

START_TEST(paths_have_a_limit)
{
    char path[200];
    sluice_client *client = NULL;

    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    ck_assert_int_eq(sluice_connect(path, &client), -ENAMETOOLONG);
    ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", path, 1), 0);
    ck_assert_int_eq(unsetenv("SLUICE_SOCKET"), 0);
    ck_assert_int_eq(sluice_connect(NULL, &client), -ENAMETOOLONG);
    ck_assert_int_eq(unsetenv("XDG_RUNTIME_DIR"), 0);
    ck_assert_ptr_null(client);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, the_socket_is_found_in_its_places);
    tcase_add_test(tc, paths_have_a_limit);
}

TEST_MAIN("libsluice_connect", add_tests)
