/*
 * What sluicectl doctor says of the models that an Ollama has: which can ever fit into this memory.
 *
 * The list is asked of Ollama itself (GET /api/tags), in HTTP/1.0, where an answer is whole when the
 * connection closes: no chunks, nothing kept. What a model takes, and whether that fits, a running
 * sluiced knows of those that its configuration names, and says where from: learned, told by the
 * configuration, reported, computed. Of others, and before there is one, it is computed here: the
 * weights, a tenth more, and 200 MiB for runner and context, the least, as contexts grow with their
 * length.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "doctor.h"

#define MIB          (1024ull * 1024)
#define ANSWER_BYTES (1024 * 1024) /* some 2,000 models */
#define LIMIT_SEC    3             /* for each step; a list is made from files */
#define MAX_TOLD     16            /* models of one server that are named */

/* ---------------------------------------------------------------- memory */

/* What must stay free, as the daemon counts it: two thirds of 12 % of the memory, the 12 % being at
 * least 224 and at most 768 MiB. */
static uint64_t reserve_bytes(uint64_t memory_bytes)
{
    uint64_t soft = memory_bytes * 12 / 100;

    soft = soft < 224 * MIB ? 224 * MIB : soft > 768 * MIB ? 768 * MIB : soft;
    return soft * 2 / 3;
}

static uint64_t need_bytes(double weights)
{
    return (uint64_t) (weights * 1.1) + 200 * MIB;
}

/* ---------------------------------------------------------------- asking */

static int connect_to(const struct doctor_server *s)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    struct timeval limit = {.tv_sec = LIMIT_SEC}; /* SO_SNDTIMEO bounds connect(2) too, socket(7) */
    int fd = -1;

    if (getaddrinfo(s->host, s->port, &hints, &list) != 0) {
        return -1;
    }
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, 0);
        if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
                        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
                        connect(fd, a->ai_addr, a->ai_addrlen) < 0)) {
            (void) close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

/* What came until the connection closed, with a NUL; owned. NULL: nothing, too much, too slow. */
static char *read_answer(int fd)
{
    char *answer = malloc(ANSWER_BYTES);
    size_t n = 0;
    ssize_t got = -1;

    while (answer && n < ANSWER_BYTES - 1) {
        got = recv(fd, answer + n, ANSWER_BYTES - 1 - n, 0);
        if (got <= 0) {
            break;
        }
        n += (size_t) got;
    }
    if (!answer || got != 0) {
        free(answer);
        return NULL;
    }
    answer[n] = '\0';
    return answer;
}

/* The body of a 200, within answer; NULL: it is none. */
static const char *body_of(const char *answer)
{
    const char *body = strstr(answer, "\r\n\r\n");

    return strncmp(answer, "HTTP/1.", 7) == 0 && strncmp(answer + 8, " 200", 4) == 0 && body
               ? body + 4
               : NULL;
}

/* The list of a server; cJSON_Delete(). NULL: it does not tell. */
static cJSON *ask(const struct doctor_server *s)
{
    char request[256];
    int n = snprintf(request, sizeof(request),
                     "GET /api/tags HTTP/1.0\r\nHost: %s:%s\r\nConnection: close\r\n\r\n", s->host,
                     s->port);
    int fd = connect_to(s);

    if (fd < 0) {
        return NULL;
    }

    char *answer = send(fd, request, (size_t) n, MSG_NOSIGNAL) == n ? read_answer(fd) : NULL;
    const char *body = answer ? body_of(answer) : NULL;
    cJSON *list = body ? cJSON_Parse(body) : NULL;

    free(answer);
    (void) close(fd);
    return list;
}

/* ---------------------------------------------------------------- telling */

/* The same model? Ollama takes a name without a tag for that of ":latest". */
static bool is_same_name(const char *a, const char *b)
{
    static const char tag[] = ":latest";
    size_t n = strlen(a), m = strlen(b);

    n -= n >= sizeof(tag) && strcmp(a + n - (sizeof(tag) - 1), tag) == 0 ? sizeof(tag) - 1 : 0;
    m -= m >= sizeof(tag) && strcmp(b + m - (sizeof(tag) - 1), tag) == 0 ? sizeof(tag) - 1 : 0;
    return n == m && strncasecmp(a, b, n) == 0;
}

/* What the daemon knows of it; NULL: nothing. */
static const struct doctor_size *find_size(const struct doctor *d, const struct doctor_server *s,
                                           const char *name)
{
    for (size_t i = 0; i < d->n_sizes; i++) {
        const struct doctor_size *size = &d->sizes[i];

        if (strcmp(size->server.port, s->port) == 0 && strcmp(size->server.host, s->host) == 0 &&
            is_same_name(size->name, name)) {
            return size;
        }
    }
    return NULL;
}

enum fit { FITS_NOW, FITS_LATER, FITS_NEVER };

/* As the daemon says it, where it keeps a budget. */
static enum fit fit_of(const struct doctor *d, const struct doctor_size *known, uint64_t need)
{
    if (known && known->fits[0] != '\0') {
        return strcmp(known->fits, "never") == 0 ? FITS_NEVER
               : strcmp(known->fits, "now") == 0 ? FITS_NOW
                                                 : FITS_LATER;
    }
    return need > d->memory_bytes - reserve_bytes(d->memory_bytes) ? FITS_NEVER
           : need > d->available_bytes                             ? FITS_LATER
                                                                   : FITS_NOW;
}

static void tell_model(struct doctor *d, const struct doctor_server *s, const char *name,
                       double weights)
{
    const struct doctor_size *known = find_size(d, s, name);
    uint64_t need = known ? known->need_bytes : need_bytes(weights);
    uint64_t most = d->memory_bytes - reserve_bytes(d->memory_bytes);
    char takes[96];

    (void) snprintf(takes, sizeof(takes), "it takes %s%llu MiB (%s)", known ? "" : "at least ",
                    (unsigned long long) (need / MIB), known ? known->source : "computed");
    switch (fit_of(d, known, need)) {
    case FITS_NEVER:
        doctor_tell(d, "fit", DOCTOR_FINDING,
                    "%s can never fit: %s, and there are %llu for models%s", name, takes,
                    (unsigned long long) (most / MIB),
                    need > most ? "" : ", or less within the limit of a control group");
        doctor_fix(d,
                   "ollama rm '%s' # and a smaller one, or a stronger quantization, in its place",
                   name);
        break;
    case FITS_LATER:
        doctor_tell(d, "fit", DOCTOR_UNKNOWN,
                    "%s: %s, and fits once something else has left memory", name, takes);
        break;
    case FITS_NOW:
        doctor_tell(d, "fit", DOCTOR_FINE, "%s fits: %s", name, takes);
        break;
    }
}

/* Is it a model of Ollama's cloud, which takes no memory here? */
static bool is_remote(const cJSON *model)
{
    return cJSON_IsString(cJSON_GetObjectItemCaseSensitive(model, "remote_host"));
}

static void tell_list(struct doctor *d, const struct doctor_server *s, const cJSON *models)
{
    const cJSON *model;
    size_t n = 0, n_told = 0;

    cJSON_ArrayForEach(model, models)
    {
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(model, "name");
        const cJSON *size = cJSON_GetObjectItemCaseSensitive(model, "size");

        /* up to 2^60: what a server says is not trusted to be a size */
        if (!cJSON_IsString(name) || strchr(name->valuestring, '\'') || !cJSON_IsNumber(size) ||
            !(size->valuedouble >= 0 && size->valuedouble < 0x1p60) || is_remote(model)) {
            continue;
        }
        n++;
        if (n_told < MAX_TOLD) {
            n_told++;
            tell_model(d, s, name->valuestring, size->valuedouble);
        }
    }
    if (n == 0) {
        doctor_tell(d, "fit", DOCTOR_UNKNOWN, "the Ollama at %s:%s has no models", s->host,
                    s->port);
    } else if (n > n_told) {
        doctor_tell(d, "fit", DOCTOR_UNKNOWN, "the Ollama at %s:%s has %zu further models", s->host,
                    s->port, n - n_told);
    }
}

void doctor_check_models(struct doctor *d, const struct doctor_server *server)
{
    cJSON *list = ask(server);
    const cJSON *models = cJSON_GetObjectItemCaseSensitive(list, "models");

    if (!cJSON_IsArray(models)) {
        doctor_tell(d, "fit", DOCTOR_UNKNOWN, "no list of models comes from http://%s:%s/api/tags",
                    server->host, server->port);
    } else if (d->memory_bytes > reserve_bytes(d->memory_bytes)) {
        tell_list(d, server, models);
    }
    cJSON_Delete(list);
}
