/*
 * Numbers as the builtins read and write them: decimal integers of up to 128 bits with sign, and doubles in
 * the notation of Python's float() and repr(). Independent of the locale; nothing is allocated. Thread-safe.
 */
#ifndef PMAP_NUMBER_H
#define PMAP_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct number {
    bool is_real;
    __int128 integer; /* unless is_real */
    double real;      /* if is_real */
};

/* A longer text is not taken for a number, so that no item keeps the parser busy. */
#define NUMBER_PARSE_MAX ((size_t)65536)

/* The longest text that number_print_* write: the sign and 39 digits of the least 128-bit integer. */
enum { NUMBER_PRINT_MAX = 40 };

/*
 * Reads `len` bytes of text: white space (space \t \n \v \f \r), sign, digits, for a real also a point, an
 * exponent, or "inf", "infinity", "nan" in any case. No underscores, no hexadecimal. A real too large for a
 * double is infinite. Returns 0, -EINVAL (no number), -ERANGE (an integer, but one that needs more than 128
 * bits) or -EMSGSIZE (the text is longer than NUMBER_PARSE_MAX).
 */
int number_parse(const uint8_t *text, size_t len, struct number *out);

/* Write the number to out, which has room for NUMBER_PRINT_MAX bytes; no NUL. Return the bytes written. */
size_t number_print_integer(__int128 integer, uint8_t *out);
/* As Python's repr: the fewest digits that give the same double again; "1e-05", "0.0001", "1e+16", "10.0",
 * "inf". */
size_t number_print_real(double real, uint8_t *out);

#endif
