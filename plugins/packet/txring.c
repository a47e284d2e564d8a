/* SPDX-License-Identifier: MIT */
/*
 * txring.c: rings for sending.
 *
 * The program fills frames one after the other and asks for them to be sent; the kernel goes on where it stopped the last
 * time, and does not tell where.  But with all frames asking, each of a length that cannot be, it complains about the one
 * that it looks at first, and stays there.  Nothing is sent; the kernel's log has a line about it.  Afterwards the frames
 * are as they were.
 *
 * A new ring begins in front.  It is brought to its place by as many frames of an experimental type, sent through the
 * device lo, as a ring for receiving is.
 *
 * With PACKET_LOSS the kernel skips frames that it cannot send, so that they tell nothing.
 */
#include "ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include "sock.h"
#include "util.h"

#define BUSY (TP_STATUS_SEND_REQUEST | TP_STATUS_SENDING | TP_STATUS_WRONG_FORMAT)
#define TYPE_EXPERIMENTAL 0x88b5
#define WAIT_MS 1000
#define LENGTH 60u
#define OPT_VNET_HDR_SZ 24 /* Linux 6.4 */
#define VNET_HDR 10

static uint8_t *frame_at(const struct tx_view *v, uint32_t i)
{
	uint32_t a_block = v->block_size / v->frame_size;

	return v->mem + (uint64_t)(i / a_block) * v->block_size + (uint64_t)(i % a_block) * v->frame_size;
}

static unsigned long get_status(const struct tx_view *v, uint32_t i)
{
	uint8_t *p = frame_at(v, i);

	if (v->version == TPACKET_V3)
		return *(volatile uint32_t *)&((struct tpacket3_hdr *)p)->tp_status;
	if (v->version == TPACKET_V2)
		return *(volatile uint32_t *)&((struct tpacket2_hdr *)p)->tp_status;
	return *(volatile unsigned long *)&((struct tpacket_hdr *)p)->tp_status;
}

static void set_status(const struct tx_view *v, uint32_t i, unsigned long status)
{
	uint8_t *p = frame_at(v, i);

	if (v->version == TPACKET_V3)
		__atomic_store_n(&((struct tpacket3_hdr *)p)->tp_status, (uint32_t)status, __ATOMIC_SEQ_CST);
	else if (v->version == TPACKET_V2)
		__atomic_store_n(&((struct tpacket2_hdr *)p)->tp_status, (uint32_t)status, __ATOMIC_SEQ_CST);
	else
		__atomic_store_n(&((struct tpacket_hdr *)p)->tp_status, status, __ATOMIC_SEQ_CST);
}

static uint32_t *length_at(const struct tx_view *v, uint32_t i)
{
	uint8_t *p = frame_at(v, i);

	if (v->version == TPACKET_V3)
		return &((struct tpacket3_hdr *)p)->tp_len;
	return v->version == TPACKET_V2 ? &((struct tpacket2_hdr *)p)->tp_len : &((struct tpacket_hdr *)p)->tp_len;
}

static uint32_t how_many(const struct tx_view *v, unsigned long status)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < v->frame_nr; i++)
		n += (get_status(v, i) & status) != 0;
	return n;
}

static int wait_sent(const struct tx_view *v)
{
	for (int ms = 0; how_many(v, TP_STATUS_SENDING); ms++) {
		if (ms >= WAIT_MS)
			return -ETIMEDOUT;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return 0;
}

static int is_blank(const struct tx_view *v)
{
	size_t len = (size_t)v->block_size * v->block_nr;

	return !v->mem[0] && !memcmp(v->mem, v->mem + 1, len - 1);
}

/* Lets the kernel look at the ring. Its answer, or -errno. */
static int look(int fd)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(TYPE_EXPERIMENTAL), .sll_halen = 6 };

	a.sll_ifindex = if_nametoindex("lo");
	return sendto(fd, NULL, 0, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
}

/* ---- dump ---- */

/* What was asked for and not sent begins where the kernel is. -ENOENT: there is not one such place. */
static int first_request(const struct tx_view *v, uint32_t *ret)
{
	uint32_t starts = 0;

	for (uint32_t i = 0; i < v->frame_nr; i++) {
		uint32_t before = (i + v->frame_nr - 1) % v->frame_nr;

		if (get_status(v, i) & TP_STATUS_SEND_REQUEST && !(get_status(v, before) & TP_STATUS_SEND_REQUEST)) {
			*ret = i;
			starts++;
		}
	}
	return starts == 1 ? 0 : -ENOENT;
}

int tx_undo(int fd, const char *text)
{
	uint64_t bytes, off;
	struct tx_view v;

	if (fd < 0)
		return 0; /* nobody has the ring any more */
	if (sscanf(text, "%" SCNu64 " %" SCNu64 " %u %u %u %u %u", &bytes, &off, &v.version, &v.block_size, &v.block_nr,
		   &v.frame_size, &v.frame_nr) != 7 || !v.frame_size || v.frame_size > v.block_size)
		return -EINVAL;
	v.mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (v.mem == MAP_FAILED)
		return -errno;
	v.mem += off;
	for (uint32_t i = 0; i < v.frame_nr; i++)
		if (get_status(&v, i) & BUSY)
			set_status(&v, i, TP_STATUS_AVAILABLE);
	munmap(v.mem - off, bytes);
	return 0;
}

/* All frames are the program's. 0 with *ret, -ENOENT: the kernel does not say, -errno recorded. */
static int probe(struct cr_session *s, int fd, const struct tx_view *v, uint64_t bytes, uint64_t off, uint32_t *ret)
{
	_cleanup_free_ unsigned long *status = xcalloc(v->frame_nr, sizeof(*status));
	_cleanup_free_ uint32_t *length = xcalloc(v->frame_nr, sizeof(*length));
	int err = -ENOENT;
	char text[160];

	snprintf(text, sizeof(text), "%ju %ju %u %u %u %u %u", (uintmax_t)bytes, (uintmax_t)off, v->version, v->block_size,
		 v->block_nr, v->frame_size, v->frame_nr);
	/* always: it is over before the tree runs on, so that nothing is taken back that the program asks for then */
	if (s->core->undo(s, CR_UNDO_PLUGIN, fd, text, 1) < 0)
		return -EIO;
	for (uint32_t i = 0; i < v->frame_nr; i++) {
		status[i] = get_status(v, i);
		length[i] = *length_at(v, i);
		*length_at(v, i) = UINT32_MAX;
		set_status(v, i, TP_STATUS_SEND_REQUEST);
	}
	look(fd);
	for (uint32_t i = 0; i < v->frame_nr; i++) {
		if (get_status(v, i) & TP_STATUS_WRONG_FORMAT) {
			*ret = i;
			err = 0;
		}
		*length_at(v, i) = length[i];
		set_status(v, i, status[i]);
	}
	return err;
}

static int refuse_used(struct cr_session *s, const char *why)
{
	return cr_refuse(s, "let the program send without a ring, or close it before the dump",
			 "packet socket with a ring for sending (PACKET_TX_RING) that was used: its position in the kernel "
			 "cannot be read back: %s", why);
}

int tx_check(struct cr_session *s, const struct tx_view *v, int has_loss)
{
	if (is_blank(v))
		return 0;
	if (how_many(v, TP_STATUS_WRONG_FORMAT))
		return refuse_used(s, "it has frames that the kernel did not send");
	return has_loss ? refuse_used(s, "the program has set PACKET_LOSS") : 0;
}

int tx_find(struct cr_session *s, int fd, const struct tx_view *v, uint64_t bytes, uint64_t off, uint32_t *ret)
{
	int err = 0;

	*ret = 0;
	if (is_blank(v))
		return 0;
	if (wait_sent(v) < 0)
		return refuse_used(s, "the device does not send what it has taken");
	if (how_many(v, TP_STATUS_SEND_REQUEST)) {
		err = first_request(v, ret);
		return err ? refuse_used(s, "all of its frames, or frames in several places, wait to be sent") : 0;
	}
	err = probe(s, fd, v, bytes, off, ret);
	return err == -ENOENT ? refuse_used(s, "the network device lo must be up to see it") : err;
}

/* ---- restore ---- */

/* A frame for nobody. vnet: bytes of the header in front of it. */
static void fill(const struct tx_view *v, uint32_t i, uint32_t vnet)
{
	uint32_t at = TPACKET_ALIGN(v->version == TPACKET_V3 ? sizeof(struct tpacket3_hdr) :
				    v->version == TPACKET_V2 ? sizeof(struct tpacket2_hdr) : sizeof(struct tpacket_hdr));
	uint32_t len = MIN_OF(LENGTH, v->frame_size - at - vnet);
	uint8_t *p = frame_at(v, i);

	memset(p, 0, at + vnet + len);
	if (v->version == TPACKET_V3)
		((struct tpacket3_hdr *)p)->tp_mac = ((struct tpacket3_hdr *)p)->tp_net = (uint16_t)at;
	else if (v->version == TPACKET_V2)
		((struct tpacket2_hdr *)p)->tp_mac = ((struct tpacket2_hdr *)p)->tp_net = (uint16_t)at;
	else
		((struct tpacket_hdr *)p)->tp_mac = ((struct tpacket_hdr *)p)->tp_net = (uint16_t)at;
	*length_at(v, i) = vnet + len;
	p[at + vnet + 12] = TYPE_EXPERIMENTAL >> 8;
	p[at + vnet + 13] = TYPE_EXPERIMENTAL & 0xff;
}

int tx_advance(struct cr_session *s, int fd, const struct tx_view *v, uint32_t head)
{
	int size = sock_get_int(fd, SOL_PACKET, OPT_VNET_HDR_SZ);
	uint32_t vnet = size > 0 ? (uint32_t)size : sock_get_int(fd, SOL_PACKET, PACKET_VNET_HDR) ? VNET_HDR : 0;
	int err = 0;

	for (uint32_t i = 0; i < head && !err; i++) {
		fill(v, i, vnet);
		set_status(v, i, TP_STATUS_SEND_REQUEST);
		for (int ms = 0; get_status(v, i) & BUSY && !err; ms++) {
			if (get_status(v, i) & TP_STATUS_WRONG_FORMAT || ms > WAIT_MS)
				err = -EIO;
			else if (get_status(v, i) & TP_STATUS_SEND_REQUEST)
				err = look(fd);
			else
				nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
		}
	}
	return err ? cr_fail(s, -err, "bringing the ring for sending of a packet socket to its position (%u) with frames through "
			     "the device lo, which must be up: %s", head, strerror(-err)) : 0;
}
