/* The environment of users' processes; see environment.h. */
#include "daemon/worker/exec/environment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool same_name(const char *a, const char *b)
{
    size_t len = strcspn(a, "=");
    return strncmp(a, b, len) == 0 && b[len] == '=';
}

static bool is_set(const char *variable, char *const *set, size_t count)
{
    if (same_name("PMAP_SEQ=", variable) || same_name("PMAP_SLOT=", variable))
        return true;
    for (size_t i = 0; i < count; i++)
        if (same_name(set[i], variable))
            return true;
    return false;
}

int environment_init(struct environment *e, char *const *set, size_t count, bool numbered)
{
    size_t own = 0;
    while (environ && environ[own])
        own++;
    *e = (struct environment){.list = calloc(own + count + 3, sizeof *e->list)};
    if (!e->list)
        return -ENOMEM;
    char **at = e->list;
    for (size_t i = 0; i < own; i++)
        if (!is_set(environ[i], set, count))
            *at++ = environ[i];
    for (size_t i = 0; i < count; i++)
        *at++ = set[i];
    *at++ = e->slot;
    if (numbered)
        *at = e->number;
    environment_number(e, 0, 0);
    return 0;
}

void environment_number(struct environment *e, uint64_t number, uint64_t slot)
{
    snprintf(e->number, sizeof e->number, "PMAP_SEQ=%llu", (unsigned long long)number);
    snprintf(e->slot, sizeof e->slot, "PMAP_SLOT=%llu", (unsigned long long)slot);
}

void environment_free(struct environment *e)
{
    free(e->list);
    e->list = NULL;
}
