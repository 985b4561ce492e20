/*
 * What the builtins share: how they refuse an item, with its text made safe for a terminal, and how they read
 * a duration.
 */
#include "daemon/functions/builtin.h"

#include "daemon/functions/number.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum function_result builtin_fail(struct function_context *context, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(context->error, sizeof context->error, format, args);
    va_end(args);
    return FUNCTION_FAILED;
}

enum function_result builtin_no_memory(struct function_context *context)
{
    return builtin_fail(context, "not enough memory for the result");
}

enum function_result
builtin_bytes(struct function_context *context, const uint8_t *item, size_t len, struct out *out,
              void (*map)(uint8_t *restrict to, const uint8_t *restrict from, size_t len))
{
    uint8_t *to = out_reserve(out, len);
    if (!to)
        return builtin_no_memory(context);
    for (size_t done = 0; done < len;) {
        size_t piece = len - done < BUILTIN_PIECE ? len - done : BUILTIN_PIECE;
        map(to + done, item + done, piece);
        done += piece;
        if (done < len && builtin_cancelled(context))
            return FUNCTION_CANCELLED;
    }
    out->len += len;
    return FUNCTION_OK;
}

/*
 * Length of the well-formed UTF-8 character at p that a terminal may be shown, or 0: no control character
 * (C0, C1, DEL), and none of those that turn the direction of writing or end a line.
 */
static size_t printable(const uint8_t *p, size_t len)
{
    if (p[0] < 0x80)
        return p[0] >= 0x20 && p[0] != 0x7f;
    size_t need = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    static const uint32_t smallest[] = {0, 0, 0xa0, 0x800, 0x10000};
    if (p[0] < 0xc2 || p[0] > 0xf4 || len < need)
        return 0;
    uint32_t code = p[0] & (0x7fU >> need);
    for (size_t i = 1; i < need; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    bool bad = code < smallest[need] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ||
               (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
               (code >= 0x2060 && code <= 0x206f) || code == 0x61c || code == 0xfeff;
    return bad ? 0 : need;
}

/* Writes the next character of the item, escaped where it must be, to `to` (5 bytes); *used: how much of the
 * item that was. */
static size_t quote_one(const uint8_t *p, size_t len, char to[5], size_t *used)
{
    static const char special[] = "\a\b\t\n\v\f\r\\", letter[] = "abtnvfr\\";
    size_t whole = printable(p, len);
    const char *found = *p ? strchr(special, *p) : NULL;
    *used = 1;
    if (found) {
        to[0] = '\\';
        to[1] = letter[found - special];
        return 2;
    }
    if (whole > 0) {
        memcpy(to, p, whole);
        *used = whole;
        return whole;
    }
    snprintf(to, 5, "\\x%02x", *p);
    return 4;
}

void builtin_quote(const uint8_t *item, size_t len, char out[BUILTIN_QUOTE_MAX])
{
    size_t at = 0;
    bool cut = false;
    out[at++] = '\'';
    for (size_t i = 0, used; i < len && !cut; i += used) {
        char one[5];
        size_t size = quote_one(item + i, len - i, one, &used);
        cut = at + size > BUILTIN_QUOTE_TEXT + 1;
        if (!cut) {
            memcpy(out + at, one, size);
            at += size;
        }
    }
    snprintf(out + at, BUILTIN_QUOTE_MAX - at, "%s", cut ? "...'" : "'");
}

enum function_result builtin_not_a_number(struct function_context *context, int rc, const uint8_t *item,
                                          size_t len)
{
    char quoted[BUILTIN_QUOTE_MAX];
    builtin_quote(item, len, quoted);
    if (rc == -EMSGSIZE)
        return builtin_fail(context, "%s has %zu bytes, too many for a number", quoted, len);
    return builtin_fail(context, "%s is not a number", quoted);
}

enum function_result builtin_duration(struct function_context *context, const uint8_t *item, size_t len,
                                      const char *unit, int64_t unit_ns, int64_t *duration_ns)
{
    struct number number;
    int rc = number_parse(item, len, &number);
    if (rc < 0 && rc != -ERANGE)
        return builtin_not_a_number(context, rc, item, len);
    char quoted[BUILTIN_QUOTE_MAX];
    builtin_quote(item, len, quoted);
    if (rc == 0) {
        double ns = (number.is_real ? number.real : (double)number.integer) * (double)unit_ns;
        if (isnan(ns) || ns < 0)
            return builtin_fail(context, "%s %s: a time from 0 up is wanted", quoted, unit);
        if (ns <= (double)BUILTIN_DURATION_MAX_NS) {
            *duration_ns = llround(ns);
            return FUNCTION_OK;
        }
    }
    return builtin_fail(context, "%s %s is too long: at most 1e9 seconds", quoted, unit);
}
