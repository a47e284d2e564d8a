/* SPDX-License-Identifier: MIT */
/*
 * show_print.c: the contents of an image directory as text and as JSON.  Strings come
 * from images and are escaped in both: a name in an image must neither steer a
 * terminal nor end a JSON string.
 */
#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>

#include "fdinfo.pb-c.h"
#include "image.h"
#include "show.h"
#include "text.h"
#include "tree.h"

#define INDENT_MAX 40 /* deeper levels of the tree are printed at this one */

/* ---- strings ---- */

static const char *state_name(const struct show_task *t)
{
	if (!t->comm)
		return "unknown";
	switch (t->state) {
	case TASK_ALIVE:
		return "alive";
	case TASK_ZOMBIE:
		return "zombie";
	case TASK_STOPPED:
		return "stopped";
	default:
		return "other";
	}
}

static const char *type_name(uint32_t type)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(&fd_types__descriptor, type);

	return v ? v->name : NULL;
}

static void size_text(struct buf *out, uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double n = bytes / 1024.0;
	size_t u = 0;

	for (; n >= 1024 && u + 1 < ARRAY_SIZE(units); u++)
		n /= 1024;
	buf_printf(out, u ? "%.1f %s" : "%.0f %s", n, units[u]);
}

/* ---- text ---- */

/* The task's own threads; a zombie has none, whatever stands in its image. */
static bool has_threads(const struct show_task *t)
{
	return t->threads.n > 1 && !(t->comm && t->state == TASK_ZOMBIE);
}

static void text_tree_line(const struct show_task *t, struct buf *out)
{
	buf_printf(out, "%7u %7u %7u %7u %-8s ", t->pid, t->ppid, t->pgid, t->sid, state_name(t));
	buf_printf(out, "%*s", (int)MIN_OF(t->depth, INDENT_MAX) * 2, "");
	buf_add_visible(out, t->comm ? t->comm : "?");
	if (t->comm && t->state == TASK_ZOMBIE && WIFSIGNALED(t->exit_code))
		buf_printf(out, " (killed by signal %d)", WTERMSIG(t->exit_code));
	else if (t->comm && t->state == TASK_ZOMBIE)
		buf_printf(out, " (exit status %d)", WEXITSTATUS(t->exit_code));
	for (size_t i = 0; has_threads(t) && i < t->threads.n; i++)
		buf_printf(out, "%s%u", i ? " " : " [threads ", t->threads.v[i]);
	buf_printf(out, has_threads(t) ? "]\n" : "\n");
}

static void text_memory(const struct show *sh, const struct show_task *t, struct buf *out)
{
	const struct show_mem *m = &t->mem;
	const char *exe = m->mapped ? show_file_name(sh, m->exe_id) : NULL;

	if (exe) {
		buf_printf(out, "  program  ");
		buf_add_visible(out, exe);
		buf_printf(out, "\n");
	}
	if (m->mapped) {
		buf_printf(out, "  mappings %" PRIu64 ", ", m->mappings);
		size_text(out, m->bytes);
		buf_printf(out, ", heap ");
		size_text(out, m->heap);
		buf_printf(out, ", stack ");
		size_text(out, m->stack);
		buf_printf(out, "\n");
	}
	if (m->stored) {
		buf_printf(out, "  pages    %" PRIu64 " stored", m->pages);
		if (m->shared_pages)
			buf_printf(out, ", %" PRIu64 " shared with another task", m->shared_pages);
		if (m->parent_pages)
			buf_printf(out, ", %" PRIu64 " in the parent directory", m->parent_pages);
		buf_printf(out, "\n");
	}
}

static void text_fd(const struct show *sh, const struct show_fd *fd, struct buf *out)
{
	const char *type = type_name(fd->type), *name = show_file_name(sh, fd->id);

	buf_printf(out, "  fd %-5u ", fd->fd);
	if (type)
		buf_printf(out, "%-10s", type);
	else
		buf_printf(out, "type %-5u", fd->type);
	buf_printf(out, " file %-6u %-8s", fd->id, fd->flags & 1 ? "cloexec" : "");
	if (name)
		buf_add_visible(out, name);
	while (out->len && out->p[out->len - 1] == ' ')
		out->len--;
	buf_printf(out, "\n");
}

static void text_fds(const struct show *sh, size_t task, struct buf *out)
{
	const struct show_table *table;

	if (sh->tasks.v[task].table == SHOW_NONE)
		return;
	table = &sh->tables.v[sh->tasks.v[task].table];
	if (table->owner != task) {
		buf_printf(out, "  descriptors shared with task %u\n", sh->tasks.v[table->owner].pid);
		return;
	}
	for (size_t i = 0; i < table->fds.n; i++)
		text_fd(sh, &table->fds.v[i], out);
}

static void text_losses(const struct show *sh, struct buf *out)
{
	for (size_t i = 0; i < sh->losses.n; i++) {
		const struct show_loss *l = &sh->losses.v[i];

		buf_printf(out, "%slost at the %s (", i ? "" : "\n", l->at_restore ? "last restore" : "dump");
		buf_add_visible(out, l->plugin);
		buf_printf(out, "): ");
		buf_add_visible(out, l->object);
		buf_printf(out, "%s", l->object[0] ? ": " : "");
		buf_add_visible(out, l->text);
		buf_printf(out, "\n");
	}
}

void show_text(const struct show *sh, struct buf *out)
{
	size_t i;

	buf_add_visible(out, sh->dir);
	buf_printf(out, ": images of version %u, %zu task%s", sh->version, sh->tasks.n,
		   sh->tasks.n == 1 ? "" : "s");
	if (sh->run_id) {
		buf_printf(out, ", dump ");
		buf_add_visible(out, sh->run_id);
	}
	buf_printf(out, "\n\n%7s %7s %7s %7s %-8s %s\n", "PID", "PPID", "PGID", "SID", "STATE", "COMMAND");
	for (i = show_next_task(sh, SHOW_NONE); i != SHOW_NONE; i = show_next_task(sh, i))
		text_tree_line(&sh->tasks.v[i], out);
	for (i = show_next_task(sh, SHOW_NONE); i != SHOW_NONE; i = show_next_task(sh, i)) {
		const struct show_task *t = &sh->tasks.v[i];

		if (!t->mem.mapped && !t->mem.stored && t->table == SHOW_NONE)
			continue;
		buf_printf(out, "\ntask %u ", t->pid);
		buf_add_visible(out, t->comm ? t->comm : "?");
		buf_printf(out, "\n");
		text_memory(sh, t, out);
		text_fds(sh, i, out);
	}
	text_losses(sh, out);
}

/* ---- JSON ---- */

static void json_memory(const struct show *sh, const struct show_task *t, struct buf *out)
{
	const struct show_mem *m = &t->mem;
	const char *exe = m->mapped ? show_file_name(sh, m->exe_id) : NULL;

	if (exe) {
		buf_printf(out, ",\"program\":");
		buf_add_json(out, exe);
	}
	if (m->mapped) {
		buf_printf(out, ",\"mappings\":{\"count\":%" PRIu64 ",\"bytes\":%" PRIu64, m->mappings, m->bytes);
		buf_printf(out, ",\"heap_bytes\":%" PRIu64 ",\"stack_bytes\":%" PRIu64 "}", m->heap, m->stack);
	}
	if (m->stored)
		buf_printf(out, ",\"pages\":{\"stored\":%" PRIu64 ",\"shared\":%" PRIu64 ",\"in_parent\":%" PRIu64 "}", m->pages,
			   m->shared_pages, m->parent_pages);
}

static void json_fd(const struct show *sh, const struct show_fd *fd, struct buf *out)
{
	const char *type = type_name(fd->type), *name = show_file_name(sh, fd->id);

	buf_printf(out, "{\"fd\":%u,\"type\":", fd->fd);
	if (type)
		buf_add_json(out, type);
	else
		buf_printf(out, "%u", fd->type);
	buf_printf(out, ",\"file\":%u,\"flags\":%u,\"cloexec\":%s", fd->id, fd->flags,
		   fd->flags & 1 ? "true" : "false");
	if (name) {
		buf_printf(out, ",\"name\":");
		buf_add_json(out, name);
	}
	buf_printf(out, "}");
}

static void json_fds(const struct show *sh, size_t task, struct buf *out)
{
	const struct show_table *table;

	if (sh->tasks.v[task].table == SHOW_NONE)
		return;
	table = &sh->tables.v[sh->tasks.v[task].table];
	if (table->owner != task) {
		buf_printf(out, ",\"descriptors_shared_with\":%u", sh->tasks.v[table->owner].pid);
		return;
	}
	buf_printf(out, ",\"descriptors\":[");
	for (size_t i = 0; i < table->fds.n; i++) {
		buf_printf(out, i ? "," : "");
		json_fd(sh, &table->fds.v[i], out);
	}
	buf_printf(out, "]");
}

static void json_task(const struct show *sh, size_t i, struct buf *out)
{
	const struct show_task *t = &sh->tasks.v[i];

	buf_printf(out, "{\"pid\":%u,\"ppid\":%u,\"pgid\":%u,\"sid\":%u,\"state\":\"%s\"", t->pid, t->ppid,
		   t->pgid, t->sid, state_name(t));
	if (t->comm) {
		buf_printf(out, ",\"exit_code\":%u,\"comm\":", t->exit_code);
		buf_add_json(out, t->comm);
	}
	buf_printf(out, ",\"threads\":[");
	if (!(t->comm && t->state == TASK_ZOMBIE))
		for (size_t n = 0; n < t->threads.n; n++)
			buf_printf(out, n ? ",%u" : "%u", t->threads.v[n]);
	buf_printf(out, "]");
	json_memory(sh, t, out);
	json_fds(sh, i, out);
	buf_printf(out, "}");
}

static void json_losses(const struct show *sh, struct buf *out)
{
	buf_printf(out, ",\"lost\":[");
	for (size_t i = 0; i < sh->losses.n; i++) {
		const struct show_loss *l = &sh->losses.v[i];

		buf_printf(out, "%s{\"at\":\"%s\",\"plugin\":", i ? "," : "", l->at_restore ? "restore" : "dump");
		buf_add_json(out, l->plugin);
		buf_printf(out, ",\"object\":");
		buf_add_json(out, l->object);
		buf_printf(out, ",\"text\":");
		buf_add_json(out, l->text);
		buf_printf(out, "}");
	}
	buf_printf(out, "]");
}

void show_json(const struct show *sh, struct buf *out)
{
	bool first = true;

	buf_printf(out, "{\"directory\":");
	buf_add_json(out, sh->dir);
	buf_printf(out, ",\"version\":%u", sh->version);
	if (sh->run_id) {
		buf_printf(out, ",\"run_id\":");
		buf_add_json(out, sh->run_id);
	}
	buf_printf(out, ",\"tasks\":[");
	for (size_t i = show_next_task(sh, SHOW_NONE); i != SHOW_NONE; i = show_next_task(sh, i)) {
		buf_printf(out, first ? "\n" : ",\n");
		json_task(sh, i, out);
		first = false;
	}
	buf_printf(out, "]");
	json_losses(sh, out);
	buf_printf(out, "}\n");
}
