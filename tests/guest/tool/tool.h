// SPDX-License-Identifier: Apache-2.0
//
// The one static program that runs inside a test guest, besides busybox. Its sub-commands are
// listed in tool.c. Single-threaded; an error ends the sub-command with a sentence on stderr and
// status 1, a wrong command line with status 2.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

int agent_main(int argc, char** argv);
int tcp_serve_main(int argc, char** argv);
int tcp_send_main(int argc, char** argv);
int tcp_stream_main(int argc, char** argv);
int udp_serve_main(int argc, char** argv);
int udp_send_main(int argc, char** argv);
int frame_send_main(int argc, char** argv);
int frame_recv_main(int argc, char** argv);
int queues_main(int argc, char** argv);
int feature_main(int argc, char** argv);

// Monotonic time in seconds.
double now_s(void);

// Prints the message and the text of errno, if it is set, and returns 1.
int fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Decodes hexadecimal `text` into `out`. Returns the number of bytes, or -1 if the text is not
// hexadecimal or does not fit into `out_max` bytes.
long hex_decode(const char* text, uint8_t* out, size_t out_max);

// Writes `length` bytes as hexadecimal text. `out` holds at least 2 * length + 1 bytes.
void hex_encode(const uint8_t* data, size_t length, char* out);
