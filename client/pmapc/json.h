/*
 * JSON out, by jansson: values from what the daemon says, in MessagePack or otherwise, and the printing of
 * them.
 */
#ifndef PMAPC_JSON_H
#define PMAPC_JSON_H

#include <jansson.h>
#include <msgpack.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* All return a new reference, or NULL when memory is short (which jansson's _new functions and json_print
 * accept). */

/* A text of any bytes: what is not UTF-8 in it becomes U+FFFD, byte by byte. */
json_t *json_of_text(const char *text, size_t len);

/* An integer; one over 2^63 - 1, which jansson does not know, becomes a real. */
json_t *json_of_unsigned(uint64_t value);

/*
 * A MessagePack value, whole: binary becomes text, an extension and a number that is none become null, a key
 * that is no string becomes its JSON text.
 */
json_t *json_of_msgpack(const msgpack_object *object);

/* Prints a value and a newline, and drops the reference. Returns STATUS_DONE, or STATUS_FAILED having told
 * why. */
int json_print(json_t *value, FILE *stream, size_t flags);

#endif
