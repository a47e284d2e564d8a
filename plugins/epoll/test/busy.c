/* SPDX-License-Identifier: MIT */
/* The parameters of an epoll that polls network devices while it waits. */
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "prog.h"

struct params {
	uint32_t usecs;
	uint16_t budget;
	uint8_t prefer, pad;
};
#define SET_PARAMS _IOW(0x8A, 0x01, struct params)
#define GET_PARAMS _IOR(0x8A, 0x02, struct params)

int main(int argc, char **argv)
{
	const struct params want = { 170, 8, 1, 0 };
	struct params got = { 0 };
	int a = epoll_create1(0), b = epoll_create1(0);

	prog_init(argc, argv);
	if (ioctl(a, SET_PARAMS, &want))
		prog_skip("the kernel has no EPIOCSPARAMS (6.9): %s", strerror(errno));
	prog_ready();
	CHECK(ioctl(a, GET_PARAMS, &got) == 0 && got.usecs == 170 && got.budget == 8 && got.prefer == 1);
	CHECK(ioctl(b, GET_PARAMS, &got) == 0 && got.usecs == 0 && got.prefer == 0);
	prog_ok();
}
