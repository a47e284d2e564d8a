/* SPDX-License-Identifier: MIT */
/*
 * Packet sockets with rings for sending (TPACKET_V1, V2, V3): new, used, gone round, with frames that wait to be sent, beside a
 * ring for receiving. The kernel goes on where it was: what the program puts into its next frame arrives, once.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>

#include "prog.h"

#define TYPE 0x88b6
#define BLOCK 8192
#define BLOCKS 2
#define FRAME 2048
#define FRAMES (BLOCK / FRAME * BLOCKS)

struct ring {
	int fd, version, type;
	uint8_t *mem; /* of the ring for sending */
	unsigned at;
};

static int lo, receiver;
static uint32_t number, got;
static uint64_t tag; /* of this program: others may use the device */

static void make(struct ring *r, int version, int type, int both)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = 0, .sll_ifindex = lo };
	struct tpacket_req3 req = { BLOCK, BLOCKS, FRAME, FRAMES, both && version == TPACKET_V3 ? 30 : 0, 0, 0 };
	struct tpacket_req3 tx = { BLOCK, BLOCKS, FRAME, FRAMES, 0, 0, 0 };
	socklen_t len = version == TPACKET_V3 ? sizeof(req) : sizeof(struct tpacket_req);

	memset(r, 0, sizeof(*r));
	r->version = version;
	r->type = type;
	r->fd = socket(AF_PACKET, type, 0);
	if (r->fd < 0)
		prog_skip("no packet sockets: %s", strerror(errno));
	CHECK(setsockopt(r->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) == 0);
	CHECK(!both || setsockopt(r->fd, SOL_PACKET, PACKET_RX_RING, &req, len) == 0);
	if (setsockopt(r->fd, SOL_PACKET, PACKET_TX_RING, &tx, len) < 0)
		prog_skip("no such ring for sending: %s", strerror(errno));
	r->mem = mmap(NULL, BLOCK * BLOCKS << both, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	CHECK(r->mem != MAP_FAILED && bind(r->fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	r->mem += both ? BLOCK * BLOCKS : 0;
}

static volatile uint32_t *status_of(struct ring *r, unsigned i)
{
	uint8_t *p = r->mem + i * FRAME;

	if (r->version == TPACKET_V3)
		return &((struct tpacket3_hdr *)p)->tp_status;
	return (volatile uint32_t *)p; /* V1 has a long there, of which the rest is 0 */
}

/* Fills the next frame with the next number; the kernel is to send it at the next flush(). */
static void put(struct ring *r)
{
	uint8_t *p = r->mem + r->at * FRAME, *data;

	for (int ms = 0; *status_of(r, r->at) & (TP_STATUS_SEND_REQUEST | TP_STATUS_SENDING); ms += 5) {
		if (ms > 60000)
			prog_fail("version %d: frame %u is never sent", r->version + 1, r->at);
		prog_nap(5);
	}
	if (r->version == TPACKET_V3) {
		((struct tpacket3_hdr *)p)->tp_len = 60;
		((struct tpacket3_hdr *)p)->tp_next_offset = 0;
		data = p + TPACKET_ALIGN(sizeof(struct tpacket3_hdr));
	} else if (r->version == TPACKET_V2) {
		((struct tpacket2_hdr *)p)->tp_len = 60;
		data = p + TPACKET_ALIGN(sizeof(struct tpacket2_hdr));
	} else {
		((struct tpacket_hdr *)p)->tp_len = 60;
		data = p + TPACKET_ALIGN(sizeof(struct tpacket_hdr));
	}
	memset(data, 0, 60);
	if (r->type == SOCK_RAW) {
		data[12] = TYPE >> 8;
		data[13] = TYPE & 0xff;
		data += 14;
	}
	memcpy(data, &tag, sizeof(tag));
	memcpy(data + 8, &number, sizeof(number));
	number++;
	__atomic_store_n((uint32_t *)status_of(r, r->at), TP_STATUS_SEND_REQUEST, __ATOMIC_SEQ_CST);
	r->at = (r->at + 1) % FRAMES;
}

static void flush(struct ring *r)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(TYPE), .sll_ifindex = lo, .sll_halen = 6 };

	CHECK(sendto(r->fd, NULL, 0, 0, (struct sockaddr *)&a, sizeof(a)) >= 0);
}

/* All numbers arrive, each once and in order. */
static void take_all(struct ring *r)
{
	uint8_t b[2048];
	uint32_t n;

	while (got < number) {
		struct pollfd p = { .fd = receiver, .events = POLLIN };

		if (poll(&p, 1, 60000) != 1)
			prog_fail("version %d: frame %u of number %u does not arrive", r->version + 1, r->at, got);
		if (recv(receiver, b, sizeof(b), 0) < 26 || memcmp(b + 14, &tag, sizeof(tag)))
			continue;
		memcpy(&n, b + 22, sizeof(n));
		if (n != got)
			prog_fail("version %d: number %u arrives, not %u", r->version + 1, n, got);
		got++;
	}
}

static void send_some(struct ring *r, int n)
{
	for (; n > 0; n--) {
		put(r);
		flush(r);
		take_all(r);
	}
}

static void open_receiver(void)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(TYPE), .sll_ifindex = lo };

	receiver = socket(AF_PACKET, SOCK_RAW, 0);
	CHECK(receiver >= 0 && bind(receiver, (struct sockaddr *)&a, sizeof(a)) == 0);
}

int main(int argc, char **argv)
{
	struct ring r[7];
	int fd;

	prog_init(argc, argv);
	lo = if_nametoindex("lo");
	fd = open("/dev/urandom", O_RDONLY);
	CHECK(fd >= 0 && read(fd, &tag, sizeof(tag)) == sizeof(tag));
	close(fd);
	make(&r[0], TPACKET_V1, SOCK_RAW, 0);
	make(&r[1], TPACKET_V2, SOCK_RAW, 0);
	make(&r[2], TPACKET_V3, SOCK_RAW, 0);
	make(&r[3], TPACKET_V2, SOCK_DGRAM, 0);
	make(&r[4], TPACKET_V2, SOCK_RAW, 1);
	make(&r[5], TPACKET_V2, SOCK_RAW, 0);
	make(&r[6], TPACKET_V1, SOCK_RAW, 0); /* new */
	open_receiver();
	for (int i = 0; i < 6; i++)
		send_some(&r[i], 3 + 4 * i); /* up to almost three times round */
	close(receiver);
	put(&r[5]); /* not asked for yet */
	put(&r[5]);
	prog_ready();

	open_receiver();
	flush(&r[5]);
	take_all(&r[5]);
	for (int i = 0; i < 7; i++)
		send_some(&r[i], 10);
	prog_ok();
}
