/* SPDX-License-Identifier: MIT */
/*
 * netlink.h: what the files of the plugin "netlink" share.
 *
 *   netlink.c   the plugin table; a socket becomes a message, and back
 *   unread.c    messages that were not read
 */
#ifndef PLUGINS_NETLINK_H
#define PLUGINS_NETLINK_H

#include <inttypes.h>

#include "common.h"
#include "sock.h"
#include "util.h"

struct netlink_state {
	struct sock_extra_image *extra;
	uint32_t lost; /* dump: sockets whose messages are dropped */
	VEC(uint32_t) lost_ids; /* restore: ids of their files */
};
static inline struct netlink_state *netlink_state(struct cr_session *s)
{
	return s->core->plugin_priv(s, sizeof(struct netlink_state));
}

extern const struct cr_img_type netlink_img_lost;

/* prepare(): is the value of --netlink-unread one that exists?  0 or -errno recorded. */
int unread_prepare(struct cr_session *s);
/* check(): refuses unread messages if the user said so. */
int unread_check(struct cr_session *s, int fd);
/* dump(): notes that fd has unread messages, or an error, which both become ENOBUFS.  0 or -errno recorded. */
int unread_dump(struct cr_session *s, struct cr_file *f, int fd);
/* dump_late(): says how many sockets have lost messages. */
int unread_summary(struct cr_session *s);
/* stage(): reads x-netlink-lost.img.  0 or -errno recorded. */
int unread_load(struct cr_session *s);
/* Has f lost messages? */
int unread_is_lost(struct cr_session *s, struct cr_file *f);
/* Makes ENOBUFS the result of the next read of fd, which has its port already but no groups and no filter; warns if it cannot. */
void unread_tell(struct cr_session *s, int fd, unsigned int protocol);

#endif
