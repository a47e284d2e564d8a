/* SPDX-License-Identifier: MIT */
/*
 * images.c: an images directory of a real dump in which one file is the input: first its name and a newline, then what it
 * holds. The directory is STASIS_FUZZ_IMAGES; it is copied into memory once. `show` and everything that a restore
 * reads before its first effect must refuse or accept it, no more.
 *
 * With STASIS_FUZZ_PLANS=DIR it only makes the plans of a restore of these images, and writes their operations there: seeds
 * for the target plan.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "image.h"
#include "log.h"
#include "options.h"
#include "plugin.h"
#include "restore.h"

static char dir[64];
static struct options *opts;
static struct plugins *plugins;

static void put(const char *name, const uint8_t *data, size_t size)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
}

/* The whole of DIR/NAME; its size in *ret_size. NULL: there is none. */
static uint8_t *get(const char *from, const char *name, size_t *ret_size)
{
	char path[512];
	struct stat st;
	uint8_t *data;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", from, name);
	fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return NULL;
	}
	data = malloc(st.st_size + 1);
	if (!data || read(fd, data, st.st_size) != st.st_size)
		abort();
	close(fd);
	*ret_size = st.st_size;
	return data;
}

static void remove_dir(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	if (system(cmd))
		fprintf(stderr, "%s is left behind\n", dir);
}

static void save_plan(const char *to, const struct plan *p)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%u", to, p->index);
	f = fopen(path, "w");
	if (!f || fwrite(p->ops.v, sizeof(*p->ops.v), p->ops.n < 700 ? p->ops.n : 700, f) == 0)
		abort();
	fclose(f);
}

/* As restore --explain, which ends when the plans are made. */
static void save_plans(const char *to)
{
	struct session *s = session_new(CR_MODE_RESTORE, opts);

	s->plugins = plugins;
	if (options_set(opts, "explain", NULL) || images_open(s) || cmd_restore(s, 0, NULL))
		exit(1);
	for (size_t i = 0; i < s->restore->plans->plans.n; i++)
		save_plan(to, s->restore->plans->plans.v[i]);
	exit(0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *from = getenv("STASIS_FUZZ_IMAGES");
	struct dirent *e;
	DIR *d;

	d = from ? opendir(from) : NULL;
	if (!d) {
		fprintf(stderr, "STASIS_FUZZ_IMAGES must name an images directory\n");
		exit(2);
	}
	snprintf(dir, sizeof(dir), "/dev/shm/stasis-fuzz-%d", (int)getpid());
	if (mkdir(dir, 0700))
		abort();
	atexit(remove_dir);
	while ((e = readdir(d))) {
		size_t size;
		uint8_t *data = e->d_name[0] == '.' ? NULL : get(from, e->d_name, &size);

		if (data)
			put(e->d_name, data, size);
		free(data);
	}
	closedir(d);
	log_init();
	log_set_level(0);
	opts = options_new();
	plugins_load(opts, &plugins);
	if (options_set(opts, "images-dir", dir))
		abort();
	if (!freopen("/dev/null", "w", stdout))
		abort();
	if (getenv("STASIS_FUZZ_PLANS"))
		save_plans(getenv("STASIS_FUZZ_PLANS"));
	return 0;
}

/* Plugins keep nothing from one session to the next: each has its own process otherwise. */
static void forget_plugin_state(void)
{
	for (size_t i = 0; i < plugins->all.n; i++) {
		struct plugin *p = plugins->all.v[i];

		free(p->priv);
		p->priv = NULL;
		p->priv_bytes = 0;
	}
}

static void session(uint32_t mode, int (*run)(struct session *s))
{
	struct session *s = session_new(mode, opts);

	s->plugins = plugins;
	if (images_open(s) == 0)
		run(s);
	session_free(s);
	forget_plugin_state();
}

static int show(struct session *s)
{
	return cmd_show(s, 0, NULL);
}

static int load(struct session *s)
{
	s->restore = calloc(1, sizeof(*s->restore));
	return restore_load(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, '\n', size < 64 ? size : 64);
	uint8_t *was;
	char name[64];
	size_t was_size = 0;

	if (!end || end == data)
		return 0;
	memcpy(name, data, end - data);
	name[end - data] = 0;
	if (strlen(name) != (size_t)(end - data) || strchr(name, '/') || name[0] == '.')
		return 0;
	was = get(dir, name, &was_size);
	if (!was)
		return 0; /* a file that nobody reads */
	put(name, end + 1, size - (end + 1 - data));
	session(0, show);
	session(CR_MODE_RESTORE, load);
	put(name, was, was_size);
	free(was);
	return 0;
}
