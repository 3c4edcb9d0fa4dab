// SPDX-License-Identifier: Apache-2.0
#include "tool.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int fail(const char* format, ...) {
    const int error = errno;
    va_list args;
    va_start(args, format);
    fprintf(stderr, "s32guest: ");
    vfprintf(stderr, format, args);
    va_end(args);
    if (error != 0) {
        fprintf(stderr, ": %s", strerror(error));
    }
    fputc('\n', stderr);
    return 1;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

long hex_decode(const char* text, uint8_t* out, size_t out_max) {
    size_t length = 0;
    while (*text != '\0') {
        const int high = hex_digit(text[0]);
        const int low = high < 0 ? -1 : hex_digit(text[1]);
        if (low < 0 || length == out_max) {
            return -1;
        }
        out[length++] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    return (long)length;
}

void hex_encode(const uint8_t* data, size_t length, char* out) {
    static const char kDigits[] = "0123456789abcdef";
    for (size_t i = 0; i < length; i++) {
        *out++ = kDigits[data[i] >> 4];
        *out++ = kDigits[data[i] & 15];
    }
    *out = '\0';
}

static const struct {
    const char* name;
    const char* usage;
    int (*run)(int argc, char** argv);
} kCommands[] = {
    {"agent", "DEVICE", agent_main},
    {"tcp-serve", "PORT", tcp_serve_main},
    {"tcp-send", "ADDRESS PORT BYTES", tcp_send_main},
    {"tcp-stream", "ADDRESS PORT INTERVAL_MS", tcp_stream_main},
    {"udp-serve", "PORT QUIET_SECONDS", udp_serve_main},
    {"udp-send", "ADDRESS PORT PAYLOAD_BYTES PACKETS_PER_SECOND COUNT", udp_send_main},
    {"frame-send", "INTERFACE COUNT FRAME_HEX [VIRTIO_NET_HEADER_HEX]", frame_send_main},
    {"frame-recv", "INTERFACE COUNT SECONDS [ETHERTYPE_HEX]", frame_recv_main},
    {"queues", "INTERFACE COUNT", queues_main},
    {"feature", "INTERFACE tx-checksum|rx-checksum|tso|gso|gro|sg on|off", feature_main},
};

int main(int argc, char** argv) {
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; argc >= 2 && i < sizeof(kCommands) / sizeof(kCommands[0]); i++) {
        if (strcmp(argv[1], kCommands[i].name) == 0) {
            const int status = kCommands[i].run(argc - 1, argv + 1);
            if (status == 2) {
                fprintf(stderr, "usage: s32guest %s %s\n", kCommands[i].name, kCommands[i].usage);
            }
            return status;
        }
    }
    for (size_t i = 0; i < sizeof(kCommands) / sizeof(kCommands[0]); i++) {
        fprintf(stderr, "usage: s32guest %s %s\n", kCommands[i].name, kCommands[i].usage);
    }
    return 2;
}
