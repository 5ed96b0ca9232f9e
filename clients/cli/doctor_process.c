/*
 * See doctor_process.h. proc(5): /proc/net/tcp and tcp6 have a line for each socket, with its local
 * port, its state (0A: listening) and its inode; /proc/PID/fd has a link "socket:[inode]" for each
 * open one, which only root and the process's user may read.
 */
#include "doctor_process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATE_LISTEN 0x0a
#define TABLE_BYTES  (256 * 1024) /* some 1,700 sockets; what lies behind is not seen */

/* The inode of a listening socket of that port in one line, 0: it is not one. */
static unsigned long inode_of_line(const char *line, unsigned port)
{
    unsigned local_port, state;
    unsigned long inode;

    /* sl local:port remote:port state queues timer retransmits uid timeout inode */
    if (sscanf(line, " %*u: %*64[0-9A-Fa-f]:%x %*64[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*u %lu",
               &local_port, &state, &inode) != 3) {
        return 0;
    }
    return local_port == port && state == STATE_LISTEN ? inode : 0;
}

static unsigned long find_inode(const struct doctor *d, const char *table, unsigned port)
{
    static char text[TABLE_BYTES];
    unsigned long inode = 0;

    if (doctor_read(d, table, text, sizeof(text)) <= 0) {
        return 0;
    }
    for (const char *line = text; line && inode == 0; line = strchr(line, '\n')) {
        line += *line == '\n';
        inode = inode_of_line(line, port);
    }
    return inode;
}

/* Has the process that socket open? */
static bool has_socket(const struct doctor *d, const char *pid, unsigned long inode)
{
    char name[64], path[DOCTOR_PATH_BYTES], wanted[48], target[64];
    bool is_found = false;

    (void) snprintf(name, sizeof(name), "/proc/%.20s/fd", pid);
    (void) snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);

    DIR *fds = doctor_path(d, path, name) ? opendir(path) : NULL;

    if (!fds) {
        return false;
    }
    for (const struct dirent *e = readdir(fds); e && !is_found; e = readdir(fds)) {
        ssize_t n = readlinkat(dirfd(fds), e->d_name, target, sizeof(target) - 1);

        target[n > 0 ? n : 0] = '\0';
        is_found = strcmp(target, wanted) == 0;
    }
    (void) closedir(fds);
    return is_found;
}

enum listener doctor_find_listener(const struct doctor *d, unsigned port, pid_t *ret_pid)
{
    char path[DOCTOR_PATH_BYTES];
    unsigned long inode = find_inode(d, "/proc/net/tcp", port);
    enum listener result = LISTENER_HIDDEN;

    inode = inode ? inode : find_inode(d, "/proc/net/tcp6", port);
    if (inode == 0) {
        return LISTENER_NONE;
    }

    DIR *proc = doctor_path(d, path, "/proc") ? opendir(path) : NULL;

    if (!proc) {
        return LISTENER_HIDDEN;
    }
    for (const struct dirent *e = readdir(proc); e && result == LISTENER_HIDDEN;
         e = readdir(proc)) {
        if (isdigit((unsigned char) e->d_name[0]) && has_socket(d, e->d_name, inode)) {
            *ret_pid = (pid_t) strtol(e->d_name, NULL, 10);
            result = LISTENER_FOUND;
        }
    }
    (void) closedir(proc);
    return result;
}
