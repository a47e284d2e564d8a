/* SPDX-License-Identifier: MIT */
/* Sockets between virtual machine and host: listening ones of both types, a bound one, a new one, with options. */
#include <stdint.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>

#include "prog.h"

static struct sockaddr_vm name_of(int fd)
{
	struct sockaddr_vm a = { 0 };
	socklen_t len = sizeof(a);

	CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	return a;
}

/* Ports belong to the machine, not to a network namespace: a random one. */
static int bound(int type)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY };
	int fd = socket(AF_VSOCK, type, 0);

	if (fd < 0)
		prog_skip("no sockets of this family: %s", strerror(errno));
	do {
		CHECK(getrandom(&a.svm_port, sizeof(a.svm_port), 0) == sizeof(a.svm_port));
		a.svm_port = 10000 + a.svm_port % 1000000000;
		errno = 0;
	} while (bind(fd, (struct sockaddr *)&a, sizeof(a)) && errno == EADDRINUSE);
	if (errno)
		prog_skip("no transport for sockets of this family: %s", strerror(errno));
	return fd;
}

static uint64_t buffer(int fd, int name)
{
	uint64_t v = 0;
	socklen_t len = sizeof(v);

	CHECK(getsockopt(fd, AF_VSOCK, name, &v, &len) == 0);
	return v;
}

static int get(int fd, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	CHECK(getsockopt(fd, SOL_SOCKET, name, &v, &len) == 0);
	return v;
}

int main(int argc, char **argv)
{
	uint64_t max = 1000000, size = 500000;
	struct sockaddr_vm a, b, c;
	int stream, packets, only, fresh, fd;

	prog_init(argc, argv);
	stream = bound(SOCK_STREAM);
	packets = bound(SOCK_SEQPACKET);
	only = bound(SOCK_STREAM);
	fresh = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK, 0);
	CHECK(setsockopt(stream, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &max, sizeof(max)) == 0);
	CHECK(setsockopt(stream, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &size, sizeof(size)) == 0);
	CHECK(listen(stream, 5) == 0 && listen(packets, 5) == 0 && fcntl(packets, F_SETFL, O_NONBLOCK) == 0);
	a = name_of(stream);
	b = name_of(packets);
	c = name_of(only);

	prog_ready();

	CHECK(name_of(stream).svm_port == a.svm_port && name_of(packets).svm_port == b.svm_port);
	CHECK(name_of(only).svm_port == c.svm_port && name_of(fresh).svm_port == VMADDR_PORT_ANY);
	CHECK(get(stream, SO_ACCEPTCONN) == 1 && get(packets, SO_ACCEPTCONN) == 1 && get(only, SO_ACCEPTCONN) == 0);
	CHECK(get(packets, SO_TYPE) == SOCK_SEQPACKET && get(stream, SO_TYPE) == SOCK_STREAM);
	CHECK(buffer(stream, SO_VM_SOCKETS_BUFFER_MAX_SIZE) == max && buffer(stream, SO_VM_SOCKETS_BUFFER_SIZE) == size);
	CHECK(accept(packets, NULL, NULL) < 0 && errno == EAGAIN && fcntl(fresh, F_GETFL) & O_NONBLOCK);
	fd = socket(AF_VSOCK, SOCK_STREAM, 0);
	CHECK(bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 && errno == EADDRINUSE);
	CHECK(bind(fd, (struct sockaddr *)&c, sizeof(c)) < 0 && errno == EADDRINUSE);
	prog_ok();
}
