/* SPDX-License-Identifier: MIT */
/*
 * Taking over what a plugin declares.
 *
 * A plugin may have been built against an older or a newer header.  Every struct
 * starts with its size: min(theirs, ours) bytes are copied and the rest reads as
 * zero, so that the core never has to ask how old a plugin is.  Nonsense is found
 * here, once, with a reason for the user.
 */
#include "plugin_impl.h"

#include <string.h>

#define MAX_LIST 1024
#define MAX_STRUCT 65536

/* Bytes up to and with a field: the least that a struct must have to be of use. */
#define UPTO(type, field) (offsetof(type, field) + sizeof(((type *)0)->field))

static void *keep(struct plugin *p, size_t bytes)
{
	void *m = xcalloc(1, bytes);

	*vec_push(&p->copies) = m;
	return m;
}

/* NULL when the size that src claims makes no sense. */
static void *copy_sized(struct plugin *p, const void *src, size_t ours, size_t least)
{
	size_t theirs;
	void *m;

	memcpy(&theirs, src, sizeof(theirs));
	if (theirs < least || theirs > MAX_STRUCT)
		return NULL;
	m = keep(p, ours);
	memcpy(m, src, MIN_OF(theirs, ours));
	memcpy(m, &ours, sizeof(ours));
	return m;
}

/* Copies a list of pointers to sized structs; NULL with *ret_wrong set on nonsense. */
static const void *copy_list(struct plugin *p, const void *list, size_t ours, size_t least,
			     const char *what, char **ret_wrong)
{
	const void *const *src = list;
	const void **dst;
	size_t n = 0;

	if (!src || *ret_wrong)
		return NULL;
	while (n < MAX_LIST && src[n])
		n++;
	if (n == MAX_LIST) {
		*ret_wrong = xasprintf("its list of %s does not end", what);
		return NULL;
	}
	dst = keep(p, (n + 1) * sizeof(*dst));
	for (size_t i = 0; i < n; i++) {
		dst[i] = copy_sized(p, src[i], ours, least);
		if (!dst[i]) {
			*ret_wrong = xasprintf("entry %zu of its %s has a nonsensical size", i, what);
			return NULL;
		}
	}
	return dst;
}

/* Names are printed, compared and made into file names. */
static bool good_name(const char *name)
{
	return name && *name && name[0] != '-' && strlen(name) < 64 &&
	       !name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")];
}

static char *check_options(const struct cr_plugin *d)
{
	for (size_t i = 0; d->options && d->options[i]; i++) {
		const struct cr_option *o = d->options[i];

		if (!good_name(o->name))
			return xasprintf("its option %zu has no proper name", i);
		if (o->kind < CR_OPT_FLAG || o->kind > CR_OPT_LIST)
			return xasprintf("its option --%s is of an unknown kind", o->name);
		for (size_t k = 0; k < i; k++)
			if (!strcmp(d->options[k]->name, o->name))
				return xasprintf("it declares option --%s twice", o->name);
	}
	return NULL;
}

/* An engine that would run the hooks somewhere else must not run them at all. */
static char *check_context(const char *what, const char *kind, uint32_t context)
{
	static const char *const names[] = { [CR_CTX_NET] = "network", [CR_CTX_MNT] = "mount", [CR_CTX_IPC] = "IPC",
					     [CR_CTX_USER] = "user" };

	if (context == CR_CTX_HOST)
		return NULL;
	if (context < ARRAY_SIZE(names))
		return xasprintf("its kind of %s %s has to be handled in the task's %s namespace, and this engine works only in "
				 "its own: use a newer one", what, kind, names[context]);
	return xasprintf("its kind of %s %s wants context %u, which this engine does not know: use a newer one", what, kind,
			 context);
}

static char *check_kinds(const struct cr_plugin *d)
{
	for (size_t i = 0; d->files && d->files[i]; i++) {
		const struct cr_file_kind *k = d->files[i];
		char *wrong;

		if (!good_name(k->name))
			return xasprintf("its kind of file %zu has no proper name", i);
		if (!k->fd_type)
			return xasprintf("its kind of file %s has no type", k->name);
		if (k->priv_size > 1 << 20)
			return xasprintf("its kind of file %s wants %zu bytes an object", k->name, k->priv_size);
		wrong = check_context("file", k->name, k->context);
		if (wrong)
			return wrong;
	}
	return NULL;
}

static char *check_vma_kinds(const struct cr_plugin *d)
{
	for (size_t i = 0; d->vmas && d->vmas[i]; i++) {
		const struct cr_vma_kind *k = d->vmas[i];
		char *wrong;

		if (!good_name(k->name))
			return xasprintf("its kind of mapping %zu has no proper name", i);
		if (k->status & (k->status - 1) || (k->field && !k->status))
			return xasprintf("its kind of mapping %s has no proper status", k->name);
		if (k->priv_size > 1 << 20)
			return xasprintf("its kind of mapping %s wants %zu bytes an object", k->name, k->priv_size);
		wrong = check_context("mapping", k->name, k->context);
		if (wrong)
			return wrong;
	}
	return NULL;
}

static char *check_rest(const struct cr_plugin *d)
{
	for (size_t i = 0; d->images && d->images[i]; i++)
		if (!good_name(d->images[i]->name))
			return xasprintf("its image %zu has no proper name", i);
	for (size_t i = 0; d->features && d->features[i]; i++)
		if (!good_name(d->features[i]->name) || !d->features[i]->probe)
			return xasprintf("its feature %zu has no proper name or no probe", i);
	for (size_t i = 0; d->caps && d->caps[i]; i++)
		if (strncmp(d->caps[i], "CAP_", 4))
			return xasprintf("entry %zu of its capabilities does not begin with CAP_", i);
	for (size_t i = 0; d->task_states && d->task_states[i]; i++)
		if (!good_name(d->task_states[i]->name))
			return xasprintf("its task state %zu has no proper name", i);
	return NULL;
}

char *plugin_copy(struct plugin *p, const struct cr_plugin *src)
{
	struct cr_plugin *d;
	char *wrong = NULL;

	if (!src)
		return xasprintf("it gives no declaration");
	d = copy_sized(p, src, sizeof(*d), UPTO(struct cr_plugin, summary));
	if (!d)
		return xasprintf("its declaration has a nonsensical size");
	if (d->abi != CR_ABI)
		return xasprintf("it was built for ABI %u, this engine has %u: rebuild it", d->abi, CR_ABI);
	if (!good_name(d->name))
		return xasprintf("it has no proper name");
	p->own_files = src->size >= UPTO(struct cr_plugin, files) ? src->files : NULL;
#define LIST(field, type, last) \
	d->field = copy_list(p, d->field, sizeof(struct type), UPTO(struct type, last), #field, &wrong)
	LIST(options, cr_option, kind);
	LIST(features, cr_feature, probe);
	LIST(images, cr_img_type, magic);
	LIST(files, cr_file_kind, priv_size);
	LIST(task_states, cr_task_state, name);
	LIST(vmas, cr_vma_kind, match);
#undef LIST
	if (!wrong)
		wrong = check_options(d);
	if (!wrong)
		wrong = check_kinds(d);
	if (!wrong)
		wrong = check_vma_kinds(d);
	if (!wrong)
		wrong = check_rest(d);
	if (!wrong)
		p->def = d;
	return wrong;
}
