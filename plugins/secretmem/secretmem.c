/* SPDX-License-Identifier: MIT */
/*
 * secretmem.c: memory that only its process can see, memfd_secret(2).
 *
 * Neither /proc/PID/mem nor a tracer reaches it, but whoever has its descriptor can map it:
 * the engine does so.  An object cannot be opened a second time, so a descriptor, shared or
 * duplicated, is the object.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"
#include "secretmem.pb-c.h"
#include "util.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447 /* Linux 5.14 */
#endif
#define SECRETMEM_FS 0x5345434du
#define NAME "/secretmem"
#define KIND "secretmem"
#define PAGE 4096u
#define MAP_ERROR "cannot map %lu bytes of secret memory: %s; raise the limit of locked memory (ulimit -l)"

struct secret {
	XSecretmemEntry *msg;
};

static const struct cr_img_type contents = {
	.size = sizeof(struct cr_img_type), .name = "x-secretmem", .magic = 0x5853454d,
};
static const struct cr_img_type *const images[] = { &contents, NULL };

static int secret_match(const struct cr_file_info *info)
{
	/* more than "any file": it is a regular one */
	return info->fs_magic == SECRETMEM_FS && info->source == CR_SRC_FD && !(info->flags & O_PATH) ? CR_SPECIFIC :
													 CR_NOT_MINE;
}

static int is_zero(const char *page)
{
	static const char zero[PAGE];

	return !memcmp(page, zero, PAGE);
}

static int write_run(struct cr_session *s, uint64_t id, const char *mem, uint64_t from, uint64_t to)
{
	XSecretmemRun run = X_SECRETMEM_RUN__INIT;
	int err;

	run.offset = from;
	run.len = to - from;
	err = common_append(s, &contents, id, &run.base);
	return err ? err : s->core->img_raw(s, &contents, id, mem + from, to - from);
}

static int write_contents(struct cr_session *s, uint64_t id, const char *mem, uint64_t size)
{
	uint64_t at = 0, end;
	int err = 0;

	while (at < size && !err) {
		for (end = at; end < size && !is_zero(mem + end); end += PAGE)
			;
		if (end > at)
			err = write_run(s, id, mem, at, end);
		at = end > at ? end : at + PAGE;
	}
	return err;
}

static int secret_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	XSecretmemEntry e = X_SECRETMEM_ENTRY__INIT;
	uint64_t bytes = ((uint64_t)info->st.st_size + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	FownEntry fown;
	int err = 0;

	if (bytes) {
		char *mem = mmap(NULL, bytes, PROT_READ, MAP_SHARED, lfd, 0);

		if (mem == MAP_FAILED)
			return cr_fail(s, errno, MAP_ERROR, (unsigned long)bytes, strerror(errno));
		err = write_contents(s, s->core->file_id(f), mem, bytes);
		munmap(mem, bytes);
	}
	if (err)
		return err;
	cr_info(s, "secret memory is in the image, for everybody to see who can read that");
	common_fown_dump(s, f, &fown);
	e.id = s->core->file_id(f);
	e.flags = info->flags;
	e.fown = &fown;
	e.size = (uint64_t)info->st.st_size;
	return common_emit_msg(s, f, &e);
}

static int secret_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	struct secret *m = s->core->file_priv(f);

	m->msg = common_load(s, &x_secretmem_entry__descriptor, data, len);
	if (!m->msg)
		return -EPROTO;
	if (m->msg->size > INT64_MAX - PAGE)
		return cr_fail(s, EPROTO, "the image has secret memory of an impossible size");
	return 0;
}

static int read_contents(struct cr_session *s, uint64_t id, char *mem, uint64_t bytes)
{
	struct cr_reader *r;
	void *msg;
	int n = s->core->img_open(s, &contents, id, &r);

	if (n)
		return n == -ENOENT ? 0 : n;
	while ((n = common_next(s, r, &x_secretmem_run__descriptor, &msg)) == 1) {
		const XSecretmemRun run = *(XSecretmemRun *)msg;

		common_free_msg(msg);
		if (run.offset > bytes || run.len > bytes - run.offset)
			n = cr_fail(s, EPROTO, "x-secretmem-%u.img has contents beyond the end", (unsigned)id);
		else
			n = s->core->img_extra(r, mem + run.offset, run.len);
		if (n < 0)
			break;
	}
	s->core->img_close(r);
	return n;
}

static int secret_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const XSecretmemEntry *e = ((struct secret *)s->core->file_priv(f))->msg;
	uint64_t bytes = (e->size + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	_cleanup_fd_ int fd = syscall(SYS_memfd_secret, O_CLOEXEC);
	char *mem;
	int err;

	if (fd < 0)
		return cr_fail(s, errno, "memfd_secret: %s (see secretmem.enable of the kernel)", strerror(errno));
	if (bytes) {
		if (ftruncate(fd, (off_t)e->size) < 0)
			return cr_fail(s, errno, "%lu bytes of secret memory: %s", (unsigned long)e->size, strerror(errno));
		mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (mem == MAP_FAILED)
			return cr_fail(s, errno, MAP_ERROR, (unsigned long)bytes, strerror(errno));
		err = read_contents(s, s->core->file_id(f), mem, bytes);
		munmap(mem, bytes);
		if (err < 0)
			return err;
	}
	err = common_set_flags(s, fd, e->flags);
	if (err < 0)
		return err;
	*ret_fd = fd;
	fd = -1;
	return CR_OK;
}

static int secret_wire(struct cr_session *s, struct cr_file *f)
{
	const struct secret *m = s->core->file_priv(f);

	return common_fown_restore(s, f, m->msg->fown);
}

/* ---- mappings ---- */

/* Never in core dumps: no other file is mapped like that by itself. */
static int vma_match(const struct cr_vma_info *info)
{
	return !strncmp(info->path, NAME, strlen(NAME)) && info->dev >> 8 == 0 && info->flags & MAP_SHARED &&
		       strstr(info->vmflags, " dd ") ?
		       CR_SPECIFIC :
		       CR_NOT_MINE;
}

static struct cr_file *object_of(struct cr_session *s, const struct cr_vma_info *info)
{
	for (struct cr_file *f = s->core->file_next(s, NULL); f; f = s->core->file_next(s, f)) {
		const struct cr_file_info *i = s->core->file_info(f);

		if (i && secret_match(i) && i->st.st_ino == info->ino)
			return f;
	}
	return NULL;
}

static int vma_check(struct cr_session *s, struct cr_vma *v, const struct cr_vma_info *info)
{
	if (!object_of(s, info))
		return cr_refuse(s, "let the program keep the descriptor of memfd_secret() open",
				 "this is secret memory that has no descriptor any more: nobody else can read it");
	return 0;
}

static int vma_dump(struct cr_session *s, struct cr_vma *v, const struct cr_vma_info *info)
{
	XSecretmemMapping e = X_SECRETMEM_MAPPING__INIT;
	void *data;
	size_t len;
	int err;

	e.file = s->core->file_id(object_of(s, info));
	data = common_pack(&e.base, &len);
	err = s->core->vma_message(s, v, data, len);
	free(data);
	return err;
}

static int vma_load(struct cr_session *s, struct cr_vma *v, const void *data, size_t len)
{
	_cleanup_msg_ XSecretmemMapping *e = common_unpack(s, &x_secretmem_mapping__descriptor, data, len);
	struct cr_file **f = s->core->vma_priv(v);

	if (!e)
		return -EPROTO;
	*f = s->core->file_by_id(s, e->file);
	if (!*f || strcmp(s->core->file_kind(*f), KIND))
		return cr_fail(s, EPROTO, "the image has a mapping of file %u, which is no secret memory", e->file);
	return 0;
}

static int vma_plan(struct cr_session *s, struct cr_vma *v)
{
	const struct cr_vma_info *info = s->core->vma_info(v);
	struct cr_file *f = *(struct cr_file **)s->core->vma_priv(v);
	const struct cr_arg args[6] = { CR_IMM(info->start), CR_IMM(info->end - info->start), CR_IMM(info->prot),
					CR_IMM(MAP_SHARED | MAP_FIXED), CR_FILE(f), CR_IMM(info->pgoff) };

	return s->core->plan_syscall(s, info->task, CR_STAGE_WIRE, SYS_mmap, args, CR_WANT_NONNEG);
}

static const struct cr_file_kind secret_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = KIND,
	.fd_type = 16,
	.field = 100120,
	.priv_size = sizeof(struct secret),
	.match = secret_match,
	.dump = secret_dump,
	.load = secret_load,
	.open = secret_open,
	.wire = secret_wire,
};
static const struct cr_file_kind *const secret_kinds[] = { &secret_kind, NULL };

static const struct cr_vma_kind secret_vma = {
	.size = sizeof(struct cr_vma_kind),
	.name = "secret-memory",
	.priv_size = sizeof(struct cr_file *),
	.match = vma_match,
	.check = vma_check,
	.dump = vma_dump,
	.load = vma_load,
	.plan = vma_plan,
};
static const struct cr_vma_kind *const secret_vmas[] = { &secret_vma, NULL };

static const struct cr_plugin secretmem_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "secretmem",
	.version = "0.1",
	.summary = "Keeps secret memory (memfd_secret) that has a descriptor.",
	.images = images,
	.files = secret_kinds,
	.vmas = secret_vmas,
};
CR_PLUGIN_REGISTER(secretmem_plugin);
