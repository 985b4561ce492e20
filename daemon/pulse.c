/*
 * The pulse: the broker asks the launcher whether it is there, and is as alive as the answer. The first
 * answer makes the daemon ready. Where a service manager wants signs of life, each goes out from the broker's
 * own loop, at half of the time that it would wait, and only for an answer that has come since the last.
 * Otherwise nobody is woken for it.
 */
#include "daemon/broker_state.h"
#include "daemon/service.h"

#include <stdio.h>

/* Until the launcher is asked again that has had no room for a question. */
#define AGAIN_NS INT64_C(10000000)
/* Until a service manager is told again that has had no room for what it was told. */
#define TELL_NS INT64_C(100000000)

static void ask(struct broker *broker, int64_t now_ns)
{
    struct pulse *pulse = &broker->pulse;
    struct record record = {.type = RECORD_PING, .token = processes_token(&broker->processes)};
    int rc = record_send(broker->processes.launcher, &record, -1);
    pulse->asked = rc == 0;
    if (rc < 0)
        pulse->due_ns = now_ns + AGAIN_NS;
    else
        pulse->due_ns = pulse->every_ns > 0 ? now_ns + pulse->every_ns : INT64_MAX;
}

void pulse_tell_ready(const struct broker *broker)
{
    char status[64];
    snprintf(status, sizeof status, "slots: %u", broker->options.slots);
    service_ready(status);
}

void pulse_start(struct broker *broker, int64_t now_ns)
{
    struct pulse *pulse = &broker->pulse;
    pulse->every_ns = service_watchdog_ns() / 2;
    ask(broker, now_ns);
}

static int64_t beat(struct broker *broker, int64_t now_ns)
{
    struct pulse *pulse = &broker->pulse;
    if (now_ns < pulse->due_ns)
        return pulse->due_ns;
    if (pulse->asked) {
        pulse->late = true; /* as soon as the answer comes, and not before */
        pulse->due_ns = INT64_MAX;
        return INT64_MAX;
    }
    if (pulse->answered) {
        pulse->answered = false;
        service_alive();
    }
    ask(broker, now_ns);
    return pulse->due_ns;
}

int64_t pulse_tick(struct broker *broker, int64_t now_ns)
{
    int64_t due_ns = beat(broker, now_ns), again_ns = service_flush() ? INT64_MAX : now_ns + TELL_NS;
    return again_ns < due_ns ? again_ns : due_ns;
}

void pulse_answered(struct broker *broker, int64_t now_ns)
{
    struct pulse *pulse = &broker->pulse;
    if (!pulse->asked)
        return;
    pulse->asked = false;
    if (!pulse->ready) {
        pulse->ready = true;
        pulse_tell_ready(broker);
    }
    pulse->answered = pulse->every_ns > 0;
    if (pulse->late)
        pulse->due_ns = now_ns;
    pulse->late = false;
}
