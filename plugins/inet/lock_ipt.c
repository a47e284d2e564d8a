/* SPDX-License-Identifier: MIT */
/*
 * lock_ipt.c: the network lock by iptables, for kernels without nftables. See lock.h.
 *
 * A lock is one chain in the table mangle, which INPUT and OUTPUT jump to; there, before nat, packets have the
 * addresses of the socket.  It has two rules for each connection, one for each direction.  iptables-restore(8)
 * makes or removes all of it at once.  The legacy programs are preferred: those that work by nftables leave empty
 * chains in the rule set.
 */
#include "lock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define TABLE "mangle"
#define STATUS_NO_PROGRAM 127

struct job {
	const char *const *argv;
	const char *input; /* for its standard input */
	char *why;
	size_t room;
};

/* In the child; nothing here may allocate, a thread that has entered a namespace may be its parent. */
static void become(const struct job *j, int in, int out)
{
	static char *const env[] = { "PATH=/usr/sbin:/sbin:/usr/bin:/bin", "LC_ALL=C", NULL };
	int null = open("/dev/null", O_WRONLY);
	char path[64];
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(in, 0) < 0 || dup2(null, 1) < 0 || dup2(out, 2) < 0)
		_exit(STATUS_NO_PROGRAM);
	snprintf(path, sizeof(path), "/usr/sbin/%s", j->argv[0]);
	execve(path, (char *const *)j->argv, env);
	snprintf(path, sizeof(path), "/sbin/%s", j->argv[0]);
	execve(path, (char *const *)j->argv, env);
	_exit(STATUS_NO_PROGRAM);
}

/* The first line of what it complains about. */
static void read_why(const struct job *j, int fd)
{
	size_t have = 0;
	char rest[256];
	ssize_t n;

	while (have + 1 < j->room && (n = read(fd, j->why + have, j->room - 1 - have)) > 0)
		have += n;
	j->why[have] = 0;
	j->why[strcspn(j->why, "\n")] = 0;
	while (read(fd, rest, sizeof(rest)) > 0)
		;
}

/* Its input comes from a memory file: a program that does not read cannot block us. */
static int start(const struct job *j, pid_t *ret_pid, int *ret_err)
{
	_cleanup_fd_ int in = memfd_create("stasis-netlock", MFD_CLOEXEC);
	int err = in < 0 ? -errno : write_full(in, j->input, strlen(j->input)), pair[2];

	if (err || lseek(in, 0, SEEK_SET) < 0 || pipe2(pair, O_CLOEXEC) < 0)
		return err ? err : -errno;
	*ret_pid = fork();
	if (*ret_pid == 0)
		become(j, in, pair[1]);
	close(pair[1]);
	*ret_err = pair[0];
	if (*ret_pid < 0) {
		close(pair[0]);
		return -EAGAIN;
	}
	return 0;
}

static int run(void *arg)
{
	const struct job *j = arg;
	int fd = -1, status = 0, err;
	pid_t pid = -1;

	j->why[0] = 0;
	err = start(j, &pid, &fd);
	if (err)
		return err;
	read_why(j, fd);
	close(fd);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return WIFEXITED(status) && WEXITSTATUS(status) == STATUS_NO_PROGRAM ? -ENOENT : -EIO;
}

/* The first of the programs that are there; *ret_which tells it. -EOPNOTSUPP: there is none. */
static int run_first(int ns, const char *const programs[2], const char *const *args, const char *input, char *why, size_t room)
{
	int err = -ENOENT;

	for (int i = 0; i < 2 && err == -ENOENT; i++) {
		const char *argv[10] = { programs[i] };
		struct job j = { .argv = argv, .input = input, .why = why, .room = room };

		for (int k = 0; k < 8 && args[k]; k++)
			argv[k + 1] = args[k];
		err = lock_ns_run(ns, run, &j);
	}
	if (err == -ENOENT)
		snprintf(why, room, "%s is not installed", programs[1]);
	return err == -ENOENT ? -EOPNOTSUPP : err;
}

static int load_rules(int ns, int family, const char *text, char *why, size_t room)
{
	static const char *const four[] = { "iptables-legacy-restore", "iptables-restore" };
	static const char *const six[] = { "ip6tables-legacy-restore", "ip6tables-restore" };
	static const char *const args[] = { "--noflush", "-w", "10", NULL };

	return run_first(ns, family == AF_INET ? four : six, args, text, why, room);
}

static int is_there(int ns, int family, const char *name)
{
	static const char *const four[] = { "iptables-legacy", "iptables" };
	static const char *const six[] = { "ip6tables-legacy", "ip6tables" };
	const char *const args[] = { "-w", "10", "-t", TABLE, "-n", "-L", name, NULL };
	char why[200];

	return !run_first(ns, family == AF_INET ? four : six, args, "", why, sizeof(why));
}

static void add_rule(struct buf *b, const char *name, int family, const uint8_t *src, uint16_t sport, const uint8_t *dst,
		     uint16_t dport)
{
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];

	inet_ntop(family, src, from, sizeof(from));
	inet_ntop(family, dst, to, sizeof(to));
	buf_printf(b, "-A %s -p tcp -s %s -d %s --sport %u --dport %u -j DROP\n", name, from, to, sport, dport);
}

static int add(int ns, int family, const char *name, const lock_conns *conns, char *why, size_t room)
{
	_cleanup_buf_ struct buf b = { 0 };
	size_t n = 0;

	/* naming a chain empties it */
	buf_printf(&b, "*" TABLE "\n:%s - [0:0]\n-A %s -m mark --mark %d -j RETURN\n", name, name, LOCK_MARK);
	for (size_t i = 0; i < conns->n; i++) {
		const struct lock_conn *c = &conns->v[i];

		if (c->family != (uint32_t)family)
			continue;
		n++;
		add_rule(&b, name, family, c->src, c->sport, c->dst, c->dport);
		add_rule(&b, name, family, c->dst, c->dport, c->src, c->sport);
	}
	if (!n)
		return 0;
	if (!is_there(ns, family, name))
		buf_printf(&b, "-I INPUT -j %s\n-I OUTPUT -j %s\n", name, name);
	buf_printf(&b, "COMMIT\n");
	return load_rules(ns, family, b.p, why, room);
}

int lock_ipt_add(int ns, const char *name, const lock_conns *conns, char *why, size_t room)
{
	int err = add(ns, AF_INET, name, conns, why, room);

	return err ? err : add(ns, AF_INET6, name, conns, why, room);
}

int lock_ipt_remove(int ns, const char *name, char *why, size_t room)
{
	static const int families[] = { AF_INET, AF_INET6 };
	_cleanup_buf_ struct buf b = { 0 };
	int first = 0;

	buf_printf(&b, "*" TABLE "\n-D INPUT -j %s\n-D OUTPUT -j %s\n-F %s\n-X %s\nCOMMIT\n", name, name, name, name);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		int err = is_there(ns, families[i], name) ? load_rules(ns, families[i], b.p, why, room) : 0;

		first = first ? first : err;
	}
	return first;
}
