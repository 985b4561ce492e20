/*
 * A module whose functions do what functions should not, and what few do, for test_host.
 */
#include <pmap_module.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static unsigned calls; /* of all functions in this process */
static const char *started = "no";

static int is(const void *item, size_t size, const char *text)
{
    return size == strlen(text) && memcmp(item, text, size) == 0;
}

/* As often as it wants: the bottom of the stack. */
static int deep(const volatile char *above, int depth)
{
    volatile char here[4096];
    here[0] = above ? above[0] : 'x';
    return depth > 100000000 ? 0 : 1 + deep(here, depth + 1) + here[0];
}

/* Does what the item says, and answers it. */
static int act(struct pmap_context *context, const void *item, size_t size)
{
    calls++;
    if (is(item, size, "segv"))
        raise(SIGSEGV);
    if (is(item, size, "abort"))
        abort();
    if (is(item, size, "exit"))
        exit(0);
    if (is(item, size, "stack"))
        return deep(NULL, 0);
    if (is(item, size, "fail"))
        return pmap_fail(context, "it said %s", "fail");
    if (is(item, size, "silent"))
        return 7;
    if (is(item, size, "fail quietly")) {
        pmap_append(context, "half a result", 13);
        pmap_fail(context, "after all");
        return 0;
    }
    if (is(item, size, "print")) {
        printf("said by act");
        return pmap_append(context, "printed", 7);
    }
    if (is(item, size, "fork")) {
        if (fork() == 0)
            return 0; /* goes on in our place, if it is let */
        wait(NULL);
    }
    if (is(item, size, "second time"))
        return calls % 2 ? pmap_fail(context, "the first time") : pmap_append(context, "done", 4);
    if (is(item, size, "where"))
        return pmap_append(context, started, strlen(started));
    if (is(item, size, "wait")) {
        while (!pmap_cancelled(context))
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        return 0;
    }
    return pmap_append(context, item, size);
}

/* As many bytes as the item says. */
static int large(struct pmap_context *context, const void *item, size_t size)
{
    char text[32] = "";
    memcpy(text, item, size < sizeof text - 1 ? size : sizeof text - 1);
    size_t wanted = strtoull(text, NULL, 10);
    char *to = pmap_reserve(context, wanted);
    if (!to)
        return -1;
    for (size_t i = 0; i < wanted; i++)
        to[i] = (char)('a' + i % 23);
    return pmap_commit(context, wanted);
}

/* The number of items in the call before each; "odd" fails, "all" fails all, "skip" is left out, "segv"
 * kills. */
static int together(struct pmap_context *context, const struct pmap_item *items, size_t count)
{
    char text[64];
    for (size_t i = 0; i < count; i++) {
        if (is(items[i].data, items[i].size, "segv"))
            raise(SIGSEGV);
        if (is(items[i].data, items[i].size, "all"))
            return 5;
        if (is(items[i].data, items[i].size, "skip"))
            continue;
        if (pmap_at(context, i) < 0)
            return pmap_fail(context, "there is no item %zu", i);
        pmap_append(context, text, (size_t)snprintf(text, sizeof text, "%zu:", count));
        pmap_append(context, items[i].data, items[i].size);
        if (is(items[i].data, items[i].size, "odd"))
            pmap_fail(context, "it is odd");
    }
    return pmap_at(context, 0) == 0 && count > 1 ? pmap_fail(context, "went backwards") : 0;
}

/* A half, as a real; odd ones fail. */
static int half(struct pmap_context *context, const void *in, size_t count, void *out)
{
    const int32_t *x = in;
    double *y = out;
    for (size_t i = 0; i < count; i++) {
        y[i] = x[i] / 2.0;
        if (x[i] == 7 && pmap_at(context, i) == 0)
            pmap_fail(context, "%d is no good", (int)x[i]);
    }
    return 0;
}

static int same(struct pmap_context *context, const void *in, size_t count, void *out)
{
    size_t size = 1;
    if (context->in == PMAP_F32)
        size = 4;
    else if (context->in == PMAP_U64)
        size = 8;
    memcpy(out, in, count * size);
    return 0;
}

static int start(struct pmap_context *context)
{
    const char *fails = getenv("ODD_INIT");
    started = "started";
    return fails ? pmap_fail(context, "%s", fails) : 0;
}

static void stop(void)
{
    fputs("stopped\n", stderr);
}

static const struct pmap_function functions[] = {
    {.name = "act", .item = act},
    {.name = "large", .item = large},
    {.name = "together", .chunk = together},
    {.name = "half", .typed = half, .in = PMAP_I32, .out = PMAP_F64},
    {.name = "same", .typed = same, .in = PMAP_U8},
    {.name = "same", .typed = same, .in = PMAP_I8},
    {.name = "same", .typed = same, .in = PMAP_U64},
    {.name = "same", .typed = same, .in = PMAP_F32},
    {.name = "same", .item = act},
    {.name = "nothing"},
};
PMAP_MODULE(functions, start, stop);
