/*
 * Well-formed UTF-8 by the table of the Unicode standard (3-7): only the second byte has ranges of its own.
 */
#include "common/utf8.h"

#include <stdint.h>
#include <string.h>

size_t utf8_length(const char *bytes, size_t size)
{
    const unsigned char *b = (const unsigned char *)bytes;
    size_t length;
    unsigned char low = 0x80, high = 0xbf; /* what the second byte may be */

    if (size == 0)
        return 0;
    if (b[0] < 0x80)
        return 1;
    if (b[0] < 0xc2 || b[0] > 0xf4)
        return 0;
    length = b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
    if (b[0] == 0xe0)
        low = 0xa0;
    else if (b[0] == 0xed)
        high = 0x9f;
    else if (b[0] == 0xf0)
        low = 0x90;
    else if (b[0] == 0xf4)
        high = 0x8f;
    if (size < length || b[1] < low || b[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++) {
        if (b[i] < 0x80 || b[i] > 0xbf)
            return 0;
    }
    return length;
}

bool utf8_valid(const char *bytes, size_t size)
{
    const char *end = bytes + size;

    while (bytes < end) {
        uint64_t eight;

        /* Nearly all text is ASCII, which is looked at by the word. */
        if (end - bytes >= (ptrdiff_t)sizeof eight) {
            memcpy(&eight, bytes, sizeof eight);
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                bytes += sizeof eight;
                continue;
            }
        }
        size_t length = (unsigned char)*bytes < 0x80 ? 1 : utf8_length(bytes, (size_t)(end - bytes));
        if (length == 0)
            return false;
        bytes += length;
    }
    return true;
}

size_t utf8_cut(const char *bytes, size_t size, size_t most)
{
    if (size <= most)
        return size;
    while (most > 0 && ((unsigned char)bytes[most] & 0xc0) == 0x80)
        most--;
    return most;
}
