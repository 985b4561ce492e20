/*
 * What is well-formed UTF-8: asked by the decoder of messages, by the log (what may be written as it is) and
 * by the reader of the configuration (libini_config refuses other text without naming the line). Independent
 * of the locale; pure.
 */
#ifndef PMAP_UTF8_H
#define PMAP_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The length (1 to 4) of the well-formed character at the start of these bytes; 0 where there is none, also
 * when it is cut off by `size`. Overlong forms, surrogates and what lies above U+10FFFF are not well-formed.
 */
size_t utf8_length(const char *bytes, size_t size);

/* Are all of these bytes well-formed? A NUL is; no bytes at all are. */
bool utf8_valid(const char *bytes, size_t size);

/* The length of their longest beginning of at most `most` bytes that does not end within a character. They
 * must be valid. */
size_t utf8_cut(const char *bytes, size_t size, size_t most);

#endif
