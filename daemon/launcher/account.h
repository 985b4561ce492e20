/*
 * What a login would have asked and given: may this user have processes today, and with which limits? PAM
 * answers, by its service "pmapd" (pmapd.pam): account rules, then a session, which is never closed. Where
 * PAM or that service is not there, the two rules that every login has: an account that has expired, and
 * nologin. All of it may block for as long as a name service or a module likes, and leaves descriptors
 * behind.
 */
#ifndef PMAPD_ACCOUNT_H
#define PMAPD_ACCOUNT_H

#include <shadow.h>
#include <stdbool.h>
#include <sys/types.h>

enum { ACCOUNT_TEXT_MAX = 160 };

/*
 * Is PAM asked? folder: of the service files; NULL: /etc/pam.d. In `why`, static, if not, what is missing.
 */
bool account_has_pam(const char *folder, const char **why);

/*
 * Enters as the user of this name, who is in the list of users. To be called as root in the process that is
 * to be the user's. Returns 0, or -EACCES and in text, for the user, why not; or another negative errno.
 */
int account_enter(const char *folder, const char *name, uid_t uid, char text[ACCOUNT_TEXT_MAX]);

/*
 * Only the account's rules, as account_enter has them first: may it be used? No session is opened, and
 * nothing is done to the process. As root, in a process of its own. Returns as account_enter does.
 */
int account_check(const char *folder, const char *name, uid_t uid, char text[ACCOUNT_TEXT_MAX]);

/* Says an errno after a look-up without a result that there is no such entry, by any of the sources? As in
 * getpwnam(3); otherwise the source could not be read. */
bool account_is_missing(int error);

/* Tells the kernel's audit whose process this is, where that may be told. */
void account_set_loginuid(uid_t uid);

/*
 * By this entry and on this day since 1970: why the account cannot be used, in words that follow "your
 * account
 * "; NULL: it can. Static.
 */
const char *account_expired(const struct spwd *entry, long today);

#endif
