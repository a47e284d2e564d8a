/* SPDX-License-Identifier: MIT */
/* cpuinfo: `stasis cpuinfo dump|check`: cpuinfo.img without a dump or a restore. */
#include "cpuinfo.h"

#include <errno.h>
#include <string.h>

#include "cmd.h"
#include "image.h"

static int check(struct session *s)
{
	uint32_t caps;
	int err = cpu_cap(s, CPU_CAP_FPU | CPU_CAP_INS, &caps, NULL);

	if (!err && caps)
		err = cpuinfo_compare(s, caps);
	if (err == -ENOENT)
		return fail(s, ENOENT, "there is no cpuinfo.img in the images directory: make one with 'cpuinfo dump' where "
			    "the tree ran");
	if (!err)
		puts("This CPU has what cpuinfo.img asks for.");
	return err;
}

static int dump(struct session *s)
{
	int err = cpuinfo_write(s);

	return err ? err : images_finish(s);
}

int cmd_cpuinfo(struct session *s, int argc, char **argv)
{
	const char *what = argc == 1 ? argv[0] : "";
	int err;

	s->phase = "cpuinfo";
	if (!strcmp(what, "check"))
		return check(s);
	if (strcmp(what, "dump"))
		return fail(s, EINVAL, "cpuinfo dump writes cpuinfo.img, cpuinfo check compares it with this CPU: "
			    "name one of them");
	err = dump(s);
	if (err < 0)
		images_discard(s);
	return err;
}
