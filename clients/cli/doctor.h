#pragma once
/*
 * sluicectl doctor: what its checks share. A check looks at one thing of this machine and tells what
 * it found, as a sentence, and where something is to be done the command that does it.
 *
 * doctor.c owns the list and prints it; doctor_kernel.c, doctor_ollama.c, doctor_models.c,
 * doctor_daemon.c and doctor_restart.c are the checks; doctor_files.c is how they look: at files and programs below one
 * folder, so that a tree of files stands for a machine in tests.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli.h"

#define DOCTOR_TEXT_BYTES   512
#define DOCTOR_PATH_BYTES   512
#define DOCTOR_MAX_FINDINGS 96
#define DOCTOR_MAX_SERVERS  8
#define DOCTOR_MAX_SIZES    64

enum doctor_state {
    DOCTOR_FINE,
    DOCTOR_FINDING, /* something is to be done; makes the exit code 1 */
    DOCTOR_UNKNOWN  /* could not be looked at, or is for the reader to judge */
};

struct doctor_entry {
    const char *check; /* a word, for programs: "psi" */
    enum doctor_state state;
    char text[DOCTOR_TEXT_BYTES];
    char fix[DOCTOR_TEXT_BYTES]; /* a command line; "": none */
};

/* An Ollama that is asked. */
struct doctor_server {
    char host[128];
    char port[8];
    unsigned long long slots; /* of its deployments, the most of any; 0: not known */
};

/* What the daemon knows of a model of an Ollama. */
struct doctor_size {
    struct doctor_server server;
    char name[128];
    uint64_t need_bytes;
    char source[16]; /* where that is known from: "learned", "computed", ... */
    char fits[16];   /* "now", "later", "not now", "never"; "": it keeps no budget */
};

struct doctor {
    const char *root;       /* in front of each path; "": this machine */
    const char *socket;     /* of the daemon; NULL: the usual places */
    const char *ollama_url; /* --ollama; NULL: those of the daemon, else Ollama's usual place */
    struct doctor_server servers[DOCTOR_MAX_SERVERS];
    size_t n_servers;
    struct doctor_size sizes[DOCTOR_MAX_SIZES];
    size_t n_sizes;
    uint64_t memory_bytes;    /* MemTotal; 0: not known */
    uint64_t available_bytes; /* MemAvailable */
    bool has_disk_swap;       /* and not only zram */
    /* and one that tells of those that had no place */
    struct doctor_entry entries[DOCTOR_MAX_FINDINGS + 1];
    size_t n;
    size_t n_untold, n_untold_findings; /* the latter are counted in both */
};

/* ---------------------------------------------------------------- telling (doctor.c) */

/* The next entry of the list. Beyond its last place entries are only counted. */
void doctor_tell(struct doctor *d, const char *check, enum doctor_state state, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The command that mends the entry told last; nothing where that one was only counted. */
void doctor_fix(struct doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Host and port out of an address. False: as below. */
bool doctor_parse_server(struct doctor_server *s, const char *url);

/* "host:port", "http://host:port/v1", "[::1]:11434" as an Ollama to be asked, once. False: https, which is not spoken here, or
 * no address. */
bool doctor_add_server(struct doctor *d, const char *url, unsigned long long slots);

/* ---------------------------------------------------------------- looking (doctor_files.c) */

/* root + path. False: too long. */
bool doctor_path(const struct doctor *d, char *out, const char *path);

/* What is in a file, at most size - 1 bytes of it, and a NUL: the number of bytes, or -errno. */
int doctor_read(const struct doctor *d, const char *path, char *out, size_t size);

/* Is there anything? */
bool doctor_exists(const struct doctor *d, const char *path);

/* The number behind "name" in lines like "MemTotal:  2048 kB"; 0: none. */
uint64_t doctor_line_number(const char *text, const char *name);

/* Runs words[0], a path, with the rest as its arguments, without asking a terminal, for 5 s at most:
 * its output with a NUL, at most size - 1 bytes; its number of bytes, or -errno: -EIO when it failed. */
int doctor_run(const struct doctor *d, char *const words[], char *out, size_t size);

/* ---------------------------------------------------------------- systemd's units */

#define DOCTOR_UNIT_BYTES 16384

struct doctor_unit {
    bool is_known; /* systemd answered, and has such a unit */
    char text[DOCTOR_UNIT_BYTES];
};

/* Asks systemctl about a unit. */
void doctor_unit_load(const struct doctor *d, const char *name, struct doctor_unit *ret_unit);

/* A property as systemctl says it, into out; "" where it says none. */
void doctor_unit_get(const struct doctor_unit *unit, const char *property, char *out, size_t size);

/* Lines below [Service] of a unit, by a drop-in that is made or grows, as the fix of the entry told last. lines: with "\\n"
 * between them, as printf(1) has it. */
void doctor_fix_unit(struct doctor *d, const char *unit, const char *lines);

/* ---------------------------------------------------------------- the checks */

void doctor_check_kernel(struct doctor *d);
void doctor_check_daemon(struct doctor *d);
void doctor_check_restart(struct doctor *d);
void doctor_check_ollama(struct doctor *d);
void doctor_check_models(struct doctor *d, const struct doctor_server *server);
