/* SPDX-License-Identifier: MIT */
/*
 * The core's own options.  Options about a resource (--ghost-limit, --tcp-close)
 * are declared by the plugin that owns the resource; options of features that do
 * not exist here are not declared at all, so that nobody relies on them in vain (options_later.c).
 */
#include "options_impl.h"

#include <string.h>

#define DUMP (1u << CR_MODE_DUMP)
#define RESTORE (1u << CR_MODE_RESTORE)
#define CHECK (1u << CR_MODE_CHECK)

/* An entry of the table: name, RPC field, kind, modes, argument, default, help. */
#define OPT(n, rpc, k, m, a, f, h) \
	&(const struct cr_option){ .size = sizeof(struct cr_option), .name = n, .rpc_field = rpc, \
				   .kind = k, .modes = m, .arg = a, .fallback = f, .help = h }
#define FLAG(n, rpc, m, h) OPT(n, rpc, CR_OPT_FLAG, m, NULL, NULL, h)

const struct cr_option *const core_options[] = {
	/* everywhere */
	OPT("images-dir", "images_dir", CR_OPT_STRING, 0, "DIR", ".", "Directory of the image files."),
	OPT("work-dir", NULL, CR_OPT_STRING, 0, "DIR", NULL,
	    "Directory of the log, the pid file and the statistics; the images directory if not given."),
	OPT("log-file", "log_file", CR_OPT_STRING, 0, "FILE", NULL,
	    "Write the log to FILE, relative to the work directory, instead of standard error."),
	OPT("verbosity", "log_level", CR_OPT_INT, 0, "[NUM]", "2",
	    "Level of the log: 0 nothing, 1 errors, 2 warnings too, 3 information too, 4 everything; "
	    "each -v without a number adds one."),
	FLAG("log-pid", NULL, 0, "Put the pid of the writing process in every line of the log."),
	OPT("plugin-dir", NULL, CR_OPT_LIST, 0, "DIR", NULL,
	    "Load plugins from DIR instead of the default directory; may be repeated."),
	OPT("plugins", NULL, CR_OPT_STRING, 0, "LIST", "all",
	    "Plugins to use: names separated by commas, 'all' or 'none'."),
	OPT("no-plugin", NULL, CR_OPT_LIST, 0, "NAME", NULL, "Do not use this plugin; may be repeated."),
	OPT("config", NULL, CR_OPT_STRING, 0, "FILE", NULL, "Read this configuration file after the others."),
	FLAG("no-default-config", NULL, 0, "Do not read the default configuration files."),
	OPT("close", NULL, CR_OPT_LIST, 0, "FD", NULL, "Close this file descriptor before doing anything."),
	FLAG("json", NULL, 0, "Print results as JSON."),
	OPT("fault", NULL, CR_OPT_STRING, 0, "POINT", NULL,
	    "For tests of this program: let one of its steps fail, SIDE:NUMBER[:ERROR], or print them all at the end: 'list'."),
	FLAG("unprivileged", "unprivileged", 0,
	     "Accepted for old callers: what a user without privilege may do is always tried, and what he may not is named."),
	FLAG("help", NULL, 0, "Print the options of a command."),
	FLAG("version", NULL, 0, "Print the version."),

	/* dump and restore */
	OPT("tree", "pid", CR_OPT_INT, DUMP | CHECK, "PID", NULL,
	    "The process at the root of the tree to dump."),
	FLAG("leave-running", "leave_running", DUMP,
	     "Let the tree run on after the dump instead of killing it. What it changes outside itself "
	     "from then on (files, connections) is not in the images."),
	OPT("snapshot", NULL, CR_OPT_STRING, DUMP, "auto|always|off", "auto",
	    "With --leave-running: write private memory after the tree runs on, from a frozen copy of it. What the tree "
	    "changes meanwhile exists twice, in the worst case all of it: 'auto' does it when there is much memory and enough "
	    "of it is free, 'always' does not look, 'off' writes everything while the tree is frozen."),
	FLAG("leave-stopped", "leave_stopped", DUMP | RESTORE,
	     "Leave all tasks stopped after the dump or the restore."),
	FLAG("shell-job", "shell_job", DUMP | RESTORE | CHECK,
	     "Allow a tree whose session, process group or terminal belong to a shell outside of it; "
	     "it is restored into the session and process group of the caller."),
	OPT("external", "external", CR_OPT_LIST, 0, "KEY[:VALUE]", NULL,
	    "Treat an object as outside of the tree: it is not dumped but provided at restore; may be "
	    "repeated. The keys are listed by 'plugins'."),
	OPT("policy", NULL, CR_OPT_LIST, DUMP | RESTORE | CHECK, "RESOURCE=ACTION", NULL,
	    "What becomes of objects that are not to be kept as they are: 'fail', 'close' (the program finds it closed), "
	    "'external' (passed in with --inherit-fd), 'reconnect', 'restore'. RESOURCE: a kind of files or a plugin, as "
	    "'plugins' lists them, KIND[KEY], fd[PID:N], 'unknown' or 'all'; may be repeated, what says most counts, else "
	    "the last."),
	OPT("freeze-cgroup", "freeze_cgroup", CR_OPT_STRING, DUMP, "DIR", NULL,
	    "Freeze this cgroup first, so that its tasks cannot fork while they are being stopped."),
	OPT("timeout", "timeout", CR_OPT_INT, DUMP, "SECONDS", "10", "Time for stopping the tasks of the tree."),
	OPT("exclude-mem", NULL, CR_OPT_LIST, DUMP, "MEM", NULL,
	    "Leave this memory out of the images; it is there after a restore, but empty. MEM is [PID:]START-END (hexadecimal "
	    "addresses), a pattern for the names of mappings ('/dev/shm/*', '[heap]'), or 'dontdump': what programs have marked "
	    "with MADV_DONTDUMP. May be repeated."),
	FLAG("compat-images", NULL, DUMP,
	     "Write images that CRIU can restore too, from 3.17 on: everything is also said in the fields that it knows, and "
	     "each task has all of its pages in its own pages file, also those that it shares with others since a fork."),
	OPT("sign-key", NULL, CR_OPT_STRING, DUMP, "FILE", NULL,
	    "Sign the images with this secret key (Ed25519, see 'keygen')."),
	OPT("encrypt-key", NULL, CR_OPT_STRING, DUMP, "FILE", NULL,
	    "Encrypt all images for the owner of this public key (see 'keygen'); nothing readable gets to the disk."),
	FLAG("verify", NULL, RESTORE | CHECK,
	     "Compare the images with their manifest before anything in them is believed, and name each file that differs, is "
	     "missing or is extra."),
	OPT("verify-key", NULL, CR_OPT_STRING, RESTORE | CHECK, "FILE", NULL,
	    "Accept only images that are signed with this public key's secret key and unchanged since."),
	OPT("decrypt-key", NULL, CR_OPT_STRING, RESTORE | CHECK, "FILE", NULL,
	    "Decrypt the images, into memory, with this secret key; changed ones are refused."),
	FLAG("durable", NULL, DUMP, "Write the images through to the disk (fsync) before the tree is let go or killed."),
	FLAG("display-stats", "display_stats", DUMP | RESTORE, "Print the statistics at the end."),
	OPT("landlock", NULL, CR_OPT_STRING, DUMP, "POLICY", "refuse",
	    "What to do with a task in a Landlock domain, which cannot be read: 'refuse' it, or 'drop' the domain, so that "
	    "the restored task is free of it."),
	OPT("cpu-cap", "cpu_cap", CR_OPT_STRING, 0, "[CAPS]", NULL,
	    "What of the CPU has to be there at restore: fpu (the registers in use), ins (all instructions), cpu (exactly the "
	    "same features), all, none, separated by commas, with ^ before it: not. 'dump' writes cpuinfo.img for ins and "
	    "cpu. Without a value: all."),
	OPT("action-script", NULL, CR_OPT_LIST, DUMP | RESTORE, "FILE", NULL,
	    "Run this program at each stage, named in its environment as CRTOOLS_SCRIPT_ACTION (pre-dump, network-lock, "
	    "post-dump, "
	    "network-unlock, pre-restore, post-restore, pre-resume, post-resume); may be repeated."),
	OPT("pidfile", NULL, CR_OPT_STRING, RESTORE, "FILE", NULL,
	    "Write the pid of the restored root to FILE, relative to the work directory."),
	OPT("inherit-fd", NULL, CR_OPT_LIST, RESTORE, "fd[N]:KEY", NULL,
	    "Use the open descriptor N of the caller for the object KEY; may be repeated. The keys are "
	    "listed by 'plugins'."),
	FLAG("restore-detached", NULL, RESTORE, "Exit when the tree is restored instead of waiting for its end."),
	FLAG("restore-sibling", "rst_sibling", RESTORE,
	     "Make the restored root a child of the caller; needs --restore-detached."),
	FLAG("exec-cmd", NULL, RESTORE,
	     "When the tree is restored, execute the command behind '--', as the parent of its root."),
	FLAG("explain", NULL, RESTORE,
	     "Print what every restored task would do, system call by system call, and restore nothing."),

	/* service */
	OPT("address", NULL, CR_OPT_STRING, 0, "PATH", "/run/criu_service.socket", "Where the service listens."),
	FLAG("daemon", NULL, 0, "Let the service run in the background, as soon as it listens."),

	/* check */
	OPT("feature", NULL, CR_OPT_LIST, CHECK, "NAME", NULL,
	    "Only tell, by the exit status too, whether the kernel has this feature; 'list' names them all."),
	OPT("images", NULL, CR_OPT_STRING, CHECK, "DIR", NULL,
	    "Check whether the images in DIR can be restored here and now: pids, files, ports, limits, plugins; "
	    "without restoring anything."),
	OPT("pid", NULL, CR_OPT_INT, CHECK, "PID", NULL,
	    "Tell whether the tree of this process can be dumped, and everything that stands in the way, "
	    "without stopping or changing it."),
	FLAG("extra", NULL, CHECK, "Check also features that only some programs need."),
	FLAG("experimental", NULL, CHECK, "Check also experimental features."),
	FLAG("all", NULL, CHECK, "Check all features."),
	FLAG("ms", NULL, CHECK, "Accepted for old callers; has no effect."),
	NULL,
};

const struct short_option short_options[] = {
	{ 't', "tree" },
	{ 'D', "images-dir" },
	{ 'W', "work-dir" },
	{ 'o', "log-file" },
	{ 'v', "verbosity" },
	{ 'R', "leave-running" },
	{ 's', "leave-stopped" },
	{ 'j', "shell-job" },
	{ 'd', "restore-detached" },
	{ 'S', "restore-sibling" },
	{ 'L', "plugin-dir" },
	{ 'h', "help" },
	{ 'V', "version" },
	/* declared by plugins */
	{ 'l', "file-locks" },
	{ 'x', "ext-unix-sk" },
	/* CRIU's, see options_later.c */
	{ 'J', "join-ns" },
	{ 'r', "root" },
	{ 0 },
};

const char *const early_options[] = { "plugin-dir", "plugins", "no-plugin", "config", "no-default-config", NULL };

const char *option_alias(const char *name)
{
	return strcmp(name, "libdir") ? name : "plugin-dir";
}

char option_letter(const char *name)
{
	for (const struct short_option *so = short_options; so->letter; so++)
		if (!strcmp(so->name, name))
			return so->letter;
	return 0;
}
