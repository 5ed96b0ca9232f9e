/*
 * One HTTP exchange over libcurl: options, callbacks, results.
 *
 * Owns the easy handle (taken from the loop's idle ones and given back) and its header list.
 * HTTP/1.1 only: pausing is exact there, while a paused HTTP/2 stream buffers megabytes.
 * Back-pressure: the callback that says FULL has taken its bytes; the next one answers
 * CURL_WRITEFUNC_PAUSE and libcurl stops reading until transfer_resume().
 *
 * Must not: follow redirects (they would carry the key elsewhere), use a proxy for local servers,
 * decompress, log.
 */
#include "upstream/transfer.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/num.h"
#include "upstream/curl_loop.h"

#define HEAD_MAX_BYTES (32 * 1024) /* of all header lines of an answer */
/* SO_RCVBUF: what a paused upstream may pile up in the kernel */
#define RECEIVE_BYTES (128 * 1024)
/* libcurl's least; from 8.7 on it keeps that much for each transfer, 64 KiB by default */
#define UPLOAD_BUFFER_BYTES 16384L
#define LOCAL_MAX_IDLE_SEC  4L /* llama-server drops idle connections after 5 s */
#define REMOTE_MAX_IDLE_SEC 60L
#define DNS_CACHE_SEC       60L
#define KEEPALIVE_IDLE_SEC  60L
#define KEEPALIVE_STEP_SEC  20L
#define CONTENT_TYPE_MAX    64
#define RETRY_AFTER_MAX_SEC 3600

struct transfer {
    struct curl_loop *loop; /* borrowed */
    CURL *easy;             /* owned until it goes back to the loop */
    struct curl_slist *headers;
    struct transfer_callbacks callbacks;
    void *ctx;

    /* the answer's head while it arrives */
    size_t head_bytes;
    int status;
    char content_type[CONTENT_TYPE_MAX];
    bool head_told;
    bool head_too_large;

    bool is_full;   /* the sink said FULL: the next write callback pauses */
    bool is_paused; /* libcurl holds the connection still */
    bool is_stopped;
    char error[CURL_ERROR_SIZE];
};

static bool header_is(struct str line, const char *name, struct str *ret_value)
{
    size_t n = strlen(name);

    if (line.len <= n || line.ptr[n] != ':' || !str_is_nocase((struct str) {line.ptr, n}, name)) {
        return false;
    }
    *ret_value = str_trim((struct str) {line.ptr + n + 1, line.len - n - 1});
    return true;
}

static size_t on_header(char *bytes, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    struct str line = {bytes, n * size}, value;

    t->head_bytes += line.len;
    if (t->head_bytes > HEAD_MAX_BYTES) {
        t->head_too_large = true;
        return 0; /* aborts the transfer */
    }
    while (line.len > 0 && (line.ptr[line.len - 1] == '\n' || line.ptr[line.len - 1] == '\r')) {
        line.len--;
    }
    if (str_has_prefix(line, "HTTP/")) {
        t->content_type[0] = '\0'; /* a new head: after 100 Continue */
    } else if (header_is(line, "content-type", &value)) {
        str_copy(value, t->content_type, sizeof t->content_type);
    }
    return n * size;
}

/*
 * libcurl sends a request again, on its own, where a connection that was kept is lost before the
 * first byte of an answer (Curl_retry_request). Once is right: the server may have closed it just
 * then. The second try goes out on a new connection: a server that starts anew drops all that were
 * kept. And it is the last, as libcurl does not repeat what a new connection lost: with many idle
 * connections a request that its server does not survive would go out once for each, also with
 * num_retries 0.
 */
static int on_send(void *ctx, char *ip, char *own_ip, int port, int own_port)
{
    struct transfer *t = ctx;

    (void) ip, (void) own_ip, (void) port, (void) own_port;
    return curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK ? CURL_PREREQFUNC_OK
                                                                            : CURL_PREREQFUNC_ABORT;
}

/* Seconds, or a date (RFC 9110, 10.2.3) that libcurl counts from now; 0: none, or a past one. */
static uint64_t retry_after(const struct transfer *t)
{
    curl_off_t sec = 0;

    (void) curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &sec);
    return num_clamp_u64(sec > 0 ? (uint64_t) sec : 0, 0, RETRY_AFTER_MAX_SEC) * USEC_PER_SEC;
}

static void tell_head(struct transfer *t)
{
    long status = 0;

    if (t->head_told) {
        return;
    }
    t->head_told = true;
    (void) curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    t->status = (int) status;

    struct transfer_head head = {
        .status = t->status,
        .content_type = str_from(t->content_type),
        .retry_after_usec = retry_after(t),
    };

    t->callbacks.on_head(t->ctx, &head);
}

static size_t on_write(char *bytes, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;

    if (t->is_stopped) {
        return 0; /* libcurl may ask again after an error that followed a pause */
    }
    if (t->is_full) {
        t->is_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    tell_head(t);
    switch (t->callbacks.on_bytes(t->ctx, (struct str) {bytes, size * n})) {
    case TRANSFER_ROOM:
        break;
    case TRANSFER_FULL:
        t->is_full = true;
        break;
    case TRANSFER_STOP:
        t->is_stopped = true;
        return 0;
    }
    return size * n;
}

static int on_socket(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
    int bytes = RECEIVE_BYTES;

    (void) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes); /* a wish */
    return CURL_SOCKOPT_OK;
}

static int add_header(struct transfer *t, const char *line)
{
    struct curl_slist *grown = curl_slist_append(t->headers, line);

    if (!grown) {
        return -ENOMEM;
    }
    t->headers = grown;
    return 0;
}

/*
 * Of any length: the tokens of some vendors have more than 1,000 characters. May be a secret. An
 * empty value needs libcurl's own form: "Name:" would remove the header.
 */
static int add_line(struct transfer *t, const char *name, const char *separator, const char *value)
{
    char *line;
    int n = asprintf(&line, *value ? "%s%s%s" : "%s;", name, separator, value), r;

    if (n < 0) {
        return -ENOMEM;
    }
    r = add_header(t, line);
    explicit_bzero(line, (size_t) n);
    free(line);
    return r;
}

bool transfer_header_is_ours(const char *name)
{
    static const char *const ours[] = {"host",       "content-length", "transfer-encoding",
                                       "connection", "expect",         "te",
                                       "trailer",    "upgrade"};

    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (str_is_nocase(str_from(name), ours[i])) {
            return true;
        }
    }
    return false;
}

static bool is_configured(const struct transfer_spec *spec, const char *name)
{
    for (size_t i = 0; spec->access && i < spec->access->headers.n_items; i++) {
        if (str_is_nocase(str_from(spec->access->headers.items[i].name), name)) {
            return true;
        }
    }
    return false;
}

static int add_own(struct transfer *t, const struct transfer_spec *spec)
{
    int r = add_header(t, "Expect:"); /* no 100-continue dance for large prompts */

    if (r == 0 && spec->body.ptr && !is_configured(spec, "content-type")) {
        r = add_header(t, "Content-Type: application/json");
    }
    if (r == 0 && spec->accept && !is_configured(spec, "accept")) {
        r = add_line(t, "Accept", ": ", spec->accept);
    }
    if (r == 0 && spec->access && spec->access->bearer && !is_configured(spec, "authorization")) {
        r = add_line(t, "Authorization", ": Bearer ", spec->access->bearer);
    }
    return r;
}

static int add_headers(struct transfer *t, const struct transfer_spec *spec)
{
    int r = add_own(t, spec);

    for (size_t i = 0; r == 0 && spec->access && i < spec->access->headers.n_items; i++) {
        const struct kv_item *h = &spec->access->headers.items[i];

        if (!transfer_header_is_ours(h->name)) {
            r = add_line(t, h->name, ": ", h->value);
        }
    }
    return r;
}

/*
 * Every option that matters, whatever libcurl's default is: see hardening notes in
 * docs/ARCHITECTURE.md.
 */
static int set_options(struct transfer *t, const struct transfer_spec *spec)
{
    CURL *e = t->easy;
    CURLcode c = CURLE_OK;

#define SET(option, value) c = c == CURLE_OK ? curl_easy_setopt(e, option, value) : c
    SET(CURLOPT_URL, spec->url);
    SET(CURLOPT_PRIVATE, t);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_ERRORBUFFER, t->error);
    SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long) (spec->connect_usec / USEC_PER_MSEC));
    SET(CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_BYTES);
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_SEC);
    SET(CURLOPT_TCP_KEEPINTVL, KEEPALIVE_STEP_SEC);
    SET(CURLOPT_DNS_CACHE_TIMEOUT, DNS_CACHE_SEC);
    SET(CURLOPT_MAXAGE_CONN, spec->is_local ? LOCAL_MAX_IDLE_SEC : REMOTE_MAX_IDLE_SEC);
    SET(CURLOPT_SOCKOPTFUNCTION, on_socket);
    SET(CURLOPT_PREREQFUNCTION, on_send);
    SET(CURLOPT_PREREQDATA, t);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEFUNCTION, on_write);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_HTTPHEADER, t->headers);
    SET(CURLOPT_USERAGENT, "sluice/" SLUICE_VERSION);
    if (spec->is_local) {
        SET(CURLOPT_PROXY, ""); /* else http_proxy of the environment would be asked */
    }
    if (spec->access && spec->access->ca_file) {
        SET(CURLOPT_CAINFO, spec->access->ca_file);
        SET(CURLOPT_CAPATH, NULL); /* instead of the system's, not beside them */
    }
    if (spec->unix_path) {
        SET(CURLOPT_UNIX_SOCKET_PATH, spec->unix_path);
    }
    if (spec->body.ptr) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) spec->body.len);
        SET(CURLOPT_POSTFIELDS, spec->body.ptr);
    }
#undef SET
    return c == CURLE_OK ? 0 : c == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
}

static struct transfer *transfer_free(struct transfer *t)
{
    if (t->easy) {
        curl_loop_give_easy(t->loop, t->easy);
    }
    curl_slist_free_all(t->headers);
    free(t);
    return NULL;
}

int transfer_start(struct curl_loop *loop, const struct transfer_spec *spec,
                   const struct transfer_callbacks *callbacks, void *ctx, struct transfer **ret)
{
    struct transfer *t = calloc(1, sizeof *t);
    int r;

    if (!t) {
        return -ENOMEM;
    }
    t->loop = loop;
    t->callbacks = *callbacks;
    t->ctx = ctx;
    t->easy = curl_loop_take_easy(loop);
    r = t->easy ? add_headers(t, spec) : -ENOMEM;
    if (r >= 0) {
        r = set_options(t, spec);
    }
    if (r >= 0) {
        r = curl_loop_add(loop, t->easy);
    }
    if (r < 0) {
        transfer_free(t);
        return r;
    }
    *ret = t;
    return 0;
}

bool transfer_resume(struct transfer *t)
{
    t->is_full = false;
    if (t->is_paused) {
        t->is_paused = false;
        /*
         * it hands out what it held back, and keeps an error of that for its caller: the multi
         * handle does not end the transfer
         */
        return curl_easy_pause(t->easy, CURLPAUSE_CONT) == CURLE_OK;
    }
    return true;
}

struct transfer *transfer_cancel(struct transfer *t)
{
    if (t) {
        curl_loop_remove(t->loop, t->easy);
        transfer_free(t);
    }
    return NULL;
}

/*
 * A header line over libcurl's own limit of 100 KB: CURLE_TOO_LARGE, but before 8.6 that was called
 * out of memory.
 */
static bool is_line_too_long(const struct transfer *t, CURLcode code)
{
#if LIBCURL_VERSION_NUM >= 0x080600
    return code == CURLE_TOO_LARGE;
#else
    return code == CURLE_OUT_OF_MEMORY && !t->head_told;
#endif
}

static enum transfer_result result_of(const struct transfer *t, CURLcode code)
{
    if (code == CURLE_OK) {
        return TRANSFER_COMPLETE;
    }
    if (t->is_stopped) {
        return TRANSFER_STOPPED;
    }
    if (t->head_too_large || is_line_too_long(t, code)) {
        return TRANSFER_GARBAGE;
    }
    /*
     * libcurl's codes in no order and with many members: those that we know, the rest is a broken
     * connection
     */
    if (code == CURLE_OPERATION_TIMEDOUT) {
        return TRANSFER_CONNECT_TIMEOUT; /* the only libcurl time-out that is set */
    }
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
        code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_INTERFACE_FAILED) {
        return TRANSFER_REFUSED;
    }
    if (code == CURLE_SSL_CONNECT_ERROR || code == CURLE_PEER_FAILED_VERIFICATION ||
        code == CURLE_SSL_CACERT_BADFILE || code == CURLE_SSL_ISSUER_ERROR ||
        code == CURLE_SSL_INVALIDCERTSTATUS || code == CURLE_SSL_CERTPROBLEM ||
        code == CURLE_SSL_CIPHER) {
        return TRANSFER_UNTRUSTED;
    }
    if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_WEIRD_SERVER_REPLY ||
        code == CURLE_HTTP2 || code == CURLE_BAD_CONTENT_ENCODING) {
        return TRANSFER_GARBAGE;
    }
    return TRANSFER_CUT;
}

void transfer_on_curl_done(CURL *easy, CURLcode code)
{
    char *private = NULL;

    (void) curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);

    struct transfer *t = (struct transfer *) (void *) private;
    enum transfer_result result = result_of(t, code);
    char text[CURL_ERROR_SIZE];

    if (result == TRANSFER_COMPLETE) {
        tell_head(t); /* an answer without a body */
    }
    if (t->head_too_large || is_line_too_long(t, code)) {
        (void) snprintf(text, sizeof text, "the head of the answer is too large");
    } else {
        (void) snprintf(text, sizeof text, "%s", t->error[0] ? t->error : curl_easy_strerror(code));
    }

    void (*on_done)(void *, enum transfer_result, const char *) = t->callbacks.on_done;
    void *ctx = t->ctx;

    transfer_free(t);
    on_done(ctx, result, text);
}
