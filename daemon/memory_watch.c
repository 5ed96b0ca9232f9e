/*
 * See memory_watch.h.
 *
 * A FIFO is opened for writing too: then its other end may come and go without a hang-up that would
 * wake the loop for ever. A socket that is closed at the other end is given up.
 *
 * Must not: decide what is given back.
 */
#include "memory_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "wire/base64.h"

#define READ_BYTES       4096
#define READS_PER_WAKEUP 16 /* then the loop looks around */

static void give_up(struct memory_watch *w, const char *why)
{
    log_printf(LOG_LEVEL_WARNING, "memory pressure of this service is not watched: %s", why);
    w->io = sd_event_source_disable_unref(w->io);
    w->fd = fd_close(w->fd);
}

/* Throws away what is there. How much it was; 0 at the end of a stream, else -errno. */
static ssize_t drain(int fd)
{
    char bytes[READ_BYTES];
    ssize_t total = 0;

    for (int i = 0; i < READS_PER_WAKEUP; i++) {
        ssize_t n = read(fd, bytes, sizeof bytes);

        if (n <= 0) {
            return total > 0 ? total : n < 0 ? -errno : 0;
        }
        total += n;
    }
    return total;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
    struct memory_watch *w = ctx;
    ssize_t n = w->is_stream ? drain(fd) : 1;

    if (n > 0 && (revents & (EPOLLIN | EPOLLPRI))) {
        w->on_pressure(w->ctx);
        return 0;
    }
    if (n == -EAGAIN || n == -EINTR) {
        return 0;
    }
    give_up(w, "the other end is gone");
    return 0;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd, r;

    if (strlen(path) >= sizeof address.sun_path) {
        return -ENAMETOOLONG;
    }
    (void) strcpy(address.sun_path, path); /* fits, as was just seen */
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    r = connect(fd, (const struct sockaddr *) &address, sizeof address) < 0 ? -errno : fd;
    if (r < 0) {
        (void) fd_close(fd);
    }
    return r;
}

static int open_file(const char *path)
{
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

    if (fd < 0 && errno == EACCES) { /* good enough where nothing is to be written */
        fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    }
    return fd < 0 ? -errno : fd;
}

/* The trigger, in one write() as the kernel wants it. */
static int write_first(struct memory_watch *w, const char *base64)
{
    struct buf bytes;
    int r = 0;

    if (!base64 || !base64[0]) {
        return 0;
    }
    buf_init(&bytes, MEMORY_WATCH_MAX_WRITE_BYTES);
    r = base64_decode(&bytes, str_from(base64));
    if (r == 0 && write(w->fd, buf_ptr(&bytes), bytes.len) != (ssize_t) bytes.len) {
        r = errno > 0 ? -errno : -EIO;
    }
    buf_done(&bytes);
    return r;
}

static int open_watch(struct memory_watch *w, const char *path, bool *ret_is_fifo)
{
    struct stat st;

    if (path[0] != '/') {
        return -EINVAL;
    }
    if (stat(path, &st) < 0) {
        return -errno;
    }
    if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode)) {
        return -EINVAL;
    }
    w->is_stream = !S_ISREG(st.st_mode);
    *ret_is_fifo = S_ISFIFO(st.st_mode);
    w->fd = S_ISSOCK(st.st_mode) ? connect_to(path) : open_file(path);
    return w->fd < 0 ? w->fd : 0;
}

int memory_watch_init(struct memory_watch *w, sd_event *event, void (*on_pressure)(void *ctx),
                      void *ctx)
{
    const char *path = getenv("MEMORY_PRESSURE_WATCH");
    bool is_fifo = false;
    int r;

    *w = (struct memory_watch) {.fd = -1, .on_pressure = on_pressure, .ctx = ctx};
    if (!path || !path[0] || strcmp(path, "/dev/null") == 0) {
        return 0;
    }
    r = open_watch(w, path, &is_fifo);
    if (r >= 0) {
        errno = 0;
        r = write_first(w, getenv("MEMORY_PRESSURE_WRITE"));
    }
    if (r >= 0 && is_fifo) {
        (void) drain(w->fd); /* our own words would come back as the first alarm */
    }
    if (r >= 0) {
        r = sd_event_add_io(event, &w->io, w->fd, w->is_stream ? EPOLLIN : EPOLLPRI, on_io, w);
    }
    if (r < 0) {
        give_up(w, strerror(-r));
        return r == -ENOMEM ? r : 0;
    }
    return 0;
}

void memory_watch_done(struct memory_watch *w)
{
    if (w->on_pressure) { /* else zeroed: 0 is no descriptor of ours */
        w->io = sd_event_source_disable_unref(w->io);
        w->fd = fd_close(w->fd);
    }
}
