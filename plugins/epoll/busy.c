/* SPDX-License-Identifier: MIT */
/* busy.c: the parameters of busy polling, which the well-known message of an epoll has no room for. */
#include "epoll.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "x-epoll-busy.pb-c.h"

/* linux/eventpoll.h, 6.9 */
struct busy_params {
	uint32_t usecs;
	uint16_t budget;
	uint8_t prefer, pad;
};
#define SET_PARAMS _IOW(0x8A, 0x01, struct busy_params)
#define GET_PARAMS _IOR(0x8A, 0x02, struct busy_params)

const struct cr_img_type epoll_img_busy = { sizeof(epoll_img_busy), "x-epoll-busy", 0x45504231, 0 };

int epoll_busy_dump(struct cr_session *s, struct cr_file *f, int lfd)
{
	EpollBusyEntry e = EPOLL_BUSY_ENTRY__INIT;
	struct busy_params p = { 0 };

	if (ioctl(lfd, GET_PARAMS, &p) < 0 || (!p.usecs && !p.budget && !p.prefer))
		return 0; /* an older kernel, or the defaults */
	e.id = s->core->file_id(f);
	e.usecs = p.usecs;
	e.budget = p.budget;
	e.prefer = p.prefer;
	return common_append(s, &epoll_img_busy, CR_IMG_NO_ID, &e.base);
}

int epoll_busy_restore(struct cr_session *s, struct cr_file *f, int fd)
{
	EpollBusyEntry *all;
	size_t n = 0;
	int err = common_read_list(s, &epoll_img_busy, &epoll_busy_entry__descriptor, (void **)&all, &n);

	for (size_t i = 0; i < n && !err; i++) {
		const struct busy_params p = { all[i].usecs, (uint16_t)all[i].budget, all[i].prefer != 0, 0 };

		if (all[i].id == s->core->file_id(f) && ioctl(fd, SET_PARAMS, &p) < 0)
			cr_lost(s, f, "busy polling of %u us, budget %u: %s%s", p.usecs, p.budget, strerror(errno),
				errno == EPERM ? " (a budget above 64 needs CAP_NET_ADMIN)" : "");
	}
	return err;
}
