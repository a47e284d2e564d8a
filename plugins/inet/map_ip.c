/* SPDX-License-Identifier: MIT */
/* map_ip.c: --map-ip OLD=NEW: other addresses at restore. See inet.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "inet.h"
#include "util.h"

struct ip {
	int family;
	uint8_t bytes[16];
};
struct inet_map {
	struct ip from, to;
};

static int parse_ip(const char *text, size_t len, struct ip *ret)
{
	char copy[INET6_ADDRSTRLEN];

	if (len >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = 0;
	memset(ret, 0, sizeof(*ret));
	ret->family = strchr(copy, ':') ? AF_INET6 : AF_INET;
	return inet_pton(ret->family, copy, ret->bytes) == 1 ? 0 : -EINVAL;
}

int inet_map_stage(struct cr_session *s)
{
	struct inet_state *st = inet_state(s);
	size_t n = 0;
	const char *text;

	while (s->core->option_item(s, "map-ip", n))
		n++;
	st->maps = n ? s->core->alloc(s, n * sizeof(*st->maps)) : NULL;
	for (st->nmaps = 0; st->nmaps < n; st->nmaps++) {
		struct inet_map *m = &st->maps[st->nmaps];
		const char *eq;

		text = s->core->option_item(s, "map-ip", st->nmaps);
		eq = strchr(text, '=');
		if (!eq || parse_ip(text, eq - text, &m->from) || parse_ip(eq + 1, strlen(eq + 1), &m->to))
			return cr_fail(s, EINVAL, "--map-ip %s: it must be OLD=NEW, two addresses of IPv4 or IPv6",
				       common_quote(s, text));
		if (m->from.family != m->to.family)
			return cr_fail(s, EINVAL,
				       "--map-ip %s: one is an address of IPv4, the other one of IPv6; a socket cannot "
				       "change that",
				       common_quote(s, text));
	}
	return 0;
}

/* An address of IPv4 inside one of IPv6 is meant too. */
void inet_map(struct cr_session *s, union addr *a)
{
	const struct inet_state *st = inet_state(s);
	int v4 = a->any.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);
	uint8_t *p = a->any.sa_family == AF_INET ? (uint8_t *)&a->in.sin_addr : a->in6.sin6_addr.s6_addr + (v4 ? 12 : 0);

	for (size_t i = 0; i < st->nmaps; i++) {
		const struct inet_map *m = &st->maps[i];

		if ((m->from.family == AF_INET) == v4 && !memcmp(p, m->from.bytes, v4 ? 4 : 16)) {
			memcpy(p, m->to.bytes, v4 ? 4 : 16);
			return;
		}
	}
}
