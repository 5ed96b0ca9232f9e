/*
 * See own_host.h.
 *
 * The addresses of interfaces are not listed: that takes a netlink socket, which the shipped unit does
 * not allow (RestrictAddressFamilies=). The kernel lets a socket be bound to an address that the
 * machine has and to no other, unless net.ipv4.ip_nonlocal_bind is set; from such a socket nothing can
 * be connected then, as the route's source has to be the machine's (ip_route_output_key()). A datagram
 * socket that is connected sends nothing.
 *
 * Owns nothing. Must not: look a name up, send a packet.
 */
#include "base/own_host.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdio.h"

#define ANY_PORT 9 /* discard (RFC 863): nobody hears of it */

static bool is_interfaces(struct sockaddr *address, socklen_t len, in_port_t *port)
{
    CLEANUP(fd_closep) int fd = socket(address->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, address, len) < 0) {
        return false;
    }
    *port = htons(ANY_PORT);
    return connect(fd, address, len) == 0;
}

static bool is_ours4(struct in_addr in)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = in};
    uint32_t n = ntohl(in.s_addr);

    return n == INADDR_ANY || n >> 24 == IN_LOOPBACKNET ||
           is_interfaces((struct sockaddr *) &address, sizeof address, &address.sin_port);
}

static bool is_ours6(const struct in6_addr *in)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = *in};
    struct in_addr v4;

    if (IN6_IS_ADDR_V4MAPPED(in)) {
        memcpy(&v4, &in->s6_addr[12], sizeof v4);
        return is_ours4(v4);
    }
    return IN6_IS_ADDR_UNSPECIFIED(in) || IN6_IS_ADDR_LOOPBACK(in) ||
           is_interfaces((struct sockaddr *) &address, sizeof address, &address.sin6_port);
}

/* RFC 6761, 6.3: all names under localhost are loopback's. */
static bool is_our_name(struct str host)
{
    char own[HOST_NAME_MAX + 1] = "";
    struct str end = STR_LIT(".localhost");
    struct str tail = {host.ptr + host.len - (host.len > end.len ? end.len : 0), end.len};

    if (str_is_nocase(host, "localhost") ||
        (host.len > end.len && str_is_nocase(tail, ".localhost"))) {
        return true;
    }
    return gethostname(own, sizeof own - 1) == 0 && own[0] && str_is_nocase(host, own);
}

bool own_host_is(struct str host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr in6;
    struct in_addr in4;

    if (host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']') {
        host = (struct str) {host.ptr + 1, host.len - 2};
    }
    if (host.len == 0 || is_our_name(host)) {
        return host.len > 0;
    }
    if (host.len >= sizeof text) {
        return false;
    }
    str_copy(host, text, sizeof text);
    if (inet_pton(AF_INET, text, &in4) == 1) {
        return is_ours4(in4);
    }
    if (inet_pton(AF_INET6, text, &in6) == 1) {
        return is_ours6(&in6);
    }
    return str_has_prefix(host, "127.") && strspn(text, "0123456789.") == host.len; /* 127.1 */
}

bool own_host_of_url(const char *url)
{
    const char *start = strstr(url, "://");
    struct str rest = str_from(start ? start + 3 : "");
    const char *at;
    size_t n;

    rest.len = strcspn(rest.ptr, "/?#");
    at = memrchr(rest.ptr, '@', rest.len);
    if (at) {
        rest.len -= (size_t) (at + 1 - rest.ptr);
        rest.ptr = at + 1;
    }
    n = rest.len > 0 && rest.ptr[0] == '[' ? strcspn(rest.ptr, "]") + 1 : strcspn(rest.ptr, ":");
    return own_host_is((struct str) {rest.ptr, n < rest.len ? n : rest.len});
}
