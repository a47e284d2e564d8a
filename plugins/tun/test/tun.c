/* SPDX-License-Identifier: MIT */
/* A tun device, a tap device with two queues, a descriptor without a device: they are there again, as they were set up. */
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "prog.h"

static int made(const char *name, int flags)
{
	struct ifreq r = { .ifr_flags = flags };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		prog_skip("/dev/net/tun: %s", strerror(errno));
	strcpy(r.ifr_name, name);
	if (*name && ioctl(fd, TUNSETIFF, &r) && errno == EPERM)
		prog_skip("no device may be made here");
	CHECK(!*name || !strcmp(r.ifr_name, name));
	return fd;
}

static struct ifreq ask(unsigned long request, const char *name)
{
	struct ifreq r = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	strcpy(r.ifr_name, name);
	CHECK(fd >= 0 && ioctl(fd, request, &r) == 0 && close(fd) == 0);
	return r;
}

static void set(unsigned long request, struct ifreq r)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	CHECK(fd >= 0 && ioctl(fd, request, &r) == 0 && close(fd) == 0);
}

int main(int argc, char **argv)
{
	static const unsigned char mac[6] = { 0x02, 1, 2, 3, 4, 5 };
	int tun, tap[2], none, size = 12;
	struct ifreq r;

	prog_init(argc, argv);
	tun = made("sttun7", IFF_TUN | IFF_NO_PI);
	for (int i = 0; i < 2; i++)
		tap[i] = made("sttap7", IFF_TAP | IFF_VNET_HDR | IFF_MULTI_QUEUE);
	none = made("", 0);
	r = ask(SIOCGIFMTU, "sttun7");
	r.ifr_mtu = 1234;
	set(SIOCSIFMTU, r);
	r = ask(SIOCGIFFLAGS, "sttun7");
	r.ifr_flags |= IFF_UP;
	set(SIOCSIFFLAGS, r);
	r = ask(SIOCGIFHWADDR, "sttap7");
	memcpy(r.ifr_hwaddr.sa_data, mac, sizeof(mac));
	set(SIOCSIFHWADDR, r);
	CHECK(ioctl(tap[0], TUNSETVNETHDRSZ, &size) == 0 && fcntl(tun, F_SETFL, O_NONBLOCK) == 0);
	prog_ready();

	CHECK(ask(SIOCGIFMTU, "sttun7").ifr_mtu == 1234 && ask(SIOCGIFFLAGS, "sttun7").ifr_flags & IFF_UP);
	r = ask(SIOCGIFHWADDR, "sttap7");
	CHECK(!memcmp(r.ifr_hwaddr.sa_data, mac, sizeof(mac)) && !(ask(SIOCGIFFLAGS, "sttap7").ifr_flags & IFF_UP));
	memset(&r, 0, sizeof(r));
	CHECK(ioctl(tun, TUNGETIFF, &r) == 0 && !strcmp(r.ifr_name, "sttun7"));
	CHECK((r.ifr_flags & (IFF_TUN | IFF_NO_PI)) == (IFF_TUN | IFF_NO_PI) && fcntl(tun, F_GETFL) & O_NONBLOCK);
	for (int i = 0; i < 2; i++) {
		CHECK(ioctl(tap[i], TUNGETIFF, &r) == 0 && !strcmp(r.ifr_name, "sttap7"));
		CHECK(r.ifr_flags & IFF_TAP && r.ifr_flags & IFF_VNET_HDR && r.ifr_flags & IFF_MULTI_QUEUE);
	}
	size = 0;
	CHECK(ioctl(tap[0], TUNGETVNETHDRSZ, &size) == 0 && size == 12);
	CHECK(ioctl(none, TUNGETIFF, &r) < 0 && errno == EBADFD);
	CHECK(fcntl(tun, F_GETFD) == FD_CLOEXEC);
	prog_ok();
}
