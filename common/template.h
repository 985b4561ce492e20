/*
 * Templates: a command line with placeholders, as GNU parallel has them, and the arguments that it makes of
 * an item. Pure: no process, no file, no clock. The forms:
 *
 *   {} the item   {.} without its extension   {/} its last component   {//} its folder   {/.} {/} and {.}
 *   {1} {2.} {-1/} … the same of one field, counted from 1 or, where negative, from the last
 *   {#} the item's number, from 1   {%} the slot's
 *
 * Where no placeholder stands in any argument, the item is appended. Items are one argument, or, with
 * `fields`, several with a NUL byte between them: a placeholder for the item which is an argument by itself
 * then makes as many arguments, and within a longer argument they are joined with a space.
 */
#ifndef PMAP_TEMPLATE_H
#define PMAP_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct template;

/*
 * argv: `argc` (at least 1) strings, which must outlive the template. placeholder: what stands for the item
 * instead of "{}" (the other forms stay as they are); NULL: "{}"; empty: nothing is a placeholder.
 * Returns NULL when memory is short.
 */
struct template *template_new(char *const *argv, size_t argc, const char *placeholder, bool fields);
void template_free(struct template *t);

/* Does the program's name, the first argument, depend on the item? */
bool template_varies(const struct template *t);

/* Arguments, and the memory that they are in. Zeroed to begin with; used again and again, then freed. */
struct arguments {
    char **argv; /* NULL-terminated. argv[-1] is there too, and free to be written to */
    size_t argc;
    char *bytes; /* private from here on */
    size_t bytes_used, bytes_size;
    struct argument {
        const char *fixed; /* a constant argument; else NULL and it begins at `offset` of bytes */
        size_t offset;
    } * list;
    size_t list_size;
    char **pointers;
    size_t pointers_size;
};
void arguments_free(struct arguments *a);

/*
 * Makes the arguments for one item. slot: 0 where it is not known; {%} then stands for itself. They are good
 * until the next call or arguments_free, and as long as the template is. Returns 0, -EINVAL (the item has a
 * NUL byte, without `fields`), -E2BIG (more than any system takes) or -ENOMEM.
 */
int template_fill(const struct template *t, const uint8_t *item, size_t len, uint64_t number, uint64_t slot,
                  struct arguments *a);

#endif
