/* SPDX-License-Identifier: MIT */
/* --ext-unix-sk: a datagram socket is connected to one of a process outside the tree, which lives on meanwhile. */
#include <sys/socket.h>
#include <sys/un.h>

#include "prog.h"

static struct sockaddr_un addr(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	CHECK(strlen(prog_dir) + strlen(name) + 2 <= sizeof(a.sun_path));
	stpcpy(stpcpy(stpcpy(a.sun_path, prog_dir), "/"), name);
	return a;
}

/* Answers what it gets, until there is a result. */
static void serve(void)
{
	struct sockaddr_un a = addr("server"), from;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	char buf[64];

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)))
		_exit(1);
	for (int i = 0; i < 6000 && !prog_has("result"); i++) {
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);

		if (n > 0)
			sendto(fd, buf, n, 0, (struct sockaddr *)&from, len);
		else
			prog_nap(10);
	}
	_exit(0);
}

static void start_server(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		setsid();
		if (fork() == 0)
			serve();
		_exit(0);
	}
	CHECK(waitpid(pid, NULL, 0) == pid);
}

int main(int argc, char **argv)
{
	struct sockaddr_un server, client;
	char buf[64];
	int fd;

	prog_init(argc, argv);
	server = addr("server");
	client = addr("client");
	start_server();
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	CHECK(bind(fd, (struct sockaddr *)&client, sizeof(client)) == 0);
	for (int i = 0; connect(fd, (struct sockaddr *)&server, sizeof(server)) && i < 500; i++)
		prog_nap(10);
	CHECK(send(fd, "before", 6, 0) == 6 && recv(fd, buf, sizeof(buf), 0) == 6);
	prog_ready();

	CHECK(send(fd, "afterwards", 10, 0) == 10 && recv(fd, buf, sizeof(buf), 0) == 10);
	CHECK(!memcmp(buf, "afterwards", 10));
	prog_ok();
}
