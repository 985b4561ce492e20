/*
 * sleep: waits as many seconds as the item says, then answers the item. The waiting is the worker's, so that
 * it can be told to stop meanwhile.
 */
#include "daemon/functions/builtin.h"

#include "common/clock.h"

#include <time.h>

enum function_result builtin_sleep(struct function_context *context, const uint8_t *item, size_t len,
                                   struct out *out)
{
    int64_t duration_ns;
    enum function_result result = builtin_duration(context, item, len, "seconds", 1000000000, &duration_ns);
    if (result != FUNCTION_OK)
        return result;
    int64_t end_ns = now_ns() + duration_ns;
    for (int64_t left_ns = duration_ns; left_ns > 0; left_ns = end_ns - now_ns()) {
        if (context->cancelled) {
            if (context->cancelled(context->cookie, left_ns))
                return FUNCTION_CANCELLED;
        } else {
            struct timespec until = {.tv_sec = end_ns / 1000000000, .tv_nsec = end_ns % 1000000000};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until,
                            NULL); /* cut short by a signal: goes round */
        }
    }
    return builtin_echo(context, item, len, out);
}
