/*
 * How sluicectl doctor looks at a machine: files and programs below one folder, and systemd through
 * systemctl, whose output is meant for programs (systemctl(1), "show").
 *
 * Everything is bounded: what is read by the caller's buffer, what is run by 5 s and that buffer.
 * Nothing is changed, and nothing that is read is trusted to be text in lines.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "doctor.h"

#define RUN_LIMIT_MSEC 5000
#define DROP_IN        "sluice.conf"

bool doctor_path(const struct doctor *d, char *out, const char *path)
{
    int n = snprintf(out, DOCTOR_PATH_BYTES, "%s%s", d->root, path);

    return n > 0 && n < DOCTOR_PATH_BYTES;
}

/* Fills out until the end of fd or of out: the number of bytes, or -errno. */
static int read_all(int fd, char *out, size_t size)
{
    size_t n = 0;

    while (n < size - 1) {
        ssize_t got = read(fd, out + n, size - 1 - n);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -errno;
        }
        if (got == 0) {
            break;
        }
        n += (size_t) got;
    }
    out[n] = '\0';
    return (int) n;
}

int doctor_read(const struct doctor *d, const char *path, char *out, size_t size)
{
    char full[DOCTOR_PATH_BYTES];

    out[0] = '\0';
    if (!doctor_path(d, full, path)) {
        return -ENAMETOOLONG;
    }

    /* not to wait for who writes to a FIFO */
    int fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        return -errno;
    }

    int r = read_all(fd, out, size);

    (void) close(fd);
    return r;
}

bool doctor_exists(const struct doctor *d, const char *path)
{
    char full[DOCTOR_PATH_BYTES];

    return doctor_path(d, full, path) && access(full, F_OK) == 0;
}

uint64_t doctor_line_number(const char *text, const char *name)
{
    size_t n = strlen(name);

    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, n) == 0) {
            return strtoull(line + n, NULL, 10);
        }
    }
    return 0;
}

/* ---------------------------------------------------------------- programs */

static uint64_t now_msec(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

/* The same as read_all(), for RUN_LIMIT_MSEC at most. */
static int read_in_time(int fd, char *out, size_t size)
{
    uint64_t until = now_msec() + RUN_LIMIT_MSEC;
    size_t n = 0;

    out[0] = '\0';
    for (;;) {
        uint64_t now = now_msec();
        struct pollfd p = {.fd = fd, .events = POLLIN};

        if (now >= until || n == size - 1) {
            return n == size - 1 ? -EMSGSIZE : -ETIMEDOUT;
        }
        if (poll(&p, 1, (int) (until - now)) <= 0) {
            continue;
        }

        ssize_t got = read(fd, out + n, size - 1 - n);

        if (got <= 0) {
            return got < 0 ? -errno : (int) n;
        }
        n += (size_t) got;
        out[n] = '\0';
    }
}

static int start(char *const words[], int output, pid_t *ret_pid)
{
    char *environment[] = {(char[]) {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, (char[]) {"LC_ALL=C"},
                           (char[]) {"SYSTEMD_PAGER="}, (char[]) {"SYSTEMD_COLORS=0"}, NULL};
    posix_spawn_file_actions_t actions;
    int r = posix_spawn_file_actions_init(&actions);

    if (r != 0) {
        return -r;
    }
    r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    r = r ? r : posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    r = r ? r : posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    r = r ? r : posix_spawn(ret_pid, words[0], &actions, NULL, words, environment);
    (void) posix_spawn_file_actions_destroy(&actions);
    return -r;
}

int doctor_run(const struct doctor *d, char *const words[], char *out, size_t size)
{
    int ends[2], status = 0, r;
    pid_t pid = 0;

    out[0] = '\0';
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -errno;
    }
    r = start(words, ends[1], &pid);
    (void) close(ends[1]);
    if (r < 0) {
        (void) close(ends[0]);
        return r;
    }
    r = read_in_time(ends[0], out, size);
    (void) close(ends[0]);
    if (r < 0) {
        (void) kill(pid, SIGKILL);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return r < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0) ? r : -EIO;
}

/* ---------------------------------------------------------------- systemd's units */

void doctor_unit_load(const struct doctor *d, const char *name, struct doctor_unit *ret_unit)
{
    static const char *const properties =
        "--property=LoadState,ActiveState,MainPID,User,Environment,DropInPaths,OOMPolicy,OOMScoreAdjust,"
        "MemoryHigh,MemoryMax,MemorySwapMax,LimitNOFILE";
    char program[DOCTOR_PATH_BYTES], unit[64], state[32];
    char show[] = "show", wanted[192];
    char *words[] = {program, show, wanted, unit, NULL};

    ret_unit->is_known = false;
    (void) snprintf(wanted, sizeof(wanted), "%s", properties);
    (void) snprintf(unit, sizeof(unit), "%s", name);
    if (!doctor_path(d, program, "/usr/bin/systemctl") ||
        doctor_run(d, words, ret_unit->text, sizeof(ret_unit->text)) < 0) {
        return;
    }
    doctor_unit_get(ret_unit, "LoadState", state, sizeof(state));
    ret_unit->is_known = strcmp(state, "loaded") == 0;
}

void doctor_unit_get(const struct doctor_unit *unit, const char *property, char *out, size_t size)
{
    size_t n = strlen(property);

    out[0] = '\0';
    for (const char *line = unit->text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, property, n) == 0 && line[n] == '=') {
            line += n + 1;
            (void) snprintf(out, size, "%.*s", (int) strcspn(line, "\n"), line);
            return;
        }
    }
}

void doctor_fix_unit(struct doctor *d, const char *unit, const char *lines)
{
    doctor_fix(d,
               "sudo mkdir -p /etc/systemd/system/%s.d && printf '[Service]\\n%s\\n' | sudo tee -a "
               "/etc/systemd/system/%s.d/" DROP_IN " && sudo systemctl daemon-reload && sudo "
               "systemctl restart %s",
               unit, lines, unit, unit);
}
