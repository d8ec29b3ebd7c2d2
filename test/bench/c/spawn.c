// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// spawn N PROGRAM: runs it N times, one after the other, with a small request on stdin and stdout read to its end. This
// is the least that running N delegates can cost.
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const char *request = "{\"cniVersion\":\"1.1.0\",\"name\":\"bench-net0\",\"type\":\"noop\"}";
	char buffer[4096];
	int in[2], out[2], status;

	if (argc < 3)
		return 2;
	for (int i = atoi(argv[1]); i > 0; i--) {
		if (pipe(in) < 0 || pipe(out) < 0 || write(in[1], request, strlen(request)) < 0)
			return 1;
		close(in[1]);
		pid_t pid = vfork();
		if (pid == 0) {
			dup2(in[0], 0);
			dup2(out[1], 1);
			close(in[0]);
			close(out[0]);
			close(out[1]);
			execl(argv[2], argv[2], (char *)NULL);
			_exit(127);
		}
		close(in[0]);
		close(out[1]);
		while (read(out[0], buffer, sizeof buffer) > 0)
			;
		close(out[0]);
		if (waitpid(pid, &status, 0) != pid || status != 0)
			return 1;
	}
	return 0;
}
