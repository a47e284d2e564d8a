/* SPDX-License-Identifier: MIT */
/*
 * Finding and loading plugins.
 *
 * Built-in plugins come first, then the files *.so of each directory, all sorted by
 * name, so that the order never depends on a linker or a file system.  Code of a plugin that
 * was not selected is not loaded, as far as file names tell; with privilege, a file
 * that others could have written is not loaded either.
 */
#include "plugin_impl.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "options.h"
#include "rights.h"

/* The section of CR_PLUGIN_REGISTER; absent when nothing is built in. */
extern const struct cr_plugin *const __start_cr_builtin[] __attribute__((weak));
extern const struct cr_plugin *const __stop_cr_builtin[] __attribute__((weak));

/* What --plugins and --no-plugin say. */
struct selection {
	const struct options *o;
	bool all, none;
	VEC(char *) names; /* of --plugins */
};

void plugin_disable(struct plugin *p, const char *fmt, ...)
{
	char *reason = NULL;
	va_list ap;

	if (p->disabled)
		return;
	va_start(ap, fmt);
	if (vasprintf(&reason, fmt, ap) < 0)
		reason = xstrdup(fmt);
	va_end(ap);
	p->disabled = reason;
}

/* The first thing that makes plugins_load() fail. */
PRINTF_LIKE(2, 3)
static void load_error(struct plugins *ps, const char *fmt, ...)
{
	va_list ap;

	if (ps->error)
		return;
	va_start(ap, fmt);
	if (vasprintf(&ps->error, fmt, ap) < 0)
		ps->error = xstrdup(fmt);
	va_end(ap);
}

/* ---- selection ---- */

static void split_names(const char *list, struct selection *sel)
{
	_cleanup_free_ char *copy = xstrdup(list);
	char *save = NULL;

	for (char *n = strtok_r(copy, ", ", &save); n; n = strtok_r(NULL, ", ", &save))
		*vec_push(&sel->names) = xstrdup(n);
}

static void read_selection(const struct options *o, struct selection *sel)
{
	const char *text = opt_str(o, "plugins");

	sel->o = o;
	sel->all = !text || !strcmp(text, "all");
	sel->none = text && (!strcmp(text, "none") || !*text);
	if (!sel->all && !sel->none)
		split_names(text, sel);
}

static void free_selection(struct selection *sel)
{
	for (size_t i = 0; i < sel->names.n; i++)
		free(sel->names.v[i]);
	vec_free(&sel->names);
}

static bool in_list(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = list; p; p = strchr(p, ','), p = p ? p + 1 : NULL)
		if (!strncmp(p, name, len) && (!p[len] || p[len] == ','))
			return true;
	return false;
}

static bool excluded(const struct selection *sel, const char *name)
{
	const char *item;

	for (size_t i = 0; (item = opt_item(sel->o, "no-plugin", i)); i++)
		if (in_list(item, name))
			return true;
	return false;
}

static bool named(const struct selection *sel, const char *name)
{
	for (size_t i = 0; i < sel->names.n; i++)
		if (!strcmp(sel->names.v[i], name))
			return true;
	return false;
}

static void apply_selection(const struct selection *sel, struct plugin *p)
{
	if (excluded(sel, p->name))
		plugin_disable(p, "switched off by --no-plugin");
	else if (!sel->all && !named(sel, p->name))
		plugin_disable(p, "not selected by --plugins");
}

/* ---- trust ---- */

/*
 * Does the user exist only outside of this user namespace? Its files seem to be the overflow user's. Who made the
 * namespace is an ordinary user there, and the owner may well be root.
 */
static bool from_outside(uid_t uid)
{
	_cleanup_buf_ struct buf map = { 0 }, overflow = { 0 };
	unsigned long first, lower, count;

	if (read_file(AT_FDCWD, "/proc/sys/kernel/overflowuid", &overflow) || uid != strtoul(overflow.p, NULL, 10) ||
	    read_file(AT_FDCWD, "/proc/self/uid_map", &map))
		return false;
	for (char *line = map.p; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
		if (sscanf(line, "%lu %lu %lu", &first, &lower, &count) != 3 || (uid >= first && uid - first < count))
			return false;
	return true;
}

/* parent: what is above the directory of the plugin, where others may make files as long as they cannot take ours away. */
static char *untrusted(const char *path, bool parent)
{
	struct stat st;

	if (geteuid() != 0 && !rights_lent())
		return NULL;
	if (stat(path, &st) < 0)
		return xasprintf("cannot look at %s: %s", path, strerror(errno));
	if (st.st_uid != 0 && (rights_lent() || (st.st_uid != geteuid() && !from_outside(st.st_uid))))
		return xasprintf("%s belongs to user %u, who is %s", path, st.st_uid,
				 rights_lent() ? "not root" : "neither root nor the caller");
	if (st.st_mode & 022 && !(parent && st.st_mode & S_ISVTX))
		return xasprintf("%s can be written by others: chmod go-w", path);
	return NULL;
}

/*
 * Where the file really is, for a symbolic link: its directory, and for a program that lends rights all directories above,
 * whose owners could exchange what is below.
 */
static char *untrusted_file(const char *path)
{
	_cleanup_free_ char *real = NULL;
	char *why, *slash;
	bool parent = false;
	struct stat st;

	/* no link: it is where scan_dir() has looked */
	if (!rights_lent() && lstat(path, &st) == 0 && !S_ISLNK(st.st_mode))
		return NULL;
	real = realpath(path, NULL);
	if (!real)
		return xasprintf("cannot look at %s: %s", path, strerror(errno));
	why = untrusted(real, false);
	while (!why && (!parent || rights_lent()) && (slash = strrchr(real, '/')) && slash != real) {
		*slash = 0;
		why = untrusted(real, parent);
		parent = true;
	}
	return why;
}

/* ---- loading ---- */

static struct plugin *add_plugin(struct plugins *ps, const char *name, const char *path)
{
	struct plugin *p = xcalloc(1, sizeof(*p));

	p->name = xstrdup(name);
	p->path = path ? xstrdup(path) : NULL;
	*vec_push(&ps->all) = p;
	return p;
}

/* Takes over the declaration; afterwards p has its proper name. */
static void accept_declaration(const struct selection *sel, struct plugin *p, const struct cr_plugin *def)
{
	_cleanup_free_ char *wrong = plugin_copy(p, def);

	if (wrong) {
		plugin_disable(p, "%s", wrong);
		return;
	}
	if (strcmp(p->name, p->def->name)) {
		free(p->name);
		p->name = xstrdup(p->def->name);
	}
	apply_selection(sel, p);
}

static void load_file(const struct selection *sel, struct plugin *p)
{
	const struct cr_plugin *(*entry)(void);
	_cleanup_free_ char *why = untrusted(p->path, false);

	if (!why)
		why = untrusted_file(p->path);
	if (why) {
		plugin_disable(p, "refused: %s", why);
		return;
	}
	p->handle = dlopen(p->path, RTLD_NOW | RTLD_LOCAL);
	if (!p->handle) {
		const char *text = dlerror();

		plugin_disable(p, "cannot be loaded: %s", text ? text : "unknown reason");
		return;
	}
	*(void **)&entry = dlsym(p->handle, "cr_plugin_abi0");
	if (!entry) {
		plugin_disable(p, "not a plugin for this engine: it has no symbol cr_plugin_abi0");
		return;
	}
	accept_declaration(sel, p, entry());
}

static const char *declared_name(const struct cr_plugin *def)
{
	return def && def->name ? def->name : "?";
}

static int by_declared_name(const void *a, const void *b)
{
	return strcmp(declared_name(*(const struct cr_plugin *const *)a),
		      declared_name(*(const struct cr_plugin *const *)b));
}

/* The section has them in an order that the compiler and the linker chose. */
static void load_builtins(struct plugins *ps, const struct selection *sel)
{
	VEC(const struct cr_plugin *) defs = { 0 };

	for (const struct cr_plugin *const *d = __start_cr_builtin; d < __stop_cr_builtin; d++)
		*vec_push(&defs) = *d;
	if (defs.n)
		qsort(defs.v, defs.n, sizeof(*defs.v), by_declared_name);
	for (size_t i = 0; i < defs.n; i++)
		accept_declaration(sel, add_plugin(ps, declared_name(defs.v[i]), NULL), defs.v[i]);
	vec_free(&defs);
}

/* ---- directories ---- */

static int is_plugin_file(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return d->d_name[0] != '.' && n > 3 && !strcmp(d->d_name + n - 3, ".so");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Adds the files of a directory, not loaded yet, under their file names. 0 or -errno. */
static int scan_dir(struct plugins *ps, const char *dir)
{
	_cleanup_free_ char *why = untrusted(dir, false);
	struct dirent **list;
	int n = scandir(dir, &list, is_plugin_file, by_name);

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, list[i]->d_name);
		struct plugin *p;

		list[i]->d_name[strlen(list[i]->d_name) - 3] = 0;
		p = add_plugin(ps, list[i]->d_name, path);
		if (why)
			plugin_disable(p, "refused: %s", why);
		free(list[i]);
	}
	free(list);
	return 0;
}

static bool has_plugins(const char *dir)
{
	struct dirent **list;
	int n = scandir(dir, &list, is_plugin_file, NULL);

	for (int i = 0; i < n; i++)
		free(list[i]);
	if (n >= 0)
		free(list);
	return n > 0;
}

/* Beside the executable in a build tree, in the lib directory next to it when installed, else where make was told. */
static char *default_dir(void)
{
	static const char *const places[] = { "plugins", "../lib/stasis" };
	_cleanup_free_ char *exe = NULL;
	char *slash;

	if (readlink_alloc(AT_FDCWD, "/proc/self/exe", &exe) || !(slash = strrchr(exe, '/')))
		return xstrdup(PLUGIN_DIR);
	*slash = 0;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		char *dir = xasprintf("%s/%s", exe, places[i]);

		if (has_plugins(dir))
			return dir;
		free(dir);
	}
	return xstrdup(PLUGIN_DIR);
}

static int scan_dirs(struct plugins *ps, const struct options *o)
{
	const char *dir;
	int err = 0, r;

	for (size_t i = 0; (dir = opt_item(o, "plugin-dir", i)); i++) {
		*vec_push(&ps->dirs) = xstrdup(dir);
		r = scan_dir(ps, dir);
		if (r < 0) {
			load_error(ps, "plugin directory %s: %s", dir, strerror(-r));
			err = r;
		}
	}
	if (ps->dirs.n)
		return err;
	*vec_push(&ps->dirs) = default_dir();
	r = scan_dir(ps, ps->dirs.v[0]);
	if (r < 0)
		log_info("plugin directory %s: %s", ps->dirs.v[0], strerror(-r));
	return 0;
}

/* True when each name of --plugins is that of a built-in plugin or of a file: then no other file need be loaded. */
static bool names_are_known(const struct plugins *ps, const struct selection *sel)
{
	for (size_t n = 0; n < sel->names.n; n++) {
		bool found = false;

		for (size_t i = 0; i < ps->all.n && !found; i++)
			found = !strcmp(ps->all.v[i]->name, sel->names.v[n]);
		if (!found)
			return false;
	}
	return true;
}

static void load_files(struct plugins *ps, const struct selection *sel)
{
	bool by_file = sel->all || names_are_known(ps, sel);

	for (size_t i = 0; i < ps->all.n; i++) {
		struct plugin *p = ps->all.v[i];

		if (!p->path || p->disabled)
			continue;
		if (by_file || excluded(sel, p->name))
			apply_selection(sel, p);
		if (!p->disabled)
			load_file(sel, p);
	}
}

/* Whoever names a plugin wants to know that it does not work. */
static int check_named(struct plugins *ps, const struct selection *sel)
{
	int err = 0;

	for (size_t n = 0; n < sel->names.n; n++) {
		const char *name = sel->names.v[n], *reason = NULL;
		bool ok = plugins_find(ps, name);

		for (size_t i = 0; i < ps->all.n && !ok && !reason; i++)
			if (!strcmp(ps->all.v[i]->name, name))
				reason = ps->all.v[i]->disabled;
		if (ok)
			continue;
		if (reason)
			load_error(ps, "plugin %s, named with --plugins, cannot be used: %s", name, reason);
		else
			load_error(ps, "there is no plugin %s in %s%s: the plugins command lists them", name,
				   ps->dirs.v[0], ps->dirs.n > 1 ? " and the other directories" : "");
		err = -ENOENT;
	}
	return err;
}

#define REPORT_BYTES 800 /* that fit into one message */

/* Few messages: until the log is opened each of them is a slot of shared memory. */
static void report(const struct plugins *ps, const struct selection *sel)
{
	_cleanup_buf_ struct buf names = { 0 };

	for (size_t i = 0; i < ps->all.n; i++) {
		const struct plugin *p = ps->all.v[i];

		if (p->disabled)
			log_msg(sel->all && !excluded(sel, p->name) ? CR_LOG_WARN : CR_LOG_DEBUG, NULL,
				"plugin %s is disabled: %s", p->name, p->disabled);
		else
			buf_printf(&names, "%s%s %s", names.len ? ", " : "", p->name, p->def->version ? p->def->version : "?");
		if (names.len > REPORT_BYTES || (names.len && i + 1 == ps->all.n)) {
			log_debug("plugins: %s", names.p);
			buf_free(&names);
		}
	}
}

int plugins_load(struct options *o, struct plugins **ret)
{
	struct plugins *ps = xcalloc(1, sizeof(*ps));
	struct selection sel = { 0 };
	int err, err2;

	read_selection(o, &sel);
	load_builtins(ps, &sel);
	err = scan_dirs(ps, o);
	load_files(ps, &sel);
	plugins_settle(ps, o);
	report(ps, &sel);
	err2 = check_named(ps, &sel);
	free_selection(&sel);
	*ret = ps;
	return err ? err : err2;
}

/* Nothing is unloaded: options, messages and the log may still refer to a plugin's text. */
static void plugin_free(struct plugin *p)
{
	for (size_t i = 0; i < p->copies.n; i++)
		free(p->copies.v[i]);
	vec_free(&p->copies);
	free(p->priv);
	free(p->name);
	free(p->path);
	free(p->disabled);
	free(p);
}

void plugins_free(struct plugins *ps)
{
	if (!ps)
		return;
	for (size_t i = 0; i < ps->all.n; i++)
		plugin_free(ps->all.v[i]);
	vec_free(&ps->all);
	for (size_t i = 0; i < ps->dirs.n; i++)
		free(ps->dirs.v[i]);
	vec_free(&ps->dirs);
	vec_free(&ps->probed);
	free(ps->error);
	free(ps);
}
