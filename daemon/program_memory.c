/*
 * See program_memory.h.
 */
#include "program_memory.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void *address_in(const struct dl_phdr_info *object, ElfW(Addr) offset)
{
    return (void *) (uintptr_t) (object->dlpi_addr + offset);
}

static bool is_relocated(const struct dl_phdr_info *object, const ElfW(Phdr) * dynamic)
{
    for (const ElfW(Dyn) *d = address_in(object, dynamic->p_vaddr); d->d_tag != DT_NULL; d++) {
        if (d->d_tag == DT_TEXTREL || (d->d_tag == DT_FLAGS && (d->d_un.d_val & DF_TEXTREL))) {
            return true;
        }
    }
    return false;
}

bool program_memory_may_drop(const struct dl_phdr_info *object)
{
    if (!object->dlpi_name || !strchr(object->dlpi_name, '/')) {
        return false; /* "" is the program, "linux-vdso.so.1" the vDSO */
    }
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];

        if (segment->p_type == PT_DYNAMIC && is_relocated(object, segment)) {
            return false;
        }
    }
    return true;
}

/* Of dl_iterate_phdr(). */
static int drop(struct dl_phdr_info *object, size_t size, void *ctx)
{
    uintptr_t page = (uintptr_t) sysconf(_SC_PAGESIZE);

    (void) size, (void) ctx;
    if (!program_memory_may_drop(object)) {
        return 0;
    }
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t offset = (uintptr_t) address_in(object, segment->p_vaddr) % page;

        if (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W)) {
            /* Without effect where it fails: the pages stay, and that is all. */
            (void) madvise((char *) address_in(object, segment->p_vaddr) - offset,
                           segment->p_filesz + offset, MADV_DONTNEED);
        }
    }
    return 0;
}

void program_memory_settle(void)
{
    (void) dl_iterate_phdr(drop, NULL);
    (void) mlockall(MCL_CURRENT | MCL_ONFAULT);
}
