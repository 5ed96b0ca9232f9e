/*
 * Load over HTTP: c connections, each sends its next request when it has its answer; every answer
 * is checked (reply.h).
 *
 *   load --target 127.0.0.1:4000 --model bench-16 [--dialect body|stream|ollama|embed] -c 64 -n 10000
 *
 * The target is HOST:PORT or unix:PATH. Ends after -n answers or --seconds, whichever comes first,
 * and prints one JSON object: counts, rates, and histograms of latency, time to the first token and
 * gaps between tokens, in microseconds of CLOCK_MONOTONIC on one thread. --spread-ms spreads the
 * first request of each connection over so much time. --hold keeps streams open: says {"ready":c}
 * when each has its first token and then reads on until standard input closes.
 *
 * It is one thread on one epoll set and writes nothing while it measures. A wrong answer is counted
 * and its connection made anew; MAX_FAILED of them end the run. The exit status is 0 only where
 * every answer was right. Dies with its parent.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench.h"
#include "reply.h"

#define MAX_CLIENTS       16384
#define MAX_FAILED        50
#define RECEIVE_BYTES     (256 * 1024)
#define REQUEST_MAX_BYTES (64 * 1024)
#define PROMPT_BYTES      400 /* of the one user message: a short question */

struct client {
    int fd;         /* -1: not connected */
    bool is_asking; /* an answer is under way */
    bool has_first; /* its first token has come */
    bool wants_out;
    size_t sent;
    uint64_t asked_at_nsec, last_chunk_at_nsec;
    struct reply reply;
};

static struct {
    const char *target, *model, *key;
    enum reply_dialect dialect;
    unsigned n_clients, n_inputs;
    uint64_t n_wanted, spread_nsec, seconds_nsec;
    bool is_hold;
} g_options = {.key = "sk-bench", .n_clients = 1, .n_inputs = 1};

static struct sockaddr_storage g_address;
static socklen_t g_address_len;
static char g_request[REQUEST_MAX_BYTES];
static size_t g_request_len;
static struct expectation g_expect;
static struct client *g_clients;
static struct load_result g_result;
static uint64_t g_n_asked, g_stop_at_nsec;
static unsigned g_n_asking, g_n_first, g_n_started;
static int g_epoll, g_timer;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

/* ---------------------------------------------------------------- what is asked */
static void set_address(const char *target)
{
    struct sockaddr_un *un = (struct sockaddr_un *) (void *) &g_address;
    struct sockaddr_in *in = (struct sockaddr_in *) (void *) &g_address;
    const char *colon = strrchr(target, ':');
    char host[64] = "";

    if (strncmp(target, "unix:", 5) == 0) {
        if (strlen(target + 5) >= sizeof un->sun_path) {
            errno = ENAMETOOLONG;
            die(target);
        }
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, target + 5, strlen(target + 5) + 1);
        g_address_len = sizeof *un;
        return;
    }
    if (colon && (size_t) (colon - target) < sizeof host) {
        memcpy(host, target, (size_t) (colon - target));
    }
    in->sin_family = AF_INET;
    if (!colon || inet_pton(AF_INET, host, &in->sin_addr) != 1) {
        errno = EINVAL;
        die(target);
    }
    in->sin_port = htons((uint16_t) atoi(colon + 1));
    g_address_len = sizeof *in;
}

static size_t write_body(char *out, size_t cap)
{
    char prompt[PROMPT_BYTES + 1];
    const char *stream = g_options.dialect == DIALECT_OPENAI_STREAM ? ",\"stream\":true" : "";
    int n;

    for (size_t i = 0; i < PROMPT_BYTES; i++) {
        prompt[i] = i % 7 == 6 ? ' ' : (char) ('a' + i * 5 % 26);
    }
    prompt[PROMPT_BYTES] = 0;
    if (g_options.dialect != DIALECT_VECTORS) {
        n = snprintf(out, cap,
                     "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]%s}",
                     g_options.model, prompt, stream);
        return (size_t) n;
    }
    n = snprintf(out, cap, "{\"model\":\"%s\",\"encoding_format\":\"float\",\"input\":[",
                 g_options.model);
    for (unsigned i = 0; i < g_options.n_inputs && (size_t) n < cap; i++) {
        n += snprintf(out + n, cap - (size_t) n, "%s\"text %u\"", i ? "," : "", i);
    }
    if ((size_t) n + 3 < cap) {
        n += snprintf(out + n, cap - (size_t) n, "]}");
    }
    return (size_t) n;
}

static void write_request(void)
{
    static char body[REQUEST_MAX_BYTES - 1024];
    const char *path = g_options.dialect == DIALECT_VECTORS         ? "/v1/embeddings"
                       : g_options.dialect == DIALECT_OLLAMA_STREAM ? "/api/chat"
                                                                    : "/v1/chat/completions";
    bool is_unix = strncmp(g_options.target, "unix:", 5) == 0;
    size_t body_len = write_body(body, sizeof body);

    if (body_len >= sizeof body) {
        errno = E2BIG;
        die("request");
    }
    /* the headers that the openai package sends, without its X-Stainless family */
    g_request_len = (size_t) snprintf(
        g_request, sizeof g_request,
        "POST %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nUser-Agent: bench/1\r\n"
        "Authorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
        path, is_unix ? "localhost" : g_options.target, g_options.key, body_len, body);
}

/* ---------------------------------------------------------------- clients */
static void client_failed(struct client *c, const char *what);

static void client_watch(struct client *c, int op, bool wants_out)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | (wants_out ? EPOLLOUT : 0u),
                             .data.ptr = c};

    c->wants_out = wants_out;
    if (epoll_ctl(g_epoll, op, c->fd, &ev) < 0) {
        die("epoll_ctl");
    }
}

static void client_connect(struct client *c)
{
    int one = 1;

    c->fd = socket(g_address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        die("socket");
    }
    (void) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* not on Unix sockets */
    if (connect(c->fd, (struct sockaddr *) &g_address, g_address_len) < 0 && errno != EINPROGRESS) {
        die("connect");
    }
    g_result.n_connects++;
    client_watch(c, EPOLL_CTL_ADD, true);
}

static void client_disconnect(struct client *c)
{
    (void) close(c->fd);
    c->fd = -1;
}

static void client_send(struct client *c)
{
    while (c->sent < g_request_len) {
        ssize_t n = send(c->fd, g_request + c->sent, g_request_len - c->sent, MSG_NOSIGNAL);

        if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) {
            break;
        }
        if (n < 0) {
            client_failed(c, "cannot send");
            return;
        }
        c->sent += (size_t) n;
    }

    bool wants_out = c->sent < g_request_len;

    if (wants_out != c->wants_out) {
        client_watch(c, EPOLL_CTL_MOD, wants_out);
    }
}

/* Sends the next request, if there is to be one. */
static void client_ask(struct client *c)
{
    uint64_t now = clock_now_nsec();

    if (now >= g_stop_at_nsec || g_n_asked >= g_options.n_wanted ||
        g_result.n_failed >= MAX_FAILED) {
        return;
    }
    g_n_asked++;
    g_n_asking++;
    c->is_asking = true;
    c->has_first = false;
    c->sent = 0;
    c->asked_at_nsec = now;
    reply_start(&c->reply, &g_expect);
    if (c->fd < 0) {
        client_connect(c); /* sends when it is connected */
    } else {
        client_send(c);
    }
}

static void client_failed(struct client *c, const char *what)
{
    load_result_fail(&g_result, what);
    g_n_asking--;
    c->is_asking = false;
    client_disconnect(c);
    client_ask(c);
}

/* An answer is complete, right or not. */
static void client_answered(struct client *c, uint64_t now)
{
    if (c->reply.is_bad) {
        client_failed(c, c->reply.problem);
        return;
    }
    g_result.n_answers++;
    hist_add(&g_result.latency, now - c->asked_at_nsec);
    g_n_asking--;
    c->is_asking = false;
    if (c->reply.is_closing) {
        client_disconnect(c);
    }
    client_ask(c);
}

/* Tokens that came in one read share its instant: all gaps but the first are 0. */
static void count_chunks(struct client *c, unsigned n, uint64_t now)
{
    g_result.n_chunks += n;
    if (!c->has_first) {
        c->has_first = true;
        g_n_first++;
        hist_add(&g_result.first_chunk, now - c->asked_at_nsec);
        n--;
    } else {
        hist_add(&g_result.gap, now - c->last_chunk_at_nsec);
        n--;
    }
    for (; n > 0; n--) {
        hist_add(&g_result.gap, 0);
    }
    c->last_chunk_at_nsec = now;
}

static void client_receive(struct client *c)
{
    static char bytes[RECEIVE_BYTES];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    uint64_t now = clock_now_nsec();
    unsigned n_before = c->reply.n_chunks;

    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (!c->is_asking) {
        /* a server may close an idle connection; bytes that nobody asked for are wrong */
        if (n > 0) {
            load_result_fail(&g_result, "bytes behind the answer");
        }
        client_disconnect(c);
        return;
    }
    if (n <= 0) {
        reply_eof(&c->reply);
    } else {
        g_result.n_bytes += (uint64_t) n;
        reply_feed(&c->reply, bytes, (size_t) n);
    }
    if (c->reply.n_chunks > n_before) {
        count_chunks(c, c->reply.n_chunks - n_before, now);
    }
    if (c->reply.state == REPLY_OVER) {
        client_answered(c, now);
    }
}

static void on_client(struct client *c, uint32_t events)
{
    if (c->fd >= 0 && (events & EPOLLOUT) && c->is_asking) {
        client_send(c);
    }
    if (c->fd >= 0 && (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP))) {
        client_receive(c);
    }
}

/* ---------------------------------------------------------------- the run */
/* Starts those clients whose time has come. */
static void start_clients(void)
{
    uint64_t since = clock_now_nsec() - g_result.started_at_nsec;
    unsigned due = g_options.n_clients;

    if (since < g_options.spread_nsec) {
        due = (unsigned) (1 + since * g_options.n_clients / g_options.spread_nsec);
    }
    while (g_n_started < due) {
        client_ask(&g_clients[g_n_started++]);
    }
}

/* Wakes up often enough that each client starts in its own step. */
static void arm_timer(void)
{
    uint64_t step = g_options.n_clients ? g_options.spread_nsec / g_options.n_clients / 2 : 0;
    struct timespec ts = {.tv_sec = (time_t) (step / NSEC_PER_SEC),
                          .tv_nsec = (long) (step % NSEC_PER_SEC)};
    struct itimerspec it = {.it_value = ts, .it_interval = ts};
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &g_timer};

    g_timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (g_timer < 0 || timerfd_settime(g_timer, 0, &it, NULL) < 0 ||
        epoll_ctl(g_epoll, EPOLL_CTL_ADD, g_timer, &ev) < 0) {
        die("timer");
    }
}

static void on_timer(void)
{
    uint64_t n;

    if (read(g_timer, &n, sizeof n) < 0 && errno != EAGAIN) {
        die("timer");
    }
    start_clients();
    if (g_n_started == g_options.n_clients) {
        (void) close(g_timer);
    }
}

/* --hold: standard input is the leash. */
static bool is_released(void)
{
    char byte;

    return read(STDIN_FILENO, &byte, 1) <= 0;
}

static void tell_ready(void)
{
    static bool is_told;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &g_options};

    if (is_told || g_n_first < g_options.n_clients) {
        return;
    }
    is_told = true;
    printf("{\"ready\":%u}\n", g_options.n_clients);
    (void) fflush(stdout);
    if (epoll_ctl(g_epoll, EPOLL_CTL_ADD, STDIN_FILENO, &ev) < 0) {
        die("standard input");
    }
}

/* true: the run is over. */
static bool run_once(void)
{
    struct epoll_event events[256];
    int n = epoll_wait(g_epoll, events, 256, -1);

    if (n < 0 && errno != EINTR) {
        die("epoll_wait");
    }
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == &g_timer) {
            on_timer();
        } else if (events[i].data.ptr == &g_options) {
            if (is_released()) {
                return true;
            }
        } else {
            on_client(events[i].data.ptr, events[i].events);
        }
    }
    if (g_options.is_hold) {
        tell_ready();
    }
    return g_n_asking == 0 && g_n_started == g_options.n_clients;
}

static void run(void)
{
    g_result.started_at_nsec = clock_now_nsec();
    g_stop_at_nsec =
        g_options.seconds_nsec ? g_result.started_at_nsec + g_options.seconds_nsec : UINT64_MAX;
    if (g_options.spread_nsec > 0) {
        arm_timer();
    } else {
        start_clients();
    }
    while (!run_once()) {
    }
    g_result.ended_at_nsec = clock_now_nsec();
}

/* ---------------------------------------------------------------- options */
static void read_dialect(const char *name)
{
    if (strcmp(name, "ollama") == 0) {
        g_options.dialect = DIALECT_OLLAMA_STREAM;
    } else if (strcmp(name, "embed") == 0) {
        g_options.dialect = DIALECT_VECTORS;
    } else if (strcmp(name, "stream") == 0) {
        g_options.dialect = DIALECT_OPENAI_STREAM;
    } else if (strcmp(name, "body") == 0) {
        g_options.dialect = DIALECT_BODY;
    } else {
        errno = EINVAL;
        die(name);
    }
}

static void read_option(int o)
{
    switch (o) {
    case 't':
        g_options.target = optarg;
        break;
    case 'm':
        g_options.model = optarg;
        break;
    case 'k':
        g_options.key = optarg;
        break;
    case 'd':
        read_dialect(optarg);
        break;
    case 'c':
        g_options.n_clients = (unsigned) strtoul(optarg, NULL, 10);
        break;
    case 'n':
        g_options.n_wanted = strtoull(optarg, NULL, 10);
        break;
    case 'i':
        g_options.n_inputs = (unsigned) strtoul(optarg, NULL, 10);
        break;
    case 's':
        g_options.seconds_nsec = (uint64_t) (strtod(optarg, NULL) * 1e9);
        break;
    case 'p':
        g_options.spread_nsec = strtoull(optarg, NULL, 10) * NSEC_PER_MSEC;
        break;
    case 'h':
        g_options.is_hold = true;
        break;
    default:
        exit(EXIT_FAILURE);
    }
}

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {{"target", required_argument, NULL, 't'},
                                            {"model", required_argument, NULL, 'm'},
                                            {"key", required_argument, NULL, 'k'},
                                            {"dialect", required_argument, NULL, 'd'},
                                            {"inputs", required_argument, NULL, 'i'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"spread-ms", required_argument, NULL, 'p'},
                                            {"hold", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};

    g_options.dialect = DIALECT_BODY;
    for (int o; (o = getopt_long(argc, argv, "c:n:", options, NULL)) != -1;) {
        read_option(o);
    }
    if (!g_options.target || !g_options.model || g_options.n_clients == 0 ||
        g_options.n_clients > MAX_CLIENTS || (!g_options.n_wanted && !g_options.seconds_nsec)) {
        fprintf(stderr, "usage: load --target HOST:PORT|unix:PATH --model NAME"
                        " [--dialect body|stream|ollama|embed] [-c N] [-n N] [--seconds S]"
                        " [--spread-ms MS] [--inputs N] [--key KEY] [--hold]\n");
        exit(EXIT_FAILURE);
    }
    if (g_options.n_wanted == 0) {
        g_options.n_wanted = UINT64_MAX;
    }
}

static void set_expectation(void)
{
    struct profile profile;

    if (!profile_parse(g_options.model, &profile) ||
        (profile.n_dims > 0) != (g_options.dialect == DIALECT_VECTORS)) {
        errno = EINVAL;
        die(g_options.model);
    }
    g_expect.dialect = g_options.dialect;
    g_expect.n_dims = profile.n_dims;
    g_expect.text = token_text(profile.n_tokens, &g_expect.text_len);
    if (!g_expect.text) {
        die("text");
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    set_address(g_options.target);
    set_expectation();
    write_request();
    g_epoll = epoll_create1(EPOLL_CLOEXEC);
    g_clients = calloc(g_options.n_clients, sizeof *g_clients);
    if (g_epoll < 0 || !g_clients || prctl(PR_SET_PDEATHSIG, SIGTERM) < 0) {
        die("start");
    }
    for (unsigned i = 0; i < g_options.n_clients; i++) {
        g_clients[i].fd = -1;
    }
    run();
    load_result_print(&g_result, stdout);
    for (unsigned i = 0; i < g_options.n_clients; i++) {
        reply_done(&g_clients[i].reply);
    }
    free(g_clients);
    return g_result.n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
