/* SPDX-License-Identifier: MIT */
/* Packets (O_DIRECT) in a pipe keep their borders, also among bytes that are no packets. */
#include "prog.h"

int main(int argc, char **argv)
{
	static char page[4096], got[20000];
	int p[2];

	prog_init(argc, argv);
	memset(page, 'p', sizeof(page));
	CHECK(pipe2(p, O_DIRECT | O_NONBLOCK) == 0);
	CHECK(write(p[1], "one", 3) == 3 && write(p[1], "fifth", 5) == 5 && write(p[1], page, 4096) == 4096);
	CHECK(fcntl(p[1], F_SETFL, O_NONBLOCK) == 0);
	CHECK(write(p[1], page, 4000) == 4000 && write(p[1], page, 4000) == 4000);
	CHECK(fcntl(p[1], F_SETFL, O_NONBLOCK | O_DIRECT) == 0);
	CHECK(write(p[1], page, 200) == 200 && write(p[1], "z", 1) == 1);
	prog_ready();

	CHECK(fcntl(p[1], F_GETFL) == (O_WRONLY | O_NONBLOCK | O_DIRECT));
	CHECK(read(p[0], got, sizeof(got)) == 3 && !memcmp(got, "one", 3));
	CHECK(read(p[0], got, 2) == 2 && !memcmp(got, "fi", 2)); /* the rest of a packet is dropped */
	CHECK(read(p[0], got, sizeof(got)) == 4096);
	CHECK(read(p[0], got, sizeof(got)) == 8000 + 200); /* a read goes on until a packet ends */
	CHECK(read(p[0], got, sizeof(got)) == 1 && got[0] == 'z');
	CHECK(read(p[0], got, sizeof(got)) < 0 && errno == EAGAIN);
	CHECK(write(p[1], "ab", 2) == 2 && write(p[1], "cd", 2) == 2 && read(p[0], got, sizeof(got)) == 2);
	prog_ok();
}
