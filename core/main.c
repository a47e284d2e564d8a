/* SPDX-License-Identifier: MIT */
/*
 * From the command line to a command.
 *
 * The program answers to two names, stasis and criu; only messages differ.  Which
 * options exist depends on the plugins, and which plugins there are depends on a
 * few options: so the line is read twice (options.h).  The log is opened before
 * the command runs, so that it exists however the command ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "fault.h"
#include "image.h"
#include "options.h"
#include "plugin.h"
#include "rights.h"
#include "signals.h"

/* The kernel is faster; only whoever looks for leaks wants to see all of it freed. */
#ifdef __SANITIZE_ADDRESS__
#define FREE_ALL 1
#else
#define FREE_ALL 0
#endif

#define COMPAT_VERSION "4.2" /* of the command line, the protocol and the images */

static int cmd_man_options(struct session *s, int argc, char **argv)
{
	options_man(s->opts, stdout);
	return 0;
}

static const struct command commands[] = {
	{ "dump", "checkpoint the process tree below --tree PID", CR_MODE_DUMP, CMD_ENGINE, cmd_dump },
	{ "restore", "restore a process tree from images", CR_MODE_RESTORE, CMD_ENGINE | CMD_ARGS, cmd_restore },
	{ "check", "check the kernel, or whether a tree can be dumped (--pid)", CR_MODE_CHECK, 0, cmd_check },
	{ "plugins", "list the plugins, what they claim and why some are disabled", 0, CMD_LISTS_PLUGINS, cmd_plugins },
	{ "show", "print image files", 0, CMD_ARGS, cmd_show },
	{ "recover", "undo what dumps left behind whose engine and warden were both killed", 0, 0, cmd_recover },
	{ "cpuinfo", "dump: write what this CPU can do to cpuinfo.img; check: compare it with this CPU", 0,
	  CMD_ENGINE | CMD_ARGS, cmd_cpuinfo },
	{ "keygen", "make keys to sign images or to encrypt them: keygen sign|encrypt FILE", 0, CMD_ARGS, cmd_keygen },
	{ "swrk", "serve the program that started this one, through a socket: swrk FD", 0, CMD_ARGS | CMD_HIDDEN | CMD_SERVES,
	  cmd_swrk },
	{ "service", "serve requests to dump, restore and check, through a socket", 0, CMD_SERVES, cmd_service },
	{ "man-options", "print the options as a part of the manual page", 0, CMD_HIDDEN, cmd_man_options },
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static void print_version(void)
{
	printf("Version: %s\nStasis: %s\n", COMPAT_VERSION, STASIS_VERSION);
}

static void print_help(const struct options *o, const struct command *c, FILE *out)
{
	const char *me = program_invocation_short_name;

	if (c && !(c->flags & CMD_HIDDEN)) {
		fprintf(out, "Usage: %s %s [options]%s\n\n%s: %s.\n", me, c->name,
			c->flags & CMD_ARGS ? " [arguments]" : "", c->name, c->summary);
	} else {
		fprintf(out, "Usage: %s COMMAND [options]\n\nCommands:\n", me);
		for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
			if (!(commands[i].flags & CMD_HIDDEN))
				fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
		fprintf(out, "\n'%s COMMAND --help' lists the options of a command.\n", me);
	}
	fprintf(out, "An option without a value has a --no- form that takes it back.\n");
	options_help(o, out, c ? c->mode : 0);
}

/* Descriptors 0 to 2 must be open: a file opened later must not become standard error. */
static void open_std_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

/* The engine holds a duplicate of every descriptor of the tree. */
static void raise_file_limit(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) || rl.rlim_cur >= rl.rlim_max)
		return;
	rl.rlim_cur = rl.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &rl))
		log_info("cannot raise the limit of open files: %s", strerror(errno));
}

static int close_fds(const struct options *o)
{
	const char *item;

	for (size_t i = 0; (item = opt_item(o, "close", i)); i++) {
		char *end;
		long fd = strtol(item, &end, 10);

		if (!*item || *end || fd < 0 || fd > 1 << 24) {
			log_error("--close %s: not a descriptor", item);
			return -EINVAL;
		}
		if (close(fd))
			log_warn("--close %ld: %s", fd, strerror(errno));
	}
	return 0;
}

static void set_log(const struct options *o)
{
	log_set_level(opt_int(o, "verbosity"));
	log_show_pid(opt_flag(o, "log-pid"));
}

/* Runs the command named by the first plain argument; returns as it does. */
/* line: the whole command line. */
static int run(struct options *o, struct plugins *plugins, int argc, char **argv, int nline, char **line)
{
	const struct command *c = argc ? find_command(argv[0]) : NULL;
	struct session *s;
	int err;

	if (opt_flag(o, "version")) {
		print_version();
		return 0;
	}
	if (opt_flag(o, "help")) {
		print_help(o, c, stdout);
		return 0;
	}
	if (!argc) {
		print_help(o, NULL, stderr);
		return -EINVAL;
	}
	if (!c && command_later(argv[0])) {
		log_error("%s is not supported yet: it is about %s", argv[0], command_later(argv[0]));
		return -EINVAL;
	}
	if (!c) {
		log_error("unknown command %s; see %s --help", argv[0], program_invocation_short_name);
		return -EINVAL;
	}
	err = c->mode || c->flags & CMD_SERVES ? 0 : rights_settle(false);
	if (!err)
		err = close_fds(o);
	if (!err && opt_str(o, "fault"))
		err = fault_set(opt_str(o, "fault"));
	if (err)
		return err;
	s = session_new(c->mode, o);
	s->plugins = plugins;
	s->argc = nline;
	s->argv = line;
	if (c->flags & CMD_ENGINE)
		signals_catch(s);
	err = command_run(s, c, argc - 1, argv + 1);
	signals_catch(NULL);
	fault_report(stdout);
	if (FREE_ALL)
		session_free(s);
	else
		session_end(s);
	return err;
}

int main(int argc, char **argv)
{
	struct options *o;
	struct plugins *plugins = NULL;
	int err, nplain = 0;
	char **plain = NULL;

	/* large blocks come zeroed from the kernel however many have been freed before; most of them stay mostly unused */
	mallopt(M_MMAP_THRESHOLD, 256 << 10);
	mallopt(M_TRIM_THRESHOLD, 16 << 20);
	mallopt(M_TOP_PAD, 1 << 20);
	heap_ahead();
	open_std_fds();
	signals_init();
	log_init();
	if (rights_settle(true))
		return EXIT_FAILURE;
	raise_file_limit();
	o = options_new();
	err = options_parse_early(o, argc, argv);
	if (!err) {
		plugins_load(o, &plugins); /* an error is reported by the command, so that it gets into the log */
		err = options_read_configs(o);
	}
	if (!err)
		err = options_parse(o, argc, argv, &nplain, &plain);
	if (!err)
		set_log(o);
	if (!err)
		err = run(o, plugins, nplain, plain, argc, argv);
	else if (plugins && plugins->error)
		log_error("%s", plugins->error);
	if ((fflush(stdout) || ferror(stdout)) && err >= 0) {
		fprintf(stderr, "%s: cannot write to standard output\n", program_invocation_short_name);
		err = -EIO;
	}
	log_close();
	if (!FREE_ALL)
		_exit(err < 0 ? EXIT_FAILURE : err);
	free(plain);
	options_free(o);
	plugins_free(plugins);
	return err < 0 ? EXIT_FAILURE : err;
}
