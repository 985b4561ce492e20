/*
 * A module for `pmapc map`: `cube`, over whole chunks of numbers at once, which the compiler turns into
 * vector instructions, and `rot13`, over one text at a time.
 *
 *     cc -O3 -march=native -fopenmp-simd -shared -fPIC cube.c -o cube.so
 *     seq 5 | pmapc map --type i64 -c 100000 ./cube.so:cube
 *     pmapc map ./cube.so:rot13 ::: Hello Uryyb
 */
#include <pmap_module.h>

#include <stdint.h>

/* Results that do not fit in 64 bits are reported, in a second pass, so that the first one has no branches.
 */
enum { I64_CUBE_MAX = 2097151 };

static int cube_i64(struct pmap_context *context, const void *in, size_t count, void *out)
{
    const int64_t *x = in;
    int64_t *y = out;
    uint64_t large = 0;
#pragma omp simd reduction(| : large)
    for (size_t i = 0; i < count; i++) {
        uint64_t v = (uint64_t)x[i]; /* unsigned, so that an overflow is no undefined behaviour */
        y[i] = (int64_t)(v * v * v);
        large |= v + I64_CUBE_MAX > (uint64_t)2 * I64_CUBE_MAX;
    }
    for (size_t i = 0; large && i < count; i++) {
        if ((uint64_t)x[i] + I64_CUBE_MAX > (uint64_t)2 * I64_CUBE_MAX) {
            pmap_at(context, i);
            pmap_fail(context, "the cube of %lld does not fit in 64 bits", (long long)x[i]);
        }
    }
    return 0;
}

static int cube_f64(struct pmap_context *context, const void *in, size_t count, void *out)
{
    const double *x = in;
    double *y = out;
    (void)context;
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        y[i] = x[i] * x[i] * x[i];
    return 0;
}

static char rotated(char c)
{
    if (c >= 'a' && c <= 'z')
        return (char)('a' + (c - 'a' + 13) % 26);
    if (c >= 'A' && c <= 'Z')
        return (char)('A' + (c - 'A' + 13) % 26);
    return c;
}

static int rot13(struct pmap_context *context, const void *item, size_t size)
{
    const char *from = item;
    char *to = pmap_reserve(context, size);
    if (!to)
        return -1; /* the reason has been given */
    for (size_t i = 0; i < size; i++)
        to[i] = rotated(from[i]);
    return pmap_commit(context, size);
}

static const struct pmap_function functions[] = {
    {.name = "cube", .summary = "the cube of a whole number", .typed = cube_i64, .in = PMAP_I64},
    {.name = "cube", .summary = "the cube of a real", .typed = cube_f64, .in = PMAP_F64},
    {.name = "rot13", .summary = "the text with its letters moved by 13", .item = rot13},
};
PMAP_MODULE(functions, NULL, NULL);
