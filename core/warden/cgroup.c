/* SPDX-License-Identifier: MIT */
/*
 * The cgroup freezer, version 1 (freezer.state) and 2 (cgroup.freeze).
 *
 * A frozen tree does not fork, so one pass finds all of it.  But threads reach
 * their ptrace stops and run injected calls only while their cgroup is thawed; so
 * it is thawed as soon as all have been interrupted, and put back to how it was
 * found before they are let go.  The undo record is written before the first write.
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault.h"
#include "log.h"

#define WATCHDOG_MS 5

static const char *state_file(const struct freezer *fz)
{
	return fz->v2 ? "cgroup.freeze" : "freezer.state";
}

static const char *state_text(const struct freezer *fz, bool frozen)
{
	return fz->v2 ? frozen ? "1" : "0" : frozen ? "FROZEN" : "THAWED";
}

/* Does the file below dirfd begin with text? */
static bool file_says(int dirfd, const char *name, const char *text)
{
	_cleanup_buf_ struct buf b = { 0 };

	return read_file(dirfd, name, &b) == 0 && strncmp(b.p, text, strlen(text)) == 0;
}

static bool reached_frozen(const struct freezer *fz)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (!fz->v2)
		return file_says(fz->dirfd, "freezer.state", "FROZEN");
	return read_file(fz->dirfd, "cgroup.events", &b) == 0 && strstr(b.p, "frozen 1");
}

/* True when pid is in the cgroup at dirfd or below it. */
static bool contains(int dirfd, pid_t pid)
{
	_cleanup_buf_ struct buf b = { 0 };
	int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_dir_ DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;
	char *save = NULL;

	if (read_file(dirfd, "cgroup.procs", &b) == 0)
		for (char *w = strtok_r(b.p, "\n", &save); w; w = strtok_r(NULL, "\n", &save))
			if (atoi(w) == pid)
				return true;
	while (d && (e = readdir(d))) {
		_cleanup_fd_ int sub = -1;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		sub = openat(dirfd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (sub >= 0 && contains(sub, pid))
			return true;
	}
	return false;
}

/* A frozen parent keeps the whole subtree frozen, whatever is written here. */
static bool parent_frozen(const struct freezer *fz)
{
	_cleanup_fd_ int up = -1;

	if (!fz->v2)
		return file_says(fz->dirfd, "freezer.parent_freezing", "1");
	up = openat(fz->dirfd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (up >= 0 && faccessat(up, "cgroup.freeze", F_OK, 0) == 0) {
		int next = openat(up, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (file_says(up, "cgroup.freeze", "1")) {
			if (next >= 0)
				close(next);
			return true;
		}
		close(up);
		up = next;
	}
	return false;
}

static int freezer_check(struct server *sv, const char *path)
{
	struct freezer *fz = &sv->fz;

	fz->v2 = faccessat(fz->dirfd, "cgroup.freeze", F_OK, 0) == 0;
	if (!fz->v2 && faccessat(fz->dirfd, "freezer.state", F_OK, 0) < 0)
		return wd_fail(sv, -EINVAL, "%s is not the directory of a freezer cgroup (there is neither cgroup.freeze nor "
			       "freezer.state)", path);
	if (contains(fz->dirfd, getpid()) || contains(fz->dirfd, sv->engine))
		return wd_fail(sv, -EDEADLK, "this program itself runs in cgroup %s; start it elsewhere", path);
	if (parent_frozen(fz))
		return wd_fail(sv, -EBUSY, "a parent of cgroup %s is frozen; thaw it first", path);
	fz->was_frozen = fz->v2 ? file_says(fz->dirfd, "cgroup.freeze", "1") :
				  !file_says(fz->dirfd, "freezer.state", "THAWED");
	return 0;
}

static int freezer_open(struct server *sv, const char *path)
{
	struct freezer *fz = &sv->fz;
	int err;

	fz->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fz->dirfd < 0)
		return wd_fail(sv, -errno, "freezer cgroup %s: %s", path, strerror(errno));
	free(fz->path);
	fz->path = xstrdup(path);
	err = freezer_check(sv, path);
	if (err) {
		close(fz->dirfd);
		fz->dirfd = -1;
	}
	return err;
}

static int write_state(struct server *sv, bool frozen)
{
	struct freezer *fz = &sv->fz;
	int err = FAULT("%s to cgroup %s", state_text(fz, frozen), fz->path);

	if (!err)
		err = write_file(fz->dirfd, state_file(fz), state_text(fz, frozen));

	if (err)
		return wd_fail(sv, err, "%s/%s: cannot write %s: %s", fz->path, state_file(fz), state_text(fz, frozen),
			       strerror(-err));
	fz->frozen = frozen;
	return 0;
}

static int record_undo(struct server *sv)
{
	struct freezer *fz = &sv->fz;
	int fd = openat(fz->dirfd, state_file(fz), O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return wd_fail(sv, -errno, "%s/%s: %s", fz->path, state_file(fz), strerror(errno));
	return journal_add(sv, CR_UNDO_WRITE, fd, state_text(fz, fz->was_frozen), true);
}

int freezer_freeze(struct server *sv, const char *path, uint64_t deadline)
{
	int err = freezer_open(sv, path);

	if (!err)
		err = record_undo(sv);
	if (!err)
		err = write_state(sv, true);
	while (!err && !reached_frozen(&sv->fz)) {
		if (now_us() >= deadline)
			return wd_fail(sv, -ETIMEDOUT, "cgroup %s could not be frozen in time; see --timeout", path);
		usleep(1000);
		if (!sv->fz.v2)
			err = write_state(sv, true); /* catches those that were missed */
	}
	return err;
}

int freezer_thaw(struct server *sv)
{
	return sv->fz.dirfd >= 0 && sv->fz.frozen ? write_state(sv, false) : 0;
}

void freezer_restore(struct server *sv)
{
	struct freezer *fz = &sv->fz;
	int err;

	if (fz->dirfd < 0)
		return;
	err = write_file(fz->dirfd, state_file(fz), state_text(fz, fz->was_frozen));
	if (err)
		log_error("warden: cgroup %s stays %s: %s", fz->path, fz->frozen ? "frozen" : "thawed", strerror(-err));
	close(fz->dirfd);
	fz->dirfd = -1;
}

/* Thaws when no seize has been finished for a while. */
static void watch(struct freezer *fz)
{
	unsigned last;

	do {
		last = __atomic_load_n(fz->seizes, __ATOMIC_RELAXED);
		poll(NULL, 0, WATCHDOG_MS);
	} while (__atomic_load_n(fz->seizes, __ATOMIC_RELAXED) != last);
	_exit(write_file(fz->dirfd, state_file(fz), state_text(fz, false)) ? 1 : 0);
}

pid_t freezer_watchdog(struct server *sv)
{
	struct freezer *fz = &sv->fz;
	pid_t pid;

	if (fz->dirfd < 0 || fz->v2 || !fz->frozen)
		return 0;
	if (!fz->seizes) {
		void *p = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

		fz->seizes = p == MAP_FAILED ? NULL : p;
	}
	if (!fz->seizes)
		return freezer_thaw(sv);
	pid = FAULTS("fork of the freezer's watchdog") ? -1 : fork();
	if (pid == 0)
		watch(fz);
	return pid < 0 ? freezer_thaw(sv) : pid;
}

void freezer_watchdog_end(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}
