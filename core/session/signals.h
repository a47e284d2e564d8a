/* SPDX-License-Identifier: MIT */
/*
 * signals.h: signals to the engine itself.
 *
 * SIGINT, SIGTERM, SIGHUP and SIGQUIT make an operation fail at its next step, so that everything is undone and the
 * log says why; a second one of the same kind ends the engine at once (the warden undoes then, too).  From the point
 * of no return on they wait until the command has ended.  A crash says in which plugin and hook it was.
 * What a handler needs lies in file-scope state.
 */
#ifndef CORE_SIGNALS_H
#define CORE_SIGNALS_H

#include "session.h"

/* Of the whole program: SIGPIPE and SIGXFSZ become errors of the calls; crashes are told. */
void signals_init(void);
/* The program that is executed next gets the defaults back. */
void signals_default(void);
/* From now on the signals are caught, for the operation of s. s NULL: they have their usual effect again. */
void signals_catch(struct session *s);
/* No signal counts any more: the operation is past its point of no return. */
void signals_ignore(void);
/* The number of the signal that asks for an end, or 0. Of any thread. */
int signals_caught(void);
/* 0, or -ECANCELED recorded when there was one. */
int signals_check(struct session *s);

#endif
