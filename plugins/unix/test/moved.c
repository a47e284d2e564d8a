/* SPDX-License-Identifier: MIT */
/*
 * Files of sockets that are not where their name says: renamed, with another mode; renamed, and the old name is another
 * socket's by now; moved into another directory; bound in another root directory.  Clients find them where they are.
 */
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "prog.h"

static socklen_t name_of(struct sockaddr_un *a, const char *text)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	strcpy(a->sun_path, text);
	return offsetof(struct sockaddr_un, sun_path) + strlen(text) + 1;
}

static int bound(const char *name, int type)
{
	struct sockaddr_un a;
	socklen_t len = name_of(&a, name);
	int fd = socket(AF_UNIX, type, 0);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, len) == 0);
	CHECK(type == SOCK_DGRAM || listen(fd, 3) == 0);
	return fd;
}

static void reaches(const char *path, int server, const char *name, int type)
{
	struct sockaddr_un a, is;
	socklen_t len = name_of(&a, path), islen = sizeof(is);
	int c = socket(AF_UNIX, type, 0), s = server;
	char b = 0;

	if (connect(c, (struct sockaddr *)&a, len))
		prog_fail("%s: connect: %s", path, strerror(errno));
	CHECK(send(c, "x", 1, 0) == 1);
	CHECK(type == SOCK_DGRAM || (s = accept(server, NULL, NULL)) >= 0);
	CHECK(recv(s, &b, 1, 0) == 1 && b == 'x');
	CHECK(getsockname(server, (struct sockaddr *)&is, &islen) == 0 && !strcmp(is.sun_path, name));
	close(c);
}

/* A socket that was bound by a process with another root directory. */
static int bound_in_root(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), status;
	struct sockaddr_un a;
	socklen_t len = name_of(&a, "/inner");
	pid_t pid = fork();

	if (pid == 0)
		_exit(chroot("jail") || chdir("/") || bind(fd, (struct sockaddr *)&a, len) || listen(fd, 3));
	CHECK(waitpid(pid, &status, 0) == pid);
	return status ? -1 : fd;
}

int main(int argc, char **argv)
{
	int renamed, first, second, away, dgram, jailed;
	struct stat st;

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0 && mkdir("dir", 0755) == 0 && mkdir("jail", 0755) == 0);
	renamed = bound("s.new", SOCK_STREAM);
	CHECK(rename("s.new", "s") == 0 && chmod("s", 0640) == 0);
	first = bound("name", SOCK_STREAM);
	CHECK(rename("name", "old") == 0);
	second = bound("name", SOCK_STREAM);
	away = bound("dir/here", SOCK_SEQPACKET);
	CHECK(rename("dir/here", "there") == 0);
	dgram = bound("d.new", SOCK_DGRAM);
	CHECK(rename("d.new", "d") == 0);
	jailed = bound_in_root();

	prog_ready();

	CHECK(access("s.new", F_OK) && access("dir/here", F_OK) && access("d.new", F_OK) && access("inner", F_OK));
	CHECK(lstat("s", &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0640);
	reaches("s", renamed, "s.new", SOCK_STREAM);
	reaches("old", first, "name", SOCK_STREAM);
	reaches("name", second, "name", SOCK_STREAM);
	reaches("there", away, "dir/here", SOCK_SEQPACKET);
	reaches("d", dgram, "d.new", SOCK_DGRAM);
	if (jailed >= 0)
		reaches("jail/inner", jailed, "/inner", SOCK_STREAM);
	prog_ok();
}
