/* SPDX-License-Identifier: MIT */
/* context.h: what the programs here do with contexts of asynchronous I/O: reads of a file of 4096 bytes. */
#ifndef AIO_TEST_CONTEXT_H
#define AIO_TEST_CONTEXT_H

#include <stdint.h>
#include <linux/aio_abi.h>
#include <sys/syscall.h>

#include "prog.h"

static int file;
static char data[4096];

/* Opens the file that is read. */
static void open_data(void)
{
	file = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(file >= 0 && write(file, data, sizeof(data)) == sizeof(data));
}

static long submit(aio_context_t ctx, uint64_t cookie, long long off, size_t len)
{
	struct iocb cb = { .aio_data = cookie, .aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = file,
			   .aio_buf = (uintptr_t)data, .aio_nbytes = len, .aio_offset = off };
	struct iocb *list[1] = { &cb };

	return syscall(SYS_io_submit, ctx, 1l, list);
}

static long reap(aio_context_t ctx, long min, long max, struct io_event *ev)
{
	struct timespec ts = { 5, 0 };

	return syscall(SYS_io_getevents, ctx, min, max, ev, &ts);
}

static void round_trip(aio_context_t ctx, uint64_t cookie)
{
	struct io_event ev;

	CHECK(submit(ctx, cookie, 0, 100) == 1);
	CHECK(reap(ctx, 1, 1, &ev) == 1 && ev.data == cookie && ev.res == 100);
}

static aio_context_t setup(unsigned nr)
{
	aio_context_t ctx = 0;

	CHECK(syscall(SYS_io_setup, nr, &ctx) == 0);
	return ctx;
}

#endif
