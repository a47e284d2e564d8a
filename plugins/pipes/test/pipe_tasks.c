/* SPDX-License-Identifier: MIT */
/* Pipes between processes, with one that is blocked in read(2) and one that is blocked in write(2). */
#include <stdint.h>
#include <sys/wait.h>

#include "prog.h"

static char page[65536];

/* Reads until end of file: exit status 0 when the bytes were "later". */
static void reader(int fd)
{
	char text[16] = "";
	ssize_t n, len = 0;

	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += n;
	_exit(n == 0 && !strcmp(text, "later") ? 0 : 1);
}

static void writer(int fd)
{
	size_t done = 0;

	while (done < 3 * sizeof(page)) {
		ssize_t n = write(fd, page, sizeof(page));

		if (n < 0)
			_exit(1);
		done += n;
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	int in[2], out[2], status;
	pid_t r, w;
	size_t sum = 0;
	ssize_t n;

	prog_init(argc, argv);
	memset(page, 'w', sizeof(page));
	CHECK(pipe(in) == 0 && pipe(out) == 0);
	r = fork();
	if (r == 0) {
		close(in[1]);
		close(out[0]);
		close(out[1]);
		reader(in[0]);
	}
	w = fork();
	if (w == 0) {
		close(in[0]);
		close(in[1]);
		close(out[0]);
		writer(out[1]);
	}
	CHECK(r > 0 && w > 0 && close(in[0]) == 0 && close(out[1]) == 0);
	prog_nap(100);
	prog_ready();

	CHECK(write(in[1], "later", 5) == 5 && close(in[1]) == 0);
	while ((n = read(out[0], page, sizeof(page))) > 0) {
		sum += n;
		for (ssize_t i = 0; i < n; i++)
			CHECK(page[i] == 'w');
	}
	CHECK(n == 0 && sum >= 3 * sizeof(page));
	CHECK(waitpid(r, &status, 0) == r && status == 0);
	CHECK(waitpid(w, &status, 0) == w && status == 0);
	prog_ok();
}
