/* SPDX-License-Identifier: MIT */
/*
 * Options and commands of CRIU that do not exist here yet.  They are not accepted, so that nobody relies on
 * them in vain, but the answer names what is missing instead of calling them unknown.
 * Whoever builds one declares it; a declared option never gets here.
 */
#include "options_impl.h"

#include <string.h>

static const struct {
	const char *what;
	const char *names; /* between blanks; commands in capitals */
} later[] = {
	{ "dumps that build on earlier ones", " PRE-DUMP DEDUP track-mem prev-images-dir auto-dedup pre-dump-mode " },
	{ "page servers and restoring memory later",
	  " PAGE-SERVER LAZY-PAGES page-server lazy-pages port ps-socket status-fd "
	  "tls tls-cacert tls-cacrl tls-cert tls-key tls-no-cn-verify " },
	{ "streams of images", " stream " },
	{ "dumping and restoring cgroups",
	  " manage-cgroups cgroup-root cgroup-props cgroup-props-file cgroup-dump-controller cgroup-yard " },
	{ "mount namespaces",
	  " root skip-mnt enable-fs enable-external-sharing enable-external-masters ext-mount-map mntns-compat-mode "
	  "evasive-devices " },
	{ "network and other namespaces", " empty-ns join-ns veth-pair weak-sysctls " },
	{ "security modules", " lsm-profile lsm-mount-context " },
	{ "system calls of a task by hand", " EXEC " },
	{ "tasks with probes", " allow-uprobes " },
};

static const char *find(const char *name)
{
	_cleanup_free_ char *word = xasprintf(" %s ", name);

	for (size_t i = 0; i < ARRAY_SIZE(later); i++)
		if (strstr(later[i].names, word))
			return later[i].what;
	return NULL;
}

const char *option_later(const char *name)
{
	return find(strncmp(name, "no-", 3) ? name : name + 3);
}

const char *command_later(const char *name)
{
	_cleanup_free_ char *upper = xstrdup(name);

	for (char *p = upper; *p; p++) {
		if (*p >= 'A' && *p <= 'Z')
			return NULL;
		if (*p >= 'a' && *p <= 'z')
			*p -= 'a' - 'A';
	}
	return find(upper);
}
