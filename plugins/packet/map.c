/* SPDX-License-Identifier: MIT */
/* map.c: mappings of rings. See ring.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "ring.h"
#include "x-packet-ring.pb-c.h"

static int map_match(const struct cr_vma_info *info)
{
	return !strncmp(info->path, "socket:[", 8) ? CR_SPECIFIC : CR_NOT_MINE;
}

static struct cr_file *socket_of(struct cr_session *s, const struct cr_vma_info *info)
{
	for (struct cr_file *f = s->core->file_next(s, NULL); f; f = s->core->file_next(s, f)) {
		const struct cr_file_info *i = s->core->file_info(f);

		if (i && S_ISSOCK(i->st.st_mode) && i->sock_domain == AF_PACKET && i->st.st_ino == info->ino)
			return f;
	}
	return NULL;
}

static int map_check(struct cr_session *s, struct cr_vma *v, const struct cr_vma_info *info)
{
	struct packet_facts *k = s->core->alloc(s, sizeof(*k));
	uint64_t bytes;

	if (!socket_of(s, info))
		return cr_refuse(s, "let the program unmap it before the dump, or keep the descriptor of its packet socket open",
				 "the ring of a socket (AF_PACKET without a descriptor, AF_XDP), or data of a zero-copy "
				 "receive, cannot be kept: it is shared with the network device");
	if (packet_facts(info->ino, k))
		return 0; /* the check of the socket says so */
	bytes = ring_bytes(ring_encode(s, &k->rx), ring_encode(s, &k->tx));
	if (info->pgoff || info->end - info->start != bytes)
		return cr_refuse(s, "let the program map all of it", "only a part of the ring of a packet socket is mapped");
	return 0;
}

static int map_dump(struct cr_session *s, struct cr_vma *v, const struct cr_vma_info *info)
{
	PacketMapping e = PACKET_MAPPING__INIT;
	void *data;
	size_t len;
	int err;

	e.file = s->core->file_id(socket_of(s, info));
	data = common_pack(&e.base, &len);
	err = s->core->vma_message(s, v, data, len);
	free(data);
	return err;
}

struct map_priv {
	struct cr_file *f;
};

static int map_load(struct cr_session *s, struct cr_vma *v, const void *data, size_t len)
{
	_cleanup_msg_ PacketMapping *e = common_unpack(s, &packet_mapping__descriptor, data, len);
	struct map_priv *p = s->core->vma_priv(v);

	if (!e)
		return -EPROTO;
	p->f = s->core->file_by_id(s, e->file);
	if (!p->f || strcmp(s->core->file_kind(p->f), "packet"))
		return cr_fail(s, EPROTO, "the image maps the ring of file %u, which is no packet socket", e->file);
	return 0;
}

static int map_plan(struct cr_session *s, struct cr_vma *v)
{
	const struct map_priv *p = s->core->vma_priv(v);
	const struct cr_vma_info *info = s->core->vma_info(v);
	const struct cr_arg args[6] = { CR_IMM(info->start), CR_IMM(info->end - info->start), CR_IMM(info->prot),
					CR_IMM(MAP_SHARED | MAP_FIXED), CR_FILE(p->f), CR_IMM(0) };

	return s->core->plan_syscall(s, info->task, CR_STAGE_WIRE, SYS_mmap, args, CR_WANT_NONNEG);
}

static const struct cr_vma_kind map_kind = {
	.size = sizeof(struct cr_vma_kind),
	.name = "packet-ring",
	.priv_size = sizeof(struct map_priv),
	.covers = "mm io",
	.match = map_match,
	.check = map_check,
	.dump = map_dump,
	.load = map_load,
	.plan = map_plan,
};
const struct cr_vma_kind *const packet_vmas[] = { &map_kind, NULL };
