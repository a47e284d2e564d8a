/* SPDX-License-Identifier: MIT */
/* policy.h: NUMA memory policies in images (stasis_policy), and as calls take them. */
#ifndef CORE_TREE_POLICY_H
#define CORE_TREE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "tree.h"

struct StasisPolicy;

/* As it goes to the images; allocated. */
struct StasisPolicy *policy_message(const struct mem_policy *p);
/* From the images. NULL, here and below: the default policy. */
bool policy_sane(const struct StasisPolicy *p);
bool policy_same(const struct StasisPolicy *a, const struct StasisPolicy *b);

/* What mbind(2) and set_mempolicy(2) want. */
struct policy_args {
	uint32_t mode;
	uint64_t max; /* 0: without nodes */
	uint8_t nodes[POLICY_NODES / 8];
};
void policy_unpack(const struct StasisPolicy *p, struct policy_args *ret);
/* That of E. */
void policy_own(struct policy_args *ret);
/* Whether this machine has it; E tries it on itself. */
bool policy_usable(const struct policy_args *a);

#endif
