/* Accounts: asked about, waited for, remembered; see accounts.h. */
#include "daemon/accounts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS INT64_C(1000000000)

/* An answer holds so long. What was refused may be put right, and who waits for that should not wait long. */
#define MAY_NS     (60 * SECOND_NS)
#define MAY_NOT_NS SECOND_NS
/* Until the launcher is asked again that has had no room for a question. */
#define AGAIN_NS INT64_C(10000000)

/* Answers that are kept: as many users may come in a minute without being asked about again. */
enum { KNOWN_MAX = 1024 };

void accounts_init(struct accounts *accounts, int launcher, account_answer *answer, void *cookie)
{
    *accounts = (struct accounts){.launcher = launcher, .answer = answer, .cookie = cookie};
    TAILQ_INIT(&accounts->waiting);
    TAILQ_INIT(&accounts->asked);
    TAILQ_INIT(&accounts->known);
}

static void free_list(struct account_list *list)
{
    struct account *account;
    while ((account = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, account, link);
        free(account);
    }
}

void accounts_free(struct accounts *accounts)
{
    free_list(&accounts->waiting);
    free_list(&accounts->asked);
    free_list(&accounts->known);
    accounts->asked_count = accounts->known_count = 0;
}

/* In the list; not one whose answer will be out of date. */
static struct account *find(const struct account_list *list, uid_t uid)
{
    struct account *account;
    TAILQ_FOREACH (account, list, link) {
        if (account->uid == uid && !account->stale)
            break;
    }
    return account;
}

static void drop_known(struct accounts *accounts, struct account *account)
{
    TAILQ_REMOVE(&accounts->known, account, link);
    accounts->known_count--;
    free(account);
}

/* The answer that holds; NULL: none does. */
static struct account *find_known(struct accounts *accounts, uid_t uid, int64_t now_ns)
{
    struct account *account = find(&accounts->known, uid);
    if (account == NULL || account->until_ns > now_ns)
        return account;
    drop_known(accounts, account);
    return NULL;
}

/* Asks as much as may be asked at once. Returns false if the launcher has no room for questions now. */
static bool ask_waiting(struct accounts *accounts)
{
    struct account *account;
    while (accounts->asked_count < ACCOUNT_QUESTIONS_MAX &&
           (account = TAILQ_FIRST(&accounts->waiting)) != NULL) {
        const struct record record = {
            .type = RECORD_ACCOUNT, .token = ++accounts->last_token, .uid = account->uid};
        if (record_send(accounts->launcher, &record, -1) < 0)
            return false; /* one that has gone is noticed where its records are read */
        account->token = record.token;
        TAILQ_REMOVE(&accounts->waiting, account, link);
        TAILQ_INSERT_TAIL(&accounts->asked, account, link);
        accounts->asked_count++;
    }
    return true;
}

/* One to be asked about; NULL: memory is short. */
static struct account *add(struct accounts *accounts, uid_t uid)
{
    struct account *account = calloc(1, sizeof *account);
    if (account == NULL)
        return NULL;
    account->uid = uid;
    TAILQ_INIT(&account->clients);
    TAILQ_INSERT_TAIL(&accounts->waiting, account, link);
    return account;
}

void accounts_ask(struct accounts *accounts, struct client *client, int64_t now_ns)
{
    struct account *account = find_known(accounts, client->uid, now_ns);
    if (account != NULL) {
        accounts->answer(accounts->cookie, client, account->code, account->text, now_ns);
        return;
    }
    account = find(&accounts->asked, client->uid);
    if (account == NULL)
        account = find(&accounts->waiting, client->uid);
    if (account == NULL)
        account = add(accounts, client->uid);
    if (account == NULL) {
        accounts->answer(accounts->cookie, client, PERR_MEMORY, protocol_error_text(PERR_MEMORY), now_ns);
        return;
    }
    client->account = account;
    TAILQ_INSERT_TAIL(&account->clients, client, account_link);
    (void)ask_waiting(accounts);
}

/* The account that was asked about with this token; it is in no list any more. NULL: nobody asked so. */
static struct account *asked_about(struct accounts *accounts, uint32_t token)
{
    struct account *account;
    TAILQ_FOREACH (account, &accounts->asked, link) {
        if (account->token == token)
            break;
    }
    if (account != NULL) {
        TAILQ_REMOVE(&accounts->asked, account, link);
        accounts->asked_count--;
        account->token = 0;
    }
    return account;
}

static void keep(struct accounts *accounts, struct account *account)
{
    if (accounts->known_count == KNOWN_MAX)
        drop_known(accounts, TAILQ_FIRST(&accounts->known));
    TAILQ_INSERT_TAIL(&accounts->known, account, link);
    accounts->known_count++;
}

void accounts_take(struct accounts *accounts, const struct record *record, int64_t now_ns)
{
    struct account *account = asked_about(accounts, record->token);
    struct client *client;
    if (account == NULL)
        return;
    bool for_ever = record->error == EPERM || record->error == EACCES;
    account->code = record->error == 0 ? 0 : for_ever ? PERR_REFUSED : PERR_LIMIT;
    account->until_ns = now_ns + (record->error == 0 ? MAY_NS : MAY_NOT_NS);
    memcpy(account->text, record->text, sizeof account->text);
    while ((client = TAILQ_FIRST(&account->clients)) != NULL) {
        TAILQ_REMOVE(&account->clients, client, account_link);
        client->account = NULL;
        accounts->answer(accounts->cookie, client, account->code, account->text, now_ns);
    }
    if (account->stale)
        free(account);
    else
        keep(accounts, account);
    (void)ask_waiting(accounts);
}

int64_t accounts_tick(struct accounts *accounts, int64_t now_ns)
{
    if (TAILQ_EMPTY(&accounts->waiting) || ask_waiting(accounts))
        return INT64_MAX; /* … or with the next answer */
    return now_ns + AGAIN_NS;
}

void accounts_client_gone(struct accounts *accounts, struct client *client)
{
    struct account *account = client->account;
    if (account == NULL)
        return;
    client->account = NULL;
    TAILQ_REMOVE(&account->clients, client, account_link);
    if (account->token != 0 || !TAILQ_EMPTY(&account->clients))
        return;
    TAILQ_REMOVE(&accounts->waiting, account, link); /* nobody wants to know any more */
    free(account);
}

void accounts_forget(struct accounts *accounts)
{
    struct account *account;
    free_list(&accounts->known);
    accounts->known_count = 0;
    TAILQ_FOREACH (account, &accounts->asked, link)
        account->stale = true;
}
