/* See footprint_file.h. Owns nothing: the file is opened, written and closed each time. */
#include "footprint_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "base/log.h"

/* systemd names several directories with colons between them: the first. -ENOENT: there is none. */
static int path_of(const char *name, char ret_path[PATH_MAX])
{
    const char *dir = getenv("STATE_DIRECTORY");
    int n;

    if (!dir || dir[0] != '/') {
        return -ENOENT;
    }
    n = snprintf(ret_path, PATH_MAX, "%.*s/%s", (int) strcspn(dir, ":"), dir, name);
    return n > 0 && n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

void footprint_file_read(struct footprints *fs)
{
    char path[PATH_MAX];
    struct buf text;
    int r = path_of(FOOTPRINT_FILE, path);

    footprints_init(fs);
    if (r < 0) {
        return;
    }
    buf_init(&text, FOOTPRINT_TEXT_MAX);
    r = fdio_read_file(path, &text);
    if (r == 0) {
        r = footprints_decode(fs, buf_str(&text));
    }
    if (r < 0 && r != -ENOENT) {
        log_printf(LOG_LEVEL_WARNING,
                   "%s: cannot be used (%s): the sizes of models are learned anew", path,
                   strerror(-r));
    }
    buf_done(&text);
}

static int write_all(int fd, struct str text)
{
    while (text.len > 0) {
        ssize_t n = write(fd, text.ptr, text.len);

        if (n < 0) {
            return -errno;
        }
        text.ptr += n;
        text.len -= (size_t) n;
    }
    return 0;
}

static int replace(const char *path, const char *beside, struct str text)
{
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r;

    if (fd < 0) {
        return -errno;
    }
    r = write_all(fd, text);
    (void) fd_close(fd);
    if (r == 0 && rename(beside, path) < 0) {
        r = -errno;
    }
    if (r < 0) {
        (void) unlink(beside);
    }
    return r;
}

void footprint_file_write(struct footprints *fs)
{
    static bool has_complained;
    char path[PATH_MAX], beside[PATH_MAX];
    struct buf text;
    int r;

    if (!fs->is_dirty || path_of(FOOTPRINT_FILE, path) < 0 ||
        path_of(FOOTPRINT_FILE ".new", beside) < 0) {
        return;
    }
    buf_init(&text, FOOTPRINT_TEXT_MAX);
    r = footprints_encode(fs, &text);
    if (r == 0) {
        r = replace(path, beside, buf_str(&text));
    }
    if (r < 0 && !has_complained) {
        has_complained = true;
        log_printf(LOG_LEVEL_WARNING,
                   "%s: cannot be written (%s): the sizes of models are forgotten at the end", path,
                   strerror(-r));
    }
    buf_done(&text);
}
