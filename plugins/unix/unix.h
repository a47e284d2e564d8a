/* SPDX-License-Identifier: MIT */
/*
 * unix.h: what the files of the plugin "unix" share.
 *
 *   unix.c      the plugin table, claims
 *   diag.c      facts about all sockets of the machine, from the kernel's sock_diag
 *   check.c     what cannot be dumped; who is at the other end
 *   dump.c      a socket becomes a message
 *   peek.c      data in queues, at dump
 *   queue.c     data in queues, at restore
 *   sender.c    who has sent it
 *   creds.c     whom SO_PEERCRED names, at dump and restore
 *   name.c      restore: names of sockets
 *   pair.c      restore: connected sockets, both ends at once
 *   restore.c   a message becomes a socket, or two of them
 */
#ifndef PLUGINS_UNIX_H
#define PLUGINS_UNIX_H

#include <linux/un.h>
#include <sys/socket.h>

#include "common.h"
#include "sk-packet.pb-c.h"
#include "sk-unix.pb-c.h"
#include "sock.h"
#include "util.h"
#include "x-unix-moved.pb-c.h"
#include "x-unix-packet.pb-c.h"
#include "x-unix-peer.pb-c.h"

/* States as the kernel numbers them; a datagram socket is ESTABLISHED once it has had a peer. */
enum { SK_ESTABLISHED = 1, SK_CLOSE = 7, SK_LISTEN = 10 };
enum { SK_EXTERN = 1 }; /* unix_sk_entry.uflags: a socket outside the tree, known by its name */

/* A socket in the kernel's list. */
struct sk_fact {
	uint32_t ino;
	uint32_t type, state, shutdown;
	int has_peer;
	uint32_t peer; /* inode number, 0 when that end has no descriptor (yet, or any more) */
	uint32_t rqueue, wqueue; /* of a listening one: waiting connections, backlog */
	int has_vfs;
	uint32_t vfs_ino, vfs_dev; /* of the path that it was bound to; device as the kernel numbers it */
	unsigned char name[112]; /* as in sun_path, an abstract one from its NUL on */
	uint32_t name_len;
	uint32_t *icons; /* malloced: inode numbers of the clients that wait to be accepted */
	uint32_t nicons;
};

/* A packet, or a piece of a stream, that goes back into a queue. */
struct packet {
	uint32_t id_for; /* id of the file of the receiver */
	uint32_t len;
	uint32_t seq;
	char *data; /* malloced */
	const SkPacketEntry *e; /* memory of the session */
	const UnixPacketEntry *more; /* as well; NULL: nothing */
	int only_urgent; /* no packet: an urgent byte behind all of them */
};

#define MAX_RIGHTS 253 /* SCM_MAX_FD */

/* Room for the control data of a packet. */
union control {
	struct cmsghdr align;
	char room[CMSG_SPACE(MAX_RIGHTS * sizeof(int)) + 1024];
};

/* The same at the dump. */
struct peeked {
	uint32_t id_for;
	uint32_t len;
	char *data;	  /* malloced */
	uint32_t *rights; /* malloced: ids of files */
	size_t nrights;
	struct ucred cred; /* of the sender, pid 0: unknown */
	char name[112];	   /* of the sender's socket */
	size_t name_len;
	int urgent; /* a byte sent with MSG_OOB in front of it, -1: none */
};

/* A socket, restore. */
struct usk {
	struct cr_file *f;
	const UnixSkEntry *e;	 /* memory of the session */
	const struct packet *queue; /* its packets are in a row */
	size_t nqueue;
	uint32_t partner; /* 1 + index of the other end of the socketpair(2) to make; 0: none */
	int connect;	  /* wire(): connect to the peer */
};

/* Who SO_PEERCRED names, restore. */
struct sk_cred {
	uint32_t id; /* of the file */
	pid_t pid;   /* 0: unknown */
	uid_t uid;
	gid_t gid;
	int in_tree; /* the pid is one of those that the restore will create: it gets free, if it is not yet */
};

struct unix_state {
	/* facts, sorted by ino; dump, and restore for who uses a path */
	VEC(struct sk_fact) facts;
	int have_facts;
	/* dump: (ino, file) of all sockets, sorted */
	VEC(struct sk_file { uint32_t ino; struct cr_file *f; }) files;
	int have_files;
	int collected;
	uint32_t cut; /* sockets whose peers outside are given up (--unix-peer close) */
	VEC(struct peeked) peeked; /* sorted by nothing: what collecting found */
	/* restore */
	VEC(struct usk) socks; /* [i]: id i + 1 in the space "unix-ino" */
	VEC(struct packet) packets; /* sorted by id_for */
	VEC(struct sk_node { uint32_t ino; int fd; }) nodes; /* files without a name, of sockets */
	VEC(char *) created; /* files of sockets that the restore has made; malloced */
	VEC(struct sk_cred) creds;
	uint64_t pid_deadline; /* until then pids of the killed tree may get free, 0: none was missed yet */
	VEC(struct sk_postponed { const struct usk *u; int wfd; }) postponed; /* queues with descriptors that are made late */
	VEC(const struct usk *) unfinished; /* unix_finish() waits for those */
	struct sock_extra_image *extra;
	VEC(UnixPeerEntry *) peers; /* memory of the session */
	VEC(UnixMovedEntry *) moved; /* as well */
	int linked;
};
static inline struct unix_state *unix_state(struct cr_session *s)
{
	return s->core->plugin_priv(s, sizeof(struct unix_state));
}

extern const struct cr_img_type unix_img_queues, unix_img_packets, unix_img_moved, unix_img_moved, unix_img_extra,
unix_img_peers, unix_img_creds;
extern const struct sock_extra unix_extra[];

/* ---- diag.c ---- */

/* Reads the list, once.  0 or -errno recorded. */
int diag_read(struct cr_session *s);
/* The socket with that inode number, or NULL. */
const struct sk_fact *diag_find(struct cr_session *s, uint32_t ino);
/* The listening socket in whose queue client ino waits, or NULL. */
const struct sk_fact *diag_listener_of(struct cr_session *s, uint32_t client);
/* Is a socket bound to that very file? */
int diag_bound(struct cr_session *s, const struct stat *st);
/* A name as it may be printed: "/run/x", "@abstract", "(no name)"; memory of the session. */
const char *unix_name_text(struct cr_session *s, const void *name, size_t len);

/* ---- check.c ---- */

/* The file object of the socket with that inode number, or NULL: the tree does not have it. */
struct cr_file *unix_file_of(struct cr_session *s, uint32_t ino);
/* prepare(): is the value of --unix-peer one that exists?  0 or -errno recorded. */
int check_prepare(struct cr_session *s);
/* dump_late(): says how many peers outside were given up. */
int check_summary(struct cr_session *s);
/* Dump: its peer is outside of the tree, and --policy says that it is to connect to the same name again. */
int unix_reconnects(struct cr_session *s, struct cr_file *f, const struct sk_fact *k);
int unix_check(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info);

/* ---- dump.c ---- */

int unix_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct cr_file_info *info);

/* ---- peek.c ---- */

/* What f has received and not read goes to sk-queues.img.  0 or -errno recorded. */
int queue_dump(struct cr_session *s, struct cr_file *f, int lfd, const struct sk_fact *k, struct cr_task *t);
/*
 * check() of a dump: reads all queues, once, and makes file objects of all descriptors in them, so
 * that it is known which sockets the tree has.  0 or -errno recorded.
 */
int queue_collect(struct cr_session *s);

/* ---- queue.c ---- */

/* stage(): reads sk-queues.img. */
int queue_load(struct cr_session *s);
/* load(): finds the packets of u; declares what they need. */
int queue_of(struct cr_session *s, struct usk *u);
/* 1 when all descriptors that are in its packets are open, or are sent later (queue_is_late()). */
int queue_ready(struct cr_session *s, const struct usk *u);
/*
 * Sends the packets of u through wfd, which is connected to it (target is its descriptor); when a descriptor among them is a
 * unix socket or made late (CR_LATE), that is done by queue_fill_late(), in restored().  0 or -errno recorded.
 */
int queue_fill(struct cr_session *s, const struct usk *u, int wfd, int target);
int queue_fill_late(struct cr_session *s);
/* Is its queue filled by queue_fill_late()? */
int queue_is_late(struct cr_session *s, const struct usk *u);

/* ---- sender.c ---- */

/*
 * Sends the packets of u, whose descriptor is target, through wfd, or so that they seem to come from who has sent them.
 * late: the tree exists.  0 or -errno, not recorded.
 */
int sender_fill(struct cr_session *s, const struct usk *u, int wfd, int target, int late);
/* The datagram socket of the tree that has that name, or NULL. */
const struct usk *sender_in_tree(struct cr_session *s, const ProtobufCBinaryData *name);

/* ---- creds.c ---- */

/* dump: a pid as the engine sees it becomes one as the tree does. */
pid_t creds_tree_pid(struct cr_session *s, pid_t pid);
/* 0 or -errno recorded. */
int creds_dump(struct cr_session *s, struct cr_file *f, int lfd);
/* stage(): reads x-unix-creds.img. */
int creds_load(struct cr_session *s);
/* NULL: unknown. */
const struct sk_cred *creds_of(struct cr_session *s, struct cr_file *f);
/*
 * Calls fn(arg) in a process with that pid and these ids, which shares descriptors only; in this one
 * when c is NULL or it did not work there.  Returns what fn returns: 0 or -errno.
 */
int creds_call(struct cr_session *s, const struct sk_cred *c, int (*fn)(void *arg), void *arg);
/* The same for what must not be done twice: whatever fn returns there is the result. */
int creds_send(struct cr_session *s, const struct sk_cred *c, int (*fn)(void *arg), void *arg);

/* ---- name.c ---- */

/* Is it one that a socket can have? 0, or -EPROTO recorded. */
int name_check(struct cr_session *s, const ProtobufCBinaryData *name);
/* Gives fd the name of e, with owner and mode of its file.  0 or -errno recorded. */
int name_bind(struct cr_session *s, int fd, const UnixSkEntry *e);
/* Whether name_bind() could do it, without an effect that lasts. 0 or -errno, recorded. */
int name_can_bind(struct cr_session *s, const UnixSkEntry *e);
/*
 * Connects client, and makes the other end of the connection as accept(2) does, with the name of server,
 * which is nobody's any more: in a root directory of its own, where nobody sees the listening socket that it
 * takes.  0 with *ret_fd or -errno recorded.
 */
int name_accept_hidden(struct cr_session *s, int client, const struct sk_cred *connects, const UnixSkEntry *server,
		       const struct sk_cred *listens, int *ret_fd);
/* Connects fd to the socket target that was bound as e says.  0 or -errno, not recorded. */
int name_connect(struct cr_session *s, int fd, int target, const UnixSkEntry *e);
/*
 * As name_bind(), where nobody sees it: an abstract name as it is, a path in a root directory of its own. 0 or -errno, not
 * recorded.
 */
int name_bind_unseen(struct cr_session *s, int fd, const ProtobufCBinaryData *name);
/*
 * The address of the socket target that was bound as e says; -1, or a descriptor that must be open as long as it is
 * used, or -errno below that, not recorded.
 */
int name_address(struct cr_session *s, int target, const UnixSkEntry *e, struct sockaddr_un *ret, socklen_t *ret_len);
/* Connects fd to a name; dir: where a relative one starts, or NULL.  0 or -errno, not recorded. */
int name_connect_to(int fd, const ProtobufCBinaryData *name, const char *dir);
/* The end of a restore: removes the files that it has made if it failed. */
void name_undo(struct cr_session *s, int error);

/* ---- pair.c ---- */

/* Opens x and its partner y: *ret_fd is that of x, y is given to the engine.  CR_OK, CR_AGAIN or -errno recorded. */
int pair_open(struct cr_session *s, struct usk *x, struct usk *y, int *ret_fd);
/* Opens a connected socket whose peer is gone. */
int pair_open_widow(struct cr_session *s, struct usk *u, int *ret_fd);

/* ---- restore.c ---- */

/* The socket with that number, or NULL. */
struct usk *unix_find(struct cr_session *s, uint32_t ino);
/* A new socket of the type of u; -errno recorded. */
int unix_make(struct cr_session *s, const struct usk *u);
/*
 * The last steps: shutdown, options, flags; they wait while a queue of the connection is yet to be filled, for
 * unix_finish_now().  0 or -errno recorded.
 */
int unix_finish(struct cr_session *s, const struct usk *u, int fd);
int unix_finish_now(struct cr_session *s, const struct usk *u, int fd);

int unix_stage(struct cr_session *s);
int unix_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len);
int unix_open(struct cr_session *s, struct cr_file *f, int *ret_fd);
int unix_wire(struct cr_session *s, struct cr_file *f);
int unix_key(struct cr_session *s, struct cr_file *f, char *buf, size_t size);
int unix_check_image(struct cr_session *s, struct cr_file *f);

#endif
