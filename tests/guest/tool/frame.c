// SPDX-License-Identifier: Apache-2.0
//
// Raw frames through a packet socket, with their virtio-net header where offloads matter, and the
// few settings of an interface that busybox cannot make.
#include "tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kFrameMax = 70000, kPrintMax = 128 };

static int open_packet_socket(const char* interface, int protocol, int vnet_header) {
    const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons((uint16_t)protocol));
    const struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons((uint16_t)protocol),
        .sll_ifindex = (int)if_nametoindex(interface),
    };
    if (fd < 0 || address.sll_ifindex == 0 ||
        bind(fd, (const struct sockaddr*)&address, sizeof(address)) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &vnet_header, sizeof(vnet_header)) != 0) {
        return -1;
    }
    return fd;
}

// Sends one frame COUNT times. With a virtio-net header (10 bytes, little-endian) the frame can be
// a segment larger than the MTU or one whose checksum is still to be filled.
int frame_send_main(int argc, char** argv) {
    static uint8_t data[sizeof(struct virtio_net_hdr) + kFrameMax];
    if (argc != 4 && argc != 5) {
        return 2;
    }
    size_t header_bytes = 0;
    if (argc == 5) {
        header_bytes = sizeof(struct virtio_net_hdr);
        if (hex_decode(argv[4], data, header_bytes) != (long)header_bytes) {
            return 2;
        }
    }
    const long frame_bytes = hex_decode(argv[3], data + header_bytes, kFrameMax);
    if (frame_bytes < 0) {
        return 2;
    }
    const int fd = open_packet_socket(argv[1], 0, argc == 5);
    if (fd < 0) {
        return fail("cannot open %s", argv[1]);
    }
    for (long left = atol(argv[2]); left > 0; left--) {
        while (write(fd, data, header_bytes + (size_t)frame_bytes) < 0) {
            if (errno != ENOBUFS) {
                return fail("cannot send on %s", argv[1]);
            }
            usleep(100);
        }
    }
    return 0;
}

// Prints a line for each frame that arrives: its length, what the virtio-net header said of it, and
// the first bytes. Ends after COUNT frames, or after SECONDS with status 1.
int frame_recv_main(int argc, char** argv) {
    static uint8_t data[sizeof(struct virtio_net_hdr) + kFrameMax];
    if (argc != 4 && argc != 5) {
        return 2;
    }
    const int protocol = argc == 5 ? (int)strtol(argv[4], NULL, 16) : ETH_P_ALL;
    const int fd = open_packet_socket(argv[1], protocol, 1);
    if (fd < 0) {
        return fail("cannot open %s", argv[1]);
    }
    printf("listening on %s\n", argv[1]);
    const double end_s = now_s() + atof(argv[3]);
    long left = atol(argv[2]);
    while (left > 0) {
        const double rest_s = end_s - now_s();
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (rest_s <= 0 || poll(&wait, 1, (int)(rest_s * 1000) + 1) < 0) {
            return 1;
        }
        struct sockaddr_ll from = {0};
        socklen_t from_length = sizeof(from);
        const ssize_t n = recvfrom(fd, data, sizeof(data), MSG_DONTWAIT | MSG_TRUNC,
                                   (struct sockaddr*)&from, &from_length);
        if (n < (ssize_t)sizeof(struct virtio_net_hdr) || from.sll_pkttype == PACKET_OUTGOING) {
            continue;
        }
        struct virtio_net_hdr header;
        memcpy(&header, data, sizeof(header));
        const size_t length = (size_t)n - sizeof(header);
        char text[2 * kPrintMax + 1];
        hex_encode(data + sizeof(header), length < kPrintMax ? length : kPrintMax, text);
        printf("length=%zu flags=%u gso_type=%u gso_size=%u frame=%s\n", length, header.flags,
               header.gso_type, header.gso_size, text);
        left--;
    }
    return 0;
}

static int ethtool_call(const char* interface, void* command) {
    struct ifreq request = {0};
    strncpy(request.ifr_name, interface, sizeof(request.ifr_name) - 1);
    request.ifr_data = command;
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const int status = ioctl(fd, SIOCETHTOOL, &request);
    close(fd);
    return status;
}

// Sets the number of queue pairs that the guest uses.
int queues_main(int argc, char** argv) {
    if (argc != 3) {
        return 2;
    }
    struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
    if (ethtool_call(argv[1], &channels) != 0) {
        return fail("cannot read the queues of %s", argv[1]);
    }
    channels.cmd = ETHTOOL_SCHANNELS;
    channels.combined_count = (uint32_t)atoi(argv[2]);
    if (ethtool_call(argv[1], &channels) != 0) {
        return fail("cannot set %s queues on %s, which has %u", argv[2], argv[1],
                    channels.max_combined);
    }
    return 0;
}

// Turns an offload of the guest's own stack on or off.
int feature_main(int argc, char** argv) {
    static const struct {
        const char* name;
        uint32_t command;
    } kFeatures[] = {
        {"tx-checksum", ETHTOOL_STXCSUM},
        {"rx-checksum", ETHTOOL_SRXCSUM},
        {"tso", ETHTOOL_STSO},
        {"gso", ETHTOOL_SGSO},
        {"gro", ETHTOOL_SGRO},
        {"sg", ETHTOOL_SSG},
    };
    if (argc != 4 || (strcmp(argv[3], "on") != 0 && strcmp(argv[3], "off") != 0)) {
        return 2;
    }
    for (size_t i = 0; i < sizeof(kFeatures) / sizeof(kFeatures[0]); i++) {
        if (strcmp(argv[2], kFeatures[i].name) == 0) {
            struct ethtool_value value = {
                .cmd = kFeatures[i].command,
                .data = strcmp(argv[3], "on") == 0,
            };
            return ethtool_call(argv[1], &value) == 0
                       ? 0
                       : fail("cannot turn %s %s on %s", argv[2], argv[3], argv[1]);
        }
    }
    return 2;
}
