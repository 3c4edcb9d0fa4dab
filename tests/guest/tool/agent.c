// SPDX-License-Identifier: Apache-2.0
//
// Runs commands for the host. It is the guest's first process, so it also reaps orphans.
//
// The channel is a serial port in raw mode. It carries lines, so that a host which comes back after
// a broken exchange is in step again at the next newline. Payloads are hexadecimal text, so nothing
// that a command prints can look like a line of the protocol.
//   host:  hello N           guest:  ready N
//   host:  run ID COMMAND            out ID DATA      (what COMMAND, run by sh, printed)
//   host:  kill ID SIGNAL            err ID DATA      (the same on stderr)
//                                    exit ID STATUS   (128 + n when killed by signal n)
// The guest says `ready 0` when it starts. It never says hello: until the port is raw, the guest's
// kernel may send back what it receives. Every ID is chosen by the host and is used once.
// A command runs in a process group of its own, with an empty stdin. It has ended when its shell
// has ended: what a child that it left behind prints later is lost.
//
// Limits: kJobsMax commands at once (one more ends at once with status 125), a line of kLineMax
// bytes.
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { kJobsMax = 32, kLineMax = 1 << 17, kChunkMax = 4096 };

struct job {
    pid_t pid;  // 0: free
    unsigned long id;
    int pipes[2];  // stdout and stderr, -1 once at their end
};

static struct job jobs[kJobsMax];
static int channel = -1;
static int child_ended[2];  // written by the signal handler, so that poll() wakes

static void on_child(int number) {
    (void)number;
    const int error = errno;
    (void)!write(child_ended[1], "", 1);
    errno = error;
}

static void send_line(const char* text, size_t length) {
    while (length > 0) {
        const ssize_t n = write(channel, text, length);
        if (n < 0 && errno != EINTR) {
            return;
        }
        if (n > 0) {
            text += n;
            length -= (size_t)n;
        }
    }
}

static void send_status(unsigned long id, int status) {
    char line[64];
    send_line(line, (size_t)snprintf(line, sizeof(line), "exit %lu %d\n", id, status));
}

// Sends what can be read from one pipe of a job. Returns 0 when there is nothing more for now.
static int forward_output(struct job* job, int which) {
    static char line[2 * kChunkMax + 64];
    uint8_t data[kChunkMax];
    if (job->pipes[which] < 0) {
        return 0;
    }
    const ssize_t n = read(job->pipes[which], data, sizeof(data));
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        close(job->pipes[which]);
        job->pipes[which] = -1;
    }
    if (n <= 0) {
        return 0;
    }
    size_t used = (size_t)sprintf(line, "%s %lu ", which == 0 ? "out" : "err", job->id);
    hex_encode(data, (size_t)n, line + used);
    used += 2 * (size_t)n;
    line[used++] = '\n';
    send_line(line, used);
    return 1;
}

static void reap(void) {
    int wait_status;
    pid_t pid;
    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        for (int i = 0; i < kJobsMax; i++) {
            struct job* job = &jobs[i];
            if (job->pid != pid) {
                continue;
            }
            for (int which = 0; which < 2; which++) {
                // A child that it left behind may print forever: no more than a pipe holds.
                for (int n = 0; n < 32 && forward_output(job, which); n++) {
                }
                if (job->pipes[which] >= 0) {
                    close(job->pipes[which]);
                }
            }
            job->pid = 0;
            send_status(job->id, WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status)
                                                          : WEXITSTATUS(wait_status));
        }
    }
}

static void start_job(unsigned long id, const char* command) {
    struct job* job = NULL;
    for (int i = 0; i < kJobsMax && job == NULL; i++) {
        job = jobs[i].pid == 0 ? &jobs[i] : NULL;
    }
    int out[2];
    int err[2];
    if (job == NULL || pipe2(out, O_CLOEXEC) != 0) {
        send_status(id, 125);
        return;
    }
    if (pipe2(err, O_CLOEXEC) != 0) {
        close(out[0]);
        close(out[1]);
        send_status(id, 125);
        return;
    }
    const pid_t pid = fork();
    if (pid == 0) {
        setsid();
        signal(SIGPIPE, SIG_DFL);
        signal(SIGCHLD, SIG_DFL);
        const int null = open("/dev/null", O_RDONLY);
        dup2(null, 0);
        dup2(out[1], 1);
        dup2(err[1], 2);
        execl("/bin/sh", "sh", "-c", command, (char*)NULL);
        _exit(127);
    }
    close(out[1]);
    close(err[1]);
    if (pid < 0) {
        close(out[0]);
        close(err[0]);
        send_status(id, 125);
        return;
    }
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(err[0], F_SETFL, O_NONBLOCK);
    *job = (struct job){.pid = pid, .id = id, .pipes = {out[0], err[0]}};
}

static void handle_line(char* line) {
    static uint8_t command[kLineMax / 2 + 1];
    char answer[64];
    char* save = NULL;
    const char* verb = strtok_r(line, " ", &save);
    const char* id_text = strtok_r(NULL, " ", &save);
    const char* argument = strtok_r(NULL, " ", &save);
    if (verb == NULL || id_text == NULL) {
        return;
    }
    const unsigned long id = strtoul(id_text, NULL, 10);
    if (strcmp(verb, "hello") == 0) {
        send_line(answer, (size_t)snprintf(answer, sizeof(answer), "ready %lu\n", id));
    } else if (strcmp(verb, "run") == 0 && argument != NULL) {
        const long length = hex_decode(argument, command, sizeof(command) - 1);
        if (length < 0) {
            send_status(id, 125);
            return;
        }
        command[length] = '\0';
        start_job(id, (const char*)command);
    } else if (strcmp(verb, "kill") == 0 && argument != NULL) {
        for (int i = 0; i < kJobsMax; i++) {
            if (jobs[i].pid != 0 && jobs[i].id == id) {
                kill(-jobs[i].pid, atoi(argument));
            }
        }
    }
}

static void read_channel(void) {
    static char line[kLineMax];
    static size_t used;
    static char data[kChunkMax];
    const ssize_t n = read(channel, data, sizeof(data));
    for (ssize_t i = 0; i < n; i++) {
        if (data[i] == '\n') {
            line[used] = '\0';
            used = 0;
            handle_line(line);
        } else if (used < sizeof(line) - 1) {
            line[used++] = data[i];
        }
    }
}

int agent_main(int argc, char** argv) {
    if (argc != 2) {
        return 2;
    }
    channel = open(argv[1], O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios mode;
    if (channel < 0 || tcgetattr(channel, &mode) != 0) {
        return fail("cannot open the channel %s", argv[1]);
    }
    cfmakeraw(&mode);
    cfsetspeed(&mode, B115200);
    tcsetattr(channel, TCSANOW, &mode);
    if (pipe2(child_ended, O_CLOEXEC | O_NONBLOCK) != 0) {
        return fail("cannot create a pipe");
    }
    const struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_RESTART};
    sigaction(SIGCHLD, &action, NULL);
    send_line("ready 0\n", 8);

    for (;;) {
        struct pollfd polls[2 + 2 * kJobsMax];
        polls[0] = (struct pollfd){.fd = channel, .events = POLLIN};
        polls[1] = (struct pollfd){.fd = child_ended[0], .events = POLLIN};
        for (int i = 0; i < 2 * kJobsMax; i++) {
            const struct job* job = &jobs[i / 2];
            const int fd = job->pid != 0 ? job->pipes[i % 2] : -1;
            polls[2 + i] = (struct pollfd){.fd = fd, .events = POLLIN};
        }
        if (poll(polls, 2 + 2 * kJobsMax, -1) < 0) {
            continue;
        }
        for (int i = 0; i < 2 * kJobsMax; i++) {
            if (polls[2 + i].revents != 0) {
                forward_output(&jobs[i / 2], i % 2);
            }
        }
        if (polls[1].revents != 0) {
            char drain[64];
            while (read(child_ended[0], drain, sizeof(drain)) > 0) {
            }
            reap();
        }
        if (polls[0].revents != 0) {
            read_channel();
        }
    }
}
