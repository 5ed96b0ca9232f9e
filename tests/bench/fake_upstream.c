/*
 * A model server that costs next to nothing: what the benchmark puts behind the gateways.
 *
 *   fake_upstream --listen HOST:PORT [--listen unix:PATH] [--journal-sink PATH]
 *
 * One thread, one epoll set, level-triggered. Speaks OpenAI's dialect (chat/completions,
 * embeddings, models below /v1) and Ollama's (/api/chat, /api/generate, /api/embed, /api/version,
 * /api/tags, /api/ps). The name of the model in the request decides what is answered and how fast
 * (bench.h). An answer is rendered once for each (model, kind) as the bytes of a whole HTTP
 * response with marks between its tokens; serving is then nothing but write(), up to the mark that
 * the timer has reached. So a request costs one read, one short scan of its JSON and one write.
 *
 * Tokens of paced answers fall on whole milliseconds, as a batching server emits a token of every
 * sequence in one step; a load generator that wants them spread starts its streams at different
 * times.
 *
 * GET /bench/stats tells how many requests, answers and hang-ups there were, and when
 * (CLOCK_MONOTONIC) the last peer was seen to leave in the middle of an answer. --journal-sink
 * drains datagrams in place of journald and counts them.
 *
 * Not a model of a real server's errors: those live in the end-to-end tests. Dies with its parent.
 * Out of memory ends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "answers.h"
#include "bench.h"

#define MAX_EVENTS        256
#define MAX_REQUEST_BYTES (8 * 1024 * 1024) /* head and body */
#define FIRST_INPUT_BYTES 2048              /* a short chat request */

/* ---------------------------------------------------------------- connections */
struct conn {
    int fd;
    bool wants_out;   /* EPOLLOUT is asked for */
    bool wants_close; /* the client said Connection: close */
    char *in;
    size_t in_len, in_cap;
    size_t in_used;              /* bytes of the request that is being answered */
    const struct answer *answer; /* being written, or NULL */
    char *own_bytes;             /* instead of an answer's bytes: /bench/stats */
    size_t out_off, out_len;     /* written; allowed to be written */
    unsigned next_mark;
    uint64_t due_nsec; /* of next_mark */
    size_t heap_at;    /* 1 + place in g_heap; 0: not there */
};

static int g_epoll, g_timer, g_sink = -1;
static struct {
    uint64_t n_requests, n_answers, n_aborted, last_aborted_at_nsec, n_conns, n_busy, n_records;
} g_stats;

/* ---- timers: a binary heap on due_nsec, one timerfd for its root */
static struct conn **g_heap;
static size_t g_heap_len, g_heap_cap;
static uint64_t g_armed_nsec;

static void heap_put(size_t at, struct conn *c)
{
    g_heap[at] = c;
    c->heap_at = at + 1;
}

static void heap_settle(size_t at)
{
    struct conn *c = g_heap[at];

    while (at > 0 && g_heap[(at - 1) / 2]->due_nsec > c->due_nsec) {
        heap_put(at, g_heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (size_t kid; (kid = 2 * at + 1) < g_heap_len; at = kid) {
        if (kid + 1 < g_heap_len && g_heap[kid + 1]->due_nsec < g_heap[kid]->due_nsec) {
            kid++;
        }
        if (g_heap[kid]->due_nsec >= c->due_nsec) {
            break;
        }
        heap_put(at, g_heap[kid]);
    }
    heap_put(at, c);
}

static void timer_stop(struct conn *c)
{
    if (c->heap_at > 0) {
        size_t at = c->heap_at - 1;
        struct conn *last = g_heap[--g_heap_len];

        c->heap_at = 0;
        if (last != c) {
            heap_put(at, last);
            heap_settle(at);
        }
    }
}

/* Due times are rounded up to whole milliseconds: one step of the "batch". */
static void timer_start(struct conn *c, uint64_t due_nsec)
{
    c->due_nsec = (due_nsec + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC * NSEC_PER_MSEC;
    if (c->heap_at == 0) {
        if (g_heap_len == g_heap_cap) {
            g_heap_cap = g_heap_cap ? 2 * g_heap_cap : 64;
            g_heap = grow(g_heap, g_heap_cap * sizeof(struct conn *));
        }
        heap_put(g_heap_len++, c);
    }
    heap_settle(c->heap_at - 1);
}

static void timer_arm(void)
{
    uint64_t due = g_heap_len ? g_heap[0]->due_nsec : 0;
    struct itimerspec it = {.it_value = {.tv_sec = (time_t) (due / NSEC_PER_SEC),
                                         .tv_nsec = (long) (due % NSEC_PER_SEC)}};

    if (due != g_armed_nsec && timerfd_settime(g_timer, TFD_TIMER_ABSTIME, &it, NULL) < 0) {
        die("timerfd_settime");
    }
    g_armed_nsec = due;
}

/* ---- life */
static bool conn_is_busy(const struct conn *c)
{
    return c->answer || c->own_bytes;
}

static void conn_close(struct conn *c)
{
    if (c->answer) {
        g_stats.n_aborted++;
        g_stats.last_aborted_at_nsec = clock_now_nsec();
        g_stats.n_busy--;
    }
    timer_stop(c);
    (void) close(c->fd);
    free(c->own_bytes);
    free(c->in);
    free(c);
    g_stats.n_conns--;
}

static void conn_watch(struct conn *c, bool wants_out)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | (wants_out ? EPOLLOUT : 0u),
                             .data.ptr = c};

    if (c->wants_out != wants_out) {
        c->wants_out = wants_out;
        if (epoll_ctl(g_epoll, EPOLL_CTL_MOD, c->fd, &ev) < 0) {
            die("epoll_ctl");
        }
    }
}

static void conn_answered(struct conn *c)
{
    if (c->answer) {
        g_stats.n_answers++;
        g_stats.n_busy--;
    }
    c->answer = NULL;
    free(c->own_bytes);
    c->own_bytes = NULL;
    memmove(c->in, c->in + c->in_used, c->in_len - c->in_used);
    c->in_len -= c->in_used;
    c->in_used = 0;
}

/* Writes what may be written. false: the connection is dead. */
static bool conn_write(struct conn *c)
{
    const char *bytes = c->own_bytes ? c->own_bytes : c->answer->bytes.ptr;

    while (c->out_off < c->out_len) {
        ssize_t n = send(c->fd, bytes + c->out_off, c->out_len - c->out_off, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN) {
            conn_watch(c, true);
            return true;
        }
        if (n < 0) {
            return false;
        }
        c->out_off += (size_t) n;
    }
    conn_watch(c, false);
    if (c->own_bytes || c->out_off == c->answer->bytes.len) {
        conn_answered(c);
        return !c->wants_close;
    }
    return true;
}

/* Releases the next token and plans the one after it. false: the connection is dead. */
static bool conn_step(struct conn *c)
{
    const struct answer *a = c->answer;

    c->out_len = a->marks[c->next_mark++];
    if (c->next_mark < a->n_marks) {
        timer_start(c, c->due_nsec + a->profile.gap_nsec);
    } else {
        timer_stop(c);
    }
    return conn_write(c);
}

static bool conn_start_answer(struct conn *c, const struct answer *a)
{
    uint64_t gap = a->profile.gap_nsec;

    g_stats.n_requests++;
    g_stats.n_busy++;
    c->answer = a;
    c->out_off = 0;
    c->next_mark = a->profile.n_tokens > 0 && gap > 0 ? 0 : a->n_marks - 1;
    if (gap == 0 && a->profile.wait_nsec == 0) {
        c->out_len = a->bytes.len;
        return conn_write(c);
    }
    c->out_len = 0;
    c->due_nsec = clock_now_nsec();
    if (a->profile.wait_nsec == 0 && a->n_marks > 1) {
        return conn_step(c); /* the first token at once, the others on their beat */
    }
    /* a body in one piece comes when its last token would have come */
    timer_start(c, c->due_nsec + a->profile.wait_nsec +
                       (a->n_marks > 1 ? 0 : gap * (a->profile.n_tokens - 1)));
    return true;
}

static bool conn_send_stats(struct conn *c)
{
    struct text body = {0}, out = {0};

    text_printf(
        &body,
        "{\"requests\":%llu,\"answers\":%llu,\"aborted\":%llu,\"last_aborted_at_nsec\":%llu,"
        "\"connections\":%llu,\"busy\":%llu,\"journal_records\":%llu}",
        (unsigned long long) g_stats.n_requests, (unsigned long long) g_stats.n_answers,
        (unsigned long long) g_stats.n_aborted, (unsigned long long) g_stats.last_aborted_at_nsec,
        (unsigned long long) g_stats.n_conns, (unsigned long long) g_stats.n_busy,
        (unsigned long long) g_stats.n_records);
    add_head(&out, "200 OK", "application/json", false, body.len);
    text_add(&out, body.ptr, body.len);
    free(body.ptr);
    c->own_bytes = out.ptr;
    c->out_off = 0;
    c->out_len = out.len;
    return conn_write(c);
}

/* ---------------------------------------------------------------- requests */
/* Looks at one header line. */
static void read_header(struct conn *c, const char *line, size_t len, size_t *ret_body_len)
{
    if (len > 15 && strncasecmp(line, "content-length:", 15) == 0) {
        *ret_body_len = strtoul(line + 15, NULL, 10);
    } else if (len > 11 && strncasecmp(line, "connection:", 11) == 0) {
        c->wants_close = memmem(line, len, "close", 5) != NULL;
    }
}

/* The next request, when all of it is there. false: the connection is dead. */
static bool conn_next_request(struct conn *c)
{
    char *head_end = c->in_len ? memmem(c->in, c->in_len, "\r\n\r\n", 4) : NULL;
    size_t body_len = 0;

    if (!head_end) {
        return true;
    }
    for (const char *line = c->in; line < head_end;) {
        const char *eol = memchr(line, '\r', (size_t) (head_end + 1 - line));

        read_header(c, line, (size_t) (eol - line), &body_len);
        line = eol + 2;
    }

    size_t head_len = (size_t) (head_end + 4 - c->in);

    if (body_len > MAX_REQUEST_BYTES || c->in_len < head_len + body_len) {
        return body_len <= MAX_REQUEST_BYTES;
    }

    struct answer_key key;

    memset(&key, 0, sizeof key); /* the padding too: keys are compared as bytes */
    key.route = route_find((struct span) {c->in, head_len});
    c->in_used = head_len + body_len;
    if (key.route == ROUTE_STATS) {
        return conn_send_stats(c);
    }
    if (key.route <= ROUTE_OLLAMA_EMBED) {
        key_from_body(&key, (struct span) {c->in + head_len, body_len});
    }
    return conn_start_answer(c, answer_find(&key));
}

/* false: the connection is dead. */
static bool conn_read(struct conn *c)
{
    if (c->in_len == c->in_cap) {
        if (c->in_cap >= MAX_REQUEST_BYTES) {
            return false;
        }
        c->in_cap = c->in_cap ? 2 * c->in_cap : FIRST_INPUT_BYTES;
        c->in = grow(c->in, c->in_cap);
    }

    ssize_t n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, 0);

    if (n <= 0) {
        return n < 0 && errno == EAGAIN;
    }
    c->in_len += (size_t) n;
    return true;
}

/*
 * Takes on what has arrived: usually one request, seldom the next one before its predecessor is
 * answered. false: dead.
 */
static bool conn_pump(struct conn *c)
{
    bool is_alive = true;

    for (size_t before = 0; is_alive && !conn_is_busy(c) && c->in_len != before;) {
        before = c->in_len;
        is_alive = conn_next_request(c);
    }
    return is_alive;
}

static void on_conn(struct conn *c, uint32_t events)
{
    bool is_alive = !(events & (EPOLLERR | EPOLLHUP));

    /* who shuts his end down in the middle of an answer has left */
    if (is_alive && (events & EPOLLRDHUP) && conn_is_busy(c)) {
        is_alive = false;
    }
    if (is_alive && (events & EPOLLIN)) {
        is_alive = conn_read(c);
    }
    if (is_alive && (events & EPOLLOUT) && conn_is_busy(c)) {
        is_alive = conn_write(c);
    }
    if (!is_alive || !conn_pump(c)) {
        conn_close(c);
    }
}

static void on_timer(void)
{
    uint64_t expirations, now = clock_now_nsec();

    if (read(g_timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) {
        die("timerfd"); /* it is read only to become unreadable */
    }
    g_armed_nsec = 0;
    while (g_heap_len > 0 && g_heap[0]->due_nsec <= now) {
        struct conn *c = g_heap[0];

        if (!conn_step(c) || !conn_pump(c)) {
            conn_close(c);
        }
    }
}

/* ---------------------------------------------------------------- sockets */
static void on_accept(int listener)
{
    int one = 1;

    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct conn *c = grow(NULL, sizeof *c);
        struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = c};

        *c = (struct conn) {.fd = fd};
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* not on Unix sockets */
        if (epoll_ctl(g_epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
            die("epoll_ctl");
        }
        g_stats.n_conns++;
    }
}

static void on_sink(void)
{
    static char bytes[64][8192];
    struct iovec iov[64];
    struct mmsghdr msgs[64] = {0};

    for (size_t i = 0; i < 64; i++) {
        iov[i] = (struct iovec) {bytes[i], sizeof bytes[i]};
        msgs[i].msg_hdr.msg_iov = &iov[i];
        msgs[i].msg_hdr.msg_iovlen = 1;
    }

    int n = recvmmsg(g_sink, msgs, 64, MSG_DONTWAIT, NULL);

    g_stats.n_records += n > 0 ? (uint64_t) n : 0;
}

static int open_unix(const char *path, int type)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof sa.sun_path) {
        errno = ENAMETOOLONG;
        die(path);
    }
    memcpy(sa.sun_path, path, strlen(path));
    if (fd < 0 || bind(fd, (struct sockaddr *) &sa, sizeof sa) < 0) {
        die(path);
    }
    return fd;
}

static int open_tcp(char *address)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *ai;
    char *colon = strrchr(address, ':');
    int one = 1;

    if (!colon) {
        errno = EINVAL;
        die(address);
    }
    *colon = 0;
    if (getaddrinfo(address, colon + 1, &hints, &ai) != 0) {
        errno = EINVAL;
        die(address);
    }

    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
        die(address);
    }
    freeaddrinfo(ai);
    return fd;
}

/* Which of the few other descriptors an event is for is told by the address of its variable. */
static void watch(int *fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = fd};

    if (epoll_ctl(g_epoll, EPOLL_CTL_ADD, *fd, &ev) < 0) {
        die("epoll_ctl");
    }
}

#define MAX_LISTENERS 4
static int g_listeners[MAX_LISTENERS], g_n_listeners;

static void add_listener(char *address)
{
    struct sockaddr_in sa = {0};
    socklen_t len = sizeof sa;

    if (g_n_listeners == MAX_LISTENERS) {
        errno = E2BIG;
        die("--listen");
    }

    int *fd = &g_listeners[g_n_listeners++];

    *fd =
        strncmp(address, "unix:", 5) == 0 ? open_unix(address + 5, SOCK_STREAM) : open_tcp(address);
    if (listen(*fd, 4096) < 0 || getsockname(*fd, (struct sockaddr *) &sa, &len) < 0) {
        die(address);
    }
    watch(fd);
    if (sa.sin_family == AF_INET) {
        printf("port %u\n", ntohs(sa.sin_port));
    }
}

static void dispatch(const struct epoll_event *ev)
{
    int *fd = ev->data.ptr;

    if (fd == &g_timer) {
        on_timer();
    } else if (fd == &g_sink) {
        on_sink();
    } else if (fd >= g_listeners && fd < g_listeners + MAX_LISTENERS) {
        on_accept(*fd);
    } else {
        on_conn(ev->data.ptr, ev->events);
    }
}

static void run(void)
{
    struct epoll_event events[MAX_EVENTS];

    for (;;) {
        int n = epoll_wait(g_epoll, events, MAX_EVENTS, -1);

        if (n < 0 && errno != EINTR) {
            die("epoll_wait");
        }
        /*
         * The timer goes last: it may close a connection that has an event in the same batch.
         */
        const struct epoll_event *timer = NULL;

        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == &g_timer) {
                timer = &events[i];
            } else {
                dispatch(&events[i]);
            }
        }
        if (timer) {
            dispatch(timer);
        }
        timer_arm();
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
                                            {"journal-sink", required_argument, NULL, 'j'},
                                            {NULL, 0, NULL, 0}};

    g_epoll = epoll_create1(EPOLL_CLOEXEC);
    g_timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (g_epoll < 0 || g_timer < 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) < 0) {
        die("start");
    }
    watch(&g_timer);
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'l') {
            add_listener(optarg);
        } else if (o == 'j') {
            g_sink = open_unix(optarg, SOCK_DGRAM);
            watch(&g_sink);
        } else {
            return EXIT_FAILURE;
        }
    }
    if (g_n_listeners == 0) {
        fprintf(stderr, "usage: fake_upstream --listen HOST:PORT ... [--journal-sink PATH]\n");
        return EXIT_FAILURE;
    }
    printf("ready\n");
    (void) fflush(stdout);
    run();
}
