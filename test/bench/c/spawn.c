// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// spawn PROGRAM...: runs the programs one after the other as a runtime runs
// plugins: the request from a pipe, the answer into a pipe. It prints what they
// cost, without its own start:
//
//     CPU OWN WALL RSS
//
// CPU and WALL in nanoseconds: what it took to start them, feed them, read
// their answers and wait for them; CPU with their children. OWN is the part of
// CPU that the programs spent themselves, without their children. RSS is the
// peak memory of the largest process, in KiB. The request is what is on
// standard input. It fails, with what the program answered, when one does.
//
// In C and small, because the delegates' cost by it is what multus is compared
// with, and because the kernel counts the memory of whoever starts a process as
// that process's.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char request[4 << 20], answer[1 << 16];
static size_t request_size;
static long long cpu, own;
static long rss;

static void die(const char *what)
{
	fprintf(stderr, "spawn: %s: %s\n", what, strerror(errno));
	exit(2);
}

static long long now(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t) < 0)
		die("clock_gettime");
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long long nanoseconds(struct timeval t)
{
	return t.tv_sec * 1000000000LL + t.tv_usec * 1000LL;
}

static void reap(pid_t pid, const char *program)
{
	clockid_t clock; // of the process itself; there until it is waited for
	siginfo_t info;
	struct rusage used;
	int status;

	if (waitid(P_PID, pid, &info, WEXITED | WNOWAIT) < 0)
		die("waitid");
	if ((errno = clock_getcpuclockid(pid, &clock)) != 0)
		die("clock_getcpuclockid");
	own += now(clock);
	if (wait4(pid, &status, 0, &used) != pid)
		die("wait4");
	cpu += nanoseconds(used.ru_utime) + nanoseconds(used.ru_stime);
	if (used.ru_maxrss > rss)
		rss = used.ru_maxrss;
	if (status != 0) {
		fprintf(stderr, "spawn: %s: wait status %#x: %s\n", program, status, answer);
		exit(1);
	}
}

static void run(char *program)
{
	int in[2], out[2];
	ssize_t n;

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		die("pipe");
	pid_t pid = vfork();
	if (pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execl(program, program, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	for (size_t done = 0; done < request_size && (n = write(in[1], request + done, request_size - done)) > 0;)
		done += n;
	close(in[1]);
	for (size_t size = 0; (n = read(out[0], answer + size, sizeof answer - 1 - size)) > 0; size += n)
		answer[size + n] = 0;
	close(out[0]);
	reap(pid, program);
}

int main(int argc, char **argv)
{
	ssize_t n;

	signal(SIGPIPE, SIG_IGN); // a program need not read its request
	while ((n = read(0, request + request_size, sizeof request - request_size)) > 0)
		request_size += n;
	long long wall = now(CLOCK_MONOTONIC), self = now(CLOCK_PROCESS_CPUTIME_ID);
	for (int i = 1; i < argc; i++)
		run(argv[i]);
	self = now(CLOCK_PROCESS_CPUTIME_ID) - self;
	wall = now(CLOCK_MONOTONIC) - wall;
	printf("%lld %lld %lld %ld\n", cpu + self, own, wall, rss);
	return 0;
}
