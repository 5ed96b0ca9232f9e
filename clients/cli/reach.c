/*
 * Why sluiced cannot be reached, and what to do about it.
 *
 * The library says what connect(2) said. Somebody who wants an answer from a model needs more: is
 * the socket not enabled, was a stale one left behind, is it the wrong path, or the wrong group? So
 * this file looks at the path as that person would (what lies there, whose is it, with which mode)
 * and says the command that helps. It only looks: nothing is changed, nothing is connected to.
 *
 * Which path is meant follows the rule in sluice.h: --socket, SLUICE_SOCKET, then the two usual
 * places, of which the second is tried only where nobody listens at the first.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

#define SYSTEM_SOCKET  "/run/sluice/rpc.sock"
#define PATH_MAX_BYTES 512 /* longer ones are cut in messages; a socket's has at most 107 bytes */
#define MAX_GROUPS     256 /* of one process that are looked at */

enum named_by { NAMED_BY_OPTION, NAMED_BY_ENVIRONMENT, NAMED_BY_USER_DEFAULT, NAMED_BY_DEFAULT };

struct place {
    char path[PATH_MAX_BYTES];
    enum named_by named_by;
};

static const char *environment(const char *name)
{
    const char *value = secure_getenv(name);

    return value && value[0] != '\0' ? value : NULL;
}

/* error: of the last place that was tried. */
static struct place find_place(const char *path, int error)
{
    const char *runtime = environment("XDG_RUNTIME_DIR");
    struct place place = {.named_by = NAMED_BY_OPTION};
    struct stat st;

    if (!path) {
        path = environment("SLUICE_SOCKET");
        place.named_by = NAMED_BY_ENVIRONMENT;
    }
    if (!path && runtime) {
        place.named_by = NAMED_BY_USER_DEFAULT;
        (void) snprintf(place.path, sizeof(place.path), "%s/sluice/rpc.sock", runtime);
        /* a socket that is there and may be used was refused: the system's may not be */
        if (stat(place.path, &st) == 0 ? error != -EACCES || access(place.path, W_OK) < 0
                                       : errno == EACCES) {
            return place;
        }
    }
    if (!path) {
        path = SYSTEM_SOCKET;
        place.named_by = NAMED_BY_DEFAULT;
    }
    (void) snprintf(place.path, sizeof(place.path), "%s", path);
    return place;
}

/* " (SLUICE_SOCKET names it)": for who wonders why it is this path. */
static const char *origin(const struct place *place)
{
    switch (place->named_by) {
    case NAMED_BY_OPTION:
        return " (--socket names it)";
    case NAMED_BY_ENVIRONMENT:
        return " (SLUICE_SOCKET names it)";
    case NAMED_BY_USER_DEFAULT:
    case NAMED_BY_DEFAULT:
        return "";
    }
    return "";
}

/* "systemctl --user" for the socket of one's own session. */
static const char *systemctl_for(const struct place *place)
{
    return place->named_by == NAMED_BY_USER_DEFAULT ? "systemctl --user" : "systemctl";
}

/* ---------------------------------------------------------------- nobody there */

/* connect(2) refuses: nobody listens there, or it is no socket at all. */
static int complain_refused(const struct place *place)
{
    struct stat st;

    if (stat(place->path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
        return complain_with(EXIT_UNREACHABLE, "no_daemon",
                             "%s%s is no socket; sluiced's is usually %s", place->path,
                             origin(place), SYSTEM_SOCKET);
    }
    return complain_with(
        EXIT_UNREACHABLE, "no_daemon",
        "nobody listens at %s%s: a sluiced that has gone left this socket behind. `%s restart "
        "sluice.socket` makes it anew; one that was started by hand is to be started again",
        place->path, origin(place), systemctl_for(place));
}

static int complain_absent(const struct place *place)
{
    switch (place->named_by) {
    case NAMED_BY_OPTION:
        return complain_with(EXIT_UNREACHABLE, "no_daemon",
                             "there is no socket at %s, which --socket names; without --socket the "
                             "usual places are tried",
                             place->path);
    case NAMED_BY_ENVIRONMENT:
        return complain_with(EXIT_UNREACHABLE, "no_daemon",
                             "there is no socket at %s, which SLUICE_SOCKET names; unset it to try "
                             "the usual places",
                             place->path);
    case NAMED_BY_USER_DEFAULT: /* it is there; nobody listens */
        return complain_refused(place);
    case NAMED_BY_DEFAULT:
        break;
    }
    return complain_with(
        EXIT_UNREACHABLE, "no_daemon",
        "no sluiced was found (%s). Is its socket enabled? `systemctl enable --now sluice.socket` "
        "enables it for the system, `systemctl --user enable --now sluice.socket` for you alone",
        sluice_connect_error());
}

/* ---------------------------------------------------------------- no permission */

static const char *group_name(gid_t gid, char *number, size_t size)
{
    const struct group *g = getgrgid(gid);

    (void) snprintf(number, size, "%lu", (unsigned long) gid);
    return g ? g->gr_name : number;
}

static const char *user_name(uid_t uid, char *number, size_t size)
{
    const struct passwd *u = getpwuid(uid);

    (void) snprintf(number, size, "%lu", (unsigned long) uid);
    return u ? u->pw_name : number;
}

/* Is this process in the group? */
static bool is_in_group(gid_t gid)
{
    gid_t groups[MAX_GROUPS];
    int n = getgroups(MAX_GROUPS, groups);

    for (int i = 0; i < n; i++) {
        if (groups[i] == gid) {
            return true;
        }
    }
    return getegid() == gid;
}

/* Is the user, by the group database? The process may have begun before that. */
static bool is_member(gid_t gid)
{
    char number[24], name[256];
    const struct group *g;

    (void) snprintf(name, sizeof(name), "%s", user_name(geteuid(), number, sizeof(number)));
    g = getgrgid(gid);
    for (char **member = g ? g->gr_mem : NULL; member && *member; member++) {
        if (strcmp(*member, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Who may use what lies at path; by_group: the permission bit with which its group may. */
static int complain_owned(const struct place *place, const char *path, const struct stat *st,
                          mode_t by_group)
{
    char gid[24], uid[24], group[256], user[256];

    (void) snprintf(group, sizeof(group), "%s", group_name(st->st_gid, gid, sizeof(gid)));
    (void) snprintf(user, sizeof(user), "%s", user_name(geteuid(), uid, sizeof(uid)));
    if (!(st->st_mode & by_group) || is_in_group(st->st_gid)) {
        (void) snprintf(user, sizeof(user), "%s", user_name(st->st_uid, uid, sizeof(uid)));
        return complain_with(
            EXIT_UNREACHABLE, "permission_denied",
            "no permission for %s%s: it belongs to user %s and group %s, with mode "
            "%04o",
            path, origin(place), user, group, (unsigned) (st->st_mode & (mode_t) 07777));
    }
    if (is_member(st->st_gid)) {
        return complain_with(
            EXIT_UNREACHABLE, "permission_denied",
            "no permission for %s%s: it is for group %s, and you are in that group "
            "since after you logged in. Log in again, or type `newgrp %s`",
            path, origin(place), group, group);
    }
    return complain_with(
        EXIT_UNREACHABLE, "permission_denied",
        "no permission for %s%s: it is for group %s. `sudo usermod -aG %s %s` adds "
        "you to it, from your next login on",
        path, origin(place), group, group, user);
}

/* A folder on the way that may not be entered, else the socket itself. */
static int complain_forbidden(const struct place *place)
{
    char path[PATH_MAX_BYTES];
    struct stat st;

    (void) snprintf(path, sizeof(path), "%s", place->path);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (access(path, X_OK) < 0 && errno == EACCES && stat(path, &st) == 0) {
            return complain_owned(place, path, &st, S_IXGRP);
        }
        *slash = '/';
    }
    if (stat(path, &st) == 0) {
        return complain_owned(place, path, &st, S_IWGRP);
    }
    return complain_with(EXIT_UNREACHABLE, "permission_denied", "no permission for %s%s",
                         place->path, origin(place));
}

/* ---------------------------------------------------------------- all of it */

int complain_unreachable(const char *path, int error)
{
    struct place place = find_place(path, error);

    switch (-error) {
    case ENOENT:
    case ENOTDIR:
        return complain_absent(&place);
    case ECONNREFUSED:
        return complain_refused(&place);
    case EACCES:
        return complain_forbidden(&place);
    case ETIMEDOUT:
        return complain_with(EXIT_UNREACHABLE, "daemon_hangs",
                             "sluiced takes no connection at %s%s: it hangs, or has too many "
                             "clients. `%s status sluice.service` shows it, `%s restart "
                             "sluice.service` starts it anew",
                             place.path, origin(&place), systemctl_for(&place),
                             systemctl_for(&place));
    case EPROTOTYPE:
        return complain_with(EXIT_UNREACHABLE, "no_daemon",
                             "%s%s is a socket of another kind; sluiced's is usually %s",
                             place.path, origin(&place), SYSTEM_SOCKET);
    default:
        return complain_with(EXIT_UNREACHABLE, "no_daemon", "cannot reach sluiced at %s%s",
                             sluice_connect_error(), origin(&place));
    }
}
