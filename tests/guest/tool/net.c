// SPDX-License-Identifier: Apache-2.0
//
// TCP and UDP over sockets, with their own clocks, for rates, losses and connections that must
// survive. Addresses are numeric, IPv4 or IPv6; servers listen on both.
#include "tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { kBlockBytes = 1 << 17, kDatagramMax = 65000 };

// A TCP client says with its first byte what the server does with the rest.
enum { kModeSink = 'S', kModeEcho = 'E' };

static int listen_on(const char* port, int type) {
    const int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);
    const int on = 1;
    const int off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    const struct sockaddr_in6 address = {
        .sin6_family = AF_INET6,
        .sin6_port = htons((uint16_t)atoi(port)),
        .sin6_addr = IN6ADDR_ANY_INIT,
    };
    if (fd < 0 || bind(fd, (const struct sockaddr*)&address, sizeof(address)) != 0 ||
        (type == SOCK_STREAM && listen(fd, 16) != 0)) {
        return -1;
    }
    return fd;
}

static int connect_to(const char* host, const char* port, int type) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = v4.sin_port};
    const int is_v4 = inet_pton(AF_INET, host, &v4.sin_addr) == 1;
    errno = EINVAL;
    if (!is_v4 && inet_pton(AF_INET6, host, &v6.sin6_addr) != 1) {
        return -1;
    }
    const int fd = socket(is_v4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0);
    const int status = is_v4 ? connect(fd, (const struct sockaddr*)&v4, sizeof(v4))
                             : connect(fd, (const struct sockaddr*)&v6, sizeof(v6));
    return status == 0 ? fd : -1;
}

static int write_all(int fd, const void* data, size_t length) {
    const uint8_t* at = data;
    while (length > 0) {
        const ssize_t n = write(fd, at, length);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n > 0) {
            at += n;
            length -= (size_t)n;
        }
    }
    return 0;
}

static int read_all(int fd, void* data, size_t length) {
    uint8_t* at = data;
    while (length > 0) {
        const ssize_t n = read(fd, at, length);
        if (n == 0) {
            errno = 0;
            return -1;
        }
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n > 0) {
            at += n;
            length -= (size_t)n;
        }
    }
    return 0;
}

static unsigned local_port(int fd) {
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);
    getsockname(fd, (struct sockaddr*)&address, &length);
    // The port lies at the same place for both families.
    return ntohs(((const struct sockaddr_in*)&address)->sin_port);
}

static int serve_one(int fd) {
    static uint8_t block[kBlockBytes];
    uint8_t mode = 0;
    uint64_t total = 0;
    ssize_t n;
    if (read_all(fd, &mode, 1) != 0) {
        return 1;
    }
    while ((n = read(fd, block, sizeof(block))) > 0) {
        total += (uint64_t)n;
        if (mode == kModeEcho && write_all(fd, block, (size_t)n) != 0) {
            return 1;
        }
    }
    // The sender's clock stops at this answer, so its rate counts only bytes that arrived.
    if (n == 0 && mode == kModeSink) {
        write_all(fd, &total, sizeof(total));
    }
    return n == 0 ? 0 : 1;
}

int tcp_serve_main(int argc, char** argv) {
    if (argc != 2) {
        return 2;
    }
    const int listener = listen_on(argv[1], SOCK_STREAM);
    if (listener < 0) {
        return fail("cannot listen on port %s", argv[1]);
    }
    printf("listening on port %s\n", argv[1]);
    for (;;) {
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
        const int fd = accept(listener, NULL, NULL);
        if (fd >= 0 && fork() == 0) {
            close(listener);
            _exit(serve_one(fd));
        }
        close(fd);
    }
}

// Sends BYTES and prints the rate at which the peer received them.
int tcp_send_main(int argc, char** argv) {
    static uint8_t block[kBlockBytes];
    if (argc != 4) {
        return 2;
    }
    const int fd = connect_to(argv[1], argv[2], SOCK_STREAM);
    if (fd < 0) {
        return fail("cannot connect to %s port %s", argv[1], argv[2]);
    }
    for (size_t i = 0; i < sizeof(block); i++) {
        block[i] = (uint8_t)(i * 131 + (i >> 8));
    }
    const uint64_t total = strtoull(argv[3], NULL, 10);
    const uint8_t mode = kModeSink;
    if (write_all(fd, &mode, 1) != 0) {
        return fail("sending to %s", argv[1]);
    }
    const double start_s = now_s();
    for (uint64_t sent = 0; sent < total;) {
        const size_t n = total - sent < sizeof(block) ? (size_t)(total - sent) : sizeof(block);
        if (write_all(fd, block, n) != 0) {
            return fail("sending to %s after %llu bytes", argv[1], (unsigned long long)sent);
        }
        sent += n;
    }
    uint64_t received = 0;
    shutdown(fd, SHUT_WR);
    if (read_all(fd, &received, sizeof(received)) != 0) {
        return fail("%s did not confirm the transfer", argv[1]);
    }
    const double seconds = now_s() - start_s;
    if (received != total) {
        errno = 0;
        return fail("%s received %llu bytes of %llu", argv[1], (unsigned long long)received,
                    (unsigned long long)total);
    }
    printf("bytes=%llu seconds=%.3f mbit_s=%.1f\n", (unsigned long long)total, seconds,
           (double)total * 8 / seconds / 1e6);
    return 0;
}

// Keeps one connection, and on it sends a numbered message every INTERVAL_MS and waits for its
// echo. One line an echo. It never connects a second time: its end is the end of the connection.
int tcp_stream_main(int argc, char** argv) {
    if (argc != 4) {
        return 2;
    }
    const int fd = connect_to(argv[1], argv[2], SOCK_STREAM);
    if (fd < 0) {
        return fail("cannot connect to %s port %s", argv[1], argv[2]);
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    const long interval_ms = atol(argv[3]);
    const struct timespec pause = {interval_ms / 1000, interval_ms % 1000 * 1000000};
    const unsigned port = local_port(fd);
    const uint8_t mode = kModeEcho;
    if (write_all(fd, &mode, 1) != 0) {
        return fail("sending to %s", argv[1]);
    }
    for (uint64_t number = 1;; number++) {
        const double start_s = now_s();
        uint64_t echo = 0;
        if (write_all(fd, &number, sizeof(number)) != 0 || read_all(fd, &echo, sizeof(echo)) != 0) {
            return fail("the connection ended at message %llu", (unsigned long long)number);
        }
        if (echo != number) {
            errno = 0;
            return fail("message %llu came back as %llu", (unsigned long long)number,
                        (unsigned long long)echo);
        }
        printf("message=%llu round_trip_us=%.0f local_port=%u\n", (unsigned long long)number,
               (now_s() - start_s) * 1e6, port);
        nanosleep(&pause, NULL);
    }
}

// Counts numbered datagrams until none has come for QUIET_SECONDS after the first.
int udp_serve_main(int argc, char** argv) {
    static uint8_t data[kDatagramMax];
    if (argc != 3) {
        return 2;
    }
    const int fd = listen_on(argv[1], SOCK_DGRAM);
    if (fd < 0) {
        return fail("cannot listen on port %s", argv[1]);
    }
    const int receive_bytes = 4 << 20;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_bytes, sizeof(receive_bytes));
    printf("listening on port %s\n", argv[1]);
    uint64_t received = 0;
    uint64_t reordered = 0;
    uint64_t highest = 0;
    double first_s = 0;
    double last_s = 0;
    double gap_s_max = 0;
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    while (poll(&wait, 1, received == 0 ? -1 : (int)(atof(argv[2]) * 1000)) > 0) {
        const ssize_t n = recv(fd, data, sizeof(data), 0);
        if (n < (ssize_t)sizeof(uint64_t)) {
            continue;
        }
        uint64_t number;
        memcpy(&number, data, sizeof(number));
        const double at_s = now_s();
        if (received++ == 0) {
            first_s = at_s;
        } else if (at_s - last_s > gap_s_max) {
            gap_s_max = at_s - last_s;
        }
        reordered += number < highest;
        highest = number > highest ? number : highest;
        last_s = at_s;
    }
    printf("received=%llu highest=%llu reordered=%llu seconds=%.3f longest_gap_ms=%.1f\n",
           (unsigned long long)received, (unsigned long long)highest, (unsigned long long)reordered,
           last_s - first_s, gap_s_max * 1e3);
    return 0;
}

// Sends COUNT datagrams numbered from 1, evenly spaced.
int udp_send_main(int argc, char** argv) {
    static uint8_t data[kDatagramMax];
    if (argc != 6) {
        return 2;
    }
    const int fd = connect_to(argv[1], argv[2], SOCK_DGRAM);
    if (fd < 0) {
        return fail("cannot use %s port %s", argv[1], argv[2]);
    }
    size_t length = (size_t)atol(argv[3]);
    length = length < sizeof(uint64_t) ? sizeof(uint64_t) : length;
    length = length > sizeof(data) ? sizeof(data) : length;
    const double interval_s = 1 / atof(argv[4]);
    const uint64_t count = strtoull(argv[5], NULL, 10);
    const double start_s = now_s();
    uint64_t errors = 0;
    for (uint64_t number = 1; number <= count; number++) {
        memcpy(data, &number, sizeof(number));
        errors += send(fd, data, length, 0) < 0;
        const double ahead_s = start_s + (double)number * interval_s - now_s();
        if (ahead_s > 0) {
            const struct timespec pause = {(time_t)ahead_s,
                                           (long)((ahead_s - (long)ahead_s) * 1e9)};
            nanosleep(&pause, NULL);
        }
    }
    printf("sent=%llu errors=%llu seconds=%.3f\n", (unsigned long long)count,
           (unsigned long long)errors, now_s() - start_s);
    return 0;
}
