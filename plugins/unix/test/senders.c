/* SPDX-License-Identifier: MIT */
/*
 * What is told about who has sent something that was not read yet: the name of the socket of a datagram (a path, an abstract
 * name, one that is gone, one that the tree still has), pid, user and group (SO_PASSCRED), also of a stream that two
 * processes have written to; a position for peeking.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "prog.h"

static uint64_t salt;

static socklen_t name_of(struct sockaddr_un *a, const char *text)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	if (text[0] != '@') {
		strcpy(a->sun_path, text);
		return offsetof(struct sockaddr_un, sun_path) + strlen(text) + 1;
	}
	return offsetof(struct sockaddr_un, sun_path) +
	       sprintf(a->sun_path + 1, "%s-%016lx", text + 1, (unsigned long)salt) + 1;
}

static int bound(const char *name)
{
	struct sockaddr_un a;
	socklen_t len = name_of(&a, name);
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, len) == 0);
	return fd;
}

static void send_to(int fd, const char *name, const char *text)
{
	struct sockaddr_un a;
	socklen_t len = name_of(&a, name);

	CHECK(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&a, len) == (ssize_t)strlen(text));
}

/* A datagram, or a piece of a stream; from: NULL: it has no name. */
static void expect(int fd, const char *text, const char *from, pid_t pid, uid_t uid, gid_t gid)
{
	union {
		struct cmsghdr c;
		char room[CMSG_SPACE(sizeof(struct ucred)) + 64];
	} u = { 0 };
	char buf[64];
	struct iovec iov = { buf, sizeof(buf) };
	struct sockaddr_un a = { 0 }, want;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u), .msg_name = &a,
			    .msg_namelen = sizeof(a) };
	struct ucred cred = { 0 };

	CHECK(recvmsg(fd, &m, MSG_DONTWAIT) == (ssize_t)strlen(text) && !memcmp(buf, text, strlen(text)));
	if (from) {
		if (m.msg_namelen != name_of(&want, from) || memcmp(&a, &want, m.msg_namelen))
			prog_fail("%s: it comes from %s (%u bytes), not from %s", text, a.sun_path[0] ? a.sun_path :
				  a.sun_path + 1, m.msg_namelen, from);
	} else {
		CHECK(m.msg_namelen == 0);
	}
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
	if (cred.pid != pid || cred.uid != uid || cred.gid != gid)
		prog_fail("%s: from pid %d, user %u, group %u, not %d, %u, %u", text, cred.pid, cred.uid, cred.gid, pid,
			  uid, gid);
}

/* A process of another user, if that is possible, sends and ends. Its pid. */
static pid_t other_sends(int fd, const char *to, const char *text, uid_t *ret_uid, gid_t *ret_gid)
{
	int may = getuid() == 0, status;
	pid_t pid;

	if (may && (pid = fork()) == 0)
		_exit(setgid(1234) || setuid(1000) ? 1 : 0);
	if (may)
		may = waitpid(pid, &status, 0) == pid && !status; /* not where there is no such user */
	*ret_uid = may ? 1000 : getuid();
	*ret_gid = may ? 1234 : getgid();
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		if (may)
			CHECK(setgid(1234) == 0 && setuid(1000) == 0);
		to ? send_to(fd, to, text) : (void)(send(fd, text, strlen(text), 0) < 0);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	return pid;
}

static void peeks(int fd, const char *text)
{
	char buf[4];

	CHECK(recv(fd, buf, sizeof(buf), MSG_PEEK) == sizeof(buf) && !memcmp(buf, text, sizeof(buf)));
}

int main(int argc, char **argv)
{
	int r, plain, path, abstract, alive, s[2], peek[2], one = 1, zero = 0;
	pid_t other, writer, me = getpid();
	uid_t uid = getuid(), ouid, wuid;
	gid_t gid = getgid(), ogid, wgid;

	prog_init(argc, argv);
	CHECK(chdir(prog_dir) == 0 && getrandom(&salt, sizeof(salt), 0) == sizeof(salt));
	r = bound("receiver");
	CHECK(chmod("receiver", 0666) == 0 && chmod(".", 0777) == 0 && setsockopt(r, SOL_SOCKET, SO_PASSCRED, &one,
										  sizeof(one)) == 0);
	plain = socket(AF_UNIX, SOCK_DGRAM, 0);
	other = other_sends(plain, "receiver", "another one", &ouid, &ogid);
	path = bound("path");
	send_to(path, "receiver", "by path");
	abstract = bound("@gone");
	send_to(abstract, "receiver", "gone");
	close(abstract);
	alive = bound("@alive");
	send_to(alive, "receiver", "alive");
	send_to(path, "receiver", "by path again");
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && setsockopt(s[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) == 0);
	CHECK(send(s[1], "mine", 4, 0) == 4);
	writer = other_sends(s[1], NULL, "not mine", &wuid, &wgid);
	CHECK(send(s[1], "mine again", 10, 0) == 10);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, peek) == 0 && send(peek[1], "0123456789", 10, 0) == 10);
	CHECK(setsockopt(peek[0], SOL_SOCKET, SO_PEEK_OFF, &zero, sizeof(zero)) == 0);
	peeks(peek[0], "0123");

	prog_ready();

	expect(r, "another one", NULL, other, ouid, ogid);
	expect(r, "by path", "path", me, uid, gid);
	expect(r, "gone", "@gone", me, uid, gid);
	expect(r, "alive", "@alive", me, uid, gid);
	expect(r, "by path again", "path", me, uid, gid);
	send_to(r, "@alive", "answer");
	expect(alive, "answer", "receiver", 0, 0, 0);
	expect(s[0], "mine", NULL, me, uid, gid);
	expect(s[0], "not mine", NULL, writer, wuid, wgid);
	expect(s[0], "mine again", NULL, me, uid, gid);
	peeks(peek[0], "4567");
	prog_ok();
}
