/* What a job applies to its items; see callee.h. */
#include "daemon/callee.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Short of memory, uthash says so instead of ending the process. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct callee_account {
    uid_t uid;
    size_t bytes;
    unsigned count; /* of callees; the account goes with the last */
    UT_hash_handle hh;
};

/* The uid's account, made when it is new; NULL when memory is short. */
static struct callee_account *account_of(struct callees *callees, uid_t uid)
{
    struct callee_account *account;
    HASH_FIND(hh, callees->accounts, &uid, sizeof uid, account);
    if (account != NULL)
        return account;
    account = calloc(1, sizeof *account);
    if (account == NULL)
        return NULL;
    account->uid = uid;
    struct callee_account *added = account;
    HASH_ADD(hh, callees->accounts, uid, sizeof added->uid, added);
    if (added->hh.tbl == NULL) { /* uthash's sign of no memory */
        free(account);
        return NULL;
    }
    return account;
}

static void account_drop(struct callees *callees, struct callee_account *account)
{
    if (account->count > 0)
        return;
    HASH_DEL(callees->accounts, account);
    free(account);
}

int callee_new(struct callees *callees, uid_t uid, struct text name, const void *call, size_t call_size,
               struct callee **out)
{
    struct callee_account *account = account_of(callees, uid);
    if (account == NULL)
        return -ENOMEM;
    struct callee *callee = NULL;
    int rc = account->bytes + call_size > CALLEE_BYTES_MAX ? -EDQUOT : 0;
    if (rc == 0 && (callee = calloc(1, sizeof *callee + call_size + name.len + 1)) == NULL)
        rc = -ENOMEM;
    if (rc < 0) {
        account_drop(callees, account);
        return rc;
    }
    account->bytes += call_size;
    account->count++;
    callee->uid = uid;
    callee->call = callee + 1;
    callee->call_size = call_size;
    char *copy = (char *)callee->call + call_size;
    if (call_size > 0)
        memcpy(callee->call, call, call_size);
    if (name.len > 0)
        memcpy(copy, name.data, name.len);
    callee->function.name = copy;
    LIST_INSERT_HEAD(&callees->list, callee, link);
    *out = callee;
    return 0;
}

void callee_free(struct callees *callees, struct callee *callee)
{
    if (callee == NULL)
        return;
    struct callee_account *account = account_of(callees, callee->uid); /* it is there: it counts this one */
    account->bytes -= callee->call_size;
    account->count--;
    account_drop(callees, account);
    LIST_REMOVE(callee, link);
    free(callee);
}

void callees_free(struct callees *callees)
{
    struct callee *callee;
    while ((callee = LIST_FIRST(&callees->list)) != NULL)
        callee_free(callees, callee);
}

struct callee *callee_of(const void *function)
{
    const struct function *known = function;
    return known->map == NULL ? (struct callee *)function : NULL;
}
