/* SPDX-License-Identifier: MIT */
/*
 * options.c: the first byte chooses: 'c' a configuration file, else a command line, one argument a line. All options of
 * core and plugins are known.
 */
#include "fuzz.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "log.h"
#include "options.h"
#include "plugin.h"
#include "util.h"

#define MAX_ARGS 64

static void config(struct options *o, const uint8_t *data, size_t size)
{
	int fd = memfd_create("config", MFD_CLOEXEC);
	char path[64];

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	options_read_file(o, path);
	close(fd);
}

static void command_line(struct options *o, const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), *argv[MAX_ARGS + 2] = { "stasis" }, **plain = NULL, *save = NULL;
	int argc = 1, nplain = 0;

	for (char *a = strtok_r(text, "\n", &save); a && argc <= MAX_ARGS; a = strtok_r(NULL, "\n", &save))
		argv[argc++] = a;
	if (options_parse(o, argc, argv, &nplain, &plain) == 0)
		free(plain);
	free(text);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_init();
	log_set_level(0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct plugins *plugins = NULL;
	struct options *o;

	if (size < 1)
		return 0;
	o = options_new();
	plugins_load(o, &plugins);
	if (data[0] == 'c')
		config(o, data + 1, size - 1);
	else
		command_line(o, data + 1, size - 1);
	options_free(o);
	plugins_free(plugins);
	return 0;
}
