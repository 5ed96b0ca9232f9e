/*
 * What sluicectl doctor says of sluice.upstreams.URL.restart_unit: is there such a unit, and may
 * sluiced restart it?
 *
 * The units are those of the system's sluice.yaml, found as text: the word behind "restart_unit:".
 * The daemon says nothing of them over its socket, and a YAML parser for one word is too much.
 * Whether polkit allows it polkit is asked, by pkcheck(1) about the running process: rules are
 * programs, and no reading of their files would tell. Only root may ask that for somebody else.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "doctor.h"

#define CONFIG       "/etc/sluice/sluice.yaml"
#define CONFIG_BYTES (256U << 10)
#define KEY          "restart_unit:"
#define MAX_UNITS    8
#define UNIT_BYTES   128
/* What systemd.unit(5) allows in a name, but for the backslash, which a shell and sed would take. */
#define NAME_BYTES "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.@"

struct restart {
    char units[MAX_UNITS][UNIT_BYTES];
    size_t n;
    char user[64], pid[16]; /* of sluice.service */
};

/* ---------------------------------------------------------------- which units */

static void add(struct restart *re, const char *name, size_t n)
{
    char *unit = re->units[re->n];

    if (n == 0 || n >= UNIT_BYTES || re->n == MAX_UNITS ||
        (n == 3 && memcmp(name, "off", n) == 0)) {
        return;
    }
    memcpy(unit, name, n);
    unit[n] = '\0';
    for (size_t i = 0; i < re->n; i++) {
        if (strcmp(re->units[i], unit) == 0) {
            return;
        }
    }
    re->n++;
}

/* A line without its end, and without a comment. */
static void read_line(struct restart *re, char *line)
{
    char *hash = strchr(line, '#'), *at;

    if (hash && (hash == line || hash[-1] == ' ')) {
        *hash = '\0';
    }
    at = strstr(line, KEY);
    if (at) {
        at += sizeof(KEY) - 1;
        at += strspn(at, " '\"");
        add(re, at, strspn(at, NAME_BYTES));
    }
}

static void read_config(const struct doctor *d, struct restart *re)
{
    char *text = malloc(CONFIG_BYTES), *rest = text, *line;

    if (text && doctor_read(d, CONFIG, text, CONFIG_BYTES) > 0) {
        while ((line = strsep(&rest, "\n"))) {
            read_line(re, line);
        }
    }
    free(text);
}

/* ---------------------------------------------------------------- may it? */

/* The shipped rule again, for this unit and user, where every polkit looks; at a folder that was not
 * there it looks only when it starts. */
static void fix_rule(struct doctor *d, const struct restart *re, const char *unit)
{
    static const char *const rules[] = {"/usr/share/polkit-1/rules.d/50-sluice.rules",
                                        "/usr/local/share/polkit-1/rules.d/50-sluice.rules"};

    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (doctor_exists(d, rules[i])) {
            doctor_fix(d,
                       "sudo sed 's/ollama[.]service/%s/; s/\"sluice\"/\"%s\"/' %s | sudo install "
                       "-D -m 644 /dev/stdin /etc/polkit-1/rules.d/50-sluice-%s.rules && sudo "
                       "systemctl try-restart polkit.service",
                       unit, re->user, rules[i], unit);
            return;
        }
    }
}

static void ask_polkit(struct doctor *d, const struct restart *re, const char *unit)
{
    char program[DOCTOR_PATH_BYTES], of[UNIT_BYTES], pid[sizeof(re->pid)], out[256];
    char *words[] = {program,
                     (char[]) {"--action-id"},
                     (char[]) {"org.freedesktop.systemd1.manage-units"},
                     (char[]) {"--process"},
                     pid,
                     (char[]) {"--detail"},
                     (char[]) {"unit"},
                     of,
                     (char[]) {"--detail"},
                     (char[]) {"verb"},
                     (char[]) {"restart"},
                     NULL};

    (void) snprintf(of, sizeof(of), "%s", unit);
    (void) snprintf(pid, sizeof(pid), "%s", re->pid);
    if (doctor_path(d, program, "/usr/bin/pkcheck") &&
        doctor_run(d, words, out, sizeof(out)) >= 0) {
        doctor_tell(d, "restart", DOCTOR_FINE, "polkit lets sluiced restart %s when it hangs",
                    unit);
        return;
    }
    doctor_tell(d, "restart", DOCTOR_FINDING,
                "%s is to be restarted when it hangs, and polkit does not let sluiced (user %s) do "
                "it",
                unit, re->user);
    fix_rule(d, re, unit);
}

static void check_right(struct doctor *d, const struct restart *re, const char *unit)
{
    if (re->user[0] == '\0' || strcmp(re->user, "root") == 0) {
        doctor_tell(d, "restart", DOCTOR_FINE, "sluiced is root, and may restart %s when it hangs",
                    unit);
    } else if (!doctor_exists(d, "/usr/bin/pkcheck")) {
        doctor_tell(d, "restart", DOCTOR_FINDING,
                    "%s is to be restarted when it hangs, and without polkit only root may do that",
                    unit);
        if (doctor_exists(d, "/usr/bin/apt-get")) {
            doctor_fix(d, "sudo apt-get install -y polkitd");
        }
    } else if (d->root[0] == '\0' && geteuid() != 0) {
        doctor_tell(d, "restart", DOCTOR_UNKNOWN,
                    "only root can ask polkit whether sluiced may restart %s", unit);
        doctor_fix(d, "sudo sluicectl doctor");
    } else if (strtol(re->pid, NULL, 10) <= 0) {
        doctor_tell(d, "restart", DOCTOR_UNKNOWN,
                    "whether sluiced may restart %s can be asked only while it runs", unit);
        doctor_fix(d, "sudo systemctl start sluice.service && sudo sluicectl doctor");
    } else {
        ask_polkit(d, re, unit);
    }
}

void doctor_check_restart(struct doctor *d)
{
    static struct doctor_unit unit;
    static struct restart re;

    read_config(d, &re);
    if (re.n == 0) {
        return;
    }
    doctor_unit_load(d, "sluice.service", &unit);
    if (!unit.is_known) {
        doctor_tell(d, "restart", DOCTOR_UNKNOWN,
                    "whether %s may be restarted is not seen without sluice.service", re.units[0]);
        return;
    }
    doctor_unit_get(&unit, "User", re.user, sizeof(re.user));
    doctor_unit_get(&unit, "MainPID", re.pid, sizeof(re.pid));
    for (size_t i = 0; i < re.n; i++) {
        doctor_unit_load(d, re.units[i], &unit);
        if (unit.is_known) {
            check_right(d, &re, re.units[i]);
            continue;
        }
        doctor_tell(d, "restart", DOCTOR_FINDING,
                    "%s names %s to be restarted, and systemd knows no such unit", CONFIG,
                    re.units[i]);
        doctor_fix(d, "systemctl list-unit-files --type=service # shows how it is called");
    }
}
