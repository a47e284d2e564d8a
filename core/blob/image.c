/* SPDX-License-Identifier: MIT */
/* image.c: the linked blob as bytes of the engine. BLOB_BIN is the path of the flat image, set by the build. */
#include "blob.h"

__asm__(".pushsection .rodata\n"
	"	.balign 16\n"
	"	.globl blob_image\n"
	"	.hidden blob_image\n"
	"blob_image:\n"
	"	.incbin \"" BLOB_BIN "\"\n"
	"1:\n"
	"	.balign 4\n"
	"	.globl blob_image_size\n"
	"	.hidden blob_image_size\n"
	"blob_image_size:\n"
	"	.long 1b - blob_image\n"
	"	.popsection\n");
