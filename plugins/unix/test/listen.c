/* SPDX-License-Identifier: MIT */
/* Listening sockets by absolute, relative and abstract name; connections to them, accepted, waiting, with data. */
#include <linux/un.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "prog.h"

static socklen_t name_of(struct sockaddr_un *a, const char *name)
{
	size_t n = strlen(name);

	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, name, n);
	if (name[0] == '@')
		a->sun_path[0] = 0;
	return offsetof(struct sockaddr_un, sun_path) + n + (name[0] != '@');
}

static int listener(const char *name, int type)
{
	int fd = socket(AF_UNIX, type, 0);
	struct sockaddr_un a;
	socklen_t len = name_of(&a, name);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, len) == 0 && listen(fd, 3) == 0);
	return fd;
}

static int client(const char *name, int type)
{
	int fd = socket(AF_UNIX, type, 0);
	struct sockaddr_un a;
	socklen_t len = name_of(&a, name);

	CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&a, len) == 0);
	return fd;
}

static void expect_name(int fd, const char *name, int peer)
{
	struct sockaddr_un want, a;
	socklen_t want_len = name_of(&want, name), len = sizeof(a);

	memset(&a, 0, sizeof(a));
	CHECK((peer ? getpeername(fd, (struct sockaddr *)&a, &len) : getsockname(fd, (struct sockaddr *)&a, &len)) == 0);
	CHECK(len == want_len && !memcmp(&want, &a, len));
}

static void expect_owner(int fd)
{
	struct ucred c = { 0 };
	socklen_t len = sizeof(c);

	CHECK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len) == 0);
	CHECK(c.pid == getpid() && c.uid == getuid() && c.gid == getgid());
}

static void talk(int a, int b)
{
	char buf[8];

	CHECK(send(a, "ping", 4, 0) == 4 && recv(b, buf, sizeof(buf), 0) == 4);
	CHECK(send(b, "pong", 4, 0) == 4 && recv(a, buf, sizeof(buf), 0) == 4);
}

int main(int argc, char **argv)
{
	char path[4200], deleted[4220], abstract[80], buf[16];
	int l[3], c[3], s[3], wait, again, bound, other, gone, gc, gs;
	const char *name[3] = { path, "rel.sock", abstract };
	struct sockaddr_un a;
	socklen_t len;
	unsigned long unique;
	struct stat st;

	prog_init(argc, argv);
	snprintf(path, sizeof(path), "%s/a.sock", prog_dir);
	CHECK(strlen(path) < 100 && chdir(prog_dir) == 0);
	CHECK(getrandom(&unique, sizeof(unique), 0) == sizeof(unique));
	snprintf(abstract, sizeof(abstract), "@stasis-test-%lx", unique);
	for (int i = 0; i < 3; i++) {
		l[i] = listener(name[i], i == 1 ? SOCK_SEQPACKET : SOCK_STREAM);
		c[i] = client(name[i], i == 1 ? SOCK_SEQPACKET : SOCK_STREAM);
		s[i] = accept(l[i], NULL, NULL);
		CHECK(s[i] >= 0 && send(c[i], "to server", 9, 0) == 9 && send(s[i], "to client", 9, 0) == 9);
	}
	CHECK(chmod(path, 0640) == 0 && fcntl(l[0], F_SETFL, O_NONBLOCK) == 0);
	wait = client(path, SOCK_STREAM);
	/* a client with a name, too */
	bound = socket(AF_UNIX, SOCK_STREAM, 0);
	len = name_of(&a, "client.sock");
	CHECK(bind(bound, (struct sockaddr *)&a, len) == 0);
	len = name_of(&a, abstract);
	CHECK(connect(bound, (struct sockaddr *)&a, len) == 0 && (other = accept(l[2], NULL, NULL)) >= 0);
	/* a connection whose listener and path are gone */
	gone = listener("gone.sock", SOCK_STREAM);
	gc = client("gone.sock", SOCK_STREAM);
	gs = accept(gone, NULL, NULL);
	CHECK(gs >= 0 && close(gone) == 0 && unlink("gone.sock") == 0);
	/* a listener whose file was deleted */
	snprintf(deleted, sizeof(deleted), "%s/unlinked.sock", prog_dir);
	gone = listener(deleted, SOCK_STREAM);
	CHECK(unlink("unlinked.sock") == 0);
	/* where a relative name starts from can only be known with CAP_NET_ADMIN, otherwise it is guessed */
	again = ioctl(l[1], SIOCUNIXFILE);
	if (again >= 0)
		CHECK(close(again) == 0 && chdir("/") == 0);
	prog_ready();

	for (int i = 0; i < 3; i++) {
		expect_name(l[i], name[i], 0);
		expect_name(s[i], name[i], 0);
		expect_name(c[i], name[i], 1);
		expect_owner(l[i]);
		expect_owner(s[i]);
		expect_owner(c[i]);
		CHECK(recv(s[i], buf, sizeof(buf), 0) == 9 && !memcmp(buf, "to server", 9));
		CHECK(recv(c[i], buf, sizeof(buf), 0) == 9 && !memcmp(buf, "to client", 9));
		talk(c[i], s[i]);
	}
	again = accept(l[0], NULL, NULL);
	CHECK(again >= 0 && accept(l[0], NULL, NULL) < 0 && errno == EAGAIN);
	talk(wait, again);
	CHECK(stat(path, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 07777) == 0640);
	expect_name(bound, "client.sock", 0);
	expect_name(other, "client.sock", 1);
	talk(bound, other);
	expect_name(gs, "gone.sock", 0);
	expect_name(gc, "gone.sock", 1);
	expect_owner(gs);
	expect_owner(gc);
	talk(gc, gs);
	expect_name(gone, deleted, 0);
	CHECK(chdir(prog_dir) == 0 && access("unlinked.sock", F_OK) < 0 && access("gone.sock", F_OK) < 0);
	for (int i = 0; i < 3; i++) {
		int type = i == 1 ? SOCK_SEQPACKET : SOCK_STREAM, n = client(name[i], type), m = accept(l[i], NULL, NULL);

		CHECK(m >= 0);
		talk(n, m);
		CHECK(close(n) == 0 && close(m) == 0);
	}
	prog_ok();
}
