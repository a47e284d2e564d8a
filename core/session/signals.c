/* SPDX-License-Identifier: MIT */
#include "signals.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "phase.h"

/* A sanitizer has handlers of its own, which say more. */
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
#else
#define SANITIZED false
#endif

static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE };

static volatile sig_atomic_t caught, ignored;
static struct session *volatile current;
static struct sigaction before[ARRAY_SIZE(ends)];

static void on_end(int sig)
{
	if (!ignored)
		caught = sig;
}

static void put(const char *text)
{
	size_t len = strlen(text);
	int log = log_fd();

	/* nothing can be done about an error here */
	if (write(STDERR_FILENO, text, len) < 0 || (log > STDERR_FILENO && write(log, text, len) < 0))
		return;
}

/* SA_RESETHAND: the signal comes again when this returns, and ends the engine as usual. */
static void on_crash(int sig)
{
	const struct session *s = current;
	const char *name = sigabbrev_np(sig);

	put("Error (");
	put(s && s->plugin ? s->plugin : "core");
	put("): the engine crashes: SIG");
	put(name ? name : "?");
	if (s && s->phase) {
		put(", phase ");
		put(s->phase);
	}
	if (s && s->plugin) {
		put(", in hook ");
		put(hook_name(s->hook));
		put(" of the plugin; without it, --no-plugin ");
		put(s->plugin);
		put(", the rest may work");
	}
	if (s && s->object[0]) {
		put("; ");
		put(s->object);
	}
	put("; what was done is undone\n");
}

void signals_init(void)
{
	struct sigaction sa = { .sa_handler = on_crash, .sa_flags = SA_RESETHAND | SA_NODEFER };

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	for (size_t i = 0; i < ARRAY_SIZE(crashes) && !SANITIZED; i++)
		sigaction(crashes[i], &sa, NULL);
}

void signals_default(void)
{
	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
}

void signals_catch(struct session *s)
{
	struct sigaction sa = { .sa_handler = on_end, .sa_flags = SA_RESTART | SA_RESETHAND };

	if (s && !current)
		for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
			sigaction(ends[i], NULL, &before[i]);
			/* nohup: stays ignored */
			if (before[i].sa_handler == SIG_DFL)
				sigaction(ends[i], &sa, NULL);
		}
	else if (!s && current)
		for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
			sigaction(ends[i], &before[i], NULL);
	if (s)
		ignored = 0;
	current = s;
}

void signals_ignore(void)
{
	ignored = 1;
}

int signals_caught(void)
{
	return ignored ? 0 : caught;
}

int signals_check(struct session *s)
{
	const char *name;

	if (!signals_caught())
		return 0;
	name = sigabbrev_np(signals_caught());
	return fail(s, ECANCELED, "interrupted by SIG%s: everything is undone", name ? name : "?");
}
