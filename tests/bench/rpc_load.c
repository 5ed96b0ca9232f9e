/*
 * Load over RPC, through libsluice as an application would: c calls in flight, spread over a number
 * of connections, every answer checked token by token.
 *
 *   rpc_load --socket /run/sluice/rpc.sock --model bench-16 -c 64 [--connections 4] -n 10000 [--seconds S]
 *   rpc_load --socket ... --model bench-16-wait3000ms -n 1 --leave-after-ms 300
 *
 * Prints what load.c prints. With --leave-after-ms it starts its calls, closes its connections
 * after that time and prints {"left_at_nsec":...} instead: the moment at which the daemon could
 * know. One thread, poll() on the library's descriptors; nothing is written while it measures. The
 * exit status is 0 only where every answer was right. Dies with its parent.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "bench.h"
#include "clients/c/sluice.h"

#define MAX_CLIENTS     16384
#define MAX_CONNECTIONS 256
#define MAX_FAILED      50
#define PROMPT_BYTES    400 /* as load.c */

/* One of the c places; its call comes and goes. */
struct client {
    sluice_client *connection; /* borrowed from g_connections */
    sluice_call *call;         /* owned; NULL: rests */
    uint64_t asked_at_nsec, last_chunk_at_nsec;
    size_t text_off;
    bool has_first;
};

static struct {
    const char *socket, *model;
    unsigned n_clients, n_connections;
    uint64_t n_wanted, seconds_nsec, leave_after_nsec;
} g_options = {.n_clients = 1, .n_connections = 1};

static sluice_client *g_connections[MAX_CONNECTIONS];
static sluice_request *g_request;
static struct client *g_clients;
static struct load_result g_result;
static char *g_text;
static size_t g_text_len;
static unsigned g_n_asking;
static uint64_t g_n_asked, g_stop_at_nsec = UINT64_MAX;

static _Noreturn void die(const char *what, int r)
{
    fprintf(stderr, "rpc_load: %s: %s\n", what, strerror(-r));
    exit(EXIT_FAILURE);
}

static void check(const char *what, int r)
{
    if (r < 0) {
        die(what, r);
    }
}

/* ---------------------------------------------------------------- one call */
static void client_ask(struct client *c)
{
    uint64_t now = clock_now_nsec();

    if (now >= g_stop_at_nsec || g_n_asked >= g_options.n_wanted ||
        g_result.n_failed >= MAX_FAILED) {
        return;
    }
    c->asked_at_nsec = now;
    c->text_off = 0;
    c->has_first = false;
    check("sluice_call_start", sluice_call_start(c->connection, g_request, &c->call));
    sluice_call_set_userdata(c->call, c);
    g_n_asked++;
    g_n_asking++;
}

static void client_over(struct client *c, const char *problem)
{
    if (problem) {
        load_result_fail(&g_result, problem);
    } else {
        g_result.n_answers++;
        hist_add(&g_result.latency, clock_now_nsec() - c->asked_at_nsec);
    }
    c->call = sluice_call_free(c->call);
    g_n_asking--;
    client_ask(c);
}

static const char *take_text(struct client *c, uint64_t now)
{
    size_t n;
    const char *text = sluice_call_text(c->call, &n);

    if (n > g_text_len - c->text_off || memcmp(g_text + c->text_off, text, n) != 0) {
        return "wrong text";
    }
    c->text_off += n;
    g_result.n_bytes += n;
    g_result.n_chunks++;
    if (c->has_first) {
        hist_add(&g_result.gap, now - c->last_chunk_at_nsec);
    } else {
        hist_add(&g_result.first_chunk, now - c->asked_at_nsec);
    }
    c->has_first = true;
    c->last_chunk_at_nsec = now;
    return NULL;
}

/* All events of a call that have arrived. */
static void client_take(struct client *c, uint64_t now)
{
    const char *problem = NULL;
    int event;

    while (!problem && c->call && (event = sluice_call_try_next(c->call)) > 0) {
        switch ((enum sluice_event) event) {
        case SLUICE_EVENT_QUEUED:
        case SLUICE_EVENT_STARTED:
        case SLUICE_EVENT_TOOL_CALL:
        case SLUICE_EVENT_RESULT:
        case SLUICE_EVENT_EMBEDDING:
        case SLUICE_EVENT_REPLY:
        case SLUICE_EVENT_STATUS:
            break;
        case SLUICE_EVENT_TEXT:
            problem = take_text(c, now);
            break;
        case SLUICE_EVENT_DONE:
            client_over(c, c->text_off == g_text_len ? NULL : "an answer without its end");
            return;
        case SLUICE_EVENT_FAILED:
            problem = sluice_call_error_code(c->call);
            break;
        }
    }
    if (problem) {
        client_over(c, problem);
    }
}

/* ---------------------------------------------------------------- the run */
static void connection_turn(sluice_client *connection)
{
    int r;

    while ((r = sluice_client_process(connection)) > 0) {
    }
    if (r < 0 && r != -ENOTCONN) { /* a lost connection shows as failed calls */
        die("sluice_client_process", r);
    }

    uint64_t now = clock_now_nsec();

    for (sluice_call *call; (call = sluice_client_ready_call(connection));) {
        client_take(sluice_call_userdata(call), now);
    }
    if (!sluice_client_is_connected(connection)) {
        die("connection", -ENOTCONN);
    }
}

/*
 * Waits for any connection, at most until one of the library's own timers is due or until_nsec is
 * over.
 */
static void wait_for_any(uint64_t until_nsec)
{
    struct pollfd fds[MAX_CONNECTIONS];
    uint64_t now = clock_now_nsec();

    for (unsigned i = 0; i < g_options.n_connections; i++) {
        uint64_t at_usec;

        fds[i] = (struct pollfd) {.fd = sluice_client_get_fd(g_connections[i]),
                                  .events = (short) sluice_client_get_events(g_connections[i])};
        check("timeout", sluice_client_get_timeout_usec(g_connections[i], &at_usec));
        if (at_usec < until_nsec / 1000) {
            until_nsec = at_usec * 1000;
        }
    }

    uint64_t left = until_nsec > now ? until_nsec - now : 0;
    int timeout = left / NSEC_PER_MSEC < 1000 ? (int) (left / NSEC_PER_MSEC) + (left > 0) : 1000;

    if (poll(fds, g_options.n_connections, timeout) < 0 && errno != EINTR) {
        die("poll", -errno);
    }
}

static void turn(uint64_t until_nsec)
{
    wait_for_any(until_nsec);
    for (unsigned i = 0; i < g_options.n_connections; i++) {
        connection_turn(g_connections[i]);
    }
}

static void connections_free(void)
{
    for (unsigned i = 0; i < g_options.n_connections; i++) {
        g_connections[i] = sluice_client_free(g_connections[i]);
    }
}

static void leave(uint64_t at_nsec)
{
    while (clock_now_nsec() < at_nsec) {
        turn(at_nsec);
    }

    uint64_t left_at = clock_now_nsec();

    connections_free();
    printf("{\"left_at_nsec\":%llu}\n", (unsigned long long) left_at);
}

static void run(void)
{
    g_result.started_at_nsec = clock_now_nsec();
    if (g_options.seconds_nsec > 0) {
        g_stop_at_nsec = g_result.started_at_nsec + g_options.seconds_nsec;
    }
    for (unsigned i = 0; i < g_options.n_clients; i++) {
        g_clients[i].connection = g_connections[i % g_options.n_connections];
        client_ask(&g_clients[i]);
    }
    if (g_options.leave_after_nsec > 0) {
        leave(g_result.started_at_nsec + g_options.leave_after_nsec);
        return;
    }
    while (g_n_asking > 0) {
        turn(UINT64_MAX);
    }
    g_result.ended_at_nsec = clock_now_nsec();
    connections_free();
    load_result_print(&g_result, stdout);
}

/* ---------------------------------------------------------------- what is asked */
static void set_request(void)
{
    char prompt[PROMPT_BYTES];
    struct profile profile;

    if (!profile_parse(g_options.model, &profile) || profile.n_tokens == 0) {
        die(g_options.model, -EINVAL);
    }
    g_text = token_text(profile.n_tokens, &g_text_len);
    g_clients = calloc(g_options.n_clients, sizeof *g_clients);
    if (!g_text || !g_clients) {
        die("start", -ENOMEM);
    }
    for (size_t i = 0; i < PROMPT_BYTES; i++) {
        prompt[i] = i % 7 == 6 ? ' ' : (char) ('a' + i * 5 % 26);
    }
    check("sluice_chat_new", sluice_chat_new(g_options.model, &g_request));
    check("message",
          sluice_request_add_message(g_request, SLUICE_ROLE_USER, prompt, sizeof prompt));
}

static void connect_all(void)
{
    for (unsigned i = 0; i < g_options.n_connections; i++) {
        int r = sluice_connect(g_options.socket, &g_connections[i]);

        if (r < 0) {
            die(sluice_connect_error(), r);
        }
        g_result.n_connects++;
    }
}

static void read_option(int o)
{
    switch (o) {
    case 'u':
        g_options.socket = optarg;
        break;
    case 'm':
        g_options.model = optarg;
        break;
    case 'c':
        g_options.n_clients = (unsigned) strtoul(optarg, NULL, 10);
        break;
    case 'k':
        g_options.n_connections = (unsigned) strtoul(optarg, NULL, 10);
        break;
    case 'n':
        g_options.n_wanted = strtoull(optarg, NULL, 10);
        break;
    case 's':
        g_options.seconds_nsec = (uint64_t) (strtod(optarg, NULL) * 1e9);
        break;
    case 'l':
        g_options.leave_after_nsec = strtoull(optarg, NULL, 10) * NSEC_PER_MSEC;
        break;
    default:
        exit(EXIT_FAILURE);
    }
}

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 'u'},         {"model", required_argument, NULL, 'm'},
        {"connections", required_argument, NULL, 'k'},    {"seconds", required_argument, NULL, 's'},
        {"leave-after-ms", required_argument, NULL, 'l'}, {NULL, 0, NULL, 0}};

    for (int o; (o = getopt_long(argc, argv, "c:n:", options, NULL)) != -1;) {
        read_option(o);
    }
    if (!g_options.socket || !g_options.model || g_options.n_clients == 0 ||
        g_options.n_clients > MAX_CLIENTS || g_options.n_connections == 0 ||
        g_options.n_connections > MAX_CONNECTIONS ||
        (!g_options.n_wanted && !g_options.seconds_nsec)) {
        fprintf(stderr, "usage: rpc_load --socket PATH --model NAME [-c N] [--connections N]"
                        " [-n N] [--seconds S] [--leave-after-ms MS]\n");
        exit(EXIT_FAILURE);
    }
    if (g_options.n_wanted == 0) {
        g_options.n_wanted = UINT64_MAX;
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0) {
        die("prctl", -errno);
    }
    set_request();
    connect_all();
    run();
    for (unsigned i = 0; i < g_options.n_clients; i++) {
        sluice_call_free(g_clients[i].call);
    }
    sluice_request_free(g_request);
    free(g_clients);
    free(g_text);
    return g_result.n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
