/* SPDX-License-Identifier: MIT */
#include "action.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image.h"
#include "options.h"
#include "session.h"

/* Our environment with three variables set; the strings that were added are in *extra, to be freed. */
static char **environment(struct session *s, const char *action, pid_t root, char *extra[3])
{
	static const char *const names[] = { "CRTOOLS_SCRIPT_ACTION=", "CRTOOLS_IMAGE_DIR=", "CRTOOLS_INIT_PID=" };
	_cleanup_free_ char *link = xasprintf("/proc/self/fd/%d", images_dirfd(s));
	_cleanup_free_ char *dir = NULL;
	size_t n = 0, have = 0;
	char **env;

	if (readlink_alloc(AT_FDCWD, link, &dir) < 0)
		dir = xstrdup(".");
	extra[0] = xasprintf("%s%s", names[0], action);
	extra[1] = xasprintf("%s%s", names[1], dir);
	extra[2] = root > 0 ? xasprintf("%s%d", names[2], root) : NULL;
	while (environ[have])
		have++;
	env = xcalloc(have + 4, sizeof(*env));
	for (size_t i = 0; i < have; i++) {
		bool ours = false;

		for (size_t j = 0; j < ARRAY_SIZE(names); j++)
			ours |= !strncmp(environ[i], names[j], strlen(names[j]));
		if (!ours)
			env[n++] = environ[i];
	}
	for (int i = 0; i < 3; i++)
		if (extra[i])
			env[n++] = extra[i];
	return env;
}

/* As posix_spawn(), without the signals that the engine ignores. */
static int spawn(pid_t *ret_pid, const char *path, char *const argv[], char **env)
{
	posix_spawnattr_t attr;
	sigset_t set;
	int err;

	err = posix_spawnattr_init(&attr);
	if (err)
		return err;
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	sigaddset(&set, SIGXFSZ);
	posix_spawnattr_setsigdefault(&attr, &set);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
	err = posix_spawn(ret_pid, path, NULL, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	return err;
}

static int run_one(struct session *s, const char *path, const char *action, char **env)
{
	char *argv[] = { (char *)path, NULL };
	int status, err;
	pid_t pid;

	log_info("running %s for %s", path, action);
	err = spawn(&pid, path, argv, env);
	if (err)
		return fail(s, err, "--action-script %s: cannot run it: %s", path, strerror(err));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return fail(s, errno, "--action-script %s: %s", path, strerror(errno));
	if (WIFSIGNALED(status))
		return fail(s, ECANCELED, "--action-script %s was ended by signal %d at %s", path, WTERMSIG(status), action);
	if (WEXITSTATUS(status))
		return fail(s, ECANCELED, "--action-script %s said no (exit status %d) at %s", path, WEXITSTATUS(status),
			    action);
	return 0;
}

static int run_scripts(struct session *s, const char *action, pid_t root)
{
	char *extra[3], **env;
	const char *path;
	int err = 0;

	if (!opt_item(s->opts, "action-script", 0))
		return 0;
	env = environment(s, action, root, extra);
	for (size_t i = 0; err == 0 && (path = opt_item(s->opts, "action-script", i)); i++)
		err = run_one(s, path, action, env);
	for (int i = 0; i < 3; i++)
		free(extra[i]);
	free(env);
	return err;
}

int action_run(struct session *s, const char *action, pid_t root)
{
	int err = run_scripts(s, action, root);

	return !err && s->notify ? s->notify(s, action, root) : err;
}
