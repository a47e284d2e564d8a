/* SPDX-License-Identifier: MIT */
/*
 * ring.c: where the kernel is in a ring, and bringing it there again.
 *
 * The kernel fills a ring one frame (TPACKET_V1, V2) or block (V3) after the other, and the program follows; neither tells
 * where it is.  But the ring does: the kernel goes on behind those that the program has not given back, or behind the
 * youngest one.  A new ring begins in front.  So it is brought to its place by as many frames of an experimental type,
 * sent through the device lo, before the socket has its filter and its device; then the memory is written back, with
 * all that the program has not read.
 *
 * Rings for sending: txring.c.
 */
#include "ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sock.h"
#include "util.h"
#include "x-packet-ring.pb-c.h"

#define TYPE_EXPERIMENTAL 0x88b5 /* IEEE 802: for local experiments */
#define FRAME_MAX 65000u
#define ARRIVE_MS 500
#define BATCH 200u /* frames that the loopback device takes at once */
#define RING_MAX (1ull << 30)

const struct cr_img_type packet_img_ring = { sizeof(packet_img_ring), "x-packet-ring", 0x58504b52, 0 };

/* A ring in the memory of the engine. */
struct view {
	uint8_t *mem;
	uint32_t version; /* TPACKET_V1, … */
	const PacketRing *ring;
};

uint64_t ring_bytes(const PacketRing *rx, const PacketRing *tx)
{
	return (rx ? (uint64_t)rx->block_size * rx->block_nr : 0) + (tx ? (uint64_t)tx->block_size * tx->block_nr : 0);
}

PacketRing *ring_encode(struct cr_session *s, const struct packet_ring_facts *k)
{
	PacketRing *r;

	if (!k->block_nr)
		return NULL;
	r = s->core->alloc(s, sizeof(*r));
	packet_ring__init(r);
	r->block_size = k->block_size;
	r->block_nr = k->block_nr;
	r->frame_size = k->frame_size;
	r->frame_nr = k->frame_nr;
	r->retire_tmo = k->retire_tmo;
	r->sizeof_priv = k->sizeof_priv;
	r->features = k->features;
	return r;
}

/* ---- frames and blocks ---- */

static volatile struct tpacket_hdr_v1 *block_at(const struct view *v, uint32_t i)
{
	return &((struct tpacket_block_desc *)(v->mem + (uint64_t)i * v->ring->block_size))->hdr.bh1;
}

static uint8_t *frame_at(const struct view *v, uint32_t i)
{
	uint32_t a_block = v->ring->block_size / v->ring->frame_size;

	return v->mem + (uint64_t)(i / a_block) * v->ring->block_size + (uint64_t)(i % a_block) * v->ring->frame_size;
}

static uint32_t count(const struct view *v)
{
	return v->version == TPACKET_V3 ? v->ring->block_nr : v->ring->frame_nr;
}

/* Is it the program's? */
static int is_full(const struct view *v, uint32_t i)
{
	if (v->version == TPACKET_V3)
		return block_at(v, i)->block_status & TP_STATUS_USER;
	if (v->version == TPACKET_V2)
		return ((volatile struct tpacket2_hdr *)frame_at(v, i))->tp_status & TP_STATUS_USER;
	return ((volatile struct tpacket_hdr *)frame_at(v, i))->tp_status & TP_STATUS_USER;
}

/* A number that grows with the time when it was filled; 0: never. */
static uint64_t age(const struct view *v, uint32_t i)
{
	if (v->version == TPACKET_V3)
		return block_at(v, i)->seq_num;
	if (v->version == TPACKET_V2) {
		const struct tpacket2_hdr *h = (void *)frame_at(v, i);

		return (uint64_t)h->tp_sec << 32 | h->tp_nsec;
	}
	return (uint64_t)((struct tpacket_hdr *)frame_at(v, i))->tp_sec << 32 | ((struct tpacket_hdr *)frame_at(v, i))->tp_usec;
}

/* The youngest, the last one where several are as young; n: none was ever filled. */
static uint32_t youngest(const struct view *v)
{
	uint32_t n = count(v), at = n;
	uint64_t max = 0;

	for (uint32_t i = 0; i < n; i++)
		max = MAX_OF(max, age(v, i));
	for (uint32_t i = 0; max && i < n; i++)
		if (age(v, i) == max && (age(v, (i + 1) % n) != max || n == 1))
			at = i;
	return at;
}

/* Which one the kernel fills next. */
static uint32_t find_head(const struct view *v)
{
	uint32_t n = count(v), last = youngest(v);

	if (last == n)
		return 0;
	/* of blocks the youngest is the one that it fills now, or has just given away */
	if (v->version == TPACKET_V3 && !is_full(v, last))
		return last;
	return (last + 1) % n;
}

/* ---- dump ---- */

static struct tx_view tx_view(uint8_t *mem, uint32_t version, const PacketRing *rx, const PacketRing *tx)
{
	return (struct tx_view){ mem + ring_bytes(rx, NULL), version, tx->block_size, tx->block_nr, tx->frame_size,
				 tx->frame_nr };
}

static void *map_ring(int fd, uint64_t bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

int ring_check(struct cr_session *s, int fd, const struct packet_facts *k)
{
	PacketRing *rx = ring_encode(s, &k->rx), *tx = ring_encode(s, &k->tx);
	uint64_t bytes = ring_bytes(rx, tx);
	uint8_t *mem;
	int err = 0;

	if (!bytes)
		return 0;
	if (bytes > RING_MAX)
		return cr_refuse(s, "let the program use a smaller one", "packet socket with a ring of %ju bytes",
				 (uintmax_t)bytes);
	mem = map_ring(fd, bytes);
	if (mem == MAP_FAILED)
		return cr_refuse(s, "end the capture before the dump", "packet socket with a ring that cannot be mapped: %s",
				 strerror(errno));
	if (tx) {
		struct tx_view v = tx_view(mem, k->version, rx, tx);

		err = tx_check(s, &v, sock_get_int(fd, SOL_PACKET, PACKET_LOSS));
	}
	munmap(mem, bytes);
	return err;
}

/* Where the kernel is in the ring for sending. */
static int take_tx(struct cr_session *s, int fd, const struct view *v, const PacketSockEntry *e, PacketRingEntry *r)
{
	struct tx_view tx;

	if (!e->tx_ring)
		return 0;
	tx = tx_view(v->mem, e->version, e->rx_ring, e->tx_ring);
	r->has_tx_head = 1;
	return tx_find(s, fd, &tx, ring_bytes(e->rx_ring, e->tx_ring), ring_bytes(e->rx_ring, NULL), &r->tx_head);
}

int ring_dump(struct cr_session *s, struct cr_file *f, int fd, const PacketSockEntry *e)
{
	uint64_t bytes = ring_bytes(e->rx_ring, e->tx_ring);
	PacketRingEntry r = PACKET_RING_ENTRY__INIT;
	struct view v = { NULL, e->version, e->rx_ring };
	int err;

	if (!bytes)
		return 0;
	v.mem = map_ring(fd, bytes);
	if (v.mem == MAP_FAILED)
		return cr_fail(s, errno, "mapping the ring of a packet socket: %s", strerror(errno));
	r.head = e->rx_ring ? find_head(&v) : 0;
	if (e->rx_ring && e->version == TPACKET_V3 && !is_full(&v, r.head) && block_at(&v, r.head)->num_pkts)
		cr_lost(s, f, "ring of a packet socket: %u frames in the block that the kernel has not given away yet are "
			"dropped",
			block_at(&v, r.head)->num_pkts);
	r.len = bytes;
	err = take_tx(s, fd, &v, e, &r);
	if (!err)
		err = common_append(s, &packet_img_ring, s->core->file_id(f), &r.base);
	if (!err)
		err = s->core->img_raw(s, &packet_img_ring, s->core->file_id(f), v.mem, bytes);
	munmap(v.mem, bytes);
	return err;
}

/* ---- restore ---- */

static int check_one(const PacketRing *r)
{
	return !r || (r->block_size && r->block_nr && r->frame_size && r->frame_size <= r->block_size &&
		      (uint64_t)r->block_size * r->block_nr <= RING_MAX &&
		      r->frame_nr == (uint64_t)(r->block_size / r->frame_size) * r->block_nr);
}

int ring_load_check(struct cr_session *s, const PacketSockEntry *e)
{
	if (check_one(e->rx_ring) && check_one(e->tx_ring) && e->version <= TPACKET_V3)
		return 0;
	return cr_fail(s, EPROTO, "the image has a packet socket with a broken ring");
}

static int set_ring(struct cr_session *s, int fd, int name, const PacketRing *r, uint32_t version)
{
	struct tpacket_req3 req = { 0 };

	if (!r)
		return 0;
	req.tp_block_size = r->block_size;
	req.tp_block_nr = r->block_nr;
	req.tp_frame_size = r->frame_size;
	req.tp_frame_nr = r->frame_nr;
	req.tp_retire_blk_tov = r->retire_tmo;
	req.tp_sizeof_priv = r->sizeof_priv;
	req.tp_feature_req_word = r->features;
	if (setsockopt(fd, SOL_PACKET, name, &req, version == TPACKET_V3 ? sizeof(req) : sizeof(struct tpacket_req)))
		return cr_fail(s, errno, "making the ring of a packet socket (%u blocks of %u bytes): %s", r->block_nr,
			       r->block_size, strerror(errno));
	return 0;
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

static int send_frame(int out, const struct sockaddr_ll *to, size_t len)
{
	static uint8_t frame[FRAME_MAX];

	frame[12] = TYPE_EXPERIMENTAL >> 8;
	frame[13] = TYPE_EXPERIMENTAL & 0xff;
	return sendto(out, frame, len, 0, (const struct sockaddr *)to, sizeof(*to)) < 0 ? -errno : 0;
}

static int wait_full(const struct view *v, uint32_t i, uint32_t ms)
{
	for (uint32_t t = 0; !is_full(v, i); t++) {
		if (t >= ms)
			return -ETIMEDOUT;
		nap();
	}
	return 0;
}

/* Frames: each takes one. */
static int advance_frames(const struct view *v, int out, const struct sockaddr_ll *to, uint32_t n)
{
	int err = 0;

	for (uint32_t i = 0; i < n && !err; i++) {
		err = send_frame(out, to, 60);
		if (!err && (i % BATCH == BATCH - 1 || i == n - 1))
			err = wait_full(v, i, ARRIVE_MS);
	}
	return err;
}

static uint32_t packets(const struct view *v, uint32_t n)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += block_at(v, i)->num_pkts;
	return sum;
}

/* More than half of a block, so that each takes one, where frames may be as large. */
static size_t large_frame(const PacketRing *r)
{
	uint32_t head = r->sizeof_priv + 256; /* of the block and of the frame, with room */
	uint32_t room = r->block_size > head ? r->block_size - head : 0;

	return MIN_OF(MAX_OF(room / 8 * 5, 60u), FRAME_MAX);
}

/* Blocks: large frames until there is one in the last; that one is given away when its time is over. */
static int advance_blocks(const struct view *v, int out, const struct sockaddr_ll *to, uint32_t n)
{
	size_t len = large_frame(v->ring);

	while (n && !block_at(v, n - 1)->num_pkts) {
		uint32_t before = packets(v, n);
		int err = send_frame(out, to, len), ms = 0;

		while (!err && packets(v, n) == before && ms++ < ARRIVE_MS)
			nap();
		if (err || packets(v, n) == before)
			return err ? err : -ETIMEDOUT;
	}
	return n ? wait_full(v, n - 1, 3 * v->ring->retire_tmo + ARRIVE_MS) : 0;
}

/* The kernel goes on at n. 0 or -errno. */
static int advance(int fd, const struct view *v, uint32_t n)
{
	_cleanup_fd_ int out = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(TYPE_EXPERIMENTAL), .sll_halen = 6 };
	struct sockaddr_ll none = { .sll_family = AF_PACKET };
	struct tpacket_stats_v3 stats;
	socklen_t len = sizeof(stats);
	int err;

	a.sll_ifindex = if_nametoindex("lo");
	if (out < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)))
		return -errno;
	err = v->version == TPACKET_V3 ? advance_blocks(v, out, &a, n) : advance_frames(v, out, &a, n);
	if (bind(fd, (struct sockaddr *)&none, sizeof(none)) && !err)
		err = -errno;
	getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len); /* begins anew */
	return err;
}

/* What the program has not read, and the rest; of blocks, the one that the kernel has open is its own. */
static void write_back(const struct view *v, const uint8_t *old, uint64_t bytes, uint32_t head)
{
	uint64_t at = (uint64_t)head * v->ring->block_size, end = at + v->ring->block_size;

	if (v->version != TPACKET_V3) {
		memcpy(v->mem, old, bytes);
		return;
	}
	memcpy(v->mem, old, at);
	memcpy(v->mem + end, old + end, ring_bytes(v->ring, NULL) - end);
	/* the kernel counts blocks from 1 again */
	for (uint32_t i = 0; i < v->ring->block_nr; i++)
		if (i != head)
			block_at(v, i)->seq_num = i < head ? i + 1 : 0;
}

static int refill(struct cr_session *s, int fd, const struct view *v, const PacketRingEntry *r, const uint8_t *old)
{
	int err = r->head ? advance(fd, v, r->head) : 0;

	if (err < 0)
		return cr_fail(s, -err, "bringing the ring of a packet socket to its position (%u) with frames through the "
			       "device "
			       "lo, which must be up: %s", r->head, strerror(-err));
	write_back(v, old, r->len, r->head);
	cr_debug(s, "ring of %u blocks of %u bytes, version %u, blocks end after %u ms: goes on at %u", v->ring->block_nr,
		 v->ring->block_size, v->version + 1, v->ring->retire_tmo, r->head);
	return 0;
}

/* The rings that the image has: mem is of both new ones. */
static int read_rings(struct cr_session *s, struct cr_reader *r, int fd, uint8_t *mem, const PacketSockEntry *e)
{
	struct view v = { mem, e->version, e->rx_ring };
	_cleanup_msg_ PacketRingEntry *entry = NULL;
	_cleanup_free_ uint8_t *old = NULL;
	uint64_t bytes = ring_bytes(e->rx_ring, e->tx_ring), rx_bytes = ring_bytes(e->rx_ring, NULL);
	int err = common_next(s, r, &packet_ring_entry__descriptor, (void **)&entry);

	if (err <= 0)
		return err < 0 ? err : cr_fail(s, EPROTO, "the image of a ring is empty");
	if (entry->len != bytes || (e->rx_ring && entry->head >= count(&v)) ||
	    (entry->has_tx_head && (!e->tx_ring || entry->tx_head >= e->tx_ring->frame_nr)))
		return cr_fail(s, EPROTO, "the image has rings of %ju bytes at %u and %u, not of %ju", (uintmax_t)entry->len,
			       entry->head, entry->tx_head, (uintmax_t)bytes);
	old = xcalloc(1, bytes);
	err = s->core->img_extra(r, old, bytes);
	entry->len = rx_bytes;
	if (err >= 0 && e->rx_ring)
		err = refill(s, fd, &v, entry, old);
	if (err >= 0 && e->tx_ring) {
		struct tx_view tx = tx_view(mem, e->version, e->rx_ring, e->tx_ring);

		err = tx_advance(s, fd, &tx, entry->tx_head);
		memcpy(tx.mem, old + rx_bytes, bytes - rx_bytes);
	}
	return MIN_OF(err, 0);
}

int ring_restore(struct cr_session *s, struct cr_file *f, int fd, const PacketSockEntry *e)
{
	uint64_t bytes = ring_bytes(e->rx_ring, e->tx_ring);
	struct cr_reader *r;
	uint8_t *mem;
	int err = set_ring(s, fd, PACKET_RX_RING, e->rx_ring, e->version);

	if (!err)
		err = set_ring(s, fd, PACKET_TX_RING, e->tx_ring, e->version);
	if (err < 0 || !bytes)
		return err;
	err = s->core->img_open(s, &packet_img_ring, s->core->file_id(f), &r);
	if (err < 0) /* CRIU's images have none: the ring begins in front */
		return err == -ENOENT ? 0 : err;
	mem = map_ring(fd, bytes);
	err = mem == MAP_FAILED ? cr_fail(s, errno, "mapping the ring of a packet socket: %s", strerror(errno)) :
				  read_rings(s, r, fd, mem, e);
	if (mem != MAP_FAILED)
		munmap(mem, bytes);
	s->core->img_close(r);
	return err;
}
