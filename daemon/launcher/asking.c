/* Questions about accounts, and the children that ask them; see asking.h. */
#include "daemon/launcher/asking.h"

#include "daemon/launcher/start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)

/* The rest of the time that the broker is told is for the child to die. */
enum { PATIENCE_S = ACCOUNT_ANSWER_S - 1 };

int asking_start(struct asking *asking, uid_t uid, uint32_t token, int64_t now_ns)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    pid_t launcher = getpid(), pid = fork();
    if (pid == 0)
        start_asking(uid, launcher, ends[1]);
    int rc = pid < 0 ? -errno : 0;
    close(ends[1]);
    if (rc < 0) {
        close(ends[0]);
        return rc;
    }
    asking->questions[asking->count++] = (struct question){
        .pid = pid, .token = token, .uid = uid, .pipe = ends[0], .until_ns = now_ns + PATIENCE_S * SECOND_NS};
    return 0;
}

struct question *asking_of_pid(struct asking *asking, pid_t pid)
{
    for (size_t i = 0; i < asking->count; i++) {
        if (asking->questions[i].pid == pid)
            return &asking->questions[i];
    }
    return NULL;
}

static void forget(struct asking *asking, struct question *question)
{
    close(question->pipe);
    size_t i = (size_t)(question - asking->questions);
    memmove(question, question + 1, (--asking->count - i) * sizeof *question);
}

/* Nobody has judged the account, which may be otherwise the next time. */
static void not_found_out(struct record *answer, int error, const char *what, const char *why)
{
    answer->error = error == EPERM || error == EACCES ? EIO : error;
    snprintf(answer->text, sizeof answer->text,
             "it cannot be found out whether your account may be used: %.90s: %.60s", what, why);
}

void asking_end(struct asking *asking, struct question *question, struct record *answer)
{
    struct start_status status = {0};
    *answer = (struct record){.type = RECORD_JUDGED, .token = question->token, .uid = question->uid};
    ssize_t n = read(question->pipe, &status, sizeof status);
    status.text[sizeof status.text - 1] = '\0';
    if (n != sizeof status) {
        not_found_out(answer, ETIMEDOUT, "there is no answer", "does looking up users, or PAM, hang?");
    } else if (status.error != 0 && !status.whole) {
        not_found_out(answer, status.error, status.text, strerror(status.error));
    } else if (status.error != 0) {
        answer->error = status.error;
        snprintf(answer->text, sizeof answer->text, "%s", status.text);
    }
    forget(asking, question);
}

pid_t asking_overdue(struct asking *asking, int64_t now_ns)
{
    struct question *first = asking->questions;
    if (asking->count == 0 || first->until_ns > now_ns)
        return 0;
    struct question last = *first;
    last.until_ns = now_ns + PATIENCE_S * SECOND_NS;
    memmove(first, first + 1, (asking->count - 1) * sizeof *first);
    asking->questions[asking->count - 1] = last;
    return last.pid;
}

int64_t asking_deadline(const struct asking *asking)
{
    return asking->count > 0 ? asking->questions[0].until_ns : INT64_MAX;
}

void asking_clear(struct asking *asking)
{
    while (asking->count > 0)
        forget(asking, &asking->questions[asking->count - 1]);
}
