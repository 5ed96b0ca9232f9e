/*
 * See memory_reader.h.
 *
 * Must not: judge, log, wait.
 */
#include "kernel/memory_reader.h"

#include <errno.h>
#include <unistd.h>

#include "kernel/kernel_text.h"

static struct str text_of(struct memory_reader *r, struct kernel_file *f)
{
    ssize_t n = kernel_file_read(f, r->text, sizeof r->text);

    r->io_error = n < 0 ? (int) n : 0;
    return n < 0 ? STR_NONE : (struct str) {r->text, (size_t) n};
}

static int read_psi(struct memory_reader *r, struct memory_place_sample *ret)
{
    struct kernel_psi psi;
    int n = kernel_parse_psi(text_of(r, &r->psi), &psi);

    if (n < 0) {
        return n;
    }
    ret->has_psi = true;
    ret->some_total_usec = psi.some_total_usec;
    ret->full_total_usec = psi.full_total_usec;
    return 0;
}

static int read_meminfo(struct memory_reader *r, struct memory_sample *s)
{
    struct memory_place_sample *system = &s->place[MEMORY_SYSTEM];
    struct kernel_meminfo m;
    int n = kernel_parse_meminfo(text_of(r, &r->meminfo), &m);

    if (n < 0) {
        return n;
    }
    system->has_room = true;
    system->total_bytes = m.total_bytes;
    system->headroom_bytes = m.available_bytes;
    system->file_bytes = m.file_bytes;
    s->swap_total_bytes = m.swap_total_bytes;
    s->swap_free_bytes = m.swap_free_bytes;
    if (m.swap_total_bytes > 0 && kernel_parse_swaps(text_of(r, &r->swaps), &s->is_swap_zram) < 0) {
        s->is_swap_zram = false;
    }
    return 0;
}

/* After meminfo: a share of the files is what refaults are measured by. */
static int read_vmstat(struct memory_reader *r, struct memory_sample *s)
{
    uint64_t page = (uint64_t) sysconf(_SC_PAGESIZE);
    struct memory_place_sample *system = &s->place[MEMORY_SYSTEM];
    struct kernel_vmstat v;
    int n = kernel_parse_vmstat(text_of(r, &r->vmstat), &v);

    if (n < 0) {
        return n;
    }
    system->has_reclaim = system->has_room;
    system->refault_bytes = v.refault_pages * page;
    system->n_scanned = v.n_scanned;
    system->n_stalls = v.n_stalls;
    system->n_oom_kills = v.n_oom_kills;
    s->swapped_in_bytes = v.swapped_in_pages * page;
    s->swapped_out_bytes = v.swapped_out_pages * page;
    return 0;
}

int memory_reader_init(struct memory_reader *r, const char *root)
{
    struct memory_sample s = {0};
    int n;

    *r = (struct memory_reader) {.root = root};
    n = kernel_file_init(&r->psi, root, "/proc/pressure", "memory");
    if (n == 0) {
        n = kernel_file_init(&r->meminfo, root, "/proc", "meminfo");
    }
    if (n == 0) {
        n = kernel_file_init(&r->vmstat, root, "/proc", "vmstat");
    }
    if (n == 0) {
        n = kernel_file_init(&r->swaps, root, "/proc", "swaps");
    }
    if (n < 0) {
        memory_reader_done(r);
        return n;
    }
    n = read_psi(r, &s.place[MEMORY_SYSTEM]);
    r->has_psi = n == 0;
    r->psi_error = r->io_error ? r->io_error : n;
    r->has_meminfo = read_meminfo(r, &s) == 0;
    r->has_vmstat = read_vmstat(r, &s) == 0;
    return 0;
}

void memory_reader_done(struct memory_reader *r)
{
    kernel_file_done(&r->psi);
    kernel_file_done(&r->meminfo);
    kernel_file_done(&r->vmstat);
    kernel_file_done(&r->swaps);
    kernel_group_close(&r->group);
    r->has_group = false;
}

void memory_reader_forget_group(struct memory_reader *r)
{
    kernel_group_close(&r->group);
    r->has_group = false;
    r->epoch++;
}

int memory_reader_set_group(struct memory_reader *r, const struct kernel_group_paths *paths)
{
    int n;

    memory_reader_forget_group(r);
    n = kernel_group_open(&r->group, r->root, paths);
    r->has_group = n == 0;
    return n;
}

static void read_group(struct memory_reader *r, struct memory_place_sample *ret)
{
    if (r->has_group && kernel_group_read(&r->group, r->text, ret) < 0) {
        memory_reader_forget_group(r);
    }
    ret->epoch = r->epoch;
}

static void note(struct memory_reader *r, int n)
{
    if (n < 0) {
        r->error = r->io_error < 0 ? r->io_error : n;
    }
}

void memory_reader_read(struct memory_reader *r, uint64_t now_usec, struct memory_sample *ret)
{
    int n;

    *ret = (struct memory_sample) {.at_usec = now_usec};
    r->error = 0;
    n = r->has_psi ? read_psi(r, &ret->place[MEMORY_SYSTEM]) : 0;
    note(r, n);
    n = r->has_meminfo ? read_meminfo(r, ret) : 0;
    note(r, n);
    n = r->has_vmstat ? read_vmstat(r, ret) : 0;
    note(r, n);
    ret->is_incomplete = r->error < 0;
    read_group(r, &ret->place[MEMORY_SERVER]);
}

int memory_reader_read_server(struct memory_reader *r, struct server_memory *ret)
{
    int n = r->has_group ? kernel_group_read_memory(&r->group, r->text, ret) : -ENOENT;

    if (n == 0) {
        ret->epoch = r->epoch;
    }
    return n;
}
