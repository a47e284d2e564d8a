/* SPDX-License-Identifier: MIT */
/* services.h: the table of services that a session hands to plugins (cr-plugin.h). */
#ifndef CORE_SERVICES_H
#define CORE_SERVICES_H

#include "cr-plugin.h"

extern const struct cr_core core_services;

#endif
