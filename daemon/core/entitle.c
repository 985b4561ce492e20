/* Who is due how many slots; see entitle.h. */
#include "daemon/core/entitle.h"

#include <stdlib.h>

/* Who is satisfied first when all are served by weight comes first. */
static int compare(const void *a, const void *b)
{
    const struct claim *one = a, *two = b;
    double first = one->most * two->weight, second = two->most * one->weight;
    return (first > second) - (first < second);
}

void entitle(struct claim *claims, size_t count, double slots)
{
    double weights = 0;
    for (size_t i = 0; i < count; i++)
        weights += claims[i].weight;
    if (count > 0)
        qsort(claims, count, sizeof *claims, compare);
    for (size_t i = 0; i < count; i++) {
        /* Of the last one `weights` is its own weight, but for what rounding has left. */
        double fair = i + 1 < count ? slots * claims[i].weight / weights : slots;
        claims[i].due = claims[i].most < fair ? claims[i].most : fair;
        slots -= claims[i].due;
        weights -= claims[i].weight;
    }
}
