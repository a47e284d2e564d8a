/* SPDX-License-Identifier: MIT */
/*
 * cr-plugin.h: the only header that a Stasis plugin includes.
 *
 * A plugin is a shared object that exports exactly one symbol, cr_plugin_abi0(),
 * and implements the hooks declared here.  It never links against the engine:
 * everything it may ask of the engine comes in as a table, session->core.
 *
 * ABI rules
 *  1. CR_ABI changes only when an existing field changes type or meaning.  It
 *     stays 0, without promises, until the container work is done.
 *  2. Every struct that crosses the boundary starts with its size; new fields go
 *     at the end.
 *  3. Lists are NULL-terminated arrays of pointers, never arrays of structs, so
 *     that growing an element cannot change a stride.
 *  4. The side that reads a struct copies min(size) bytes and zero-fills the rest;
 *     a NULL hook means "nothing to do, success".
 *  5. No enum and no bool in a struct field: fixed-width integers only.
 *
 * Where hooks run
 *  Every hook but undo() runs in the engine process E, which is single-threaded while hooks
 *  run.  Plugin code never runs inside a task of the user, neither at dump nor at
 *  restore: what a restored task has to do itself is queued as data in its plan
 *  (plan_syscall) and executed by the restorer blob.  "frozen" below says whether
 *  the tasks of the tree are stopped when the hook is called.
 *
 * Results
 *  0 is success and a negative value is -errno, already recorded with fail() or
 *  refuse().  Hooks that can return something else say so.  Outputs named ret_x
 *  are written only on success.
 */
#ifndef CR_PLUGIN_H
#define CR_PLUGIN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CR_ABI 0

#if defined(__GNUC__)
#define CR_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define CR_EXPORT __attribute__((visibility("default")))
#else
#define CR_PRINTF(f, a)
#define CR_EXPORT
#endif

/* ---- objects: opaque, owned by the engine, valid for the session ---- */

struct cr_core;   /* the engine's services, below */
struct cr_task;   /* a process; its threads belong to it */
struct cr_file;   /* an open file description, shared by descriptor slots */
struct cr_vma;    /* a mapping that a plugin has claimed */
struct cr_reader; /* an image that is being read */

/* One dump, restore or check; replaces globals. Private fields follow. */
struct cr_session {
	const struct cr_core *core;
};

/* ---- results ---- */

enum {
	CR_OK = 0,
	CR_AGAIN = 1, /* open() only: something else must be opened first */
	CR_LATE = 2,  /* open() only: open_late() does it, when the processes of the tree exist */
};

/* What match() answers; never mixed with errors. */
enum cr_claim {
	CR_NOT_MINE = 0,
	CR_GENERIC = 10,  /* "any regular file" */
	CR_SPECIFIC = 20, /* "an eventfd" */
	CR_DEVICE = 30,   /* "this very driver" */
	CR_FORCED = 40,   /* the user named it: --external, --inherit-fd */
};

enum cr_mode { CR_MODE_DUMP = 1, CR_MODE_RESTORE = 2, CR_MODE_CHECK = 3 };

enum cr_log_level { CR_LOG_ERROR = 1, CR_LOG_WARN = 2, CR_LOG_INFO = 3, CR_LOG_DEBUG = 4 };

/* ---- declarations ---- */

/*
 * An image file that the plugin owns.  The file is NAME-ID.img, or NAME.img for
 * id CR_IMG_NO_ID; CR_IMG_HEX_ID prints the id in hexadecimal.  Names of images
 * that the well-known format lacks start with "x-<plugin>-".
 */
enum { CR_IMG_HEX_ID = 1 };
#define CR_IMG_NO_ID UINT64_MAX
struct cr_img_type {
	size_t size;
	const char *name;
	uint32_t magic;
	uint32_t flags; /* CR_IMG_* */
};

enum cr_option_kind {
	CR_OPT_FLAG = 1, /* --name / --no-name */
	CR_OPT_STRING,	 /* --name VALUE, the last one counts */
	CR_OPT_SIZE,	 /* --name N[K|M|G], bytes */
	CR_OPT_INT,
	CR_OPT_LIST, /* --name VALUE, may be repeated, all count */
};
/* One entry feeds the command line, the configuration file, RPC, --help, the man page. */
struct cr_option {
	size_t size;
	const char *name;      /* "ghost-limit" */
	const char *rpc_field; /* field of the RPC options, or NULL */
	uint32_t kind;	       /* enum cr_option_kind */
	uint32_t modes;	       /* bit (1 << mode) for each enum cr_mode it applies to; 0: all */
	const char *arg;       /* "SIZE", shown in the help; NULL for flags */
	const char *fallback;  /* text of the default value, or NULL */
	const char *help;      /* one sentence */
};

/* A kernel feature; the probe has no lasting effect and runs in E, tree running. */
struct cr_feature {
	size_t size;
	const char *name; /* "timerfd": what check --feature is asked for */
	const char *cost; /* what is lost without it: "timers of timerfds cannot be dumped" */
	uint32_t extra;	  /* 0: plain check reports it; 1: only check --extra */
	/* *ret_value is 0 when the kernel lacks it. */
	int (*probe)(struct cr_session *s, uint64_t *ret_value);
	uint32_t modes; /* bit (1 << mode) for each enum cr_mode that needs it; 0: all */
	uint32_t pad;
};

/* ---- facts about an open file description ---- */

enum cr_source {
	CR_SRC_FD = 1,	/* a descriptor of a task */
	CR_SRC_MAPPING, /* the file behind a mapping */
	CR_SRC_EXE,	/* /proc/PID/exe */
	CR_SRC_CWD,
	CR_SRC_ROOT,
	CR_SRC_PLUGIN, /* handed over by a plugin with file_collect() */
};

/* All that match() may look at.  Strings live as long as the file object. */
struct cr_file_info {
	size_t size;
	struct stat st;
	uint64_t fs_magic; /* statfs f_type */
	int64_t pos;	   /* file offset in bytes */
	uint32_t flags;	   /* open(2) flags of the description, without O_CLOEXEC */
	uint32_t mode;	   /* enum cr_mode: check or dump */
	uint32_t source;   /* enum cr_source of the first place it was seen */
	int32_t mnt_id;	   /* mount id from fdinfo, -1 unknown */
	const char *link;  /* text of the /proc link: path, "pipe:[123]", … */
	const char *fdinfo; /* text of /proc/PID/fdinfo/N, "" when there is none */
	const char *anon;   /* "eventfd" of "anon_inode:[eventfd]", else NULL */
	int32_t sock_domain, sock_type, sock_protocol; /* sockets only, else -1 */
	int32_t fd;	   /* first descriptor number seen, -1 for other sources */
	struct cr_task *task; /* first task seen */
	uint32_t nlink_gone;  /* 1: the link ends in " (deleted)" and st_nlink agrees or the name is another file's */
	uint64_t map_start;   /* CR_SRC_MAPPING: first address of the mapping, else 0 */
	uint64_t map_end;
	uint32_t map_prot;  /* PROT_* */
	uint32_t map_flags; /* MAP_SHARED or MAP_PRIVATE */
};

/*
 * What becomes of an object: what its kind does by default, or what the user says with --policy RESOURCE=ACTION.
 * FAIL, CLOSE and EXTERNAL are possible for every descriptor: the engine refuses it, or hands it to the kind that takes such
 * objects over (cr_file_kind.takes), unless its own kind carries the action out by itself (cr_file_kind.policies).
 */
enum cr_policy {
	CR_POLICY_NONE = 0, /* nobody said anything */
	CR_POLICY_RESTORE,  /* kept as it is */
	CR_POLICY_FAIL,	    /* the dump, or the restore, is refused */
	CR_POLICY_CLOSE,    /* the program finds it closed: by the other side, as far as there is one */
	CR_POLICY_EXTERNAL, /* it is passed in at restore (--inherit-fd) */
	CR_POLICY_RECONNECT, /* made anew and connected to the same place again; what was on its way is lost */
};

/* Owner and signal of a description (fcntl F_SETOWN, F_SETSIG), pid as the tree sees it. */
struct cr_fown {
	size_t size;
	uint32_t uid, euid, signum, pid_type, pid;
};

/* ---- claimed kinds: exactly one owner an object ---- */

/*
 * The namespaces in which the hooks of an object have to run.  Declared for each kind, so that the engine can bring
 * them there; an engine that cannot do so for a value does not load the plugin.  This one knows CR_CTX_HOST only.
 */
enum cr_context {
	CR_CTX_HOST = 0, /* those of the engine */
	CR_CTX_NET,	 /* the network namespace of the task that has the object */
	CR_CTX_MNT,	 /* its mount namespace, and its root */
	CR_CTX_IPC,
	CR_CTX_USER, /* its user namespace, with all capabilities there and none outside */
};

/*
 * Life of a file object at dump:    match -> [check] -> dump
 *                    at restore:    load -> open (until not CR_AGAIN) -> wire [-> open_late]
 * Descriptor numbers are the engine's business.
 */
struct cr_file_kind {
	size_t size;
	const char *name;  /* "eventfd" */
	uint32_t fd_type;  /* number in fdinfo and file_entry.type; 16 (EXT) for kinds of your own */
	uint32_t field;	   /* field number of the message in file_entry; 0: an image of your own */
	size_t priv_size;  /* zeroed bytes an object, see file_priv() */

	/* Pure: looks only at *info.  Returns enum cr_claim.  E; frozen or not. */
	int (*match)(const struct cr_file_info *info);
	/*
	 * Report what would keep dump() from succeeding, each with refuse(); must not
	 * change anything and must bear a running tree.  lfd as for dump(), -1 when the
	 * engine could not get a duplicate.  E; check: running, dump: frozen.
	 */
	int (*check)(struct cr_session *s, struct cr_file *f, int lfd,
		     const struct cr_file_info *info);
	/*
	 * Encode the object and hand it over with file_message().  lfd is the engine's
	 * duplicate of the very description: changing its flags or position changes
	 * the task's.  E, host namespaces, frozen.
	 */
	int (*dump)(struct cr_session *s, struct cr_file *f, int lfd,
		    const struct cr_file_info *info);

	/* Decode and check; declare edges with file_need(); no effects.  E, no task yet. */
	int (*load)(struct cr_session *s, struct cr_file *f, const void *data, size_t len);
	/*
	 * Create the description.  CR_OK with *ret_fd, CR_AGAIN or -errno.  One call may
	 * open several objects: give the others with file_opened().  E, no task yet.
	 */
	int (*open)(struct cr_session *s, struct cr_file *f, int *ret_fd);
	/*
	 * All files are open (file_fd() answers); tasks do not exist yet.  Queue work for
	 * the task with plan_syscall(), finish state from outside.  E.
	 */
	int (*wire)(struct cr_session *s, struct cr_file *f);
	/*
	 * The key by which --inherit-fd may replace this object ("pipe:[12]",
	 * "tty[rdev:dev]", "tmp/log"), into buf.  Restore, after load.  -ENOENT: none.
	 */
	int (*inherit_key)(struct cr_session *s, struct cr_file *f, char *buf, size_t size);
	/*
	 * Create the description, after open() has said CR_LATE: every process of the tree exists now, those that
	 * will be zombies still alive; their other threads do not.  file_fd() of such an object is -1 until then,
	 * yet CR_ARG_FILE may name it, and it is in place at CR_STAGE_WIRE.  E; the tasks wait.
	 */
	int (*open_late)(struct cr_session *s, struct cr_file *f, int *ret_fd);
	uint32_t context; /* enum cr_context: where the hooks from dump() on run */
	uint32_t pad;
	/*
	 * check --images: report with fail() each thing that would keep open() or wire() from
	 * succeeding here and now; whatever fail() is told is collected, none stops the check.
	 * Must not change anything: no file is made, no name or port is kept.  Not called for an
	 * object that provide() would supply.  E, after load() of all files, no task.
	 */
	int (*check_image)(struct cr_session *s, struct cr_file *f);
	/*
	 * Bits (1 << enum cr_policy) of the actions that the hooks of this kind carry out themselves, having asked
	 * file_policy(); 0: RESTORE alone.  A kind whose objects cannot be kept has the bit of FAIL alone.
	 */
	uint32_t policies;
	uint32_t policy; /* enum cr_policy: what it does when nobody says anything; 0: the first that it can */
	/*
	 * This kind takes over objects of any other kind that the user gives this policy: CLOSE or EXTERNAL.  At dump it owns
	 * them as if it had claimed them; images that have an object as another kind go through the plugin's provide().
	 */
	uint32_t takes;
	uint32_t pad2;
};

/* ---- claimed mappings: at most one owner a mapping ---- */

/*
 * All that match() may look at; strings live as long as the mapping object.  At restore only what the
 * image has: start, end, pgoff, prot, flags, task; path and vmflags are "".
 */
struct cr_vma_info {
	size_t size;
	uint64_t start, end, pgoff; /* bytes */
	uint64_t ino;		    /* of the file behind it, 0: none */
	uint64_t dev;		    /* its device, as makedev(3) makes it */
	uint32_t prot;		    /* PROT_* */
	uint32_t flags;		    /* MAP_SHARED or MAP_PRIVATE, MAP_NORESERVE, MAP_LOCKED, … */
	const char *path;	    /* last column of /proc/PID/maps, "" for none */
	const char *vmflags;	    /* VmFlags of /proc/PID/smaps: " rd wr mr mw me ", each between blanks */
	struct cr_task *task;
};

enum cr_vma_flag {
	/*
	 * The engine dumps and makes the mapping as if nobody had claimed it: contents, protection, advice.
	 * The kind only adds what it lacks, in plan().
	 */
	CR_VMA_KEEP = 1,
	/* The contents are kept by the engine: vma_stored() gives them back. */
	CR_VMA_CONTENTS = 2,
	/* With CR_VMA_KEEP: pages of zeros that are there are dumped too, for it matters whether a page is there. */
	CR_VMA_EXACT = 4,
};

/*
 * A kind of mapping that the engine cannot make itself: rings, device memory.
 *
 * Life at dump: match -> [check] -> dump;  at restore: load -> plan.
 *
 * At restore the engine keeps the address range free with a mapping without access,
 * until a call queued by plan() puts the real one in its place (MAP_FIXED, MREMAP_FIXED, SHM_REMAP).
 * Advice (DONTFORK, DONTDUMP) and locks are the engine's business.
 */
struct cr_vma_kind {
	size_t size;
	const char *name;   /* "aio-ring" */
	uint32_t status;    /* bit of vma_entry.status that means this kind; 0: kept under the kind's name */
	uint32_t field;	    /* field number of its message in mm_entry; 0: an image of the engine keeps the message */
	uint32_t flags;	    /* enum cr_vma_flag */
	uint32_t pad;
	size_t priv_size;   /* zeroed bytes an object, see vma_priv() */
	const char *covers; /* VmFlags that would be in the engine's way and that the kind takes care of: "um uw" */

	/* Pure: looks only at *info.  Returns enum cr_claim.  E; frozen or not. */
	int (*match)(const struct cr_vma_info *info);
	/*
	 * Report what would keep dump() from succeeding, each with refuse(); must not change anything.
	 * All file objects are known (file_next()), not yet dumped.  E; check: running, dump: frozen.
	 */
	int (*check)(struct cr_session *s, struct cr_vma *v, const struct cr_vma_info *info);
	/* Encode what is needed and hand it over with vma_message(); none: an empty one.  E, frozen. */
	int (*dump)(struct cr_session *s, struct cr_vma *v, const struct cr_vma_info *info);
	/* Decode and check; the files are loaded (file_by_id()).  No effects.  E, no task yet. */
	int (*load)(struct cr_session *s, struct cr_vma *v, const void *data, size_t len);
	/* All files are open.  Queue the calls that make the mapping in vma_info()->task.  E, no task yet. */
	int (*plan)(struct cr_session *s, struct cr_vma *v);
	uint32_t context; /* enum cr_context */
	uint32_t pad2;
};

/*
 * State of a task that nobody claims: every plugin that has some keeps it in an image of its own, with the
 * task's vpid as id (img_append(), img_open()).  Called for each task but zombies, parents before children,
 * plugins in dependency order.  All in E.
 *
 * Life at dump: [check] -> dump;  at restore: load -> plan.
 */
struct cr_task_state {
	size_t size;
	const char *name;
	/* After all files were dumped, before dump_late().  Frozen. */
	int (*dump)(struct cr_session *s, struct cr_task *t);
	/* Decode and check what dump() wrote; the task's files are loaded.  No effects, no task yet. */
	int (*load)(struct cr_session *s, struct cr_task *t);
	/* All files are open.  Queue calls for t with plan_syscall() and its like.  No task yet. */
	int (*plan)(struct cr_session *s, struct cr_task *t);
	/* Report with refuse() what would keep dump() from succeeding; must not change anything.  Frozen or running. */
	int (*check)(struct cr_session *s, struct cr_task *t);
};

/* ---- the plugin ---- */

struct cr_plugin {
	size_t size;
	uint32_t abi;
	const char *name;
	const char *version;
	const char *summary; /* one sentence */

	/* Names of services: provides "svc:ghosts", needs (hard), wants (soft, order only). */
	const char *const *provides;
	const char *const *needs;
	const char *const *wants;

	const struct cr_option *const *options;
	const struct cr_feature *const *features;
	const struct cr_img_type *const *images;
	const struct cr_file_kind *const *files;
	const struct cr_task_state *const *task_states;
	/* Keys that --external and --inherit-fd may name: "file[", "tty[". For help and errors. */
	const char *const *externals;

	/*
	 * Broadcast hooks: every plugin, dependency order; a failure stops the phase, done()
	 * is still called for every plugin whose prepare() or stage() was called, in reverse.
	 */
	int (*prepare)(struct cr_session *s);	/* dump, check: running; allocate, probe */
	int (*collect)(struct cr_session *s);	/* dump: frozen, read only, after all files are known */
	int (*dump_late)(struct cr_session *s); /* dump: frozen, after all files were dumped */
	int (*stage)(struct cr_session *s);	/* restore: images of the plugin are read, no effects */
	int (*opened)(struct cr_session *s);	/* restore: all files open and wired, no task yet */
	int (*restored)(struct cr_session *s);	/* restore: all tasks parked with final memory */
	void (*done)(struct cr_session *s, int error);

	/*
	 * Restore: may supply a ready descriptor for an object of any kind, found by its
	 * key (file_key()), instead of the kind's open().  1 with *ret_fd (owned by the engine
	 * from then on), 0 "not mine", -errno.  E, no task yet.
	 */
	int (*provide)(struct cr_session *s, struct cr_file *f, const char *key, int *ret_fd);
	/*
	 * Claims that depend on what the user said (--external): as a kind's match(), but
	 * with the session.  On a claim *ret_kind names one of the plugin's own kinds.
	 * Returns enum cr_claim.  E; frozen or not.
	 */
	int (*match)(struct cr_session *s, const struct cr_file_info *info,
		     const struct cr_file_kind **ret_kind);
	/*
	 * Broadcast: report with refuse() what keeps the tree from being dumped beyond
	 * single files.  The files known so far are claimed and checked; dump() of one may add
	 * more.  Must not change anything.  check: tree running, dump: frozen.
	 */
	int (*check)(struct cr_session *s);

	const struct cr_vma_kind *const *vmas;

	/*
	 * Broadcast, restore: everything has succeeded, scripts included; the tasks run next.  For what
	 * must not be undone by a restore that fails.
	 */
	int (*resume)(struct cr_session *s);
	/*
	 * Replays an undo record CR_UNDO_PLUGIN.  Runs without a session in a short-lived process of its own,
	 * when the engine may be dead; fd: a duplicate of the record's, -1 in `stasis recover`, when nothing of
	 * the dump is left but text.  What is to be undone may not have happened.  0 or -errno.
	 */
	int (*undo)(int fd, const char *text);

	/*
	 * Capabilities that some of its objects need beyond CAP_CHECKPOINT_RESTORE and CAP_SYS_PTRACE, and for
	 * what: "CAP_NET_ADMIN: TCP connections".  Shown by `stasis plugins`; the plugin itself names the
	 * object that lacks one.
	 */
	const char *const *caps;

	/*
	 * Broadcast: the tasks and all of their descriptors are known, unclaimed (file_info() answers); nothing has been
	 * opened by name yet.  Report with refuse() what would make just that hang.  check: tree running, dump: frozen.
	 */
	int (*look)(struct cr_session *s);
};

/* ---- plans: work that a restored task does itself ---- */

/* When a queued call runs inside the task. */
enum cr_stage {
	CR_STAGE_SESSION = 1, /* session, group, helpers done; engine descriptors still open */
	CR_STAGE_WIRE,	      /* the task's descriptor table is final; engine descriptors open too */
	CR_STAGE_LATE,	      /* memory final, before credentials */
	/*
	 * The leading thread has its credentials and limits; only the task's own descriptors are there, no
	 * engine's (CR_FILE).  For what the kernel lets act under the credentials of its maker for ever.
	 */
	CR_STAGE_OWN,
};

enum cr_arg_tag {
	CR_ARG_IMM = 0, /* val as it is */
	CR_ARG_FILE,	/* the engine-side descriptor of the file object *file */
	CR_ARG_LOAD,	/* the 64 bits at address val of the task when the call is made */
};
struct cr_arg {
	uint64_t val;
	const struct cr_file *file;
	uint32_t tag;
	uint32_t pad;
};
#define CR_IMM(v) { (uint64_t)(v), NULL, CR_ARG_IMM, 0 }
#define CR_FILE(f) { 0, (f), CR_ARG_FILE, 0 }
#define CR_LOAD(addr) { (uint64_t)(addr), NULL, CR_ARG_LOAD, 0 }

enum cr_want {
	CR_WANT_ZERO = 0, /* result must be 0 */
	CR_WANT_NONNEG,	  /* result must be >= 0 */
	CR_WANT_ANY,	  /* any result will do */
};
#define CR_TIMES_MAX (1u << 26)

/* ---- journal: how the engine undoes an effect when the dump does not succeed ---- */

enum cr_undo_op {
	CR_UNDO_UNLINK = 1, /* unlinkat(fd, text, 0) */
	CR_UNDO_RMDIR,	    /* unlinkat(fd, text, AT_REMOVEDIR) */
	CR_UNDO_WRITE,	    /* write(fd, text) */
	/*
	 * Integer options of the socket fd: text is "LEVEL NAME VALUE", decimal, as often as needed, set in that
	 * order.  Not when the tree is killed, always or not: the socket dies as it is.
	 */
	CR_UNDO_SOCKOPT,
	CR_UNDO_PLUGIN, /* the plugin's undo(fd, text) */
};

/* ---- services: valid in every hook unless said otherwise ---- */

struct cr_core {
	size_t size;
	uint32_t abi;
	uint32_t pad;
	const char *version;

	/* Message to the log; level is enum cr_log_level. */
	void (*log)(struct cr_session *s, int level, const char *fmt, ...) CR_PRINTF(3, 4);
	/*
	 * Record the cause of a failure, with plugin, phase and current object added by
	 * the engine; the first one of a session is kept and printed.  errnum is positive.
	 * Say in fmt what the user can do.  Returns -errnum.
	 */
	int (*fail)(struct cr_session *s, int errnum, const char *fmt, ...) CR_PRINTF(3, 4);
	/*
	 * Record that the current object cannot be dumped; more may follow, the engine
	 * reports all of them, then stops.  remedy: option or plugin that helps, or NULL.
	 * Returns -EOPNOTSUPP.  Hooks: check, dump, collect, dump_late.
	 */
	int (*refuse)(struct cr_session *s, const char *remedy, const char *fmt, ...)
		CR_PRINTF(3, 4);

	/* Zeroed memory that lives as long as the session; never NULL (the engine exits). */
	void *(*alloc)(struct cr_session *s, size_t bytes);
	uint32_t (*mode)(struct cr_session *s); /* enum cr_mode */
	/* Zeroed area of the calling plugin, the same in every hook of a session. */
	void *(*plugin_priv)(struct cr_session *s, size_t bytes);

	/* Options declared by any plugin or the core.  A flag that is not set is 0. */
	int (*option_flag)(struct cr_session *s, const char *name);
	uint64_t (*option_size)(struct cr_session *s, const char *name);
	const char *(*option)(struct cr_session *s, const char *name); /* NULL: not given */
	/* i-th value of a list option, NULL past the last. */
	const char *(*option_item)(struct cr_session *s, const char *name, size_t i);
	/* Cached result of a feature probe; 0 when unknown or absent. */
	uint64_t (*feature)(struct cr_session *s, const char *name);

	/*
	 * Ids: the same key gives the same id, a new one the next number (from 1).
	 * space: "memfd-inode"; key: bytes, for instance dev and ino.  *ret_new may be NULL.
	 */
	uint32_t (*id)(struct cr_session *s, const char *space, const void *key, size_t len,
		       int *ret_new);

	/* -- images (dump: append, restore: read) -- */

	/* Append an entry; the image is created with its magic at the first one. */
	int (*img_append)(struct cr_session *s, const struct cr_img_type *type, uint64_t id,
			  const void *data, size_t len);
	/* Append raw bytes behind the last entry. */
	int (*img_raw)(struct cr_session *s, const struct cr_img_type *type, uint64_t id,
		       const void *data, size_t len);
	/* As img_raw, from bytes [off, off + len) of fd. */
	int (*img_raw_fd)(struct cr_session *s, const struct cr_img_type *type, uint64_t id,
			  int fd, uint64_t off, uint64_t len);
	/* -ENOENT (not recorded) when the image does not exist. */
	int (*img_open)(struct cr_session *s, const struct cr_img_type *type, uint64_t id,
			struct cr_reader **ret_reader);
	/* Next entry: 1, *ret_data valid until the next call; 0 at the end; -errno. */
	int (*img_next)(struct cr_reader *r, const void **ret_data, size_t *ret_len);
	/* Exactly len raw bytes behind the entry just read; -EPROTO when fewer. */
	int (*img_extra)(struct cr_reader *r, void *buf, size_t len);
	/* As img_extra, into fd at offset off. */
	int (*img_extra_fd)(struct cr_reader *r, int fd, uint64_t off, uint64_t len);
	/* Raw bytes left in the image. */
	uint64_t (*img_left)(struct cr_reader *r);
	void (*img_close)(struct cr_reader *r);

	/*
	 * Contents of a shared memory object that lives in a file (memfd, /dev/zero
	 * mapping), stored once a session in pagemap-shmem-<shmid>.
	 * dump: fd is any descriptor of it, size in bytes; returns the shmid.
	 * fill: writes the stored pages into fd (already of its size).
	 */
	int (*shmem_dump)(struct cr_session *s, int fd, const struct stat *st, uint64_t size,
			  uint32_t *ret_shmid);
	int (*shmem_fill)(struct cr_session *s, int fd, uint32_t shmid, uint64_t size);

	/* -- file objects -- */

	uint32_t (*file_id)(const struct cr_file *f);
	void *(*file_priv)(struct cr_file *f);
	const char *(*file_kind)(const struct cr_file *f); /* name of its kind */
	/* NULL at restore. */
	const struct cr_file_info *(*file_info)(const struct cr_file *f);
	/* dump(): the encoded message of f (copied). */
	int (*file_message)(struct cr_session *s, struct cr_file *f, const void *data, size_t len);
	/* dump(): owner and signal of f, zero where none. */
	void (*file_fown)(struct cr_session *s, struct cr_file *f, struct cr_fown *ret_fown);
	/* wire(): sets owner and signal, once the tasks exist. */
	int (*file_set_fown)(struct cr_session *s, struct cr_file *f, const struct cr_fown *fown);
	/*
	 * dump(), check(): make an object of a descriptor that the plugin holds (a queued
	 * descriptor, the path behind a FIFO).  The engine duplicates fd.
	 */
	int (*file_collect)(struct cr_session *s, struct cr_task *t, int fd,
			    struct cr_file **ret_file);
	struct cr_file *(*file_by_id)(struct cr_session *s, uint32_t id); /* NULL: none */
	/* load(): dep must be open before f. */
	int (*file_need)(struct cr_session *s, struct cr_file *f, struct cr_file *dep);
	/* open(): gives the engine the descriptor of another object that came into being. */
	int (*file_opened)(struct cr_session *s, struct cr_file *f, int fd);
	/* Engine-side descriptor of f; -1 when not open (yet), or when closed after dump(). */
	int (*file_fd)(const struct cr_file *f);
	/* i-th descriptor slot that refers to f: 0, or -ENOENT past the last. */
	int (*file_slot)(struct cr_session *s, const struct cr_file *f, size_t i,
			 struct cr_task **ret_task, int *ret_fd);
	/* Next file object after prev (NULL: the first); NULL at the end. */
	struct cr_file *(*file_next)(struct cr_session *s, struct cr_file *prev);
	/* The file in slot fd of t, or NULL. */
	struct cr_file *(*task_file)(struct cr_session *s, const struct cr_task *t, int fd);

	/* -- tasks; zombies are included -- */

	struct cr_task *(*task_next)(struct cr_session *s, struct cr_task *prev);
	pid_t (*task_pid)(const struct cr_task *t);  /* as the engine sees it (dump) */
	pid_t (*task_vpid)(const struct cr_task *t); /* as the tree sees it: the one in images */
	pid_t (*task_sid)(const struct cr_task *t);  /* 0: outside the tree's pid namespace */
	pid_t (*task_pgid)(const struct cr_task *t);
	/* Dump: controlling terminal as st_rdev (makedev), 0 none; foreground group or -1. */
	void (*task_tty)(const struct cr_task *t, uint64_t *ret_rdev, pid_t *ret_pgrp);
	struct cr_task *(*task_by_vpid)(struct cr_session *s, pid_t vpid);
	/* Dump, frozen: memory of t.  -EFAULT when not all of it is there. */
	int (*task_read)(struct cr_session *s, struct cr_task *t, uint64_t addr, void *buf,
			 size_t len);

	/* -- plans (restore: wire, opened, plan of task states) -- */

	/* Copy bytes to where the task can read them; *ret_addr is the address there. */
	int (*plan_data)(struct cr_session *s, struct cr_task *t, const void *data, size_t len,
			 uint64_t *ret_addr);
	/* Queue a system call in t at that stage, in queueing order. want: enum cr_want. */
	int (*plan_syscall)(struct cr_session *s, struct cr_task *t, uint32_t stage, long nr,
			    const struct cr_arg args[6], uint32_t want);

	/*
	 * Write-ahead undo record; call BEFORE the effect.  fd may be -1 (then text is an
	 * absolute path); the engine's helper gets a duplicate.  always: undo also when the
	 * dump succeeds and the tree runs on.  In a kind's check(): only of a dump, for what
	 * has to be changed for a moment to look.
	 */
	int (*undo)(struct cr_session *s, uint32_t op, int fd, const char *text, int always);

	/*
	 * Restore: moves a descriptor above every number that a task will use (the old one
	 * is closed), so that it is still there at CR_STAGE_WIRE, under the number returned.
	 * The engine does this itself for what open() and file_opened() give it.
	 */
	int (*high_fd)(struct cr_session *s, int fd);

	/* Restore: f will be made by open_late() and is not there yet; 1 or 0. */
	int (*file_is_late)(const struct cr_file *f);

	/* -- claimed mappings -- */

	const struct cr_vma_info *(*vma_info)(const struct cr_vma *v);
	void *(*vma_priv)(struct cr_vma *v);
	const char *(*vma_kind)(const struct cr_vma *v); /* name of its kind */
	/* dump(): the encoded message of v (copied). */
	int (*vma_message)(struct cr_session *s, struct cr_vma *v, const void *data, size_t len);
	/* Next claimed mapping after prev (NULL: the first), by task, then address; NULL at the end. */
	struct cr_vma *(*vma_next)(struct cr_session *s, struct cr_vma *prev);
	/* plan(): len bytes of what a mapping with CR_VMA_CONTENTS had at off.  0 or -errno recorded. */
	int (*vma_stored)(struct cr_session *s, struct cr_vma *v, uint64_t off, void *buf, size_t len);

	/* -- plans, more (restore: as plan_syscall, and cr_vma_kind.plan) -- */

	/* As plan_syscall; *ret_addr is where the task (and every other one) finds the result: for CR_LOAD(). */
	int (*plan_call)(struct cr_session *s, struct cr_task *t, uint32_t stage, long nr,
			 const struct cr_arg args[6], uint32_t want, uint64_t *ret_addr);
	/* Queue: t writes these bytes (copied) to its address to. */
	int (*plan_write)(struct cr_session *s, struct cr_task *t, uint32_t stage, uint64_t to,
			  const void *data, size_t len);
	/*
	 * load(): f is made by its task at CR_STAGE_OWN: what open() gives only holds its place.  What others
	 * tie to it (epoll) has to come later too, and finds that out with file_own(), which answers 1.
	 */
	int (*file_set_own)(struct cr_session *s, struct cr_file *f);
	int (*file_own)(const struct cr_file *f);
	/*
	 * plan(): queue the call that maps v, for what the kernel maps nowhere but where it wants (mmap(2) with an
	 * address of 0): the range of v is all the room that the task has then.  Its result must be v's start.
	 */
	int (*plan_place)(struct cr_session *s, struct cr_vma *v, uint32_t stage, long nr, const struct cr_arg args[6]);
	/*
	 * Dump, frozen: the i-th thread of t (0: the leading one) makes a call that changes nothing and has no
	 * pointers; *ret_result as the kernel gives it, -errno.  -ENOENT (not recorded): no such thread.
	 */
	int (*task_call)(struct cr_session *s, struct cr_task *t, size_t i, long nr, const uint64_t args[6],
			 int64_t *ret_result);
	/*
	 * load(), open(): dep is restored when f is, in any order: what f needs in the end, not to be opened (a descriptor
	 * in its queue, which may hold f in its own).
	 */
	int (*file_use)(struct cr_session *s, struct cr_file *f, struct cr_file *dep);

	/*
	 * What the user wants of f, or the default of its kind: enum cr_policy, never NONE.  Of an object that another
	 * kind has taken over file_kind() tells that other kind.
	 */
	uint32_t (*file_policy)(struct cr_session *s, const struct cr_file *f);
	/*
	 * The name of f for --policy KIND[KEY], --external and --inherit-fd, into buf; KIND[ID] for what has no other. 0 or
	 * -ENOENT.
	 */
	int (*file_key)(struct cr_session *s, const struct cr_file *f, char *buf, size_t size);
	/*
	 * Something of the tree's state is lost: not in the images, or not restored.  f: of which object, NULL: the one whose
	 * hook runs, or what the text says.  A warning in the log, an entry in the statistics, shown by --display-stats
	 * and 'stasis show'.  Hooks: all but match and probe.
	 */
	void (*lost)(struct cr_session *s, const struct cr_file *f, const char *fmt, ...) CR_PRINTF(3, 4);

	/* -- plans, loops (restore: as plan_syscall) -- */

	/* Queue: t copies len bytes to its address to from its address from. */
	int (*plan_copy)(struct cr_session *s, struct cr_task *t, uint32_t stage, uint64_t to, uint64_t from, size_t len);
	/*
	 * What has been queued last for t at that stage, n calls, writes and copies, none of which makes a mapping or is in a
	 * loop already, happens as often as times says: 1 to CR_TIMES_MAX.
	 */
	int (*plan_repeat)(struct cr_session *s, struct cr_task *t, uint32_t stage, size_t n, uint32_t times);
};

#define CR_HAS(core, field) \
	((core)->size >= offsetof(struct cr_core, field) + sizeof((core)->field))

#define cr_error(s, ...) ((s)->core->log((s), CR_LOG_ERROR, __VA_ARGS__))
#define cr_warn(s, ...) ((s)->core->log((s), CR_LOG_WARN, __VA_ARGS__))
#define cr_info(s, ...) ((s)->core->log((s), CR_LOG_INFO, __VA_ARGS__))
#define cr_debug(s, ...) ((s)->core->log((s), CR_LOG_DEBUG, __VA_ARGS__))
#define cr_fail(s, err, ...) ((s)->core->fail((s), (err), __VA_ARGS__))
#define cr_lost(s, f, ...) ((s)->core->lost((s), (f), __VA_ARGS__))
#define cr_refuse(s, remedy, ...) ((s)->core->refuse((s), (remedy), __VA_ARGS__))

#ifdef CR_BUILTIN
/* Linked into the engine: a pointer in the section that the loader walks. */
#define CR_PLUGIN_REGISTER(p) \
	__attribute__((used, section("cr_builtin"))) \
	static const struct cr_plugin *const cr_builtin_plugin = &(p)
#else
#define CR_PLUGIN_REGISTER(p) \
	CR_EXPORT const struct cr_plugin *cr_plugin_abi0(void); \
	const struct cr_plugin *cr_plugin_abi0(void) \
	{ \
		return &(p); \
	} \
	extern int cr_plugin_semicolon
#endif

#ifdef __cplusplus
}
#endif

#endif /* CR_PLUGIN_H */
