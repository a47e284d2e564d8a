/* SPDX-License-Identifier: MIT */
/*
 * swrk FD: serves the one client at the other end of a socket that it has been started with, as container runtimes do.
 * service: listens on a socket in the file system; each client is served by a child.
 */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "options.h"
#include "rpc.h"
#include "signals.h"

#define BACKLOG 16
#define REAP_MS 1000

int cmd_swrk(struct session *s, int argc, char **argv)
{
	char *end = NULL;
	long fd = argc == 1 ? strtol(argv[0], &end, 10) : -1;

	s->phase = "swrk";
	if (fd < 0 || fd > 1 << 24 || !end || *end || end == argv[0])
		return fail(s, EINVAL, "swrk is started by other programs, with the number of a socket's descriptor");
	fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	return rpc_serve(s, (int)fd);
}

/* ---- service ---- */

/* A socket file that nobody listens to any more is in the way of the next service. */
static void remove_stale(const struct sockaddr_un *a)
{
	_cleanup_fd_ int sk = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct stat st;

	if (sk < 0 || lstat(a->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	if (connect(sk, (const struct sockaddr *)a, sizeof(*a)) < 0 && errno == ECONNREFUSED)
		unlink(a->sun_path);
}

static int listen_at(struct session *s, const char *path, int *ret_sk)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	mode_t old;
	int sk, err;

	if (strlen(path) >= sizeof(a.sun_path))
		return fail(s, ENAMETOOLONG, "--address %s: the path of a socket has at most %zu bytes", path,
			    sizeof(a.sun_path) - 1);
	memcpy(a.sun_path, path, strlen(path));
	sk = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sk < 0)
		return fail(s, errno, "socket: %s", strerror(errno));
	remove_stale(&a);
	old = umask(077);
	err = bind(sk, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(sk, BACKLOG) < 0 ? -errno : 0;
	umask(old);
	if (err) {
		close(sk);
		return fail(s, -err, "--address %s: %s", path, strerror(-err));
	}
	*ret_sk = sk;
	return 0;
}

static int write_pid(struct session *s, pid_t pid)
{
	const char *path = opt_str(s->opts, "pidfile");
	_cleanup_free_ char *text = xasprintf("%d", pid);
	_cleanup_fd_ int fd = -1;
	int err;

	if (!path)
		return 0;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	err = fd < 0 ? -errno : write_full(fd, text, strlen(text));
	return err < 0 ? fail(s, -err, "--pidfile %s: %s", path, strerror(-err)) : 0;
}

static int serve_client(struct session *s, int sk)
{
	int client = accept4(sk, NULL, NULL, SOCK_CLOEXEC);
	pid_t pid;

	if (client < 0)
		return errno == EINTR || errno == ECONNABORTED ? 0 : fail(s, errno, "accept: %s", strerror(errno));
	pid = fork();
	if (pid == 0) {
		close(sk);
		_exit(rpc_serve(s, client) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
	}
	close(client);
	if (pid < 0)
		log_error("a client cannot be served: %s", strerror(errno));
	return 0;
}

/* Until a signal asks for the end. */
static int serve(struct session *s, int sk)
{
	struct pollfd p = { .fd = sk, .events = POLLIN };
	int err = 0;

	while (err == 0 && !signals_caught()) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		/* a signal between the look at it and the wait is seen a second late */
		if (poll(&p, 1, REAP_MS) > 0)
			err = serve_client(s, sk);
	}
	return err;
}

int cmd_service(struct session *s, int argc, char **argv)
{
	const char *path = opt_str(s->opts, "address");
	bool background = opt_flag(s->opts, "daemon") || opt_flag(s->opts, "restore-detached");
	int sk = -1, err;
	pid_t pid = 0;

	s->phase = "service";
	err = listen_at(s, path, &sk);
	if (err)
		return err;
	if (background)
		pid = fork();
	if (pid < 0)
		err = fail(s, errno, "the service cannot go into the background: fork: %s", strerror(errno));
	else if (pid > 0 || !background)
		err = write_pid(s, pid > 0 ? pid : getpid());
	if (pid) {
		/* no service is left behind that nobody was told of */
		if (err && pid > 0)
			kill(pid, SIGKILL);
		if (err)
			unlink(path);
		close(sk);
		return err;
	}
	if (background)
		setsid();
	signals_catch(s);
	if (err == 0)
		err = serve(s, sk);
	signals_catch(NULL);
	close(sk);
	unlink(path);
	if (background)
		_exit(err ? EXIT_FAILURE : EXIT_SUCCESS);
	return err;
}
