/* SPDX-License-Identifier: MIT */
/*
 * sock.h: options of sockets, shared by the plugins of the socket families.
 *
 * sk_opts_entry is what every family has.  Options that no message has a field for
 * go to an image of the plugin: of a list of options those are kept whose value
 * differs from the value that a new socket of the kind has, whatever they mean.
 * A socket carries what its namespace's sysctls were when it was made; so values
 * are compared with a socket made here and now, not with constants.
 */
#ifndef PLUGINS_COMMON_SOCK_H
#define PLUGINS_COMMON_SOCK_H

#include <stdint.h>
#include <sys/socket.h>

#include "common.h"
#include "sk-opts.pb-c.h"

/* Integer option, 0 where the kernel or the family does not know it. */
int sock_get_int(int fd, int level, int name);
/* Sets an integer option; 0 or -errno recorded, with what in the message. */
int sock_set_int(struct cr_session *s, int fd, int level, int name, int value, const char *what);

/* 1 when fd belongs to another network namespace than this process; 0 also when the kernel doesn't tell. */
int sock_in_other_netns(int fd);

/* dump(): options of the description into *ret, which is initialised here; memory of the session.  0 or -errno. */
int sock_opts_dump(struct cr_session *s, int fd, SkOptsEntry *ret);
/* open(): everything in e but buffer sizes and the bound device.  0 or -errno recorded. */
int sock_opts_restore(struct cr_session *s, int fd, const SkOptsEntry *e);
/*
 * Buffer sizes, with their locks.  Larger ones than the sysctls net.core.[rw]mem_max allow need
 * CAP_NET_ADMIN; without it they get as large as possible, with a warning.
 */
int sock_buffers_restore(struct cr_session *s, int fd, const SkOptsEntry *e);

/* An option for sock_extra_dump(). len: bytes of the value, 0: a text. */
struct sock_extra {
	int level, name;
	size_t len;
};
/* The options of level SOL_SOCKET that all families have; ends with len 0 and name 0. */
extern const struct sock_extra sock_extra_common[];

/*
 * dump(): appends to the image of type those options in list (ended as above) that differ
 * between fd and fresh.  0 or -errno recorded.
 */
int sock_extra_dump(struct cr_session *s, const struct cr_img_type *type, struct cr_file *f, int fd, int fresh,
		    const struct sock_extra *list);
/*
 * stage(): reads the image; open(): sets what it has for f.  Only options of a list in lists (ended by NULL) are
 * set, whatever the image says.  0 or -errno recorded.
 */
struct sock_extra_image; /* memory of the session */
int sock_extra_load(struct cr_session *s, const struct cr_img_type *type, struct sock_extra_image **ret);
int sock_extra_restore(struct cr_session *s, const struct sock_extra_image *image, struct cr_file *f, int fd,
		       const struct sock_extra *const *lists);
/*
 * The owner of a socket, which rules for routing and SO_REUSEPORT look at, goes to the same image.
 * dump(): st is the socket's.  open(): any time.  0 or -errno recorded.
 */
int sock_owner_dump(struct cr_session *s, const struct cr_img_type *type, struct cr_file *f, const struct stat *st);
int sock_owner_restore(struct cr_session *s, const struct sock_extra_image *image, struct cr_file *f, int fd);
/* As sock_extra_restore() for SO_LOCK_FILTER, which it leaves out: when the socket has its filter. */
int sock_lock_restore(struct cr_session *s, const struct sock_extra_image *image, struct cr_file *f, int fd);

#endif
