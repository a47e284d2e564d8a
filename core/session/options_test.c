/* SPDX-License-Identifier: MIT */
/* Options: spellings, values, configuration files, their order, help. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "log.h"
#include "options.h"

static const struct cr_option opt_ghost = { .size = sizeof(opt_ghost), .name = "ghost-limit", .kind = CR_OPT_SIZE,
					    .arg = "SIZE", .fallback = "1M", .help = "Largest deleted file." };
static const struct cr_option opt_locks = { .size = sizeof(opt_locks), .name = "file-locks", .kind = CR_OPT_FLAG,
					    .help = "Dump locks." };
static const struct cr_option opt_mode = { .size = sizeof(opt_mode), .name = "manage-cgroups", .kind = CR_OPT_STRING,
					   .arg = "[MODE]", .help = "Cgroups." };

struct fixture {
	struct options *o;
	int argc;
	char **argv;
	char dir[32];
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/options_testXXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	setenv("HOME", f->dir, 1);
	unsetenv("CRIU_CONFIG_FILE");
	log_init();
	log_set_level(0);
	f->o = options_new();
	options_register(f->o, "files", &opt_ghost);
	options_register(f->o, "locks", &opt_locks);
	options_register(f->o, "cgroups", &opt_mode);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char *cmd = xasprintf("rm -rf '%s'", f->dir);
	int r = system(cmd);

	free(cmd);
	options_free(f->o);
	free(f->argv);
	free(f);
	return r;
}

/* Splits line at blanks and parses it; the words behind "stasis". */
static int parse(struct fixture *f, const char *line)
{
	char *copy = strdupa(line), *save = NULL, *argv[32] = { "stasis" };
	int argc = 1;

	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = strdupa(w);
	free(f->argv);
	f->argv = NULL;
	return options_parse(f->o, argc, argv, &f->argc, &f->argv);
}

static char *write_config(struct fixture *f, const char *name, const char *text)
{
	char *path = xasprintf("%s/%s", f->dir, name);
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	fputs(text, out);
	fclose(out);
	return path;
}

static void test_long(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, "dump --tree 12 --images-dir=a/b --leave-running --external x[1] --external=y"), 0);
	assert_int_equal(opt_int(f->o, "tree"), 12);
	assert_string_equal(opt_str(f->o, "images-dir"), "a/b");
	assert_true(opt_flag(f->o, "leave-running"));
	assert_false(opt_flag(f->o, "leave-stopped"));
	assert_string_equal(opt_item(f->o, "external", 0), "x[1]");
	assert_string_equal(opt_item(f->o, "external", 1), "y");
	assert_null(opt_item(f->o, "external", 2));
	assert_int_equal(f->argc, 1);
}

static void test_short(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, "-t12 dump -D dir -Rj -o log -vvvv -l"), 0);
	assert_int_equal(opt_int(f->o, "tree"), 12);
	assert_string_equal(opt_str(f->o, "images-dir"), "dir");
	assert_string_equal(opt_str(f->o, "log-file"), "log");
	assert_true(opt_flag(f->o, "leave-running") && opt_flag(f->o, "shell-job") && opt_flag(f->o, "file-locks"));
	assert_int_equal(parse(f, "-jt13 dump"), 0);
	assert_int_equal(opt_int(f->o, "tree"), 13);
}

static void test_verbosity(void **state)
{
	static const struct {
		const char *line;
		int level;
	} cases[] = {
		{ "", 2 }, { "-v", 3 }, { "-vv", 4 }, { "-v -v", 4 }, { "-v0", 0 }, { "-v4", 4 }, { "--verbosity=1", 1 },
		{ "--verbosity", 3 }, { "-verbosity=0", 0 }, { "-verbosity=3", 3 }, { "-v1 -v", 2 }, { "-Rv3", 3 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fixture f = { .o = options_new() };

		assert_int_equal(parse(&f, cases[i].line), 0);
		assert_int_equal(opt_int(f.o, "verbosity"), cases[i].level);
		options_free(f.o);
		free(f.argv);
	}
	assert_int_equal(parse(*state, "-vx"), -EINVAL);
}

static void test_no(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, "--display-stats --no-display-stats --shell-job --no-plugin tty --no-default-config"), 0);
	assert_false(opt_flag(f->o, "display-stats"));
	assert_true(opt_given(f->o, "display-stats"));
	assert_true(opt_flag(f->o, "shell-job"));
	assert_string_equal(opt_item(f->o, "no-plugin", 0), "tty");
	assert_true(opt_flag(f->o, "no-default-config"));
	assert_int_equal(parse(f, "--no-tree"), -EINVAL);
	assert_int_equal(parse(f, "--no-shell-job=1"), -EINVAL);
	assert_int_equal(parse(f, "--shell-job=no"), 0);
	assert_false(opt_flag(f->o, "shell-job"));
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = { { "0", 0 }, { "17", 17 }, { "4K", 4096 }, { "4k", 4096 }, { "2M", 2 << 20 }, { "3G", 3ull << 30 } };
	static const char *const bad[] = { "-1", "x", "1T", "1Kb", "99999999999999999999", "99999999999999G", "+1" };
	struct fixture *f = *state;

	assert_int_equal(opt_size(f->o, "ghost-limit"), 1 << 20);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(options_set(f->o, "ghost-limit", good[i].text), 0);
		assert_true(opt_size(f->o, "ghost-limit") == good[i].bytes);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(options_set(f->o, "ghost-limit", bad[i]), -EINVAL);
	assert_true(opt_size(f->o, "ghost-limit") == 3ull << 30);
}

static void test_errors(void **state)
{
	static const char *const bad[] = { "--foo", "--foo=1", "-x", "--tree", "--tree=abc", "--tree=1x", "-t", "--tree=",
					   "--timeout=99999999999", "--leave-running=maybe" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse(*state, bad[i]), -EINVAL);
	assert_int_equal(options_register(((struct fixture *)*state)->o, "other", &opt_ghost), -EEXIST);
	assert_string_equal(options_owner(((struct fixture *)*state)->o, "ghost-limit"), "files");
}

static void test_optional_value(void **state)
{
	struct fixture *f = *state;

	assert_null(opt_str(f->o, "manage-cgroups"));
	assert_int_equal(parse(f, "restore --manage-cgroups soft"), 0);
	assert_string_equal(opt_str(f->o, "manage-cgroups"), "");
	assert_string_equal(f->argv[1], "soft");
	assert_int_equal(parse(f, "restore --manage-cgroups=full"), 0);
	assert_string_equal(opt_str(f->o, "manage-cgroups"), "full");
}

static void test_rest(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, "restore --exec-cmd -- sh -c --foo"), 0);
	assert_true(opt_flag(f->o, "exec-cmd"));
	assert_int_equal(f->argc, 4);
	assert_string_equal(f->argv[3], "--foo");
	assert_null(f->argv[4]);
}

static void test_alias(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, "--libdir a -L b --plugin-dir c"), 0);
	assert_string_equal(opt_item(f->o, "plugin-dir", 0), "a");
	assert_string_equal(opt_item(f->o, "plugin-dir", 1), "b");
	assert_string_equal(opt_item(f->o, "libdir", 2), "c");
}

static void test_later(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(command_later("page-server"), "page servers and restoring memory later");
	assert_non_null(command_later("pre-dump"));
	assert_null(command_later("dump"));
	assert_null(command_later("TLS"));
	assert_null(command_later("tls"));
	assert_null(command_later(""));
	assert_int_equal(parse(f, "dump --track-mem"), -EINVAL);
	assert_int_equal(parse(f, "dump --no-track-mem"), -EINVAL);
	assert_int_equal(parse(f, "restore -J net:1"), -EINVAL);
	/* declared: accepted */
	assert_int_equal(parse(f, "dump --manage-cgroups=soft"), 0);
}

static void test_config_syntax(void **state)
{
	struct fixture *f = *state;
	char *path = write_config(f, "c", "# comment\n\n  \t\nshell-job\nno-leave-running # more\n"
				  "work-dir \"/home/u/my \\\"work\\\" # directory\"\n"
				  "images-dir=/x\nghost-limit\t 2M\r\nexternal a[1]:b\nexternal c\nlog-file \"\"\nverbosity 4");

	assert_int_equal(options_read_file(f->o, path), 0);
	assert_true(opt_flag(f->o, "shell-job"));
	assert_true(opt_given(f->o, "leave-running") && !opt_flag(f->o, "leave-running"));
	assert_string_equal(opt_str(f->o, "work-dir"), "/home/u/my \"work\" # directory");
	assert_string_equal(opt_str(f->o, "images-dir"), "/x");
	assert_string_equal(opt_str(f->o, "log-file"), "");
	assert_string_equal(opt_item(f->o, "external", 1), "c");
	assert_true(opt_size(f->o, "ghost-limit") == 2 << 20);
	assert_int_equal(opt_int(f->o, "verbosity"), 4);
	free(path);
}

static void test_config_errors(void **state)
{
	static const char *const bad[] = { "foo\n", "work-dir \"x\n", "work-dir a b\n", "work-dir \"a\" b\n", "tree x\n",
					   "tree\n", "dump\n", "--shell-job\n" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char *path = write_config(f, "bad", bad[i]);

		assert_int_equal(options_read_file(f->o, path), -EINVAL);
		free(path);
	}
	assert_int_equal(options_read_file(f->o, "/nonexistent/file"), -ENOENT);
}

/* Each source overrides the one before: home, environment, --config, command line. */
static void test_config_order(void **state)
{
	struct fixture *f = *state;
	char *dir = xasprintf("%s/.criu", f->dir), *env, *given, *line;
	char *argv[] = { "stasis", "dump", "--config", NULL, "--pidfile", "cli", NULL };

	assert_int_equal(mkdir(dir, 0700), 0);
	free(write_config(f, ".criu/default.conf", "images-dir home\nwork-dir home\nlog-file home\npidfile home\nshell-job\n"
			  "plugins files\nghost-limit 5\n"));
	env = write_config(f, "env", "work-dir env\nlog-file env\npidfile env\n");
	given = write_config(f, "given", "log-file given\npidfile given\nno-shell-job\n");
	setenv("CRIU_CONFIG_FILE", env, 1);
	argv[3] = given;

	assert_int_equal(options_parse_early(f->o, 6, argv), 0);
	assert_string_equal(opt_str(f->o, "plugins"), "files");
	assert_false(opt_given(f->o, "images-dir"));
	assert_int_equal(options_read_configs(f->o), 0);
	line = xasprintf("dump --config %s --pidfile cli", given);
	assert_int_equal(parse(f, line), 0);
	assert_string_equal(opt_str(f->o, "images-dir"), "home");
	assert_string_equal(opt_str(f->o, "work-dir"), "env");
	assert_string_equal(opt_str(f->o, "log-file"), "given");
	assert_string_equal(opt_str(f->o, "pidfile"), "cli");
	assert_false(opt_flag(f->o, "shell-job"));
	assert_int_equal(opt_size(f->o, "ghost-limit"), 5);
	free(line);
	free(env);
	free(given);
	free(dir);
}

static void test_no_default_config(void **state)
{
	struct fixture *f = *state;
	char *dir = xasprintf("%s/.criu", f->dir);
	char *argv[] = { "stasis", "--no-default-config", "--plugin-dir", "d", "--unknown=1", "-Zq", NULL };

	assert_int_equal(mkdir(dir, 0700), 0);
	free(write_config(f, ".criu/default.conf", "images-dir home\n"));
	free(dir);
	assert_int_equal(options_parse_early(f->o, 6, argv), 0);
	assert_string_equal(opt_item(f->o, "plugin-dir", 0), "d");
	assert_null(opt_item(f->o, "plugin-dir", 1));
	assert_int_equal(options_read_configs(f->o), 0);
	assert_int_equal(parse(f, "--plugin-dir d"), 0);
	assert_null(opt_item(f->o, "plugin-dir", 1)); /* the early pass does not count twice */
	assert_string_equal(opt_str(f->o, "images-dir"), ".");
}

static void test_help(void **state)
{
	struct fixture *f = *state;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	options_help(f->o, out, CR_MODE_DUMP);
	fclose(out);
	assert_non_null(strstr(text, "  -t, --tree PID"));
	assert_non_null(strstr(text, "Options of plugin files:\n      --ghost-limit SIZE  Largest deleted file. (1M)\n"));
	assert_non_null(strstr(text, "  -l, --file-locks"));
	assert_non_null(strstr(text, "--manage-cgroups[=MODE]"));
	assert_null(strstr(text, "--restore-detached"));
	free(text);
	out = open_memstream(&text, &len);
	options_man(f->o, out);
	fclose(out);
	assert_non_null(strstr(text, "=== Options of plugin locks\n\n*-l*, *--file-locks*::\nDump locks.\n"));
	assert_non_null(strstr(text, "*--restore-detached*::"));
	free(text);
}

static void test_absent(void **state)
{
	assert_false(opt_flag(NULL, "x"));
	assert_null(opt_str(((struct fixture *)*state)->o, "nothing"));
	assert_int_equal(opt_size(((struct fixture *)*state)->o, "nothing"), 0);
	assert_null(opt_item(((struct fixture *)*state)->o, "nothing", 0));
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_long), T(test_short), T(test_verbosity), T(test_no), T(test_sizes), T(test_errors),
		T(test_optional_value), T(test_rest), T(test_alias), T(test_later), T(test_config_syntax), T(test_config_errors),
		T(test_config_order), T(test_no_default_config), T(test_help), T(test_absent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
