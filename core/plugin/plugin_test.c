/* SPDX-License-Identifier: MIT */
/*
 * Plugins: order, needs, clashes, old and broken declarations, selection, trust,
 * claims, broadcasts, features.  The plugins are built into this program; each test
 * chooses some of them with --plugins.
 */
#define CR_BUILTIN
#include "plugin.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#undef fail /* cmocka has one of its own */

#include "options.h"

static char trace[256]; /* names of hooks as they run */

static int say(struct cr_session *s, const char *hook)
{
	size_t n = strlen(trace);

	snprintf(trace + n, sizeof(trace) - n, "%s.%s ", session_of(s)->plugin, hook);
	return 0;
}

static int prepare(struct cr_session *s)
{
	return say(s, "prepare");
}

static int collect(struct cr_session *s)
{
	return say(s, "collect");
}

static void done(struct cr_session *s, int error)
{
	say(s, error ? "done!" : "done");
}

#define HEAD(n) .size = sizeof(struct cr_plugin), .abi = CR_ABI, .name = n, .version = "1", .summary = "Test."
#define NAMES(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define REGISTER(var) \
	__attribute__((used, section("cr_builtin"))) static const struct cr_plugin *const reg_##var = &var

/* ---- order ---- */

static const struct cr_plugin zeta = { HEAD("zeta"), .provides = NAMES("svc:base"), .prepare = prepare, .done = done };
static const struct cr_plugin alpha = { HEAD("alpha"), .needs = NAMES("svc:base"), .prepare = prepare, .done = done };
static const struct cr_plugin beta = { HEAD("beta"), .wants = NAMES("alpha", "svc:nowhere"), .prepare = prepare };
static const struct cr_plugin orphan = { HEAD("orphan"), .needs = NAMES("svc:missing") };
static const struct cr_plugin child = { HEAD("child"), .needs = NAMES("orphan") };
static const struct cr_plugin ring1 = { HEAD("ring1"), .needs = NAMES("ring2") };
static const struct cr_plugin ring2 = { HEAD("ring2"), .needs = NAMES("ring1") };
static const struct cr_plugin ring3 = { HEAD("ring3"), .needs = NAMES("ring1") };
static const struct cr_plugin soft1 = { HEAD("soft1"), .wants = NAMES("soft2") };
static const struct cr_plugin soft2 = { HEAD("soft2"), .wants = NAMES("soft1") };

/* ---- claims ---- */

static int match_one(const struct cr_file_info *info)
{
	return info->anon && !strcmp(info->anon, "one") ? CR_SPECIFIC : CR_NOT_MINE;
}

static int match_any(const struct cr_file_info *info)
{
	return CR_GENERIC;
}

static const struct cr_file_kind kind_one = { .size = sizeof(kind_one), .name = "one", .fd_type = 5, .field = 6,
					      .match = match_one };
static const struct cr_file_kind kind_any = { .size = sizeof(kind_any), .name = "any", .fd_type = 1, .field = 3,
					      .match = match_any };
static const struct cr_file_kind kind_rival = { .size = sizeof(kind_rival), .name = "rival", .fd_type = 16, .field = 0,
						.match = match_one };
static const struct cr_file_kind kind_forced = { .size = sizeof(kind_forced), .name = "forced", .fd_type = 16 };
static const struct cr_file_kind kind_same = { .size = sizeof(kind_same), .name = "same", .fd_type = 5, .field = 6 };

static int match_forced(struct cr_session *s, const struct cr_file_info *info, const struct cr_file_kind **ret_kind)
{
	if (strcmp(info->link, "forced"))
		return CR_NOT_MINE;
	*ret_kind = &kind_forced;
	return CR_FORCED;
}

#define KINDS(...) ((const struct cr_file_kind *const[]){ __VA_ARGS__, NULL })
static const struct cr_plugin one = { HEAD("one"), .files = KINDS(&kind_one, &kind_any) };
static const struct cr_plugin rival = { HEAD("rival"), .files = KINDS(&kind_rival) };
static const struct cr_plugin forced = { HEAD("forced"), .files = KINDS(&kind_forced), .match = match_forced };
static const struct cr_plugin sameslot = { HEAD("sameslot"), .files = KINDS(&kind_same) };

/* ---- clashes ---- */

static const struct cr_option opt_own = { .size = sizeof(opt_own), .name = "own", .kind = CR_OPT_FLAG };
static const struct cr_option opt_core = { .size = sizeof(opt_core), .name = "tree", .kind = CR_OPT_FLAG };
static const struct cr_img_type img = { .size = sizeof(img), .name = "x-img", .magic = 1 };
static const struct cr_plugin opts1 = { HEAD("opts1"), .options = (const struct cr_option *const[]){ &opt_own, NULL },
					.images = (const struct cr_img_type *const[]){ &img, NULL } };
static const struct cr_plugin opts2 = { HEAD("opts2"), .options = (const struct cr_option *const[]){ &opt_own, NULL } };
static const struct cr_plugin opts3 = { HEAD("opts3"), .options = (const struct cr_option *const[]){ &opt_core, NULL } };
static const struct cr_plugin zimg = { HEAD("zimg"), .images = (const struct cr_img_type *const[]){ &img, NULL } };
static const struct cr_plugin twin1 = { HEAD("twin") };
static const struct cr_plugin twin2 = { HEAD("twin") };

/* ---- old, new and broken declarations ---- */

/* Ends behind summary; what follows in memory is not part of it. */
static const struct cr_plugin old = { .size = offsetof(struct cr_plugin, provides), .abi = CR_ABI, .name = "old",
				      .version = "0", .summary = "Old.", .needs = NAMES("svc:missing") };
static const struct {
	struct cr_plugin p;
	uint64_t more;
} future = { { .size = sizeof(future), .abi = CR_ABI, .name = "future", .version = "9", .summary = "New." }, 1 };
/* An old option: no help yet. */
static const struct cr_option opt_short = { .size = offsetof(struct cr_option, modes), .name = "shortopt",
					    .kind = CR_OPT_STRING, .fallback = "not seen" };
static const struct cr_plugin oldopt = { HEAD("oldopt"), .options = (const struct cr_option *const[]){ &opt_short, NULL } };
static const struct cr_plugin abi9 = { .size = sizeof(abi9), .abi = 9, .name = "abi9", .version = "1", .summary = "x" };
static const struct cr_plugin tiny = { .size = 8, .abi = CR_ABI, .name = "tiny" };
static const struct cr_plugin badname = { HEAD("bad/name") };
static const struct cr_option opt_bad = { .size = 3, .name = "bad" };
static const struct cr_plugin badopt = { HEAD("badopt"), .options = (const struct cr_option *const[]){ &opt_bad, NULL } };

/* ---- hooks ---- */

static int prepare_fails(struct cr_session *s)
{
	say(s, "prepare");
	return -EIO;
}

static int collect_refuses(struct cr_session *s)
{
	say(s, "collect");
	return refuse(session_of(s), NULL, "no");
}

static int probe_yes(struct cr_session *s, uint64_t *ret)
{
	say(s, "probe");
	*ret = 42;
	return 0;
}

static int probe_breaks(struct cr_session *s, uint64_t *ret)
{
	*ret = 7;
	return fail(session_of(s), EIO, "cannot probe");
}

static const struct cr_feature feat_yes = { .size = sizeof(feat_yes), .name = "t-yes", .probe = probe_yes };
static const struct cr_feature feat_breaks = { .size = sizeof(feat_breaks), .name = "t-breaks", .probe = probe_breaks };
static const struct cr_plugin failing = { HEAD("failing"), .wants = NAMES("zeta"), .prepare = prepare_fails, .done = done };
static const struct cr_plugin refusing1 = { HEAD("refusing1"), .collect = collect_refuses };
static const struct cr_plugin refusing2 = { HEAD("refusing2"), .collect = collect };
static const struct cr_plugin feats = { HEAD("feats"),
					.features = (const struct cr_feature *const[]){ &feat_yes, &feat_breaks, NULL } };

REGISTER(beta); REGISTER(alpha); REGISTER(zeta); REGISTER(orphan); REGISTER(child); REGISTER(ring1); REGISTER(ring2);
REGISTER(ring3); REGISTER(soft1); REGISTER(soft2); REGISTER(one); REGISTER(rival); REGISTER(forced); REGISTER(sameslot);
REGISTER(opts1); REGISTER(opts2); REGISTER(opts3); REGISTER(zimg); REGISTER(twin1); REGISTER(twin2); REGISTER(old);
REGISTER(oldopt); REGISTER(abi9); REGISTER(tiny); REGISTER(badname); REGISTER(badopt); REGISTER(failing);
REGISTER(refusing1); REGISTER(refusing2); REGISTER(feats);
__attribute__((used, section("cr_builtin"))) static const struct cr_plugin *const reg_future = &future.p;

/* ---- fixture ---- */

struct fixture {
	struct session *s;
	struct options *o;
	struct plugins *p;
	char dir[32];
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/plugin_testXXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	log_init();
	log_set_level(0);
	trace[0] = 0;
	f->o = options_new();
	options_set(f->o, "plugin-dir", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char *cmd = xasprintf("rm -rf '%s'", f->dir);
	int r = system(cmd);

	session_free(f->s);
	plugins_free(f->p);
	options_free(f->o);
	free(cmd);
	free(f);
	log_close();
	return r;
}

static int load(struct fixture *f, const char *which)
{
	int err;

	options_set(f->o, "plugins", which);
	err = plugins_load(f->o, &f->p);
	f->s = session_new(CR_MODE_DUMP, f->o);
	f->s->plugins = f->p;
	return err;
}

static const char *reason(struct fixture *f, const char *name)
{
	for (size_t i = 0; i < f->p->all.n; i++)
		if (!strcmp(f->p->all.v[i]->name, name))
			return f->p->all.v[i]->disabled ? f->p->all.v[i]->disabled : "";
	return "absent";
}

static void expect_reason(struct fixture *f, const char *name, const char *text)
{
	if (!strstr(reason(f, name), text))
		print_error("%s: \"%s\" is not in \"%s\"\n", name, text, reason(f, name));
	assert_non_null(strstr(reason(f, name), text));
}

/* ---- tests ---- */

static void test_order(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "beta,alpha,zeta"), 0);
	assert_int_equal(BROADCAST(f->s, prepare), 0);
	plugins_done(f->s, 0);
	plugins_done(f->s, 0);
	assert_string_equal(trace, "zeta.prepare alpha.prepare beta.prepare alpha.done zeta.done ");
	assert_null(plugins_nth(f->p, 3));
	expect_reason(f, "one", "not selected");
}

static void test_needs(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "orphan,child,ring1,ring2,ring3,soft1,soft2"), -ENOENT);
	expect_reason(f, "orphan", "needs svc:missing, which no plugin provides");
	expect_reason(f, "child", "needs orphan of plugin orphan, which is disabled: it needs svc:missing");
	expect_reason(f, "ring1", "circle: ring1 needs ring2 needs ring1");
	expect_reason(f, "ring2", "circle: ring2 needs ring1 needs ring2");
	expect_reason(f, "ring3", "circle: ring3 needs ring1 needs ring2 needs ring1");
	assert_non_null(plugins_find(f->p, "soft1"));
	assert_non_null(plugins_find(f->p, "soft2"));
	assert_non_null(f->p->error);
}

static void test_clashes(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "all"), 0);
	expect_reason(f, "opts2", "option --own is also declared by plugin opts1");
	expect_reason(f, "opts3", "option --tree is also declared by the core");
	expect_reason(f, "zimg", "image x-img is also declared by plugin opts1");
	expect_reason(f, "sameslot", "kind of file same");
	expect_reason(f, "sameslot", "type 5, field 6 as one of plugin one");
	assert_non_null(plugins_find(f->p, "twin"));
	assert_string_equal(options_owner(f->o, "own"), "opts1");
}

static void test_twins(void **state)
{
	struct fixture *f = *state;
	size_t enabled = 0;

	assert_int_equal(load(f, "twin"), 0);
	for (size_t i = 0; i < f->p->all.n; i++) {
		struct plugin *p = f->p->all.v[i];

		if (strcmp(p->name, "twin"))
			continue;
		enabled += !p->disabled;
		if (p->disabled)
			assert_non_null(strstr(p->disabled, "another plugin of this name: built into the engine"));
	}
	assert_int_equal(enabled, 1);
}

static void test_abi(void **state)
{
	struct fixture *f = *state;
	struct plugin *p;

	assert_int_equal(load(f, "all"), 0);
	p = plugins_find(f->p, "old");
	assert_non_null(p);
	assert_null(p->def->needs); /* beyond its size */
	assert_int_equal(p->def->size, sizeof(struct cr_plugin));
	assert_non_null(plugins_find(f->p, "future"));
	p = plugins_find(f->p, "oldopt");
	assert_non_null(p);
	assert_null(p->def->options[0]->fallback);
	assert_null(opt_str(f->o, "shortopt"));
	expect_reason(f, "abi9", "built for ABI 9");
	expect_reason(f, "tiny", "nonsensical size");
	expect_reason(f, "bad/name", "no proper name");
	expect_reason(f, "badopt", "nonsensical size");
}

static void test_selection(void **state)
{
	struct fixture *f = *state;

	options_set(f->o, "no-plugin", "alpha,one");
	assert_int_equal(load(f, "all"), 0);
	expect_reason(f, "alpha", "--no-plugin");
	expect_reason(f, "one", "--no-plugin");
	assert_non_null(plugins_find(f->p, "zeta"));
}

static void test_select_none(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "none"), 0);
	assert_null(plugins_nth(f->p, 0));
}

static void test_select_unknown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "zeta,nobody"), -ENOENT);
	assert_non_null(strstr(f->p->error, "there is no plugin nobody in /tmp/plugin_test"));
	assert_non_null(plugins_find(f->p, "zeta"));
}

static void test_no_dir(void **state)
{
	struct fixture *f = *state;

	options_set(f->o, "plugin-dir", "/nonexistent");
	assert_int_equal(load(f, "all"), -ENOENT);
	assert_non_null(strstr(f->p->error, "/nonexistent"));
}

/* Files that are no plugins, and files that others can write. */
static void test_files(void **state)
{
	struct fixture *f = *state;
	char *path = xasprintf("%s/junk.so", f->dir), *open_path = xasprintf("%s/open.so", f->dir);
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	fputs("no ELF file", out);
	fclose(out);
	assert_int_equal(chmod(path, 0644), 0);
	out = fopen(open_path, "w");
	assert_non_null(out);
	fclose(out);
	assert_int_equal(chmod(open_path, 0666), 0);
	assert_int_equal(load(f, "all"), 0);
	expect_reason(f, "junk", "cannot be loaded");
	if (geteuid() == 0)
		expect_reason(f, "open", "refused: ");
	free(path);
	free(open_path);
}

static void test_open_dir(void **state)
{
	struct fixture *f = *state;
	char *path = xasprintf("%s/junk.so", f->dir);
	FILE *out = fopen(path, "w");

	fclose(out);
	chmod(f->dir, 0777);
	assert_int_equal(load(f, "zeta,junk"), -ENOENT);
	if (geteuid() == 0)
		expect_reason(f, "junk", "can be written by others: chmod go-w");
	assert_non_null(strstr(f->p->error, "plugin junk, named with --plugins, cannot be used"));
	free(path);
}

static void test_claims(void **state)
{
	struct fixture *f = *state;
	struct cr_file_info info = { .size = sizeof(info), .link = "x", .anon = "one" };
	const struct cr_file_kind *k;
	struct plugin *p;

	assert_int_equal(load(f, "one,forced"), 0);
	assert_int_equal(plugins_claim(f->s, &info, &p, &k), 0);
	assert_string_equal(k->name, "one");
	assert_string_equal(p->name, "one");
	info.anon = NULL;
	assert_int_equal(plugins_claim(f->s, &info, &p, &k), 0);
	assert_string_equal(k->name, "any");
	info.link = "forced";
	assert_int_equal(plugins_claim(f->s, &info, &p, &k), 0);
	assert_string_equal(k->name, "forced");
	assert_ptr_equal(k, p->def->files[0]);
	assert_int_equal(plugins_kind_by_type(f->s, 5, 6, &p, &k), 0);
	assert_string_equal(k->name, "one");
	assert_int_equal(plugins_kind_by_type(f->s, 5, 7, &p, &k), -ENOENT);
}

static void test_tie(void **state)
{
	struct fixture *f = *state;
	struct cr_file_info info = { .size = sizeof(info), .link = "x", .anon = "one" };
	const struct cr_file_kind *k;
	struct plugin *p;

	assert_int_equal(load(f, "one,rival"), 0);
	assert_int_equal(plugins_claim(f->s, &info, &p, &k), -EEXIST);
	assert_non_null(strstr(f->s->err.text, "plugin one (one) and plugin rival (rival)"));
}

static void test_nobody(void **state)
{
	struct fixture *f = *state;
	struct cr_file_info info = { .size = sizeof(info), .link = "x" };
	const struct cr_file_kind *k;
	struct plugin *p;

	assert_int_equal(load(f, "rival"), 0);
	assert_int_equal(plugins_claim(f->s, &info, &p, &k), -ENOENT);
	assert_int_equal(f->s->err.errnum, 0);
}

static void test_failing_hook(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "beta,alpha,zeta,failing"), 0);
	assert_int_equal(BROADCAST(f->s, prepare), -EIO);
	plugins_done(f->s, -EIO);
	assert_non_null(strstr(trace, "failing.prepare failing.done! "));
	assert_non_null(strstr(trace, "zeta.done! "));
	assert_string_equal(f->s->err.plugin, "failing");
	assert_null(f->s->plugin);
	assert_null(f->s->phase);
}

static void test_refusing_hook(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "refusing1,refusing2"), 0);
	f->s->tree_is = TREE_FROZEN;
	assert_int_equal(BROADCAST(f->s, collect), -EOPNOTSUPP);
	assert_string_equal(trace, "refusing1.collect refusing2.collect ");
	assert_int_equal(f->s->blockers.n, 1);
}

static void test_features(void **state)
{
	struct fixture *f = *state;
	const char *owner;

	assert_int_equal(load(f, "feats"), 0);
	assert_int_equal(plugins_feature(f->s, "t-yes"), 42);
	assert_int_equal(plugins_feature(f->s, "t-yes"), 42);
	assert_string_equal(trace, "feats.probe "); /* once */
	assert_int_equal(plugins_feature(f->s, "t-breaks"), 0);
	assert_int_equal(f->s->err.errnum, 0);
	assert_int_equal(plugins_feature(f->s, "t-unknown"), 0);
	assert_non_null(plugins_find_feature(f->p, "t-yes", &owner));
	assert_string_equal(owner, "feats");
	assert_non_null(plugins_find_feature(f->p, "kcmp", &owner));
	assert_string_equal(owner, "core");
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_order), T(test_needs), T(test_clashes), T(test_twins), T(test_abi), T(test_selection),
		T(test_select_none), T(test_select_unknown), T(test_no_dir), T(test_files), T(test_open_dir),
		T(test_claims), T(test_tie), T(test_nobody), T(test_failing_hook), T(test_refusing_hook), T(test_features),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
