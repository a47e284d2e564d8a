/* SPDX-License-Identifier: MIT */
/*
 * cpuinfo.c: cpuinfo.img, and what --cpu-cap makes dump and restore do.
 *
 * cpuinfo.img tells what the CPU could do where the tree ran.  Programs ask once and keep on using what they found, so
 * it is what a target needs to have, whether this tree uses it or not.  Without --cpu-cap no such image is written, and a
 * restore looks only at the registers in use (load.c) and at the image when there is one.
 */
#include "cpuinfo.h"

#include <errno.h>
#include <string.h>

#include "arch/x86_64/cpu.h"
#include "cpuinfo.pb-c.h"
#include "image.h"
#include "options.h"

/* Other engines made these words of something else, or of nothing: compared only when the writer has filled them. */
static bool word_compares(const CpuinfoX86Entry *e, size_t w)
{
	return w < e->n_capability && w < CPU_WORDS && (w < 12 || e->capability[w]) && w != 2 && w != 3 && w != 5 && w != 7 &&
	       w != 8;
}

/* ---- --cpu-cap ---- */

static uint32_t cap_bits(const char *name, size_t len)
{
	static const struct {
		const char *name;
		uint32_t bits;
	} caps[] = { { "fpu", CPU_CAP_FPU }, { "cpu", CPU_CAP_CPU }, { "ins", CPU_CAP_INS }, { "all", CPU_CAP_ALL } };

	for (size_t i = 0; i < ARRAY_SIZE(caps); i++)
		if (strlen(caps[i].name) == len && !strncmp(caps[i].name, name, len))
			return caps[i].bits;
	return 0;
}

/* "fpu,ins", "^cpu": a list that begins by taking something away takes it from all. */
static int parse_caps(struct session *s, const char *text, uint32_t *ret)
{
	uint32_t caps = *text && *text != '^' ? 0 : CPU_CAP_ALL;

	for (const char *p = text; *p; p += *p == ',') {
		bool negated = *p == '^';
		const char *name = p + negated;
		size_t len = strcspn(name, ",");
		bool none = len == 4 && !strncmp(name, "none", 4);
		uint32_t bits = cap_bits(name, len);

		if (!bits && !none)
			return fail(s, EINVAL, "--cpu-cap %s: '%.*s' is none of none, fpu, cpu, ins, all (with ^ before it: not)",
				    text, (int)len, name);
		if (none)
			caps = negated ? CPU_CAP_ALL : 0;
		else
			caps = negated ? caps & ~bits : caps | bits;
		p = name + len;
	}
	*ret = caps;
	return 0;
}

int cpu_cap(struct session *s, uint32_t dflt, uint32_t *ret, bool *ret_given)
{
	const char *text = opt_given(s->opts, "cpu-cap") ? opt_str(s->opts, "cpu-cap") : NULL;

	if (ret_given)
		*ret_given = text != NULL;
	*ret = dflt;
	return text ? parse_caps(s, text, ret) : 0;
}

/* ---- the image ---- */

int cpuinfo_write(struct session *s)
{
	CpuinfoEntry info = CPUINFO_ENTRY__INIT;
	CpuinfoX86Entry x86 = CPUINFO_X86_ENTRY__INIT, *list = &x86;
	struct cpu_facts f;

	cpu_read(&f);
	x86.vendor_id = f.vendor == CPU_INTEL ? CPUINFO_X86_ENTRY__VENDOR__INTEL :
			f.vendor == CPU_AMD   ? CPUINFO_X86_ENTRY__VENDOR__AMD :
						CPUINFO_X86_ENTRY__VENDOR__UNKNOWN;
	x86.cpu_family = f.family;
	x86.model = f.model;
	x86.stepping = f.stepping;
	x86.capability_ver = CPU_CAPABILITY_VERSION;
	x86.n_capability = CPU_WORDS;
	x86.capability = f.words;
	x86.model_id = f.name;
	x86.has_xfeatures_mask = x86.has_xsave_size = x86.has_xsave_size_max = f.xfeatures != 0;
	x86.xfeatures_mask = f.xfeatures;
	x86.xsave_size = f.xsave_size;
	x86.xsave_size_max = f.xsave_size_max;
	info.n_x86_entry = 1;
	info.x86_entry = &list;
	return img_append_msg(s, &img_cpuinfo, CR_IMG_NO_ID, &info.base);
}

/* Appends "avx512f, sha_ni" to names: what of `bits` is of a kind that matters. */
static void add_names(struct buf *names, unsigned word, uint32_t bits, bool ins, bool fpu, bool all)
{
	for (unsigned bit = 0; bit < 32; bit++) {
		const char *name = NULL;
		enum cpu_kind kind;

		if (!(bits >> bit & 1))
			continue;
		kind = cpu_feature(word, bit, &name);
		if (!all && !(ins && kind == CPU_FEATURE_INS) && !(fpu && kind == CPU_FEATURE_FPU))
			continue;
		buf_printf(names, "%s", names->len ? ", " : "");
		if (name)
			buf_printf(names, "%s", name);
		else
			buf_printf(names, "word %u bit %u", word, bit);
	}
}

static void compare_words(const CpuinfoX86Entry *e, const struct cpu_facts *here, uint32_t caps, struct buf *missing,
			  struct buf *more)
{
	bool exact = caps & CPU_CAP_CPU;

	for (size_t w = 0; w < CPU_WORDS; w++) {
		if (!word_compares(e, w))
			continue;
		add_names(missing, w, e->capability[w] & ~here->words[w], caps & CPU_CAP_INS, caps & CPU_CAP_FPU, exact);
		if (exact)
			add_names(more, w, here->words[w] & ~e->capability[w], true, true, true);
	}
}

static int compare_entry(struct session *s, const CpuinfoX86Entry *e, uint32_t caps)
{
	_cleanup_buf_ struct buf missing = { 0 }, more = { 0 };
	const char *model = e->model_id ? e->model_id : "unknown";
	char components[256];
	uint64_t lacking = 0;
	struct cpu_facts here;

	cpu_read(&here);
	if (caps & CPU_CAP_CPU && (uint32_t)e->vendor_id != here.vendor)
		return fail(s, EOPNOTSUPP, "cpuinfo.img comes from a CPU of another vendor (%s), this one is %s: restore on "
			    "such a CPU, or ask for less (--cpu-cap=ins,fpu)", model, here.name);
	compare_words(e, &here, caps, &missing, &more);
	if (e->has_xfeatures_mask && caps & CPU_CAP_FPU)
		lacking = e->xfeatures_mask & ~here.xfeatures;
	if (lacking)
		buf_printf(&missing, "%sextended state of %s", missing.len ? ", " : "",
			   cpu_component_names(lacking, components, sizeof(components)));
	if (missing.len)
		return fail(s, EOPNOTSUPP, "this CPU (%s) lacks what the one of the dump (%s) had: %s; restore on a CPU that has "
			    "it, or, when the programs do not use it, with --cpu-cap=none", here.name, model, missing.p);
	if (more.len)
		return fail(s, EOPNOTSUPP, "this CPU (%s) is not the same as the one of the dump (%s): it has also %s; "
			    "--cpu-cap=ins,fpu is content with that", here.name, model, more.p);
	return 0;
}

int cpuinfo_compare(struct session *s, uint32_t caps)
{
	ProtobufCMessage *msg = NULL;
	int err = img_read_one(s, &img_cpuinfo, CR_IMG_NO_ID, &cpuinfo_entry__descriptor, &msg);
	const CpuinfoEntry *info = (const CpuinfoEntry *)msg;

	if (err < 0)
		return err;
	if (!info->n_x86_entry)
		err = fail(s, EOPNOTSUPP, "cpuinfo.img is about no x86 CPU: restore on the architecture of the dump");
	else if (info->x86_entry[0]->capability_ver != CPU_CAPABILITY_VERSION)
		err = fail(s, EOPNOTSUPP, "cpuinfo.img has features in an order %u that is not known: --cpu-cap=none ignores it",
			   info->x86_entry[0]->capability_ver);
	else
		err = compare_entry(s, info->x86_entry[0], caps);
	protobuf_c_message_free_unpacked(msg, NULL);
	return err;
}

int cpuinfo_dump(struct session *s)
{
	uint32_t caps;
	int err = cpu_cap(s, CPU_CAP_FPU, &caps, NULL);

	/* the extended state is in the images anyway */
	return err || !(caps & (CPU_CAP_CPU | CPU_CAP_INS)) ? err : cpuinfo_write(s);
}

int cpuinfo_check(struct session *s)
{
	uint32_t caps;
	bool given;
	int err = cpu_cap(s, CPU_CAP_INS, &caps, &given);

	/* of the extended state only what is in use counts, and that the registers tell */
	caps &= ~CPU_CAP_FPU;
	if (err || !caps)
		return err;
	err = cpuinfo_compare(s, caps);
	if (err != -ENOENT)
		return err;
	return given ? fail(s, ENOENT, "there is no cpuinfo.img to compare this CPU with: dump with --cpu-cap, or restore with "
			    "--cpu-cap=fpu or none") : 0;
}
