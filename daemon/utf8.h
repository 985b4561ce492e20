/*
 * One question about UTF-8, asked by the log (what may be written as it is) and by the reader of the
 * configuration (libini_config refuses other text without naming the line). Independent of the locale; pure.
 */
#ifndef PMAPD_UTF8_H
#define PMAPD_UTF8_H

#include <stddef.h>

/*
 * The length (1 to 4) of the well-formed character at the start of these bytes; 0 where there is none, also
 * when it is cut off by `size`. Overlong forms, surrogates and what lies above U+10FFFF are not well-formed.
 */
size_t utf8_length(const char *bytes, size_t size);

#endif
