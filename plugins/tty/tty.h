/* SPDX-License-Identifier: MIT */
/*
 * tty.h: what the files of the terminal plugin share.
 *
 *   tty.c      the plugin table, match, check, dump of descriptors
 *   info.c     tty_info_entry and tty_state_entry: written and read
 *   queue.c    unread data: taken out of a terminal and put (back) into one
 *   restore.c  pseudo-terminals created, slaves opened, controlling terminals
 *   caller.c   the terminal of the caller (--shell-job) and /dev/tty
 *
 * Words: a terminal is a master and its slave ("ends").  One tty_info_entry
 * describes one end: all descriptions of that end share it.  /dev/tty is an end
 * too (TTY_CURRENT): another name of some slave.
 */
#ifndef PLUGINS_TTY_H
#define PLUGINS_TTY_H

#include <asm/termbits.h>
#include <stdbool.h>
#include <sys/ioctl.h>

#include "common.h"
#include "cr-plugin.h"
#include "state.pb-c.h"
#include "tty.pb-c.h"
#include "util.h"

#define TTY_RDEV_MASTER 0x502u /* makedev(5, 2): /dev/ptmx */
#define TTY_RDEV_CURRENT 0x500u /* makedev(5, 0): /dev/tty */
#define TTY_INDEX_MAX (1u << 20) /* NR_UNIX98_PTY_MAX of the kernel */

enum tty_end_kind {
	TTY_MASTER = 1,
	TTY_SLAVE,
	TTY_CURRENT, /* /dev/tty */
	TTY_DEVICE,  /* console, virtual terminal, serial line: not ours to create */
};

/* Kind of end and number of the pseudo-terminal by device number; 0: not a terminal that is known. */
enum tty_end_kind tty_end_of(uint64_t rdev);
uint32_t tty_index_of(uint64_t slave_rdev);

/* ---- queue.c ---- */

enum { TTY_STOP_NONE = 0, TTY_STOP_TCOOFF = 1, TTY_STOP_CHAR = 2 };

/* Unread data of a terminal, both directions, and what stops the output. */
struct tty_queue {
	struct buf output;	 /* written to the slave, to be read from the master */
	VEC(struct buf) lines;	 /* complete input lines; the last byte tells whether EOF ended one */
	struct buf input;	 /* input behind them */
	uint32_t stopped;	 /* TTY_STOP_* */
};

void tty_queue_free(struct tty_queue *q);
/*
 * Take everything out of a terminal and put it back at once.  master and slave are
 * descriptors of its ends; slave is the plugin's own, non-blocking.  The terminal is as
 * before afterwards, also when an error is returned.  0 or -errno, recorded.
 */
int tty_queue_copy(struct cr_session *s, int master, int slave, struct tty_queue *ret);
/*
 * Put data into an empty terminal and leave it with termios t.  Packet mode must be off.
 * 0 or -errno (not recorded); goes on after an error, so that as much as can be arrives.
 */
int tty_queue_fill(int master, int slave, const struct tty_queue *q, const struct termios2 *t);

/* ---- info.c ---- */

/* One end at dump; found by (kind, index, dev, hung). */
struct tty_end {
	uint32_t id;	/* tty_info_entry.id */
	uint32_t kind;	/* enum tty_end_kind */
	uint32_t index; /* of the pseudo-terminal */
	uint64_t pts_dev; /* st_dev of its devpts instance */
	uint64_t real_rdev; /* of the slave that it is or belongs to */
	const char *ptmx; /* name of a master's device, of another instance than that on /dev/pts; else NULL */
	bool hung, external;
	struct stat st; /* of the descriptor */
	int fd;		/* duplicate, kept until done() */
};

/* One end at restore. */
struct tty_info {
	TtyInfoEntry *e;
	TtyStateEntry *state; /* NULL: none */
	uint32_t kind;
	struct term *term; /* NULL: a hung-up end */
};

/* A terminal at restore. */
struct term {
	struct term *next;
	uint32_t index;
	uint32_t pts_dev; /* 0: not known */
	struct tty_info *master, *slave, *current; /* NULL: no such end in the images */
	struct cr_file *master_file; /* NULL: not in the tree */
	struct cr_file *slave_file;  /* one of them, readable if possible */
	struct cr_file *current_file;
	bool external;		     /* the images call it external */
	bool caller;		     /* replaced by the caller's terminal */
	int held;		     /* slave kept open until the tasks have theirs, -1 */
	struct tty_queue queue;
};

/* plugin_priv() of the plugin. */
struct tty_plugin {
	bool ready, loaded;
	int load_error;
	VEC(struct tty_end) ends; /* dump */
	VEC(struct tty_info *) infos; /* restore */
	VEC(void *) messages; /* restore: to be freed */
	struct term *terms;
	int caller_fd; /* the caller's terminal, -1 */
	struct termios2 caller_termios;
	bool caller_changed;
};

struct tty_plugin *tty_plugin(struct cr_session *s);

/* Write the images of every end and terminal seen.  0 or -errno. */
int tty_info_dump(struct cr_session *s);
/* Read them; once a session.  0 or -errno. */
int tty_info_load(struct cr_session *s);
struct tty_info *tty_info_find(struct tty_plugin *p, uint32_t id);
void tty_info_termios(const TermiosEntry *e, struct termios2 *ret);

extern const struct cr_img_type tty_img_info, tty_img_data, tty_img_state;

/* ---- restore.c ---- */

/* file_priv() of a terminal's descriptions at restore. */
struct tty_file {
	TtyFileEntry *e;
	struct tty_info *info;
};

int tty_load(struct cr_session *s, struct cr_file *f, const void *data, size_t len);
int tty_open(struct cr_session *s, struct cr_file *f, int *ret_fd);
int tty_wire(struct cr_session *s, struct cr_file *f);
int tty_inherit_key(struct cr_session *s, struct cr_file *f, char *buf, size_t size);
int tty_opened(struct cr_session *s);
int tty_restored(struct cr_session *s);
void tty_restore_done(struct cr_session *s, int error);

/* ---- caller.c ---- */

/* Open the terminal of the caller with these open(2) flags.  0 with *ret_fd or -errno recorded. */
int tty_caller_open(struct cr_session *s, uint32_t flags, int *ret_fd);
/* Open /dev/tty so that it means the terminal of slave.  Descriptor or -errno, not recorded. */
int tty_current_open(int slave, uint32_t flags);

#endif
