/*
 * A command with placeholders, as GNU parallel has them, and what becomes of it with an item: for --dry-run
 * and the job log. The worker does the same without the quoting.
 *
 *   {}     the item                       {.}    without its extension
 *   {/}    its last part (basename)       {//}   its folder (dirname)
 *   {/.}   its last part without extension
 *   {#}    its number, from 1             {%}    the slot's number, which is known to the worker only
 *   {2} {2.} {2/} {2//} {2/.}             the same of the second of several arguments
 *
 * Of an item that is several arguments, {} is all of them: each one an argument of its own where {} stands
 * alone, with spaces between them else. A command in which no item stands has it appended. Text that looks
 * like none of these stands for itself. Pure; never tells.
 */
#ifndef PMAPC_TEMPLATE_H
#define PMAPC_TEMPLATE_H

#include "client/pmapc/grow.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct template
{
    const char *const *argv; /* NULL-terminated; NULL: the item itself is what is shown */
    const char *placeholder; /* in place of {}; NULL: {} */
    bool fields;             /* an item is several arguments with NUL between them */
    bool append;             /* an item is appended where none stands */
    bool plain;              /* no quotes and no placeholders: argv[0] is a function's name */
};

/*
 * Adds the command line for an item, quoted for a shell, to *out. Returns false when memory was short.
 */
bool template_show(const struct template *t, const char *item, size_t len, uint64_t number, struct grow *out);

/* Adds text, quoted for a shell where that is needed. Returns false when memory was short. */
bool template_quote(const char *text, size_t len, struct grow *out);

#endif
