// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// The least that a plugin can be: it reads its request, prints a small result
// and ends. Where it can do without a C library it does, so that it costs the
// kernel's starting and ending a process and nothing else.

static const char result[] = "{\"cniVersion\":\"1.1.0\",\"interfaces\":[{\"name\":\"none\"}]}";
static char buffer[65536];

#if defined(__x86_64__)
enum { READ = 0, WRITE = 1, EXIT = 60 };
static long kernel(long number, long a, const char *b, long c)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
enum { READ = 63, WRITE = 64, EXIT = 93 };
static long kernel(long number, long a, const char *b, long c)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register const char *x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	return x0;
}
#else
#error "say here how a program of this machine calls the kernel"
#endif

void _start(void)
{
	while (kernel(READ, 0, buffer, sizeof buffer) > 0)
		;
	kernel(WRITE, 1, result, sizeof result - 1);
	for (;;)
		kernel(EXIT, 0, 0, 0);
}
