/*
 * What sluicectl doctor says of the kernel: does it tell memory pressure (PSI), is there swap, can
 * cgroups hold memory, and who else kills when memory runs out.
 *
 * Kernels of distributions are often built with PSI off until psi=1 stands on the kernel's command
 * line (CONFIG_PSI_DEFAULT_DISABLED), and a Raspberry Pi's boots with cgroup_disable=memory. Where
 * that line is written depends on the boot loader, which is found by its files.
 */
#include <ctype.h>
#include <dirent.h>
#include <string.h>

#include "doctor.h"

#define KIB 1024ull
#define MIB (1024ull * KIB)

static char text[256 * 1024]; /* of one file at a time; a kernel's configuration is the largest */

/* ---------------------------------------------------------------- boot loaders */

static const struct loader {
    const char *file;
    const char *command; /* with the parameter for %s */
} loaders[] = {
    {"/boot/firmware/cmdline.txt",
     "sudo sed -i '1s/$/ %s/' /boot/firmware/cmdline.txt && sudo reboot"},
    {"/boot/cmdline.txt", "sudo sed -i '1s/$/ %s/' /boot/cmdline.txt && sudo reboot"},
    {"/etc/default/grub", "sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&%s /' /etc/default/grub && sudo "
                          "update-grub && sudo reboot"},
    {"/boot/extlinux/extlinux.conf",
     "sudo sed -i '/^ *append /I s/$/ %s/' /boot/extlinux/extlinux.conf && sudo reboot"},
    {"/etc/kernel/cmdline",
     "sudo sed -i '1s/$/ %s/' /etc/kernel/cmdline && sudo kernel-install add-all && sudo reboot"},
};

/* The command before its parameter, the parameter, the rest. */
static void fix_boot(struct doctor *d, const char *parameter)
{
    for (size_t i = 0; i < sizeof(loaders) / sizeof(loaders[0]); i++) {
        const char *hole = strstr(loaders[i].command, "%s");

        if (doctor_exists(d, loaders[i].file)) {
            doctor_fix(d, "%.*s%s%s", (int) (hole - loaders[i].command), loaders[i].command,
                       parameter, hole + 2);
            return;
        }
    }
    doctor_fix(d,
               "# add %s to the kernel's command line in this machine's boot loader, then reboot",
               parameter);
}

/* ---------------------------------------------------------------- PSI */

enum built { BUILT_UNKNOWN, BUILT_WITH, BUILT_WITHOUT };

/* By the configuration that distributions put beside their kernel. */
static enum built psi_is_built(const struct doctor *d)
{
    char release[128], path[192];

    if (doctor_read(d, "/proc/sys/kernel/osrelease", release, sizeof(release)) <= 0) {
        return BUILT_UNKNOWN;
    }
    release[strcspn(release, "\n")] = '\0';
    (void) snprintf(path, sizeof(path), "/boot/config-%s", release);
    if (doctor_read(d, path, text, sizeof(text)) <= 0) {
        return BUILT_UNKNOWN;
    }
    return strstr(text, "\nCONFIG_PSI=y") ? BUILT_WITH : BUILT_WITHOUT;
}

static void check_psi(struct doctor *d)
{
    char line[512], command_line[4096];

    if (doctor_read(d, "/proc/pressure/memory", line, sizeof(line)) > 0 &&
        strncmp(line, "some ", 5) == 0) {
        doctor_tell(d, "psi", DOCTOR_FINE, "the kernel tells memory pressure (PSI)");
        return;
    }
    (void) doctor_read(d, "/proc/cmdline", command_line, sizeof(command_line));
    if (strstr(command_line, "psi=0")) {
        doctor_tell(d, "psi", DOCTOR_FINDING,
                    "psi=0 on the kernel's command line switches PSI off; sluice sees memory "
                    "pressure late without it. A later psi=1 wins");
        fix_boot(d, "psi=1");
        return;
    }
    if (psi_is_built(d) == BUILT_WITHOUT) {
        doctor_tell(d, "psi", DOCTOR_FINDING,
                    "this kernel is built without PSI; sluice judges by free memory and reclaim "
                    "alone. It takes a kernel with CONFIG_PSI=y");
        return;
    }
    doctor_tell(
        d, "psi", DOCTOR_FINDING,
        "the kernel does not tell memory pressure: PSI is off. sluice judges by free memory "
        "and reclaim alone, which is later");
    fix_boot(d, "psi=1");
}

/* ---------------------------------------------------------------- memory and swap */

static void read_memory(struct doctor *d)
{
    if (doctor_read(d, "/proc/meminfo", text, sizeof(text)) > 0) {
        d->memory_bytes = doctor_line_number(text, "MemTotal:") * KIB;
        d->available_bytes = doctor_line_number(text, "MemAvailable:") * KIB;
    }
    if (d->memory_bytes == 0) {
        doctor_tell(d, "memory", DOCTOR_UNKNOWN, "/proc/meminfo says nothing of memory");
        return;
    }
    doctor_tell(d, "memory", DOCTOR_FINE, "%llu MiB, of which %llu MiB are available",
                (unsigned long long) (d->memory_bytes / MIB),
                (unsigned long long) (d->available_bytes / MIB));
}

static void fix_swap(struct doctor *d)
{
    if (doctor_exists(d, "/usr/bin/apt-get")) {
        doctor_fix(d, "sudo apt-get install -y zram-tools && printf 'PERCENT=50\\n' | sudo tee "
                      "/etc/default/zramswap && sudo systemctl restart zramswap");
        return;
    }
    doctor_fix(d,
               "sudo sh -c 'modprobe zram && z=$(zramctl -f -s %lluM) && mkswap $z && swapon -p "
               "100 $z' # until the next boot",
               (unsigned long long) (d->memory_bytes / MIB / 2));
}

/* proc_swaps: a title, then a line for each area, its file first. */
static void check_swap(struct doctor *d)
{
    size_t n_zram = 0, n_disk = 0;

    if (doctor_read(d, "/proc/swaps", text, sizeof(text)) < 0) {
        doctor_tell(d, "swap", DOCTOR_UNKNOWN, "/proc/swaps cannot be read");
        return;
    }
    for (const char *line = strchr(text, '\n'); line && line[1] != '\0';
         line = strchr(line + 1, '\n')) {
        bool is_zram = strncmp(line + 1, "/dev/zram", 9) == 0;

        n_zram += is_zram;
        n_disk += !is_zram;
    }
    d->has_disk_swap = n_disk > 0;
    if (n_zram + n_disk == 0) {
        doctor_tell(d, "swap", DOCTOR_FINDING,
                    "there is neither swap nor zram: memory ends at a cliff. zram of half the "
                    "memory makes it a slope, and lets cold pages go");
        fix_swap(d);
        return;
    }
    doctor_tell(d, "swap", DOCTOR_FINE, "%s",
                n_disk == 0   ? "zram"
                : n_zram == 0 ? "on a disk"
                              : "zram, and on a disk");
}

/* ---------------------------------------------------------------- cgroups */

static void check_cgroup(struct doctor *d)
{
    char controllers[512];
    const char *memory = NULL;

    if (doctor_read(d, "/sys/fs/cgroup/cgroup.controllers", controllers, sizeof(controllers)) > 0) {
        memory = strstr(controllers, "memory");
    }
    if (memory) {
        doctor_tell(d, "cgroup", DOCTOR_FINE, "cgroups (v2) can hold memory");
    } else if (doctor_exists(d, "/sys/fs/cgroup/memory/memory.limit_in_bytes")) {
        doctor_tell(d, "cgroup", DOCTOR_UNKNOWN,
                    "cgroups hold memory in their old form (v1): MemoryMax= works, MemoryHigh= and "
                    "a unit's own pressure do not");
        fix_boot(d, "systemd.unified_cgroup_hierarchy=1");
    } else {
        doctor_tell(d, "cgroup", DOCTOR_FINDING,
                    "cgroups cannot hold memory here: MemoryMax= and MemoryHigh= of units do "
                    "nothing");
        fix_boot(d, "cgroup_enable=memory");
    }
}

/* ---------------------------------------------------------------- who else kills */

static const struct killer {
    const char *comm; /* as /proc/PID/comm has it: at most 15 bytes */
    const char *text;
} killers[] = {
    {"earlyoom", "earlyoom runs: it kills when less than 10 % of memory is free, unless told "
                 "otherwise; sluice unloads models before"},
    {"systemd-oomd", "systemd-oomd runs: it kills after some 20 s of pressure; sluice unloads "
                     "models before"},
    {"nohang", "nohang runs; sluice unloads models before it kills, with nohang's own limits"},
};

static void look_at_process(struct doctor *d, const char *pid, bool *is_told)
{
    char path[64], comm[32];

    (void) snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
    if (doctor_read(d, path, comm, sizeof(comm)) <= 0) {
        return;
    }
    comm[strcspn(comm, "\n")] = '\0';
    for (size_t i = 0; i < sizeof(killers) / sizeof(killers[0]); i++) {
        if (strcmp(comm, killers[i].comm) == 0) {
            doctor_tell(d, "killers", DOCTOR_FINE, "%s", killers[i].text);
            *is_told = true;
        }
    }
}

static void check_killers(struct doctor *d)
{
    char path[DOCTOR_PATH_BYTES];
    DIR *proc = doctor_path(d, path, "/proc") ? opendir(path) : NULL;
    bool is_told = false;

    if (!proc) {
        doctor_tell(d, "killers", DOCTOR_UNKNOWN, "/proc cannot be read");
        return;
    }
    for (const struct dirent *e = readdir(proc); e; e = readdir(proc)) {
        if (isdigit((unsigned char) e->d_name[0])) {
            look_at_process(d, e->d_name, &is_told);
        }
    }
    (void) closedir(proc);
    if (!is_told) {
        doctor_tell(d, "killers", DOCTOR_FINE,
                    "neither earlyoom nor systemd-oomd nor nohang is seen: after sluice comes the "
                    "kernel");
    }
}

void doctor_check_kernel(struct doctor *d)
{
    check_psi(d);
    read_memory(d);
    check_swap(d);
    check_cgroup(d);
    check_killers(d);
}
