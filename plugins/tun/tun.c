/* SPDX-License-Identifier: MIT */
/*
 * tun.c: descriptors of /dev/net/tun, the program's end of a network device.
 *
 * A device that is not persistent goes away with the last program that has it, so restore makes it anew, with its
 * MTU, its hardware address and whether it is up; one that is there is attached to as it is.  Addresses and routes are
 * not the program's, and are nobody's to keep here.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common.h"
#include "sock.h"
#include "tun.pb-c.h"
#include "util.h"
#include "x-tun-more.pb-c.h"

#define TUN_DEVICE "/dev/net/tun"
/* Flags that TUNSETIFF takes and TUNGETIFF gives back. */
#define LINK_FLAGS (IFF_TUN | IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE | IFF_NAPI | IFF_NAPI_FRAGS)
#define MAC_BYTES 6

struct tun_state {
	VEC(TunMoreEntry *) more; /* memory of the session */
};

struct tun_priv {
	TunfileEntry *e; /* memory of the session */
};

static const struct cr_img_type img_more = { sizeof(img_more), "x-tun-more", 0x5854554e, 0 };

static struct tun_state *state(struct cr_session *s)
{
	return s->core->plugin_priv(s, sizeof(struct tun_state));
}

static int tun_match(const struct cr_file_info *info)
{
	return S_ISCHR(info->st.st_mode) && info->st.st_rdev == makedev(10, 200) && !(info->flags & O_PATH) ? CR_DEVICE :
													       CR_NOT_MINE;
}

/* ---- dump ---- */

static int tun_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	if (lfd >= 0 && sock_in_other_netns(lfd))
		return cr_refuse(s, "let the program close it before the dump, and open it again after the restore",
				 "%s belongs to another network namespace", TUN_DEVICE);
	return 0;
}

/* Asks the device of that name; 0 or -errno. */
static int ask(unsigned long request, const char *name, struct ifreq *r)
{
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (name)
		snprintf(r->ifr_name, sizeof(r->ifr_name), "%s", name);
	return fd < 0 || ioctl(fd, request, r) ? -errno : 0;
}

static void dump_link(struct cr_session *s, int lfd, const struct ifreq *dev, TunMoreEntry *m)
{
	struct ifreq r = { 0 };
	int v;

	m->has_link_flags = 1;
	m->link_flags = (uint16_t)dev->ifr_flags & (LINK_FLAGS | IFF_PERSIST);
	m->has_vnethdr = dev->ifr_flags & IFF_VNET_HDR && !ioctl(lfd, TUNGETVNETHDRSZ, &v);
	m->vnethdr = m->has_vnethdr ? v : 0;
	m->has_sndbuf = !ioctl(lfd, TUNGETSNDBUF, &v);
	m->sndbuf = m->has_sndbuf ? v : 0;
	m->has_mtu = !ask(SIOCGIFMTU, dev->ifr_name, &r);
	m->mtu = m->has_mtu ? r.ifr_mtu : 0;
	m->has_up = !ask(SIOCGIFFLAGS, dev->ifr_name, &r);
	m->up = m->has_up && r.ifr_flags & IFF_UP;
	m->has_mac = dev->ifr_flags & IFF_TAP && !ask(SIOCGIFHWADDR, dev->ifr_name, &r);
	m->mac.len = m->has_mac ? MAC_BYTES : 0;
	m->mac.data = s->core->alloc(s, MAC_BYTES);
	memcpy(m->mac.data, r.ifr_hwaddr.sa_data, MAC_BYTES);
}

static int tun_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info)
{
	TunfileEntry e = TUNFILE_ENTRY__INIT;
	TunMoreEntry m = TUN_MORE_ENTRY__INIT;
	struct ifreq r = { 0 };
	FownEntry fown;
	int err;

	e.id = m.id = s->core->file_id(f);
	m.flags = info->flags;
	common_fown_dump(s, f, &fown);
	m.fown = &fown;
	if (!ioctl(lfd, TUNGETIFF, &r)) {
		e.netdev = common_strdup(s, r.ifr_name);
		e.has_detached = e.detached = !!(r.ifr_flags & IFF_DETACH_QUEUE);
		dump_link(s, lfd, &r, &m);
	} else if (errno != EBADFD) {
		return cr_fail(s, errno, "asking %s for its network device: %s", TUN_DEVICE, strerror(errno));
	}
	err = common_append(s, &img_more, CR_IMG_NO_ID, &m.base);
	return err ? err : common_emit_msg(s, f, &e);
}

/* ---- restore ---- */

static int read_more(struct cr_session *s, struct cr_reader *r)
{
	const void *data;
	size_t len;
	int err;

	while ((err = s->core->img_next(r, &data, &len)) > 0) {
		TunMoreEntry *e = common_load(s, &tun_more_entry__descriptor, data, len);

		if (!e)
			return -EPROTO;
		if (e->has_mac && e->mac.len != MAC_BYTES)
			return cr_fail(s, EPROTO, "x-tun-more.img: a hardware address of %zu bytes", e->mac.len);
		*vec_push(&state(s)->more) = e;
	}
	return err;
}

static int tun_stage(struct cr_session *s)
{
	struct cr_reader *r;
	int err = s->core->img_open(s, &img_more, CR_IMG_NO_ID, &r);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	err = read_more(s, r);
	s->core->img_close(r);
	return err;
}

static const TunMoreEntry *more_of(struct cr_session *s, struct cr_file *f)
{
	struct tun_state *st = state(s);

	for (size_t i = 0; i < st->more.n; i++)
		if (st->more.v[i]->id == s->core->file_id(f))
			return st->more.v[i];
	return NULL;
}

static int tun_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len)
{
	struct tun_priv *p = s->core->file_priv(f);
	const TunMoreEntry *m = more_of(s, f);

	p->e = common_load(s, &tunfile_entry__descriptor, data, len);
	if (!p->e)
		return -EPROTO;
	if (p->e->netdev && (!*p->e->netdev || strlen(p->e->netdev) >= IFNAMSIZ))
		return cr_fail(s, EPROTO, "the image has a network device called %s", common_quote(s, p->e->netdev));
	if (p->e->netdev && (!m || !m->has_link_flags))
		return cr_fail(s, EOPNOTSUPP, "the images do not tell of what kind the network device %s is: dump with Stasis",
			       common_quote(s, p->e->netdev));
	return 0;
}

static int attach(struct cr_session *s, int fd, const char *name, const TunMoreEntry *m)
{
	struct ifreq r = { .ifr_flags = m->link_flags & LINK_FLAGS };

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (!ioctl(fd, TUNSETIFF, &r))
		return 0;
	if (errno == EBUSY)
		return cr_fail(s, errno, "a running program has the network device %s: end it and restore again",
			       common_quote(s, name));
	return cr_fail(s, errno, "making the network device %s: %s%s", common_quote(s, name), strerror(errno),
		       errno == EPERM ? "; restore with CAP_NET_ADMIN" : errno == EINVAL ? "; another one has this name" : "");
}

static int set_link(struct cr_session *s, const char *name, const TunMoreEntry *m)
{
	struct ifreq r = { 0 };
	int err = 0;

	if (m->has_mac) {
		r.ifr_hwaddr.sa_family = ARPHRD_ETHER;
		memcpy(r.ifr_hwaddr.sa_data, m->mac.data, MAC_BYTES);
		err = ask(SIOCSIFHWADDR, name, &r);
	}
	if (!err && m->has_mtu) {
		r.ifr_mtu = m->mtu;
		err = ask(SIOCSIFMTU, name, &r);
	}
	if (!err)
		err = ask(SIOCGIFFLAGS, name, &r);
	if (!err && m->up) {
		r.ifr_flags |= IFF_UP;
		err = ask(SIOCSIFFLAGS, name, &r);
	}
	return err < 0 ? cr_fail(s, -err, "setting up the network device %s: %s", common_quote(s, name), strerror(-err)) : 0;
}

static int set_queue(struct cr_session *s, int fd, const TunfileEntry *e, const TunMoreEntry *m)
{
	struct ifreq r = { .ifr_flags = IFF_DETACH_QUEUE };
	int v;

	v = m->vnethdr;
	if (m->has_vnethdr && ioctl(fd, TUNSETVNETHDRSZ, &v))
		return cr_fail(s, errno, "TUNSETVNETHDRSZ %d: %s", v, strerror(errno));
	v = m->sndbuf;
	if (m->has_sndbuf && ioctl(fd, TUNSETSNDBUF, &v))
		return cr_fail(s, errno, "TUNSETSNDBUF %d: %s", v, strerror(errno));
	if (m->link_flags & IFF_PERSIST && ioctl(fd, TUNSETPERSIST, 1ul))
		return cr_fail(s, errno, "TUNSETPERSIST: %s", strerror(errno));
	if (e->has_detached && e->detached && ioctl(fd, TUNSETQUEUE, &r))
		return cr_fail(s, errno, "TUNSETQUEUE: %s", strerror(errno));
	return 0;
}

static int set_up(struct cr_session *s, int fd, const TunfileEntry *e, const TunMoreEntry *m)
{
	int is_new, err;

	if (!e->netdev)
		return 0;
	is_new = !if_nametoindex(e->netdev);
	err = attach(s, fd, e->netdev, m);
	if (!err && is_new)
		err = set_link(s, e->netdev, m);
	return err ? err : set_queue(s, fd, e, m);
}

static int tun_open(struct cr_session *s, struct cr_file *f, int *ret_fd)
{
	const struct tun_priv *p = s->core->file_priv(f);
	const TunMoreEntry *m = more_of(s, f);
	_cleanup_fd_ int fd = open(TUN_DEVICE, (m ? m->flags & O_ACCMODE : O_RDWR) | O_CLOEXEC);
	int err;

	if (fd < 0)
		return cr_fail(s, errno, "%s: %s; the kernel needs CONFIG_TUN (modprobe tun)", TUN_DEVICE, strerror(errno));
	err = set_up(s, fd, p->e, m);
	if (!err && m)
		err = common_set_flags(s, fd, m->flags);
	if (err < 0)
		return err;
	*ret_fd = fd;
	fd = -1;
	return CR_OK;
}

static int tun_wire(struct cr_session *s, struct cr_file *f)
{
	const TunMoreEntry *m = more_of(s, f);

	return m ? common_fown_restore(s, f, m->fown) : 0;
}

static int tun_key(struct cr_session *s, struct cr_file *f, char *buf, size_t size)
{
	const struct tun_priv *p = s->core->file_priv(f);

	if (!p->e->netdev)
		return -ENOENT;
	snprintf(buf, size, "tun[%s]", p->e->netdev);
	return 0;
}

static void tun_done(struct cr_session *s, int error)
{
	vec_free(&state(s)->more);
}

static const struct cr_file_kind tun_kind = {
	.size = sizeof(struct cr_file_kind),
	.name = "tun",
	.fd_type = 15,
	.field = 11,
	.priv_size = sizeof(struct tun_priv),
	.match = tun_match,
	.check = tun_check,
	.dump = tun_dump,
	.load = tun_load,
	.open = tun_open,
	.wire = tun_wire,
	.inherit_key = tun_key,
};
static const struct cr_file_kind *const tun_kinds[] = { &tun_kind, NULL };
static const struct cr_img_type *const tun_images[] = { &img_more, NULL };

static const struct cr_plugin tun_plugin = {
	.size = sizeof(struct cr_plugin),
	.abi = CR_ABI,
	.name = "tun",
	.version = "0.1",
	.summary = "Keeps the program's end of tun and tap devices.",
	.files = tun_kinds,
	.images = tun_images,
	.stage = tun_stage,
	.done = tun_done,
};
CR_PLUGIN_REGISTER(tun_plugin);
