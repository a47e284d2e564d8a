/* SPDX-License-Identifier: MIT */
/*
 * room.c: how much memory a process may still use, before the kernel has to kill.
 *
 * The least of what the machine has available and what each cgroup above the process
 * leaves it; cached files do not count, they are given up first.
 */
#include "mem_priv.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The number behind name at the beginning of a line; 0: there is none. */
static uint64_t number_after(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = text; p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
		if (!strncmp(p, name, len))
			return strtoull(p + len, NULL, 10);
	return 0;
}

static uint64_t machine_room(void)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (read_file(AT_FDCWD, "/proc/meminfo", &b) < 0 || !b.p)
		return UINT64_MAX;
	return number_after(b.p, "MemAvailable:") << 10;
}

/* A file of the cgroup; UINT64_MAX: there is none, or no limit ("max"). */
static uint64_t cgroup_number(const char *dir, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	_cleanup_buf_ struct buf b = { 0 };

	if (read_file(AT_FDCWD, path, &b) < 0 || !b.p || b.p[0] < '0' || b.p[0] > '9')
		return UINT64_MAX;
	return strtoull(b.p, NULL, 10);
}

static uint64_t cgroup_cache(const char *dir)
{
	_cleanup_free_ char *path = xasprintf("%s/memory.stat", dir);
	_cleanup_buf_ struct buf b = { 0 };

	if (read_file(AT_FDCWD, path, &b) < 0 || !b.p)
		return 0;
	return number_after(b.p, "inactive_file ") + number_after(b.p, "active_file ");
}

static uint64_t one_cgroup(const char *dir, const char *limit_name, const char *use_name)
{
	uint64_t limit = cgroup_number(dir, limit_name), use, cache;

	if (limit == UINT64_MAX)
		return UINT64_MAX;
	use = cgroup_number(dir, use_name);
	cache = strncmp(limit_name, "memory", 6) ? 0 : cgroup_cache(dir);
	use = use == UINT64_MAX ? 0 : use - MIN_OF(cache, use);
	return limit > use ? limit - use : 0;
}

/* base: mount point; path: of the cgroup below it, is cut off. */
static uint64_t cgroups(const char *base, char *path, const char *limit_name, const char *use_name)
{
	uint64_t room = UINT64_MAX;
	char *slash = path;

	path[strcspn(path, "\n")] = 0;
	while (slash && *path) {
		_cleanup_free_ char *dir = xasprintf("%s%s", base, path);

		room = MIN_OF(room, one_cgroup(dir, limit_name, use_name));
		slash = strrchr(path, '/');
		if (slash)
			*slash = 0;
	}
	return room;
}

/* A controller, and its files in both versions of cgroups. */
struct limited {
	const char *name, *v2_limit, *v2_use, *v1_limit, *v1_use;
};

static uint64_t groups_room(pid_t pid, const struct limited *what)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/cgroup", pid), *v1_key = xasprintf(":%s:", what->name);
	_cleanup_free_ char *v1_base = xasprintf("/sys/fs/cgroup/%s", what->name);
	_cleanup_buf_ struct buf b = { 0 };
	uint64_t room = UINT64_MAX;
	char *line, *save = NULL;

	if (read_file(AT_FDCWD, path, &b) < 0 || !b.p)
		return room;
	for (line = strtok_r(b.p, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *v1 = strstr(line, v1_key);

		if (!strncmp(line, "0::", 3))
			room = MIN_OF(room, cgroups("/sys/fs/cgroup", line + 3, what->v2_limit, what->v2_use));
		else if (v1)
			room = MIN_OF(room, cgroups(v1_base, v1 + strlen(v1_key), what->v1_limit, what->v1_use));
	}
	return room;
}

uint64_t mem_room(pid_t pid)
{
	static const struct limited memory = { "memory", "memory.max", "memory.current", "memory.limit_in_bytes",
					       "memory.usage_in_bytes" };

	return MIN_OF(machine_room(), groups_room(pid, &memory));
}

uint64_t mem_task_room(void)
{
	static const struct limited pids = { "pids", "pids.max", "pids.current", "pids.max", "pids.current" };

	return groups_room(getpid(), &pids);
}
