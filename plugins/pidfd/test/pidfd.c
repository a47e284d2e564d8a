/* SPDX-License-Identifier: MIT */
/*
 * Descriptors of processes: of oneself, a living child, a zombie, one that has been reaped; shared by fork,
 * watched by an epoll, on their way through a socket, non-blocking; and that they still do what they are for.
 */
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <linux/kcmp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "prog.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static int pidfd(pid_t pid, unsigned int flags)
{
	return syscall(SYS_pidfd_open, pid, flags);
}

static int ended(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	CHECK(poll(&p, 1, 0) >= 0);
	return (p.revents & POLLIN) != 0;
}

static int send_signal(int fd, int sig)
{
	return syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0);
}

static pid_t pid_of(int fd)
{
	char path[64], text[512] = "", *line;
	ssize_t n;
	int info, pid = 0;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY);
	n = read(info, text, sizeof(text) - 1);
	CHECK(n > 0);
	close(info);
	line = strstr(text, "\nPid:");
	CHECK(line && sscanf(line, "\nPid: %d", &pid) == 1);
	return pid;
}

static void send_fd(int sock, int fd)
{
	char room[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { "x", 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	CHECK(sendmsg(sock, &m, 0) == 1);
}

static int receive_fd(int sock)
{
	char room[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))), byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	int fd;

	CHECK(recvmsg(sock, &m, MSG_DONTWAIT) == 1 && CMSG_FIRSTHDR(&m));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

static void child_waits(void *arg)
{
	const int *fds = arg;

	prog_wait_go();
	/* the parent's descriptor of the parent is ours too */
	CHECK(pid_of(fds[0]) == getppid());
	CHECK(syscall(SYS_kcmp, getpid(), getppid(), KCMP_FILE, fds[0], fds[0]) == 0);
	CHECK(syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fds[0], fds[1]) != 0);
	while (!prog_has("childs"))
		prog_nap(10);
}

int main(int argc, char **argv)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 5 };
	int self[3], sv[2], alive, zombie, dead, dead2, ep, queued;
	pid_t child, ghost, gone;
	struct stat a, b;
	siginfo_t si = { 0 };

	prog_init(argc, argv);
	self[0] = pidfd(getpid(), 0);
	if (self[0] < 0 && errno == ENOSYS)
		prog_skip("no pidfd_open");
	self[1] = pidfd(getpid(), 0);
	self[2] = dup(self[0]);
	CHECK(self[0] >= 0 && self[1] >= 0 && self[2] >= 0);
	child = prog_child(child_waits, self);
	alive = pidfd(child, O_NONBLOCK);
	ghost = fork();
	if (ghost == 0)
		_exit(7);
	zombie = pidfd(ghost, 0);
	gone = fork();
	if (gone == 0)
		pause();
	dead = pidfd(gone, 0);
	dead2 = pidfd(gone, 0);
	CHECK(alive >= 0 && zombie >= 0 && dead >= 0 && dead2 >= 0);
	CHECK(kill(gone, SIGKILL) == 0 && waitpid(gone, NULL, 0) == gone);
	prog_wait_state(ghost, ghost, 'Z');
	ep = epoll_create1(0);
	CHECK(ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, alive, &ev) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
	queued = pidfd(child, 0);
	send_fd(sv[0], queued);
	CHECK(close(queued) == 0);
	send_fd(sv[0], self[0]);
	prog_ready();

	CHECK(fcntl(self[0], F_GETFD) == FD_CLOEXEC && fcntl(self[2], F_GETFD) == 0);
	CHECK(pid_of(self[0]) == getpid() && pid_of(self[1]) == getpid());
	CHECK(syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, self[0], self[2]) == 0);
	CHECK(syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, self[0], self[1]) != 0);
	CHECK(send_signal(self[0], 0) == 0 && !ended(self[0]));
	CHECK((fcntl(alive, F_GETFL) & O_NONBLOCK) && !(fcntl(zombie, F_GETFL) & O_NONBLOCK));
	CHECK(pid_of(alive) == child && !ended(alive) && epoll_wait(ep, &ev, 1, 0) == 0);
	CHECK(pid_of(zombie) == ghost && ended(zombie));
	CHECK(waitid(P_PIDFD, zombie, &si, WEXITED) == 0 && si.si_pid == ghost && si.si_status == 7);
	CHECK(pid_of(dead) == -1 && ended(dead) && send_signal(dead, 0) < 0 && errno == ESRCH);
	CHECK(fstat(dead, &a) == 0 && fstat(dead2, &b) == 0 && a.st_ino == b.st_ino);
	CHECK(waitid(P_PIDFD, alive, &si, WEXITED) < 0 && errno == EAGAIN);
	queued = receive_fd(sv[1]);
	CHECK(pid_of(queued) == child && !ended(queued));
	queued = receive_fd(sv[1]);
	CHECK(syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, self[0], queued) == 0);
	prog_write("childs", "1");
	CHECK(epoll_wait(ep, &ev, 1, 10000) == 1 && ev.data.u64 == 5);
	CHECK(ended(alive));
	prog_reap(child);
	prog_ok();
}
