/* SPDX-License-Identifier: MIT */
/* plugin_impl.h: what load.c, copy.c, order.c and hooks.c share; nobody else includes it. */
#ifndef CORE_PLUGIN_IMPL_H
#define CORE_PLUGIN_IMPL_H

#include "plugin.h"

/* Sets the reason why p is disabled, unless it has one. */
void plugin_disable(struct plugin *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A plugin that may be used: loaded and not disabled. */
static inline bool plugin_usable(const struct plugin *p)
{
	return p->def && !p->disabled;
}

/* copy.c: checks what the plugin declares and copies it into p->def. NULL, or what is wrong (to be freed). */
char *plugin_copy(struct plugin *p, const struct cr_plugin *src);

/* order.c: disables what clashes or misses something, sorts p->all by needs and wants, registers options. */
void plugins_settle(struct plugins *p, struct options *o);

#endif
