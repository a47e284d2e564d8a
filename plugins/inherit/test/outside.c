/* SPDX-License-Identifier: MIT */
/*
 * Holds a file, a log and the writing end of a pipe, each of which may be replaced at restore: then the harness
 * (tests/e2e/inherit.sh) says in the file "want" what the first is to contain, and reads the pipe itself.
 */
#include "prog.h"

static void want(char *text, size_t size)
{
	int fd = open("want", O_RDONLY);
	ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;

	if (n < 0)
		n = snprintf(text, size, "from before");
	text[n] = 0;
	close(fd);
}

int main(int argc, char **argv)
{
	char is[64] = "", should[64];
	int outside, log, ends[2];

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	outside = open("outside", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(write(outside, "from before", 11) == 11);
	log = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);
	CHECK(write(log, "first\n", 6) == 6 && pipe(ends) == 0);
	prog_ready();
	want(should, sizeof(should));
	CHECK(pread(outside, is, sizeof(is) - 1, 0) >= 0);
	if (strcmp(is, should))
		prog_fail("the file has %s, not %s", is, should);
	CHECK(write(log, "second\n", 7) == 7);
	CHECK(write(ends[1], "piped", 5) == 5);
	if (!prog_has("want"))
		CHECK(read(ends[0], is, 5) == 5 && !memcmp(is, "piped", 5));
	prog_ok();
}
