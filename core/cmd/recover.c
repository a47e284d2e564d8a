/* SPDX-License-Identifier: MIT */
/* recover: undoes what is left of dumps whose engine and warden were both killed. */
#include "cmd.h"
#include "warden.h"

#include <string.h>

int cmd_recover(struct session *s, int argc, char **argv)
{
	int n = warden_recover(s->plugins, stdout);

	if (n < 0)
		return fail(s, -n, "cannot read the journals in /run/stasis");
	if (n == 0)
		puts("Nothing to recover.");
	return 0;
}
