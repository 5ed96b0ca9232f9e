/*
 * See kernel_text.h. The formats are those of Documentation/filesystems/proc.rst,
 * accounting/psi.rst, admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of the kernel.
 *
 * Most of these files are lines of a name and a number: one loop with a table of names reads them.
 *
 * Must not: open files, allocate.
 */
#include "kernel/kernel_text.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/num.h"

#define KIB 1024U
/* v1 writes LONG_MAX rounded down to a page for "no limit"; nothing real comes near it. */
#define NO_LIMIT (UINT64_C(1) << 62)

bool kernel_next_line(struct str *text, struct str *ret_line)
{
    const char *end = text->len > 0 ? memchr(text->ptr, '\n', text->len) : NULL;

    if (!end) {
        return false;
    }
    *ret_line = (struct str) {text->ptr, (size_t) (end - text->ptr)};
    text->ptr = end + 1;
    text->len -= ret_line->len + 1;
    return true;
}

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t times(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

/* The word that s begins with; it and the blanks behind it are taken away. */
static struct str take_word(struct str *s)
{
    size_t n = 0;
    struct str word;

    while (n < s->len && s->ptr[n] != ' ' && s->ptr[n] != '\t') {
        n++;
    }
    word = (struct str) {s->ptr, n};
    while (n < s->len && (s->ptr[n] == ' ' || s->ptr[n] == '\t')) {
        n++;
    }
    *s = (struct str) {s->ptr + n, s->len - n};
    return word;
}

/* A number that is too large for 64 bits is the largest. */
static int parse_number(struct str s, uint64_t *ret)
{
    int r = num_parse_u64(s, ret);

    if (r == -ERANGE) {
        *ret = UINT64_MAX;
        return 0;
    }
    return r < 0 ? -EBADMSG : 0;
}

/* ---------------------------------------------------------------- names and numbers */

struct row {
    const char *name;
    uint64_t *value; /* what is found is added: some numbers have several names */
};

static void take_row(struct str line, const struct row *rows, size_t n_rows, unsigned *found)
{
    struct str name = take_word(&line), number = take_word(&line);
    uint64_t v;

    if (name.len > 0 && name.ptr[name.len - 1] == ':') {
        name.len--;
    }
    for (size_t i = 0; i < n_rows; i++) {
        if (str_is(name, rows[i].name)) {
            if (parse_number(number, &v) == 0) {
                v = str_is(line, "kB") ? times(v, KIB) : v;
                *rows[i].value = add_saturated(*rows[i].value, v);
                *found |= 1U << i;
            }
            return;
        }
    }
}

/* Adds up the rows that are there; the bits of those that were found. */
static unsigned read_rows(struct str text, const struct row *rows, size_t n_rows)
{
    unsigned found = 0;
    struct str line;

    while (kernel_next_line(&text, &line)) {
        take_row(line, rows, n_rows, &found);
    }
    return found;
}

int kernel_parse_meminfo(struct str text, struct kernel_meminfo *ret)
{
    struct kernel_meminfo m = {0};
    uint64_t free_bytes = 0;
    const struct row rows[] = {
        {"MemTotal", &m.total_bytes},      {"MemAvailable", &m.available_bytes},
        {"MemFree", &free_bytes},          {"Active(file)", &m.file_bytes},
        {"Inactive(file)", &m.file_bytes}, {"SwapTotal", &m.swap_total_bytes},
        {"SwapFree", &m.swap_free_bytes}};
    unsigned found = read_rows(text, rows, ARRAY_LEN(rows));

    if (!(found & 1U) || !(found & 6U) || m.total_bytes == 0) {
        return -EBADMSG;
    }
    if (!(found & 2U)) { /* before Linux 3.14 */
        m.available_bytes = add_saturated(free_bytes, m.file_bytes / 2);
    }
    *ret = m;
    return 0;
}

int kernel_parse_vmstat(struct str text, struct kernel_vmstat *ret)
{
    struct kernel_vmstat v = {0};
    uint64_t before_5_9 = 0;
    const struct row rows[] = {{"workingset_refault_file", &v.refault_pages},
                               {"workingset_refault", &before_5_9},
                               {"pgscan_direct", &v.n_scanned},
                               {"pgscan_kswapd", &v.n_scanned},
                               {"allocstall_dma", &v.n_stalls},
                               {"allocstall_dma32", &v.n_stalls},
                               {"allocstall_normal", &v.n_stalls},
                               {"allocstall_movable", &v.n_stalls},
                               {"allocstall", &v.n_stalls},
                               {"oom_kill", &v.n_oom_kills},
                               {"pswpin", &v.swapped_in_pages},
                               {"pswpout", &v.swapped_out_pages}};
    unsigned found = read_rows(text, rows, ARRAY_LEN(rows));

    if (!(found & 3U)) {
        return -EBADMSG;
    }
    v.refault_pages = found & 1U ? v.refault_pages : before_5_9;
    *ret = v;
    return 0;
}

int kernel_parse_group_stat(struct str text, struct kernel_group_stat *ret)
{
    struct kernel_group_stat own = {0}, total = {0};
    const struct row rows[] = {{"inactive_file", &own.inactive_file_bytes},
                               {"active_file", &own.file_bytes},
                               {"workingset_refault_file", &own.refault_pages},
                               {"pgscan", &own.n_scanned},
                               {"total_inactive_file", &total.inactive_file_bytes},
                               {"total_active_file", &total.file_bytes},
                               {"total_workingset_refault_file", &total.refault_pages}};
    unsigned found = read_rows(text, rows, ARRAY_LEN(rows));

    if (!(found & 0x11U)) {
        return -EBADMSG;
    }
    *ret = found & 0x10U ? total : own;
    ret->file_bytes = add_saturated(ret->file_bytes, ret->inactive_file_bytes);
    return 0;
}

int kernel_parse_group_memory(struct str text, struct kernel_group_memory *ret)
{
    struct kernel_group_memory own = {0}, total = {0};
    const struct row rows[] = {{"anon", &own.anon_bytes},
                               {"rss", &own.anon_bytes},
                               {"file_mapped", &own.mapped_bytes},
                               {"mapped_file", &own.mapped_bytes},
                               {"swap", &own.swap_bytes},
                               {"total_rss", &total.anon_bytes},
                               {"total_mapped_file", &total.mapped_bytes},
                               {"total_swap", &total.swap_bytes}};
    unsigned found = read_rows(text, rows, ARRAY_LEN(rows));

    if (!(found & 0x23U) || !(found & 0x4cU)) {
        return -EBADMSG;
    }
    *ret = (found & 0x60U) == 0x60U ? total : own;
    return 0;
}

int kernel_parse_group_events(struct str text, struct kernel_group_events *ret)
{
    struct kernel_group_events e = {0};
    const struct row rows[] = {
        {"oom_kill", &e.n_oom_kills}, {"high", &e.n_throttled}, {"max", &e.n_limited}};

    if (read_rows(text, rows, ARRAY_LEN(rows)) == 0) {
        return -EBADMSG;
    }
    *ret = e;
    return 0;
}

int kernel_parse_status(struct str text, struct kernel_status *ret)
{
    struct kernel_status s = {0};
    const struct row rows[] = {
        {"RssAnon", &s.rss_anon_bytes}, {"RssFile", &s.rss_file_bytes}, {"VmSwap", &s.swap_bytes}};

    if (!(read_rows(text, rows, ARRAY_LEN(rows)) & 1U)) {
        return -EBADMSG; /* a kernel thread, or before Linux 4.5 */
    }
    *ret = s;
    return 0;
}

/* ---------------------------------------------------------------- lines of their own kind */

int kernel_parse_psi(struct str text, struct kernel_psi *ret)
{
    struct kernel_psi p = {0};
    bool has_some = false;
    struct str line;

    while (kernel_next_line(&text, &line)) {
        struct str name = take_word(&line);
        uint64_t total = 0;
        bool has_total = false;

        while (line.len > 0) {
            struct str word = take_word(&line);

            if (str_has_prefix(word, "total=")) {
                struct str number = {word.ptr + 6, word.len - 6};

                has_total = parse_number(number, &total) == 0;
            }
        }
        if (has_total && str_is(name, "some")) {
            p.some_total_usec = total;
            has_some = true;
        } else if (has_total && str_is(name, "full")) {
            p.full_total_usec = total;
        }
    }
    if (!has_some) {
        return -EBADMSG;
    }
    *ret = p;
    return 0;
}

int kernel_parse_limit(struct str text, uint64_t *ret_bytes)
{
    struct str line;
    uint64_t v;

    if (!kernel_next_line(&text, &line)) {
        return -EBADMSG;
    }
    if (str_is(line, "max")) {
        *ret_bytes = UINT64_MAX;
        return 0;
    }
    if (parse_number(line, &v) < 0) {
        return -EBADMSG;
    }
    *ret_bytes = v >= NO_LIMIT ? UINT64_MAX : v;
    return 0;
}

int kernel_parse_pids(struct str text, unsigned *ret_pids, size_t max, size_t *ret_n)
{
    struct str line;
    size_t n = 0;

    while (kernel_next_line(&text, &line)) {
        uint64_t pid;
        size_t i = 0;

        if (num_parse_u64(line, &pid) < 0 || pid == 0 || pid > INT_MAX) {
            return -EBADMSG;
        }
        while (i < n && ret_pids[i] != pid) {
            i++;
        }
        if (i == max) {
            return -E2BIG;
        }
        ret_pids[i] = (unsigned) pid;
        n = i == n ? n + 1 : n;
    }
    if (text.len > 0) { /* a line without an end */
        return -EBADMSG;
    }
    *ret_n = n;
    return 0;
}

int kernel_parse_swaps(struct str text, bool *ret_is_zram)
{
    bool is_zram = true;
    size_t n = 0;
    struct str line;

    if (!kernel_next_line(&text, &line)) { /* the heading */
        return -EBADMSG;
    }
    while (kernel_next_line(&text, &line)) {
        is_zram = is_zram && str_has_prefix(line, "/dev/zram");
        n++;
    }
    *ret_is_zram = is_zram && n > 0;
    return 0;
}

/* "4:cpu,memory:/a/b" : is the controller among those between the colons? */
static bool names_controller(struct str list, const char *controller)
{
    while (list.len > 0) {
        const char *comma = memchr(list.ptr, ',', list.len);
        struct str one = {list.ptr, comma ? (size_t) (comma - list.ptr) : list.len};

        if (str_is(one, controller)) {
            return true;
        }
        list.ptr += one.len + (comma ? 1 : 0);
        list.len -= one.len + (comma ? 1 : 0);
    }
    return controller[0] == '\0';
}

int kernel_parse_group(struct str text, const char *controller, struct str *ret_path)
{
    struct str line;

    while (kernel_next_line(&text, &line)) {
        const char *first = line.len > 0 ? memchr(line.ptr, ':', line.len) : NULL;
        size_t left = first ? line.len - (size_t) (first + 1 - line.ptr) : 0;
        const char *second = left > 0 ? memchr(first + 1, ':', left) : NULL;

        if (!second) {
            continue;
        }
        struct str list = {first + 1, (size_t) (second - first - 1)};
        struct str path = {second + 1, line.len - (size_t) (second + 1 - line.ptr)};
        bool is_v2 = list.len == 0;

        if (is_v2 == (controller[0] == '\0') && names_controller(list, controller) &&
            str_has_prefix(path, "/")) {
            *ret_path = path;
            return 0;
        }
    }
    return -EBADMSG;
}

static int parse_hex(struct str s, unsigned *ret)
{
    unsigned v = 0;

    if (s.len == 0 || s.len > 7) {
        return -EBADMSG;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                           : -1;

        if (digit < 0) {
            return -EBADMSG;
        }
        v = v * 16 + (unsigned) digit;
    }
    *ret = v;
    return 0;
}

/* "  0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000 1000 0 12345 ..." */
int kernel_parse_listener(struct str line, unsigned *ret_port, uint64_t *ret_inode)
{
    struct str word[10];
    const char *colon;
    uint64_t inode;
    unsigned port;

    line = str_trim(line);
    for (size_t i = 0; i < ARRAY_LEN(word); i++) {
        word[i] = take_word(&line);
    }
    colon = word[1].len > 0 ? memchr(word[1].ptr, ':', word[1].len) : NULL;
    if (!colon || !str_is(word[3], "0A")) {
        return -EBADMSG;
    }
    struct str digits = {colon + 1, word[1].len - (size_t) (colon + 1 - word[1].ptr)};

    if (parse_hex(digits, &port) < 0 || parse_number(word[9], &inode) < 0) {
        return -EBADMSG;
    }
    *ret_port = port;
    *ret_inode = inode;
    return 0;
}
