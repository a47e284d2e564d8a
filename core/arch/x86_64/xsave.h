/* SPDX-License-Identifier: MIT */
/* xsave.h: the standard format of the extended state (Intel SDM 1, chapter 13). */
#ifndef ARCH_XSAVE_H
#define ARCH_XSAVE_H

#include <stdint.h>

#define XSAVE_LEGACY 512     /* bytes of the fxsave area */
#define XSAVE_HEADER 64	     /* bytes behind it; the first word says which components are in use */
#define MXCSR_DEFAULT 0x1f80u

enum xsave_component { XC_X87, XC_SSE, XC_AVX, XC_BNDREGS, XC_BNDCSR, XC_OPMASK, XC_ZMM_HI256, XC_HI16_ZMM, XC_PKRU = 9 };

#endif
