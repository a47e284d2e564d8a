/* SPDX-License-Identifier: MIT */
/*
 * kinds.c: mappings that plugins have claimed.  See kinds.h for where they are in the
 * images.  The core treats all kinds alike: it keeps the range, the contents where the
 * kind wants that, and the advice; everything else is the plugin's.
 */
#include "kinds.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "image.h"
#include "mem_priv.h"
#include "phase.h"
#include "restore.h"
#include "x-mapping.pb-c.h"

#define VMFLAGS_TEXT (VMF_N * 3 + 2)
#define GROWTH_GAP (1ull << 20)
#define WIRE_BYTES 2 /* wire type of a field with a length */
#define ADVICE_DONTFORK 10
#define ADVICE_DONTDUMP 16

void mapping_free(struct mapping *m)
{
	if (!m)
		return;
	free(m->path);
	free(m->vmflags);
	free(m->priv);
	free(m->msg);
	free(m);
}

void mappings_free(struct mem *m)
{
	for (size_t i = 0; i < m->mappings.n; i++)
		mapping_free(m->mappings.v[i]);
	vec_free(&m->mappings);
}

static struct mapping *mapping_new(struct task *t, struct plugin *p, const struct cr_vma_kind *k)
{
	struct mapping *m = xcalloc(1, sizeof(*m));

	m->task = t;
	m->plugin = p;
	m->kind = k;
	m->priv = xcalloc(1, k->priv_size ? k->priv_size : 1);
	m->info.size = sizeof(m->info);
	m->info.task = cr_task_of(t);
	m->info.path = m->info.vmflags = "";
	return m;
}

void mapping_set_message(struct mapping *m, const void *data, size_t len)
{
	free(m->msg);
	m->msg = xcalloc(1, len + 1);
	m->msg_len = len;
	if (len)
		memcpy(m->msg, data, len);
}

static void at_mapping(struct session *s, const struct mapping *m)
{
	at_object(s, "pid %d mapping %lx-%lx %s", s->mode == CR_MODE_RESTORE ? task_vpid(m->task) : task_pid(m->task),
		  m->info.start, m->info.end, m->path ? m->path : m->kind->name);
}

/* ---- dump ---- */

int mapping_claim(struct session *s, struct task *t, const struct vma_area *a, struct mapping **ret)
{
	const struct proc_vma *v = &a->v;
	char flags[VMFLAGS_TEXT];
	struct cr_vma_info info = {
		.size = sizeof(info), .start = v->start, .end = v->end, .pgoff = v->pgoff, .ino = v->ino,
		.dev = makedev(v->dev_major, v->dev_minor), .prot = v->prot, .flags = v->flags, .path = v->path,
		.vmflags = flags, .task = cr_task_of(t),
	};
	const struct cr_vma_kind *kind;
	struct plugin *plugin;
	struct mapping *m;
	int err;

	*ret = NULL;
	proc_vmflags_text(v->vmflags, flags, sizeof(flags));
	err = plugins_claim_vma(s, &info, &plugin, &kind);
	if (err)
		return err == -ENOENT ? 0 : err;
	m = mapping_new(t, plugin, kind);
	m->path = xstrdup(info.path);
	m->vmflags = xstrdup(flags);
	m->info = info;
	m->info.path = m->path;
	m->info.vmflags = m->vmflags;
	*ret = m;
	return 0;
}

uint64_t mapping_covers(const struct mapping *m)
{
	return m->kind->covers ? proc_vmflags_parse(m->kind->covers) : 0;
}

struct mapping *mapping_next(struct session *s, const struct mapping *prev)
{
	bool seen = !prev;

	FOR_EACH_TASK(t, s->tree) {
		if (!t->mem || (prev && !seen && t != prev->task))
			continue;
		for (size_t i = 0; i < t->mem->mappings.n; i++) {
			if (seen)
				return t->mem->mappings.v[i];
			seen = t->mem->mappings.v[i] == prev;
		}
	}
	return NULL;
}

#define FOR_EACH_MAPPING(m, s) for (struct mapping *m = NULL; (m = mapping_next((s), m));)

int mappings_check(struct session *s)
{
	int err = 0;

	s->phase = "check";
	FOR_EACH_MAPPING(m, s) {
		at_mapping(s, m);
		if (m->kind->check && err == 0)
			err = HOOK(s, m->plugin, HOOK_VMA_CHECK, m->kind->check(&s->pub, cr_vma_of(m), &m->info));
		if (err == -EOPNOTSUPP && !s->err.errnum)
			err = 0; /* reported with all the others */
	}
	at_object(s, NULL);
	return err;
}

int mappings_dump(struct session *s, struct task *t)
{
	int err = 0;

	for (size_t i = 0; i < t->mem->mappings.n && err == 0; i++) {
		struct mapping *m = t->mem->mappings.v[i];

		at_mapping(s, m);
		if (m->kind->dump)
			err = HOOK(s, m->plugin, HOOK_VMA_DUMP, m->kind->dump(&s->pub, cr_vma_of(m), &m->info));
		m->plugin->wrote = true;
	}
	return err;
}

static void put_varint(struct buf *b, uint64_t v)
{
	unsigned char byte;

	do {
		byte = (v & 0x7f) | (v > 0x7f ? 0x80 : 0);
		buf_add(b, &byte, 1);
		v >>= 7;
	} while (v);
}

static int write_entry(struct session *s, const struct mapping *m)
{
	XMappingEntry e = X_MAPPING_ENTRY__INIT;

	e.start = m->info.start;
	e.end = m->info.end;
	e.plugin = m->plugin->name;
	e.kind = (char *)m->kind->name;
	e.has_message = m->msg != NULL;
	e.message.data = m->msg;
	e.message.len = m->msg_len;
	return img_append_msg(s, &img_stasis_mappings, (uint64_t)task_vpid(m->task), &e.base);
}

int mappings_write(struct session *s, const struct task *t, struct buf *mm)
{
	int err = 0;

	for (size_t i = 0; i < t->mem->mappings.n && err == 0; i++) {
		const struct mapping *m = t->mem->mappings.v[i];

		if (!m->kind->field) {
			err = write_entry(s, m);
			continue;
		}
		if (!m->msg) {
			at_mapping(s, m);
			return fail(s, EINVAL, "plugin %s gave no message for this mapping", m->plugin->name);
		}
		put_varint(mm, (uint64_t)m->kind->field << 3 | WIRE_BYTES);
		put_varint(mm, m->msg_len);
		buf_add(mm, m->msg, m->msg_len);
	}
	return err;
}

/* ---- restore ---- */

int mappings_read(struct session *s, struct task *t)
{
	ProtobufCMessage *msg = NULL;
	const struct cr_vma_kind *kind;
	struct plugin *plugin;
	struct cr_reader *r;
	int n = img_open(s, &img_stasis_mappings, (uint64_t)task_vpid(t), &r);

	if (n)
		return n == -ENOENT ? 0 : n;
	while ((n = img_next_msg(r, &x_mapping_entry__descriptor, &msg)) == 1) {
		XMappingEntry *e = (XMappingEntry *)msg;
		struct mapping *m;

		if (e->start % PAGE_BYTES || e->end % PAGE_BYTES || e->start >= e->end || e->end > USER_END)
			n = fail(s, EPROTO, "x-stasis-mappings-%d.img: mapping %lx-%lx makes no sense", task_vpid(t),
				 e->start, e->end);
		else if (plugins_vma_kind(s, 0, e->plugin, e->kind, &plugin, &kind) < 0)
			n = fail(s, ENOENT, "pid %d mapping %lx-%lx is a %s of plugin %s, which is not loaded: load it "
				 "(stasis plugins lists what there is)", task_vpid(t), e->start, e->end, e->kind, e->plugin);
		if (n < 0)
			break;
		m = mapping_new(t, plugin, kind);
		m->info.start = e->start;
		m->info.end = e->end;
		mapping_set_message(m, e->message.data, e->message.len);
		*vec_push(&t->mem->mappings) = m;
		protobuf_c_message_free_unpacked(msg, NULL);
		msg = NULL;
	}
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	img_close(r);
	return n;
}

static struct mapping *find_at(const struct task *t, const VmaEntry *v)
{
	for (size_t i = 0; i < t->mem->mappings.n; i++) {
		struct mapping *m = t->mem->mappings.v[i];

		if (m->info.start == v->start && m->info.end == v->end)
			return m;
	}
	return NULL;
}

/* The mapping of v, when a kind knows its status; NULL: none does. */
static struct mapping *by_status(struct session *s, struct task *t, const VmaEntry *v, uint32_t bits)
{
	const struct cr_vma_kind *kind;
	struct plugin *plugin;
	struct mapping *m;

	if (!bits || plugins_vma_kind(s, bits, NULL, NULL, &plugin, &kind) < 0)
		return NULL;
	m = mapping_new(t, plugin, kind);
	m->info.start = v->start;
	m->info.end = v->end;
	*vec_push(&t->mem->mappings) = m;
	return m;
}

int mapping_take(struct session *s, struct task *t, VmaEntry *v)
{
	uint32_t bits = v->status & ~(uint32_t)VMA_STATUS_CORE;
	struct mapping *m = find_at(t, v);

	if (!m)
		m = by_status(s, t, v, bits & ~(uint32_t)VMA_PLUGIN);
	if (!m && bits)
		return fail(s, EOPNOTSUPP, "mm-%d.img: mapping %#lx-%#lx: no plugin that is loaded restores memory of kind %#x: "
			    "load the one that dumped it", task_vpid(t), v->start, v->end, bits);
	if (!m)
		return 0;
	m->info.pgoff = v->pgoff;
	m->info.prot = v->prot;
	m->info.flags = v->flags;
	if (m->kind->flags & CR_VMA_KEEP)
		return 0;
	m->madv = v->has_madv ? v->madv : 0;
	v->status = VMA_REGULAR | VMA_ANON_PRIVATE | VMA_PLUGIN;
	v->flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	v->prot = PROT_NONE;
	v->has_madv = false;
	v->pgoff = v->shmid = 0;
	return 0;
}

/* Field tag of mm (a length in front, as kept by protobuf-c) to the next mapping of that kind without a message. */
static int give_message(struct session *s, struct task *t, const ProtobufCMessageUnknownField *f)
{
	uint64_t len = 0;
	size_t at = 0;

	for (int shift = 0; at < f->len && at < 10; shift += 7) {
		len |= (uint64_t)(f->data[at] & 0x7f) << shift;
		if (!(f->data[at++] & 0x80))
			break;
	}
	for (size_t i = 0; i < t->mem->mappings.n; i++) {
		struct mapping *m = t->mem->mappings.v[i];

		if (m->kind->field != f->tag || m->msg)
			continue;
		if (f->wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED || len != f->len - at)
			return fail(s, EPROTO, "mm-%d.img: field %u is damaged", task_vpid(t), f->tag);
		mapping_set_message(m, f->data + at, len);
		return 0;
	}
	/* of a version or a kind that is not known here: what has no mapping cannot be needed */
	log_info("mm-%d.img: field %u is not known", task_vpid(t), f->tag);
	return 0;
}

int mappings_settle(struct session *s, struct task *t, const MmEntry *mm)
{
	int err = 0;

	for (unsigned i = 0; i < mm->base.n_unknown_fields && err == 0; i++)
		err = give_message(s, t, &mm->base.unknown_fields[i]);
	for (size_t i = 0; i < t->mem->mappings.n && err == 0; i++) {
		struct mapping *m = t->mem->mappings.v[i];

		if (!m->info.flags)
			return fail(s, EPROTO, "x-stasis-mappings-%d.img: mm-%d.img has no mapping %lx-%lx", task_vpid(t),
				    task_vpid(t), m->info.start, m->info.end);
		if (!m->msg)
			mapping_set_message(m, NULL, 0);
	}
	return err;
}

int mappings_load(struct session *s)
{
	int err = 0;

	FOR_EACH_MAPPING(m, s) {
		at_mapping(s, m);
		if (m->kind->load && err == 0)
			err = HOOK(s, m->plugin, HOOK_VMA_LOAD,
				   m->kind->load(&s->pub, cr_vma_of(m), m->msg, m->msg_len));
	}
	at_object(s, NULL);
	return err;
}

/* A fork has to leave it out, or a core dump: said to the real mapping. */
static int plan_advice(struct session *s, struct mapping *m)
{
	static const int kept[] = { ADVICE_DONTFORK, ADVICE_DONTDUMP };
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kept) && err == 0; i++) {
		const struct cr_arg args[6] = { CR_IMM(m->info.start), CR_IMM(m->info.end - m->info.start), CR_IMM(kept[i]) };

		if (m->madv & 1ull << kept[i])
			err = restore_queue_syscall(s, m->task, CR_STAGE_OWN, SYS_madvise, args, CR_WANT_ANY);
	}
	return err;
}

int mappings_plan(struct session *s)
{
	int err = 0;

	FOR_EACH_MAPPING(m, s) {
		at_mapping(s, m);
		if (m->kind->plan && err == 0)
			err = HOOK(s, m->plugin, HOOK_VMA_PLAN, m->kind->plan(&s->pub, cr_vma_of(m)));
		if (err == 0)
			err = plan_advice(s, m);
	}
	at_object(s, NULL);
	return err;
}

/* Everything that the task has mapped, sorted. */
static void list_used(struct session *s, const struct task *t, span_list *used)
{
	const struct arena *a = &s->restore->arena;
	struct span arena = { a->base, a->base + a->size }, vdso = { t->mem->vdso.start, t->mem->vdso.end };

	for (size_t i = 0; i < t->mem->maps.n; i++) {
		struct span next = { t->mem->maps.v[i]->start, t->mem->maps.v[i]->end };

		if (arena.end && arena.start < next.start) {
			*vec_push(used) = arena;
			arena.end = 0;
		}
		if (vdso.end && vdso.start < next.start) {
			*vec_push(used) = vdso;
			vdso.end = 0;
		}
		*vec_push(used) = next;
	}
	if (arena.end && vdso.end && vdso.start < arena.start) {
		*vec_push(used) = vdso;
		vdso.end = 0;
	}
	if (arena.end)
		*vec_push(used) = arena;
	if (vdso.end)
		*vec_push(used) = vdso;
}

void mapping_plan_room(struct session *s, const struct mapping *m, struct plan *p, bool take)
{
	/*
	 * The distance (stack_guard_gap) below a mapping that grows is never given away.  That leaves nothing of
	 * the addresses that nobody may map, but the kernel would offer; page 0 must be left, it is no limit.
	 */
	uint64_t at = MAX_OF(mem_lowest_address(), GROWTH_GAP) + PAGE_BYTES, flags = MAP_GROWSDOWN;
	const struct arena *a = &s->restore->arena;
	span_list used = { 0 };

	list_used(s, m->task, &used);
	if (take) /* where the vDSO was parked the arena has a hole */
		plan_sys(p, BLOB_EXPECT, SYS_mmap, a->park, a->park_len, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, (uint64_t)-1, 0)
			->expect = a->park;
	if (take)
		plan_sys(p, BLOB_ZERO, SYS_munmap, m->info.start, m->info.end - m->info.start);
	for (size_t i = 0; i <= used.n; i++) {
		struct span next = i < used.n ? used.v[i] : (struct span){ USER_END, USER_END };

		if (next.start > at && take)
			plan_sys(p, BLOB_EXPECT, SYS_mmap, at, next.start - at, PROT_NONE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE | flags, (uint64_t)-1, 0)
				->expect = at;
		else if (next.start > at)
			plan_sys(p, BLOB_ZERO, SYS_munmap, at, next.start - at);
		if (next.start > at)
			flags = 0;
		at = MAX_OF(at, next.end);
	}
	vec_free(&used);
}

int mapping_stored(struct session *s, const struct mapping *m, uint64_t off, void *buf, size_t len)
{
	const struct mem *mem = m->task->mem;
	uint64_t at = m->info.start + off, end = at + len;
	char page[PAGE_BYTES];

	if (off > m->info.end - m->info.start || len > m->info.end - m->info.start - off)
		return fail(s, EINVAL, "plugin %s asks for bytes outside the mapping", m->plugin->name);
	while (at < end) {
		uint64_t base = at & ~(uint64_t)(PAGE_BYTES - 1);
		size_t n = MIN_OF(end - at, base + PAGE_BYTES - at);
		int err = mem_read_stored(mem, base, page, sizeof(page));

		if (err == -ENOENT)
			memset(page, 0, sizeof(page));
		else if (err < 0)
			return fail(s, -err, "pages-%u.img: cannot read the page at %#lx: %s", mem->pages_id, base,
				    strerror(-err));
		memcpy(buf, page + (at - base), n);
		buf = (char *)buf + n;
		at += n;
	}
	return 0;
}
