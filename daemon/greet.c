/*
 * Greeting: HELLO, and the WELCOME that always answers it. Who will be served and who will not is told by
 * what follows. Whether the user's account may be used is not known here, so the answer may have to wait for
 * it (accounts.h).
 */
#include "daemon/broker_state.h"

#include <stdio.h>

enum { TEXT_MAX = 300 };

void greet_welcome(struct broker *broker, struct client *client)
{
    struct message welcome = {.type = MSG_WELCOME};
    welcome.welcome.min = PROTOCOL_VERSION_MIN;
    welcome.welcome.max = PROTOCOL_VERSION_MAX;
    welcome.welcome.software = text_of("pmapd " PMAP_VERSION);
    welcome.welcome.instance = broker->instance;
    welcome.welcome.slots = broker->options.slots;
    welcome.welcome.max_message = PROTOCOL_MESSAGE_MAX;
    welcome.welcome.max_item = PROTOCOL_ITEM_MAX;
    (void)act_answer(broker, client, &welcome, NULL, 0); /* its first message: nothing is in the way */
}

/* Is something against this client that is known here? A PERR_ code and why, or 0. */
static unsigned turned_away(const struct broker *broker, const struct client *client, char text[TEXT_MAX])
{
    if (broker->stopping) {
        snprintf(text, TEXT_MAX, "%s", protocol_error_text(PERR_STOPPING));
        return PERR_STOPPING;
    }
    unsigned sessions = core_sessions_of(broker->core, client->uid);
    return clients_admit(&broker->clients, client, sessions, text, TEXT_MAX);
}

void greet_answer(void *cookie, struct client *client, unsigned code, const char *why, int64_t now_ns)
{
    struct broker *broker = cookie;
    char text[TEXT_MAX];
    greet_welcome(broker, client);
    if (code == 0) {
        code = turned_away(broker, client, text); /* it may have waited since it was looked at first */
        why = text;
    }
    struct owner_limits owner = clients_owner_limits(&broker->clients, client);
    if (code == 0 && core_session_open(broker->core, client->uid, &owner, client, &client->session) < 0) {
        code = PERR_MEMORY;
        why = protocol_error_text(PERR_MEMORY);
    }
    if (code != 0)
        serve_refuse(broker, client, code, why, now_ns);
}

void greet_hello(struct broker *broker, struct client *client, const struct message *m, int64_t now_ns)
{
    char text[TEXT_MAX] = "";
    unsigned code;
    client->version = m->hello.max < PROTOCOL_VERSION_MAX ? m->hello.max : PROTOCOL_VERSION_MAX;
    if (m->hello.min > PROTOCOL_VERSION_MAX || m->hello.max < PROTOCOL_VERSION_MIN) {
        code = PERR_VERSION;
        snprintf(text, sizeof text,
                 "no common protocol version: the client speaks %u to %u, the daemon %d to %d", m->hello.min,
                 m->hello.max, PROTOCOL_VERSION_MIN, PROTOCOL_VERSION_MAX);
    } else {
        code = turned_away(broker, client, text);
    }
    /* Nobody else decides about root, and a private pool's owner is running it. */
    if (code != 0 || client->uid == 0 || broker->options.private_pool)
        greet_answer(broker, client, code, text, now_ns);
    else
        accounts_ask(&broker->accounts, client, now_ns);
}
