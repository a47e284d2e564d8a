/* SPDX-License-Identifier: MIT */
/* Contexts of one task: an idle one, one with events that nobody has read; what CRIU's images can say of them. */
#include "context.h"

int main(int argc, char **argv)
{
	aio_context_t idle, unread;
	struct io_event ev[4];

	prog_init(argc, argv);
	open_data();
	idle = setup(64);
	unread = setup(1000);
	for (int i = 0; i < 5; i++)
		round_trip(unread, i);
	for (int i = 0; i < 3; i++)
		CHECK(submit(unread, 1000 + i, i, 10 + i) == 1);
	prog_ready();

	CHECK(reap(unread, 3, 4, ev) == 3);
	for (int i = 0; i < 3; i++)
		CHECK(ev[i].data == 1000u + i && ev[i].res == 10 + i);
	CHECK(syscall(SYS_io_getevents, unread, 0l, 1l, ev, NULL) == 0);
	round_trip(unread, 1);
	round_trip(idle, 2);
	CHECK(syscall(SYS_io_destroy, idle) == 0 && submit(idle, 0, 0, 1) < 0 && errno == EINVAL);
	prog_ok();
}
