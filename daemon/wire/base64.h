#pragma once
/* Base64 as RFC 4648 section 4 has it: the standard alphabet, padded, without line breaks. */
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

/* How many letters n bytes become. n is at most a few times FRAME_MAX_BYTES: no overflow. */
size_t base64_encoded_size(size_t n);

/* Writes exactly base64_encoded_size(bytes.len) letters to out, no NUL. */
void base64_encode_to(struct str bytes, char *out);

/* The same, appended to a buffer. 0 or -errno of buf. */
int base64_encode(struct buf *out, struct str bytes) MUST_USE;

/*
 * Letters to bytes, appended to out. Padding may be missing at the end, nothing else may be odd:
 * -EBADMSG for a foreign letter (blanks too), a length that no encoder makes, or bits set behind
 * the last byte. Else 0 or -errno of buf; out is unchanged on failure.
 */
int base64_decode(struct buf *out, struct str text) MUST_USE;

/*
 * Text that a client calls base64, as every reader takes it: without line breaks, padded. *ret is
 * text itself where that is so already, else a copy in the arena. -EBADMSG: a foreign letter, a
 * length that no encoder makes, bits set behind the last byte, or nothing at all; -ENOMEM.
 */
int base64_normalise(struct str text, struct arena *a, struct str *ret) MUST_USE;
