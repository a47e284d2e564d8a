/* SPDX-License-Identifier: MIT */
/*
 * session.h: one dump, restore or check.  Owns everything; there are no globals.
 * Lifetime: session_new() -> command -> session_free().  Each part of the core
 * keeps its state behind one pointer here and is the only one that looks inside.
 */
#ifndef CORE_SESSION_H
#define CORE_SESSION_H

#include <stdbool.h>

#include "cr-plugin.h"
#include "log.h"
#include "util.h"

struct options;
struct plugins;
struct images;
struct tree;
struct files;
struct shmem;
struct warden;
struct restore;
struct progress;
struct policies;

/* One reason why a tree cannot be dumped or restored. */
struct blocker {
	char *plugin; /* "files", "core" */
	char *object; /* "pid 812 fd 7, /tmp/x" */
	char *text;
	char *remedy; /* option or plugin that helps, or NULL */
};

/* State of the tree that is not in the images, or not restored. */
struct loss {
	char *plugin, *object, *text;
};

/* First cause of a failure; later ones only go to the log. */
struct error_record {
	int errnum; /* positive; 0: none */
	char *plugin; /* "files", "core" */
	char *text;   /* "dump: pid 812 fd 7: …" */
};

/* Times in microseconds, pages in 4 KiB pages; names as in the statistics images. */
struct stats {
	uint64_t t_freeze, t_frozen_since, freezing_time, frozen_time, memdump_time, memwrite_time;
	uint64_t pages_scanned, pages_written, shpages_scanned, shpages_written, pages_zero;
	uint64_t pages_compared, pages_skipped_cow, pages_restored;
	uint64_t t_restore, forking_time, restore_time;
};

/* What goes on with the tasks. */
enum tree_state {
	TREE_RUNNING = 0, /* dump: before the freeze and after the end */
	TREE_FROZEN,
	TREE_ABSENT, /* restore: none exists yet */
	TREE_PARKED, /* restore: all are there, with their memory, and wait for their registers */
};

struct session {
	struct cr_session pub; /* first: struct cr_session * and struct session * convert */
	uint32_t mode;	       /* enum cr_mode */

	struct options *opts;
	struct plugins *plugins;
	struct images *imgs;
	struct tree *tree;
	struct waits *waits;
	struct files *files;
	struct shmem *shmem;
	struct warden *warden;
	struct restore *restore;
	struct stats stats;

	/* Where we are, for messages: set by the core around hooks and objects. */
	const char *phase;  /* "collect", "dump", "load", "open", … static text */
	const char *plugin; /* name of the plugin whose hook runs, NULL: core */
	char object[256];   /* "pid 812 fd 7" or "" */
	uint8_t hook;	    /* enum hook: which hook of that plugin */
	uint8_t tree_is;    /* enum tree_state */

	struct progress *progress; /* of what takes long just now, or NULL */

	struct error_record err;
	VEC(struct blocker) blockers;
	VEC(struct loss) losses;
	VEC(char *) loss_bans; /* --policy lost=fail: whose losses are refused, "core", a plugin, "" for all */
	size_t banned_losses;  /* how many were */
	struct policies *policies; /* --policy, see fd/policy.c; NULL: none */
	VEC(void *) allocations; /* core->alloc() */
	VEC(struct id_space *) id_spaces;
	bool reported; /* session_report() has printed */
	bool collecting; /* check --images: what fail() is told goes among the blockers */

	/* The command line of this program, for who reads it again (rpc). */
	int argc;
	char **argv;
	/* A client waits for the answer (rpc): a restored root stays a child of this process, which does not wait for its end. */
	bool served;
	/* Is told of each stage after the scripts (action.h) and has to agree: 0, or -errno recorded. NULL: nobody. */
	int (*notify)(struct session *s, const char *action, pid_t root);
	const void *notify_arg;
};

static inline struct session *session_of(struct cr_session *s)
{
	return (struct session *)s;
}

/* opts may be NULL (unit tests); options and plugins stay the caller's and outlive the session. */
struct session *session_new(uint32_t mode, struct options *opts);
/* Aborts what was neither committed nor released, calls done() where due, frees what the parts hold. */
void session_free(struct session *s);
/* Only what others notice: the warden undoes what has not been committed, plugins are told. For who exits next. */
void session_end(struct session *s);

/*
 * As cr_core.fail/refuse, for the core itself: first cause recorded once, logged as an error.
 * The text of errnum is appended unless the message has it, or the number says nothing more (EPROTO,
 * EOPNOTSUPP; EINVAL when the message has an explanation behind a colon).
 */
int fail(struct session *s, int errnum, const char *fmt, ...) PRINTF_LIKE(3, 4);
int refuse(struct session *s, const char *remedy, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* As cr_core.lost, about the object at hand. */
void lost(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void vlost(struct session *s, const char *fmt, va_list ap);
/* Nothing has been lost that --policy lost=fail forbids: 0, or -EPERM, recorded when it was lost. */
int losses_check(struct session *s);
int vfail(struct session *s, int errnum, const char *fmt, va_list ap);
int vrefuse(struct session *s, const char *remedy, const char *fmt, va_list ap);
#ifdef __clang_analyzer__ /* make lint: it does not see that they never return 0 */
#define fail(...) ((void)fail(__VA_ARGS__), -1)
#define refuse(...) ((void)refuse(__VA_ARGS__), -1)
#endif
/* Set the object for messages; fmt NULL clears it. */
void at_object(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/*
 * Prints all blockers and the first cause, once, to stderr: "Error (files): dump: pid 812 fd 7: text (try --x)".
 * Says nothing when messages go to stderr anyway, or the level of the log is 0.
 */
void session_report(struct session *s);
/* As cr_core.id and cr_core.alloc. */
uint32_t session_id(struct session *s, const char *space, const void *key, size_t len, int *ret_new);
void *session_alloc(struct session *s, size_t bytes);

#endif
