/* SPDX-License-Identifier: MIT */
/* Regular files: positions, flags, append, names, one description in several descriptors and tasks. */
#include "prog.h"

#include <sys/stat.h>
#include <sys/wait.h>

static off_t pos(int fd)
{
	return lseek(fd, 0, SEEK_CUR);
}

/* The child shares the description of fd and has one of its own; it tells by its exit status. */
static pid_t start_child(int fd)
{
	pid_t pid = fork();
	int own;

	CHECK(pid >= 0);
	if (pid)
		return pid;
	own = open("data", O_RDONLY);
	if (own < 0 || lseek(own, 9, SEEK_SET) != 9)
		_exit(2);
	prog_write("child-ready", "1");
	prog_wait_go();
	while (!prog_has("parent-wrote"))
		prog_nap(10);
	if (pos(fd) != 7)
		_exit(3);
	if (pos(own) != 9)
		_exit(4);
	_exit(write(fd, "child", 5) == 5 ? 0 : 5);
}

int main(int argc, char **argv)
{
	int data, copy, app, nonblock, rdonly, wronly, hole, odd, status;
	char buf[32] = "";
	struct stat a, b;
	pid_t child;

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0);
	data = open("data", O_RDWR | O_CREAT | O_TRUNC, 0640);
	CHECK(write(data, "0123456789abcdef", 16) == 16);
	copy = dup2(data, 77);
	CHECK(copy == 77);
	fcntl(copy, F_SETFD, FD_CLOEXEC);
	app = open("app", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	CHECK(write(app, "one", 3) == 3);
	rdonly = open("data", O_RDONLY);
	CHECK(lseek(rdonly, 3, SEEK_SET) == 3);
	wronly = open("data", O_WRONLY | O_NOFOLLOW);
	CHECK(lseek(wronly, 15, SEEK_SET) == 15);
	nonblock = open("data", O_RDONLY | O_NONBLOCK | O_SYNC);
	hole = open("hole", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(ftruncate(hole, 1l << 33) == 0 && lseek(hole, (1l << 33) + 5, SEEK_SET) > 0);
	odd = open("line\none (deleted)", O_RDWR | O_CREAT, 0600);
	CHECK(odd >= 0);
	child = start_child(data);
	while (!prog_has("child-ready"))
		prog_nap(10);
	CHECK(lseek(data, 5, SEEK_SET) == 5);

	prog_ready();

	CHECK(pos(data) == 5 && pos(copy) == 5);
	CHECK(read(copy, buf, 2) == 2 && !strcmp(buf, "56"));
	CHECK(pos(data) == 7);
	CHECK(fcntl(copy, F_GETFD) == FD_CLOEXEC && fcntl(data, F_GETFD) == 0);
	CHECK((fcntl(data, F_GETFL) & O_ACCMODE) == O_RDWR);
	prog_write("parent-wrote", "1");
	CHECK(waitpid(child, &status, 0) == child);
	if (status)
		prog_fail("the child saw a wrong state: status %#x", status);
	CHECK(pos(data) == 12);
	CHECK(pread(rdonly, buf, 6, 7) == 6 && !memcmp(buf, "childc", 6));
	CHECK(pos(rdonly) == 3 && (fcntl(rdonly, F_GETFL) & O_ACCMODE) == O_RDONLY);
	CHECK(write(rdonly, "x", 1) < 0 && errno == EBADF);
	CHECK(pos(wronly) == 15 && (fcntl(wronly, F_GETFL) & (O_ACCMODE | O_NOFOLLOW)) == (O_WRONLY | O_NOFOLLOW));
	CHECK((fcntl(nonblock, F_GETFL) & (O_NONBLOCK | O_SYNC)) == (O_NONBLOCK | O_SYNC));
	CHECK(fcntl(app, F_GETFL) & O_APPEND);
	CHECK(lseek(app, 0, SEEK_SET) == 0 && write(app, "two", 3) == 3);
	CHECK(fstat(app, &a) == 0 && a.st_size == 6);
	CHECK(pos(hole) == (1l << 33) + 5);
	CHECK(fstat(odd, &a) == 0 && stat("line\none (deleted)", &b) == 0 && a.st_ino == b.st_ino);
	CHECK(fstat(data, &a) == 0 && fstat(rdonly, &b) == 0 && a.st_ino == b.st_ino);
	prog_ok();
}
