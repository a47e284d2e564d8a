/* SPDX-License-Identifier: MIT */
/* keygen.c: makes a pair of keys for signing images, or for encrypting them. */
#include "cmd.h"
#include "image.h"

#include <errno.h>
#include <string.h>

int cmd_keygen(struct session *s, int argc, char **argv)
{
	bool sign = argc == 2 && !strcmp(argv[0], "sign");
	int err;

	s->phase = "keygen";
	if (!sign && !(argc == 2 && !strcmp(argv[0], "encrypt")))
		return fail(s, EINVAL, "keygen sign FILE makes keys for --sign-key and --verify-key, keygen encrypt FILE for "
			    "--encrypt-key and --decrypt-key");
	err = key_generate(s, sign, argv[1]);
	if (!err)
		printf("%s: secret key, for --%s\n%s.pub: public key, for --%s\n", argv[1], sign ? "sign-key" : "decrypt-key",
		       argv[1], sign ? "verify-key" : "encrypt-key");
	return err;
}
