/* SPDX-License-Identifier: MIT */
/*
 * Packet sockets with rings (TPACKET_V1, V2, V3), some frames read, some not, one ring that has gone round, one new; a filter.
 * The program goes on where it was, without missing or repeating one, and new frames follow.
 */
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#include "prog.h"

#define MARK 0xa5c3
#define BLOCK 8192
#define BLOCKS 8
#define FRAME 2048

struct ring {
	int fd, version;
	uint8_t *mem;
	unsigned at;		/* next frame, or block */
	unsigned in, left;	/* V3: packets read of the block, and there */
	uint8_t *next;		/* V3: the next packet */
	uint32_t want;		/* number that the next frame must have */
};

static int lo;
static uint32_t sent;

static void make(struct ring *r, int version)
{
	/* frames of our own protocol with MARK, and no others */
	struct sock_filter f[] = { BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 14), BPF_JUMP(BPF_JMP | BPF_JEQ, MARK, 0, 1),
				   BPF_STMT(BPF_RET, 0xffff), BPF_STMT(BPF_RET, 0) };
	struct sock_fprog prog = { 4, f };
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(0x88b6), .sll_ifindex = lo };
	struct tpacket_req3 req = { BLOCK, BLOCKS, FRAME, BLOCK / FRAME * BLOCKS, 30, 0, 0 };

	memset(r, 0, sizeof(*r));
	r->version = version;
	r->fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (r->fd < 0)
		prog_skip("no packet sockets: %s", strerror(errno));
	r->want = sent;
	CHECK(setsockopt(r->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) == 0);
	CHECK(setsockopt(r->fd, SOL_PACKET, PACKET_RX_RING, &req, version == TPACKET_V3 ? sizeof(req) :
			 sizeof(struct tpacket_req)) == 0);
	CHECK(setsockopt(r->fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) == 0);
	r->mem = mmap(NULL, BLOCK * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	CHECK(r->mem != MAP_FAILED && bind(r->fd, (struct sockaddr *)&a, sizeof(a)) == 0);
}

static void put(int n)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(0x88b6), .sll_ifindex = lo, .sll_halen = 6 };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	uint8_t frame[1000] = { [12] = 0x88, 0xb6, MARK >> 8, MARK & 0xff };

	for (; n > 0; n--, sent++) {
		memcpy(frame + 16, &sent, sizeof(sent));
		CHECK(sendto(fd, frame, sizeof(frame), 0, (struct sockaddr *)&a, sizeof(a)) == sizeof(frame));
		prog_nap(2); /* so that they have different times */
	}
	close(fd);
}

static volatile uint32_t *status_of(struct ring *r)
{
	if (r->version == TPACKET_V3)
		return &((struct tpacket_block_desc *)(r->mem + r->at * BLOCK))->hdr.bh1.block_status;
	return (volatile uint32_t *)(r->mem + r->at * FRAME); /* V1 has a long there, of which the rest is 0 */
}

static void wait_user(struct ring *r)
{
	for (int ms = 0; !(*status_of(r) & TP_STATUS_USER); ms += 5) {
		if (ms > 3000)
			prog_fail("version %d: frame or block %u does not come (want %u)", r->version + 1, r->at, r->want);
		prog_nap(5);
	}
}

static void give_back(struct ring *r)
{
	*status_of(r) = TP_STATUS_KERNEL;
	r->at = (r->at + 1) % (r->version == TPACKET_V3 ? BLOCKS : BLOCK / FRAME * BLOCKS);
}

/* The next frame has the next number. */
static void take(struct ring *r)
{
	uint8_t *p;
	uint32_t got;

	if (r->version != TPACKET_V3 || !r->left)
		wait_user(r);
	if (r->version == TPACKET_V1) {
		p = r->mem + r->at * FRAME;
		p += ((struct tpacket_hdr *)p)->tp_mac;
	} else if (r->version == TPACKET_V2) {
		p = r->mem + r->at * FRAME;
		p += ((struct tpacket2_hdr *)p)->tp_mac;
	} else {
		if (!r->left) {
			struct tpacket_block_desc *d = (void *)(r->mem + r->at * BLOCK);

			r->left = d->hdr.bh1.num_pkts;
			r->next = (uint8_t *)d + d->hdr.bh1.offset_to_first_pkt;
		}
		p = r->next + ((struct tpacket3_hdr *)r->next)->tp_mac;
		r->next += ((struct tpacket3_hdr *)r->next)->tp_next_offset;
		r->left--;
	}
	memcpy(&got, p + 16, sizeof(got));
	if (got != r->want)
		prog_fail("version %d: frame %u comes, not %u (at %u)", r->version + 1, got, r->want, r->at);
	r->want++;
	if (r->version != TPACKET_V3 || !r->left)
		give_back(r);
}

int main(int argc, char **argv)
{
	struct ring r[5];

	prog_init(argc, argv);
	lo = if_nametoindex("lo");
	make(&r[0], TPACKET_V1);
	make(&r[1], TPACKET_V2);
	make(&r[2], TPACKET_V2);
	make(&r[3], TPACKET_V3);
	for (int i = 0; i < 10; i++) {
		put(4);
		for (int j = 0; j < 4; j++) {
			take(&r[0]);
			take(&r[2]); /* has gone round, 32 frames, and has nothing unread */
			take(&r[3]);
			if (i < 6)
				take(&r[1]);
		}
	}
	/* V1: three unread; V2: sixteen more; V3: a block that was begun, unless its time is over */
	put(3);
	for (int j = 0; j < 3; j++)
		take(&r[2]);
	for (int j = 0; j < 3; j++)
		take(&r[3]);
	make(&r[4], TPACKET_V3);

	prog_ready();

	put(2);
	for (int i = 0; i < 5; i++)
		while (r[i].want < sent)
			take(&r[i]);
	put(20);
	for (int i = 0; i < 5; i++)
		while (r[i].want < sent)
			take(&r[i]);
	prog_ok();
}
