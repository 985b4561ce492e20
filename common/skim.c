/* A walk over MessagePack; see skim.h. */
#include "common/skim.h"

enum skimmed skim(const void *data, size_t size, unsigned nesting, bool binary)
{
    const uint8_t *p = data, *end = p + size;
    uint64_t left[SKIM_NESTING_MAX + 1] = {1}; /* objects that must still come, at each depth */
    unsigned depth = 0;
    for (;;) {
        while (left[depth] == 0) {
            if (depth-- == 0)
                return p == end ? SKIM_FINE : SKIM_LONG;
        }
        if (left[depth] > (uint64_t)(end - p)) /* each is at least one byte */
            return SKIM_SHORT;
        left[depth]--;
        uint8_t c = *p++;
        if (c < 0x80 || c >= 0xe0 || c == 0xc0 || c == 0xc2 || c == 0xc3)
            continue;                 /* small numbers, nil, false, true */
        size_t width = 0;             /* of a count that follows */
        uint64_t skip = 0, count = 0; /* bytes that follow; objects within */
        if (c < 0x90)
            count = 2 * (uint64_t)(c & 0x0f);
        else if (c < 0xa0)
            count = c & 0x0f;
        else if (c < 0xc0)
            skip = c & 0x1f;
        else if (c >= 0xc4 && c <= 0xc6 && binary)
            width = (size_t)1 << (c - 0xc4);
        else if (c >= 0xcc && c <= 0xd3)
            skip = UINT64_C(1) << (c & 3); /* numbers of 1, 2, 4, 8 bytes, without and with a sign */
        else if (c >= 0xd9 && c <= 0xdb)
            width = (size_t)1 << (c - 0xd9);
        else if (c >= 0xdc)
            width = c & 1 ? 4 : 2;
        else
            return SKIM_TYPE;
        if (width > (size_t)(end - p))
            return SKIM_SHORT;
        uint64_t said = 0;
        for (size_t i = 0; i < width; i++)
            said = said << 8 | *p++;
        if (c >= 0xdc && c < 0xe0)
            count = c >= 0xde ? 2 * said : said;
        else if (width > 0)
            skip = said;
        if (skip > (uint64_t)(end - p))
            return SKIM_SHORT;
        p += skip;
        if (count > 0) {
            if (depth == nesting)
                return SKIM_DEEP;
            left[++depth] = count;
        }
    }
}
