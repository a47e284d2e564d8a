/* SPDX-License-Identifier: MIT */
/*
 * hello.c: a complete plugin, made to be copied.
 *
 * It takes over files that the user names with --hello-file PATH.  At restore such a
 * file is opened again by name, whatever it holds by then, where the engine's own
 * plugin would insist on the very file that was dumped.  Good for logs and caches.
 *
 * A plugin is one shared object with one exported symbol.  It includes one header and
 * links against nothing of the engine: what it needs comes through session->core.
 */
#include <cr-plugin.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* What we keep of a file.  Any encoding will do: the engine sees bytes.  Never a struct with padding. */
struct saved {
	uint64_t pos;
	uint64_t flags;
	char path[4096];
};
#define HEAD offsetof(struct saved, path)

/* Option: one declaration feeds the command line, configuration files and --help. */
static const struct cr_option opt_file = {
	.size = sizeof(opt_file), /* every struct says its size, so that it may grow */
	.name = "hello-file",
	.kind = CR_OPT_LIST, /* may be repeated */
	.modes = 1u << CR_MODE_DUMP | 1u << CR_MODE_CHECK,
	.arg = "PATH",
	.help = "Open the file PATH again by name at restore, whatever it holds then.",
};

/* Dump, tasks frozen.  lfd is the engine's duplicate of the task's descriptor: look, don't touch. */
static int hello_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	struct saved m;
	size_t len = strlen(info->link);

	(void)lfd;
	if (len >= sizeof(m.path)) /* fail() records the cause once and returns -errno: pass it on */
		return cr_fail(s, ENAMETOOLONG, "the name has %zu bytes; rename the file", len);
	m.pos = (uint64_t)info->pos;
	m.flags = info->flags;
	memcpy(m.path, info->link, len + 1);
	return s->core->file_message(s, f, &m, HEAD + len + 1);
}

/* Restore: decode and check, nothing else.  The bytes come from a file: trust none of them. */
static int hello_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	struct saved *m = s->core->file_priv(f); /* priv_size zeroed bytes of this object */

	if (len < HEAD + 2 || len > sizeof(*m) || ((const char *)data)[len - 1] != 0)
		return cr_fail(s, EPROTO, "broken entry of %zu bytes", len);
	memcpy(m, data, len);
	return 0;
}

/* Restore: make the descriptor.  No task exists yet; the engine hands it to them. */
static int hello_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const struct saved *m = s->core->file_priv(f);
	/* flags that act at creation only must not act again */
	int flags = (int)m->flags & ~(O_CREAT | O_EXCL | O_TRUNC), fd;

	fd = open(m->path, flags | O_CLOEXEC);
	if (fd < 0)
		return cr_fail(s, errno, "%s cannot be opened again: %s", m->path, strerror(errno));
	if (lseek(fd, (off_t)m->pos, SEEK_SET) < 0 && errno != ESPIPE)
		cr_lost(s, NULL, "%s: position %llu is not kept", m->path, (unsigned long long)m->pos);
	cr_info(s, "%s opened again", m->path);
	*ret_fd = fd;
	return 0;
}

static const struct cr_file_kind hello_kind = {
	.size = sizeof(hello_kind),
	.name = "hello",
	.fd_type = 16,	 /* EXT: for kinds that the well-known image format does not have */
	.field = 100001, /* a number of our own in file_entry, so that load() gets its bytes back */
	.priv_size = sizeof(struct saved),
	.dump = hello_dump,
	.load = hello_load,
	.open = hello_open,
};

/* Is this file ours?  The user's word is the strongest claim; two equal ones are an error. */
static int hello_match(struct cr_session *s, const struct cr_file_info *info, const struct cr_file_kind **ret_kind)
{
	const char *path;

	if (info->source != CR_SRC_FD || !S_ISREG(info->st.st_mode))
		return CR_NOT_MINE; /* not the file behind a mapping, not a directory */
	for (size_t i = 0; (path = s->core->option_item(s, "hello-file", i)); i++)
		if (!strcmp(path, info->link)) {
			*ret_kind = &hello_kind;
			return CR_FORCED;
		}
	return CR_NOT_MINE;
}

static const struct cr_option *const options[] = { &opt_file, NULL }; /* lists end with NULL */
static const struct cr_file_kind *const files[] = { &hello_kind, NULL };

static const struct cr_plugin hello = {
	.size = sizeof(hello),
	.abi = CR_ABI,
	.name = "hello",
	.version = "1.0",
	.summary = "Example: files that are opened again by name.",
	.options = options,
	.files = files,
	.match = hello_match,
};
CR_PLUGIN_REGISTER(hello);
