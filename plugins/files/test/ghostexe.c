/* SPDX-License-Identifier: MIT */
/* The executable itself was deleted while it runs. */
#include "prog.h"

#include <sys/sendfile.h>
#include <sys/stat.h>

static void become_a_copy(char **argv)
{
	int in = open("/proc/self/exe", O_RDONLY), out = open("copy", O_WRONLY | O_CREAT | O_EXCL, 0755);
	struct stat st;

	CHECK(in >= 0 && out >= 0 && fstat(in, &st) == 0);
	for (off_t off = 0; off < st.st_size;)
		CHECK(sendfile(out, in, &off, st.st_size - off) > 0);
	close(in);
	close(out);
	setenv("COPY", "1", 1);
	execv("./copy", argv);
	prog_fail("execv: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	char link[4200], want[4200];
	ssize_t n;

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	if (!getenv("COPY"))
		become_a_copy(argv);
	CHECK(unlink("copy") == 0);
	prog_ready();
	n = readlink("/proc/self/exe", link, sizeof(link) - 1);
	CHECK(n > 0);
	link[n] = 0;
	snprintf(want, sizeof(want), "%s/copy (deleted)", prog_dir);
	if (strcmp(link, want))
		prog_fail("the executable is %s, not %s", link, want);
	CHECK(access("copy", F_OK) < 0);
	prog_ok();
}
