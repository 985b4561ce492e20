/* The rules of a login; see account.h. */
#include "daemon/launcher/account.h"

#include "common/smallfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if PMAP_PAM
#include <security/pam_appl.h>
#endif

#define SERVICE "pmapd"

enum { DAY_S = 24 * 60 * 60, NOLOGIN_MAX = 100 };

void account_set_loginuid(uid_t uid)
{
    char text[16];
    snprintf(text, sizeof text, "%u", (unsigned)uid);
    /* No audit in the kernel, no right to it, one that must not be changed: then it is as it was. */
    smallfile_write(AT_FDCWD, "/proc/self/loginuid", text);
}

/*** Without PAM ***/

const char *account_expired(const struct spwd *entry, long today)
{
    if (entry->sp_expire > 0 && today >= entry->sp_expire)
        return "has expired";
    if (entry->sp_lstchg == 0)
        return "needs a new password first";
    if (entry->sp_lstchg > 0 && entry->sp_max >= 0 && today > entry->sp_lstchg + entry->sp_max)
        return "needs a new password first: the old one has expired";
    return NULL;
}

/* The first line that nologin(5) has for users, or "". Returns whether logins are off. */
static bool read_nologin(char line[NOLOGIN_MAX])
{
    static const char *const paths[] = {"/run/nologin", "/etc/nologin"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (access(paths[i], F_OK) == 0) {
            smallfile_read(AT_FDCWD, paths[i], line, NOLOGIN_MAX);
            line[strcspn(line, "\n")] = '\0';
            return true;
        }
    }
    return false;
}

bool account_is_missing(int error)
{
    return error == 0 || error == ENOENT || error == ESRCH || error == EBADF || error == EPERM;
}

/*
 * A user without an entry there has no password that could have expired; but one whose entry cannot be read
 * may have.
 */
static int check_plainly(const char *name, uid_t uid, char text[ACCOUNT_TEXT_MAX])
{
    char line[NOLOGIN_MAX];
    errno = 0;
    const struct spwd *entry = getspnam(name); /* NOLINT(concurrency-mt-unsafe): there are no threads */
    if (!entry && !account_is_missing(errno)) {
        snprintf(text, ACCOUNT_TEXT_MAX, "your account's expiry cannot be looked up, try again: %s",
                 strerror(errno)); /* NOLINT(concurrency-mt-unsafe) */
        return -EAGAIN;
    }
    const char *why = entry ? account_expired(entry, (long)(time(NULL) / DAY_S)) : NULL;
    if (why) {
        snprintf(text, ACCOUNT_TEXT_MAX, "your account %s", why);
        return -EACCES;
    }
    if (uid != 0 && read_nologin(line)) {
        snprintf(text, ACCOUNT_TEXT_MAX, "logins are off at present%s%s", line[0] != '\0' ? ": " : "", line);
        return -EACCES;
    }
    return 0;
}

static int enter_plainly(const char *name, uid_t uid, char text[ACCOUNT_TEXT_MAX])
{
    int rc = check_plainly(name, uid, text);
    if (rc == 0)
        account_set_loginuid(uid);
    return rc;
}

/*** With PAM ***/

#if PMAP_PAM

bool account_has_pam(const char *folder, const char **why)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/" SERVICE, folder ? folder : "/etc/pam.d");
    /* Without it PAM would take "other", whose sessions may move processes out of our groups. */
    *why = "there is no service '" SERVICE "' in /etc/pam.d";
    return n > 0 && n < (int)sizeof path && access(path, R_OK) == 0;
}

/* Keeps the first thing that a module has to say; nobody is there to be asked anything. */
static int converse(int count, const struct pam_message **messages, struct pam_response **responses,
                    void *arg)
{
    char *said = arg;
    for (int i = 0; i < count; i++) {
        if (messages[i]->msg_style != PAM_TEXT_INFO && messages[i]->msg_style != PAM_ERROR_MSG)
            return PAM_CONV_ERR;
        const char *text = messages[i]->msg + strspn(messages[i]->msg, " \n");
        if (said[0] == '\0')
            snprintf(said, ACCOUNT_TEXT_MAX, "%.*s", (int)strcspn(text, "\n"), text);
    }
    *responses = count > 0 ? calloc((size_t)count, sizeof **responses) : NULL;
    return count > 0 && !*responses ? PAM_BUF_ERR : PAM_SUCCESS;
}

/*
 * Has a rule judged the account? All else is a failure of what should have judged it, or have made a session
 * of it, and may pass: a name service that does not answer, memory that is short, a module that is being
 * replaced.
 */
static bool is_judgement(int code)
{
    switch (code) {
    case PAM_AUTH_ERR: /* pam_nologin's and pam_deny's */
    case PAM_PERM_DENIED:
    case PAM_ACCT_EXPIRED:
    case PAM_CRED_EXPIRED:
    case PAM_AUTHTOK_EXPIRED:
    case PAM_NEW_AUTHTOK_REQD:
    case PAM_USER_UNKNOWN:
    case PAM_MAXTRIES:
        return true;
    default:
        return false;
    }
}

/* Account rules, and with session the session as well. */
static int ask_pam(const char *folder, const char *name, bool session, char text[ACCOUNT_TEXT_MAX])
{
    char said[ACCOUNT_TEXT_MAX] = "";
    const struct pam_conv conversation = {.conv = converse, .appdata_ptr = said};
    pam_handle_t *pam = NULL;
    int rc = pam_start_confdir(SERVICE, name, &conversation, folder, &pam);
    if (rc == PAM_SUCCESS)
        rc = pam_acct_mgmt(pam, 0);
    if (rc == PAM_SUCCESS && session)
        rc = pam_open_session(pam, 0);
    if (rc != PAM_SUCCESS)
        snprintf(text, ACCOUNT_TEXT_MAX, "%s: %.80s",
                 is_judgement(rc) ? "PAM refuses your account"
                                  : "PAM cannot say whether your account may be used, try again",
                 said[0] != '\0' ? said : pam_strerror(pam, rc));
    if (pam)
        pam_end(pam, rc | PAM_DATA_SILENT);
    return rc == PAM_SUCCESS ? 0 : is_judgement(rc) ? -EACCES : -EAGAIN;
}

int account_enter(const char *folder, const char *name, uid_t uid, char text[ACCOUNT_TEXT_MAX])
{
    const char *why;
    return account_has_pam(folder, &why) ? ask_pam(folder, name, true, text) : enter_plainly(name, uid, text);
}

int account_check(const char *folder, const char *name, uid_t uid, char text[ACCOUNT_TEXT_MAX])
{
    const char *why;
    return account_has_pam(folder, &why) ? ask_pam(folder, name, false, text)
                                         : check_plainly(name, uid, text);
}

#else

bool account_has_pam(const char *folder, const char **why)
{
    (void)folder;
    *why = "pmapd was built without it";
    return false;
}

int account_enter(const char *folder, const char *name, uid_t uid, char text[ACCOUNT_TEXT_MAX])
{
    (void)folder;
    return enter_plainly(name, uid, text);
}

int account_check(const char *folder, const char *name, uid_t uid, char text[ACCOUNT_TEXT_MAX])
{
    (void)folder;
    return check_plainly(name, uid, text);
}

#endif
