/*
 * Accounts: may this user use the pool today? The launcher is asked before a session begins, and its answer
 * holds for a while, so that a user pays for it once and not each client. However many clients of a user come
 * at once, there is one question; they wait for its answer. Only the system's daemon asks. Broker's thread
 * only.
 */
#ifndef PMAPD_ACCOUNTS_H
#define PMAPD_ACCOUNTS_H

#include "daemon/clients.h"
#include "daemon/launcher/records.h"

#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

/* It lives while it is waited for, asked about, or its answer is kept. */
struct account {
    TAILQ_ENTRY(account) link; /* in the list of its state */
    uid_t uid;
    uint32_t token;               /* of the question under way; 0: none is */
    bool stale;                   /* its answer is not to be kept */
    int64_t until_ns;             /* the answer holds until then; 0: there is none */
    unsigned code;                /* the answer: 0, or a PERR_ code … */
    char text[RECORD_TEXT_MAX];   /* … and why, for the client */
    TAILQ_HEAD(, client) clients; /* that wait for the answer */
};

TAILQ_HEAD(account_list, account);

/* What comes of a client: code 0, or a PERR_ code and why in text, which is good during the call only. */
typedef void account_answer(void *cookie, struct client *client, unsigned code, const char *text,
                            int64_t now_ns);

struct accounts {
    int launcher; /* the record socket, borrowed; it does not block */
    account_answer *answer;
    void *cookie;
    struct account_list waiting; /* to be asked about, in this order */
    struct account_list asked;
    struct account_list known; /* the oldest answer first */
    unsigned asked_count, known_count;
    uint32_t last_token;
};

/* Nothing is known. launcher is not looked at before the first question. */
void accounts_init(struct accounts *accounts, int launcher, account_answer *answer, void *cookie);

/* Frees what is known. No client may wait any more, or be looked at again. */
void accounts_free(struct accounts *accounts);

/*
 * The client is to be let in: answer() is called for it once, at once where the answer is known, unless it
 * goes before. Until then client->account is not NULL.
 */
void accounts_ask(struct accounts *accounts, struct client *client, int64_t now_ns);

/* The launcher's answer. */
void accounts_take(struct accounts *accounts, const struct record *record, int64_t now_ns);

/* Asks what could not be asked at once. Returns when to call again, or INT64_MAX. */
int64_t accounts_tick(struct accounts *accounts, int64_t now_ns);

/* The client is gone, or is not to be let in any more. */
void accounts_client_gone(struct accounts *accounts, struct client *client);

/* No answer holds any longer, those included that are on their way. */
void accounts_forget(struct accounts *accounts);

#endif
