/*
 * Runs a launcher and plays all others; see launcher_rig.h.
 */
#include "launcher_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/*** The launcher ***/

/* Programs are run from here: whoever the users are, they get at them. */
static void copy_program(const char *from, const char *to)
{
    char room[65536];
    ssize_t n;
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    assert_true(in >= 0 && out >= 0);
    while ((n = read(in, room, sizeof room)) > 0)
        assert_int_equal(write(out, room, (size_t)n), n);
    assert_int_equal(n, 0);
    assert_int_equal(fchmod(out, 0755), 0);
    close(in);
    close(out);
}

static int listen_for_clients(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(chmod(path, 0777), 0);
    assert_int_equal(listen(fd, 128), 0);
    return fd;
}

static _Noreturn void execute(const struct rig *rig, int socket, const char *config)
{
    char number[16];
    snprintf(number, sizeof number, "%d", dup(socket));
    if (rig->uid != geteuid() && (setgroups(0, NULL) < 0 || setgid(rig->uid) < 0 || setuid(rig->uid) < 0))
        _exit(126);
    if (config)
        execl(rig->launcher, "pmap-launcher", "--socket", number, "--worker", rig->worker, "--config", config,
              NULL);
    else
        execl(rig->launcher, "pmap-launcher", "--private", "--socket", number, "--worker", rig->worker, NULL);
    _exit(127);
}

static void write_config(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Nothing is started. */
static void clear(struct rig *rig)
{
    *rig = (struct rig){.broker = -1, .listener = -1, .pid = -1};
}

int rig_setup(void **rig)
{
    clear(*rig);
    return 0;
}

int rig_teardown(void **rig)
{
    rig_abort(*rig);
    return 0;
}

void rig_start(struct rig *rig, const char *config)
{
    char path[128];
    int ends[2];
    clear(rig);
    snprintf(rig->folder, sizeof rig->folder, "/tmp/test_launcher_XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    assert_int_equal(chmod(rig->folder, 0755), 0);
    snprintf(rig->launcher, sizeof rig->launcher, "%s/pmap-launcher", rig->folder);
    snprintf(rig->worker, sizeof rig->worker, "%s/pmap-worker", rig->folder);
    snprintf(rig->clients, sizeof rig->clients, "%s/clients", rig->folder);
    snprintf(path, sizeof path, "%s/conf", rig->folder);
    copy_program(LAUNCHER, rig->launcher);
    copy_program(LAUNCHER_WORKER, rig->worker);
    if (config)
        write_config(path, config);
    rig->listener = listen_for_clients(rig->clients);
    rig->uid = !config && geteuid() == 0 ? ALICE : geteuid();
    /* What the launcher leaves would come to us, and rig_stop finds it. */
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1UL, 0UL, 0UL, 0UL), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    rig->pid = fork();
    assert_true(rig->pid >= 0);
    if (rig->pid == 0)
        execute(rig, ends[1], config ? path : NULL);
    close(ends[1]);
    rig->broker = ends[0];
}

static bool await_exit(pid_t pid, int *status)
{
    for (int waited = 0; waited < RIG_LIMIT_MS; waited += 5) {
        if (waitpid(pid, status, WNOHANG) == pid)
            return true;
        poll(NULL, 0, 5);
    }
    return false;
}

static void clear_folder(struct rig *rig)
{
    const char *names[] = {"pmap-launcher", "pmap-worker", "clients", "conf"};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", rig->folder, names[i]);
        unlink(path);
    }
    rmdir(rig->folder);
    rig->folder[0] = '\0';
}

/* Kills the clients and closes all that is ours. */
static void release(struct rig *rig)
{
    while (rig->client_count > 0)
        rig_client_end(rig);
    for (size_t i = 0; i < rig->owner_count; i++)
        close(rig->owners[i].fd);
    rig->owner_count = 0;
    if (rig->broker >= 0)
        close(rig->broker);
    if (rig->listener >= 0)
        close(rig->listener);
    rig->broker = rig->listener = -1;
}

void rig_stop(struct rig *rig)
{
    char paths[RIG_OWNERS][RECORD_TEXT_MAX];
    size_t count = rig->owner_count;
    int status = -1;
    for (size_t i = 0; i < count; i++)
        memcpy(paths[i], rig->owners[i].path, sizeof paths[i]);
    release(rig);
    bool ended = await_exit(rig->pid, &status);
    if (!ended)
        rig_abort(rig);
    rig->pid = -1;
    clear_folder(rig);
    assert_true(ended);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    for (size_t i = 0; i < count; i++) {
        char *slash = strrchr(paths[i], '/');
        assert_int_equal(access(paths[i], F_OK), -1);
        *slash = '\0';
        assert_int_equal(access(paths[i], F_OK), -1);
    }
}

void rig_abort(struct rig *rig)
{
    int status;
    release(rig);
    if (rig->pid > 0 && !await_exit(rig->pid, &status)) {
        kill(rig->pid, SIGKILL);
        waitpid(rig->pid, NULL, 0);
    }
    rig->pid = -1;
    if (rig->folder[0] != '\0')
        clear_folder(rig);
}

/*** Clients ***/

static _Noreturn void be_client(const struct rig *rig, bool (*prepare)(const void *arg), const void *arg,
                                int ready)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0UL, 0UL, 0UL);
    char how = prepare(arg) ? '+' : '-';
    prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0UL, 0UL, 0UL); /* a change of uid clears it */
    snprintf(address.sun_path, sizeof address.sun_path, "%s", rig->clients);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (how == '+' && (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) < 0))
        how = '!';
    if (write(ready, &how, 1) != 1)
        _exit(1);
    close(ready);
    for (;;)
        pause();
}

int rig_client(struct rig *rig, bool (*prepare)(const void *arg), const void *arg)
{
    int ready[2];
    char how = '!';
    assert_true(rig->client_count < RIG_CLIENTS);
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        be_client(rig, prepare, arg, ready[1]);
    rig->client_pids[rig->client_count++] = pid;
    close(ready[1]);
    if (read(ready[0], &how, 1) != 1)
        how = '!';
    close(ready[0]);
    assert_int_not_equal(how, '!');
    if (how == '-')
        return -1;
    int fd = accept4(rig->listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static bool become(const void *arg)
{
    uid_t uid = *(const uid_t *)arg;
    return uid == geteuid() || (setgroups(0, NULL) == 0 && setgid(uid) == 0 && setuid(uid) == 0);
}

int rig_client_of(struct rig *rig, uid_t uid)
{
    int fd = rig_client(rig, become, &uid);
    assert_true(fd >= 0);
    return fd;
}

int rig_start_any(struct rig *rig)
{
    rig_start(rig, geteuid() == 0 ? RIG_OPEN : NULL);
    return rig_client_of(rig, rig_any_uid());
}

uid_t rig_any_uid(void)
{
    return geteuid() == 0 ? ALICE : geteuid();
}

void rig_client_end(struct rig *rig)
{
    pid_t pid = rig->client_pids[--rig->client_count];
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/*** Records ***/

uint32_t rig_send(struct rig *rig, enum record_type type, int fd)
{
    const struct record record = {.type = type, .token = ++rig->token, .slot = 3, .uid = 12345};
    assert_int_equal(record_send(rig->broker, &record, fd), 0);
    return rig->token;
}

void rig_kill(struct rig *rig, uint32_t worker)
{
    const struct record record = {.type = RECORD_KILL, .worker = worker};
    assert_int_equal(record_send(rig->broker, &record, -1), 0);
}

static void note_listening(struct rig *rig, const struct record *record, int fd)
{
    struct rig_owner *owner = rig->owners;
    assert_true(fd >= 0);
    while (owner < rig->owners + rig->owner_count && owner->uid != record->uid)
        owner++;
    assert_true(owner < rig->owners + RIG_OWNERS);
    if (owner == rig->owners + rig->owner_count)
        rig->owner_count++;
    else
        close(owner->fd);
    *owner = (struct rig_owner){.uid = record->uid, .fd = fd};
    memcpy(owner->path, record->text, sizeof owner->path);
}

static void await(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&item, 1, RIG_LIMIT_MS), 1);
}

bool rig_next(struct rig *rig, struct record *record)
{
    for (;;) {
        int fd = -1;
        await(rig->broker);
        int rc = record_receive(rig->broker, 0, record, &fd);
        if (rc == 0)
            return false;
        assert_int_equal(rc, 1);
        if (record->type != RECORD_LISTENING) {
            assert_int_equal(fd, -1);
            return true;
        }
        note_listening(rig, record, fd);
    }
}

struct record rig_expect(struct rig *rig, enum record_type type, uint32_t token)
{
    struct record record;
    assert_true(rig_next(rig, &record));
    if (record.type != type)
        print_message("%u, error %d: %s\n", record.type, record.error, record.text);
    assert_int_equal(record.type, type);
    if (type != RECORD_EXITED)
        assert_int_equal(record.token, token);
    return record;
}

void rig_refused(struct rig *rig, uint32_t token, int error, const char *words)
{
    struct record refused = rig_expect(rig, RECORD_REFUSED, token);
    if (refused.error != error || !strstr(refused.text, words))
        print_message("error %d: %s\n", refused.error, refused.text);
    assert_int_equal(refused.error, error);
    assert_non_null(strstr(refused.text, words));
}

struct record rig_start_worker(struct rig *rig, int client)
{
    return rig_expect(rig, RECORD_STARTED, rig_send(rig, RECORD_START, client));
}

/*** Workers ***/

int rig_accept(struct rig *rig, uid_t uid, char report[RIG_REPORT_MAX])
{
    const struct rig_owner *owner = rig->owners;
    size_t used = 0;
    while (owner < rig->owners + rig->owner_count && owner->uid != uid)
        owner++;
    assert_true(owner < rig->owners + rig->owner_count);
    await(owner->fd);
    int fd = accept4(owner->fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    do {
        await(fd);
        ssize_t n = read(fd, report + used, RIG_REPORT_MAX - 1 - used);
        assert_true(n > 0);
        used += (size_t)n;
        report[used] = '\0';
    } while (!strstr(report, "\nend\n"));
    return fd;
}

void rig_tell(int connection, char command)
{
    char answer = 0;
    assert_int_equal(write(connection, &command, 1), 1);
    await(connection);
    assert_int_equal(read(connection, &answer, 1), 1);
    assert_int_equal(answer, command);
}

void rig_await_end(int connection)
{
    char none;
    await(connection);
    ssize_t n = read(connection, &none, 1);
    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
    close(connection);
}

const char *rig_word(const char *report, const char *word, char out[256])
{
    size_t len = strlen(word);
    out[0] = '\0';
    for (const char *line = report; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, word, len) == 0 && (line[len] == ' ' || line[len] == '=')) {
            snprintf(out, 256, "%.*s", (int)strcspn(line + len + 1, "\n"), line + len + 1);
            break;
        }
    }
    return out;
}

size_t rig_descriptors(const struct rig *rig)
{
    char path[64];
    size_t count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)rig->pid);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

bool rig_has_children(const struct rig *rig)
{
    char path[64], text[16];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)rig->pid, (int)rig->pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    assert_true(n >= 0);
    return n > 0;
}
