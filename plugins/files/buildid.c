/* SPDX-License-Identifier: MIT */
/*
 * buildid.c: the build id of an ELF file.
 *
 * Reads the ELF header, the program headers and the PT_NOTE segments with pread;
 * nothing in the file is trusted: every offset and size is bounded first.
 */
#include <elf.h>
#include <string.h>
#include <unistd.h>

#include "reg.h"

#define NOTES_MAX (64 * 1024)
#define PHDRS_MAX 512

struct segment {
	uint64_t off, len;
};

static size_t id_in_notes(const uint8_t *p, size_t len, uint32_t words[BUILDID_WORDS])
{
	while (len >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr n; /* the same layout for both classes */
		uint64_t name_len, desc_len;

		memcpy(&n, p, sizeof(n));
		name_len = ((uint64_t)n.n_namesz + 3) & ~3ull;
		desc_len = ((uint64_t)n.n_descsz + 3) & ~3ull;
		p += sizeof(n);
		len -= sizeof(n);
		if (name_len > len || desc_len > len - name_len)
			return 0;
		if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 && !memcmp(p, "GNU", 4) && n.n_descsz) {
			size_t bytes = MIN_OF((size_t)n.n_descsz, BUILDID_WORDS * sizeof(uint32_t));

			memset(words, 0, BUILDID_WORDS * sizeof(uint32_t));
			memcpy(words, p + name_len, bytes);
			return (bytes + 3) / 4;
		}
		p += name_len + desc_len;
		len -= name_len + desc_len;
	}
	return 0;
}

/* The i-th program header, when it is a note. */
static int note_segment(int fd, const uint8_t *ehdr, unsigned int i, struct segment *ret)
{
	if (ehdr[EI_CLASS] == ELFCLASS64) {
		const Elf64_Ehdr *h = (const void *)ehdr;
		Elf64_Phdr ph;

		if (h->e_phentsize != sizeof(ph) || i >= h->e_phnum || h->e_phoff > INT64_MAX / 2 ||
		    pread_full(fd, &ph, sizeof(ph), h->e_phoff + i * sizeof(ph)) || ph.p_type != PT_NOTE)
			return 0;
		*ret = (struct segment){ ph.p_offset, ph.p_filesz };
	} else {
		const Elf32_Ehdr *h = (const void *)ehdr;
		Elf32_Phdr ph;

		if (h->e_phentsize != sizeof(ph) || i >= h->e_phnum ||
		    pread_full(fd, &ph, sizeof(ph), h->e_phoff + i * sizeof(ph)) || ph.p_type != PT_NOTE)
			return 0;
		*ret = (struct segment){ ph.p_offset, ph.p_filesz };
	}
	return ret->off < INT64_MAX / 2 && ret->len <= NOTES_MAX;
}

size_t buildid_read(int fd, uint32_t words[BUILDID_WORDS])
{
	_Alignas(8) uint8_t ehdr[sizeof(Elf64_Ehdr)];
	unsigned int phnum;
	size_t n = 0;

	if (pread_full(fd, ehdr, sizeof(ehdr), 0) || memcmp(ehdr, ELFMAG, SELFMAG) ||
	    ehdr[EI_DATA] != ELFDATA2LSB)
		return 0;
	if (ehdr[EI_CLASS] != ELFCLASS64 && ehdr[EI_CLASS] != ELFCLASS32)
		return 0;
	phnum = ehdr[EI_CLASS] == ELFCLASS64 ? ((Elf64_Ehdr *)ehdr)->e_phnum : ((Elf32_Ehdr *)ehdr)->e_phnum;
	for (unsigned int i = 0; i < MIN_OF(phnum, PHDRS_MAX) && !n; i++) {
		_cleanup_free_ uint8_t *notes = NULL;
		struct segment seg;

		if (!note_segment(fd, ehdr, i, &seg))
			continue;
		notes = xcalloc(1, seg.len + 1);
		if (pread_full(fd, notes, seg.len, seg.off) == 0)
			n = id_in_notes(notes, seg.len, words);
	}
	return n;
}
