/*
 * burn: uses as many microseconds of the thread's own CPU time as the item says, then answers the item. What
 * a pool does with real work can be measured with it: time in which the thread is not running does not count.
 */
#include "daemon/functions/builtin.h"

#include "common/clock.h"

#include <time.h>

/* How often it asks for cancellation, and when it gets near the end and looks at the clock more often. */
enum { ASK_NS = 500000, NEAR_NS = 30000, ROUNDS = 2000, ROUNDS_NEAR = 100 };

static int64_t cpu_ns(void)
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* Some 2 ns a round (Knuth's MMIX generator); the result is to be used, or the compiler leaves the work out.
 */
static uint64_t work(uint64_t state, int rounds)
{
    for (int i = 0; i < rounds; i++)
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return state;
}

enum function_result builtin_burn(struct function_context *context, const uint8_t *item, size_t len,
                                  struct out *out)
{
    int64_t now = cpu_ns(), duration_ns;
    enum function_result result = builtin_duration(context, item, len, "microseconds", 1000, &duration_ns);
    if (result != FUNCTION_OK)
        return result;
    int64_t end = now + duration_ns, ask = now + ASK_NS;
    volatile uint64_t sink = 0;
    while (now < end) {
        sink = work(sink, end - now < NEAR_NS ? ROUNDS_NEAR : ROUNDS);
        now = cpu_ns();
        if (now >= ask) {
            if (builtin_cancelled(context))
                return FUNCTION_CANCELLED;
            ask = now + ASK_NS;
        }
    }
    return builtin_echo(context, item, len, out);
}
