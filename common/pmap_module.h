/*
 * The interface of modules: shared objects with functions of yours, for `pmapc map ./mine.so:name`. C and
 * C++; a module needs this header and no library of the project's:
 *
 *     #include <pmap_module.h>
 *     #include <ctype.h>
 *
 *     static int shout(struct pmap_context *context, const void *item, size_t size)
 *     {
 *         const char *text = (const char *)item;
 *         char *to = (char *)pmap_reserve(context, size + 1);
 *         if (!to)
 *             return pmap_fail(context, "no memory");
 *         for (size_t i = 0; i < size; i++)
 *             to[i] = (char)toupper((unsigned char)text[i]);
 *         to[size] = '!';
 *         return pmap_commit(context, size + 1);
 *     }
 *     static const struct pmap_function functions[] = {
 *         {.name = "shout", .summary = "the item in capitals, with a '!'", .item = shout},
 *     };
 *     PMAP_MODULE(functions, NULL, NULL);
 *
 *     cc -O2 -shared -fPIC mine.c -o mine.so
 *
 * A module is loaded into a process that runs as the user who submits the job, in the state that the job asks
 * for (folder, environment, limits), one a slot; never into the daemon. If it crashes, the item that it was
 * on fails, and the others run on in a new process. What it prints to stdout or stderr is reported as the
 * stderr of the item under way; its stdin is empty.
 *
 * Threads: a process calls init, the functions and fini one at a time, all from one thread, so static
 * variables are safe to use; they last from item to item, but which items a process gets is not fixed. A
 * function may use threads (OpenMP, say), but only the thread that it was called in may use the context.
 *
 * Errors: functions return 0, or anything else for "failed"; pmap_fail gives the reason and returns -1. The
 * calls below return 0, or -1 for what is their caller's mistake or a lack of memory.
 *
 * Installing a new version while a pool uses the old one: make the new file under another name and rename(2)
 * it over the old one (`install`, linkers and `mv` do this or unlink the old one first). Jobs that run go on
 * with the old one, the next job takes the new one. Writing into the old file in place (`cp` over it) may
 * crash, as ever with shared objects, processes that have it loaded; their items then fail with that signal.
 */
#ifndef PMAP_MODULE_H
#define PMAP_MODULE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header. A module of another number is refused; structures only grow at their ends within one. */
#define PMAP_MODULE_ABI 1

/*** What functions are given ***/

/* The types of the values in arrays; in machine byte order, IEEE 754. */
enum pmap_type {
    PMAP_BYTES = 0, /* no values: items are bytes */
    PMAP_I8 = 1,
    PMAP_I16 = 2,
    PMAP_I32 = 3,
    PMAP_I64 = 4,
    PMAP_U8 = 5,
    PMAP_U16 = 6,
    PMAP_U32 = 7,
    PMAP_U64 = 8,
    PMAP_F32 = 9,
    PMAP_F64 = 10,
};

/* An item of a chunk: `size` bytes (0 or more) of any content, not NUL-terminated. */
struct pmap_item {
    const void *data;
    size_t size;
};

struct pmap_context;

/* What stands behind the functions below; use those. */
struct pmap_calls {
    uint32_t size; /* of this structure in the program that loads the module, in bytes */
    int (*append)(struct pmap_context *context, const void *bytes, size_t size);
    void *(*reserve)(struct pmap_context *context, size_t size);
    int (*commit)(struct pmap_context *context, size_t size);
    int (*at)(struct pmap_context *context, size_t index);
    int (*fail)(struct pmap_context *context, const char *text);
    int (*cancelled)(struct pmap_context *context);
};

/*
 * The call that a function is in. It belongs to the caller and is good until the function returns; so is what
 * the function is given to read.
 */
struct pmap_context {
    const struct pmap_calls *calls;
    uint64_t first;         /* index in the job, from 0, of the item or of the first item of the chunk */
    uint64_t job;           /* the daemon's number of the job */
    uint64_t slot;          /* which of the pool's slots it runs in, from 1, as PMAP_SLOT */
    enum pmap_type in, out; /* typed functions: of the arrays; else PMAP_BYTES */
};

/*** What functions may call ***/

/*
 * Appends `size` bytes (copied; of any content) to the result of the present item. A result is at most 1 GiB.
 * For item and chunk functions. Returns 0, or -1: memory is short, or the function has no such result; the
 * result is then as it was, and the item fails, with that reason unless the function gives another.
 */
static inline int pmap_append(struct pmap_context *context, const void *bytes, size_t size)
{
    return context->calls->append(context, bytes, size);
}

/*
 * Makes room for up to `size` bytes behind the present item's result, to be written in place. Returns where
 * (any alignment), good until the next of these calls, or NULL as pmap_append's -1. What was written counts
 * only with pmap_commit.
 */
static inline void *pmap_reserve(struct pmap_context *context, size_t size)
{
    return context->calls->reserve(context, size);
}

/*
 * Appends the first `size` bytes of what pmap_reserve made room for, at most as many as it was asked for.
 * Returns 0, or -1 (more than was reserved).
 */
static inline int pmap_commit(struct pmap_context *context, size_t size)
{
    return context->calls->commit(context, size);
}

/*
 * In chunk and typed functions: makes the item `index` (from 0 within the chunk; the value's index in a typed
 * function) the present one, which output and pmap_fail are for. At the beginning it is 0. A chunk function
 * must go through them in ascending order, but may leave some out (their results are empty); a typed one may
 * jump. Returns 0, or -1 (no such item, or backwards in a chunk function).
 */
static inline int pmap_at(struct pmap_context *context, size_t index)
{
    return context->calls->at(context, index);
}

/*
 * Fails the present item; what of its result has been appended is dropped. format: as printf's; one line, of
 * which 1023 bytes at most are kept. Returns -1, so that an item function can say `return pmap_fail(…)`. A
 * chunk or typed function goes on behind it (pmap_at) and returns 0 in the end; when it returns anything
 * else, all items of the call fail, for the last reason given. In init it gives the reason why the module
 * cannot be used.
 */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static inline int
pmap_fail(struct pmap_context *context, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return context->calls->fail(context, text);
}

/*
 * Has the item become unwanted (the job was cancelled)? Not 0 then: the function should return soon, with
 * whatever result. Cheap enough (a look at the clock) to be asked every few microseconds; to be asked every
 * 10 ms or so by functions that take long.
 */
static inline int pmap_cancelled(struct pmap_context *context)
{
    return context->calls->cancelled(context);
}

/*** What a module has ***/

/*
 * One item. item: `size` bytes of any content, not NUL-terminated, not NULL. Its result is what is appended
 * (nothing: an empty one). Returns 0 or, for an item that fails, anything else.
 */
typedef int pmap_item_function(struct pmap_context *context, const void *item, size_t size);

/*
 * All items of a chunk at once: `count` (1 or more) of them; how many, --chunksize says (the last chunk is
 * smaller; and so are those that are tried again). Results: see pmap_at. Returns 0, or anything else when all
 * items of the call are to fail.
 */
typedef int pmap_chunk_function(struct pmap_context *context, const struct pmap_item *items, size_t count);

/*
 * All values of a chunk at once, for --type: in: an array of `count` (1 or more) values of the function's
 * type `in`; out: an array of as many of the type `out`, to be written in full (before that, what is in it is
 * undefined). Both are aligned for their type and do not overlap. The items' decimal texts are parsed before
 * and the results printed after the call (items that are no such number fail and are left out here); with
 * --raw, items are one or more values as in memory, results likewise, and a chunk's items lie one behind the
 * other in the arrays. An item fails when pmap_fail was called for one of its values. Returns 0, or anything
 * else when all items of the call are to fail.
 */
typedef int pmap_typed_function(struct pmap_context *context, const void *in, size_t count, void *out);

/*
 * A function of the module. Exactly one of item, chunk and typed is set. Several typed ones may have the same
 * name if their `in` differ, --type chooses; beside them there may be one item or chunk function of that
 * name, for jobs without --type.
 */
struct pmap_function {
    const char *name;    /* without white space, ASCII */
    const char *summary; /* one line for people; may be NULL */
    pmap_item_function *item;
    pmap_chunk_function *chunk;
    pmap_typed_function *typed;
    enum pmap_type in;  /* typed only: of the values */
    enum pmap_type out; /* typed only: of the results; PMAP_BYTES: as `in` */
};

/* The object that a module exports under the name pmap_module. */
struct pmap_module {
    uint32_t abi;           /* PMAP_MODULE_ABI */
    uint32_t size;          /* of this structure */
    uint32_t function_size; /* of struct pmap_function */
    uint32_t function_count;
    const struct pmap_function *functions;
    /*
     * Called once in each process before its first function. In the context only pmap_fail and pmap_cancelled
     * are of use. Returns 0, or anything else: the job cannot be run, for the reason given. NULL: none.
     */
    int (*init)(struct pmap_context *context);
    /* Called once in each process that ends in good order, after its last function. NULL: none. */
    void (*fini)(void);
};

#if defined(__GNUC__)
#define PMAP_MODULE_EXPORT __attribute__((visibility("default")))
#else
#define PMAP_MODULE_EXPORT
#endif

/* Makes the object, once in a module; functions: an array (not a pointer). */
#define PMAP_MODULE(functions, init, fini)                                                                   \
    extern PMAP_MODULE_EXPORT const struct pmap_module pmap_module;                                          \
    const struct pmap_module pmap_module = {PMAP_MODULE_ABI,                                                 \
                                            sizeof(struct pmap_module),                                      \
                                            sizeof(struct pmap_function),                                    \
                                            sizeof(functions) / sizeof((functions)[0]),                      \
                                            (functions),                                                     \
                                            (init),                                                          \
                                            (fini)}

#ifdef __cplusplus
}
#endif

#endif
