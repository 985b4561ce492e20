/*
 * The door: who has connected to a workers' socket, as libzmq's monitor has it, and who says there that he is
 * READY. Only workers may stay; who is one, the launcher has said or will say soon. See processes.h.
 */
#include "daemon/broker_state.h"
#include "daemon/processes.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)

enum {
    STRANGER_S = 2,       /* that the launcher may take to say whom it has started */
    CONNECTIONS_MOST = 4, /* that one worker may make in its life */
};

/*
 * Who is at the other end of a connection to a workers' socket. Returns a descriptor of our own of it, or -1:
 * libzmq may have closed its own by now, and the number can be a client's.
 */
static int look_at(int fd, struct ucred *peer)
{
    struct sockaddr_un name;
    socklen_t size = sizeof *peer, name_size = sizeof name;
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return -1;
    memset(&name, 0, sizeof name);
    if (getsockopt(own, SOL_SOCKET, SO_PEERCRED, peer, &size) == 0 &&
        getsockname(own, (struct sockaddr *)&name, &name_size) == 0 && name.sun_family == AF_UNIX &&
        name_size <= sizeof name) {
        /* The launcher names such a socket by its owner's number, in a folder "…workers.…". */
        char path[sizeof name.sun_path + 1] = "";
        memcpy(path, name.sun_path, sizeof name.sun_path);
        const char *slash = strrchr(path, '/');
        if (slash != NULL && slash[1] != '\0' && slash[1 + strspn(slash + 1, "0123456789")] == '\0' &&
            strstr(path, "workers.") != NULL)
            return own;
    }
    close(own);
    return -1;
}

static struct process *find_pid(const struct processes *p, pid_t pid)
{
    struct process *process;
    LIST_FOREACH (process, &p->list, link) {
        if (process->pid == pid && pid > 0)
            break;
    }
    return process;
}

/* A worker needs one connection. More would be descriptors that nobody counts: they are cut. */
static bool let_in(struct process *process)
{
    if (process->connections == CONNECTIONS_MOST)
        return false;
    process->connections++;
    return true;
}

static void cut(int fd, pid_t pid)
{
    struct ucred peer;
    int own = look_at(fd, &peer);
    if (own < 0)
        return;
    if (peer.pid == pid)
        shutdown(own, SHUT_RDWR);
    close(own);
}

/* Forgets those that nobody has asked for. Returns when to look again. */
static int64_t forget_early(struct processes *p, int64_t now_ns)
{
    unsigned kept = 0;
    int64_t next_ns = INT64_MAX;
    for (unsigned i = 0; i < p->early_count; i++) {
        if (p->early[i].deadline_ns <= now_ns)
            continue;
        if (p->early[i].deadline_ns < next_ns)
            next_ns = p->early[i].deadline_ns;
        p->early[kept++] = p->early[i];
    }
    p->early_count = kept;
    return next_ns;
}

void processes_keep(struct processes *p, const struct early *early, int64_t now_ns)
{
    unsigned same_user = 0;
    for (unsigned i = 0; i < p->early_count; i++) {
        const struct early *other = &p->early[i];
        if (other->id_size == early->id_size && memcmp(other->id, early->id, early->id_size) == 0)
            return;
        same_user += other->uid == early->uid;
    }
    if (p->early_count == STRANGERS_MAX || same_user >= STRANGERS_A_USER)
        return;
    p->early[p->early_count] = *early;
    p->early[p->early_count++].deadline_ns = now_ns + STRANGER_S * SECOND_NS;
}

bool processes_take(struct processes *p, uint32_t number, uid_t uid, pid_t pid, struct early *early)
{
    for (unsigned i = 0; i < p->early_count; i++) {
        const struct early *found = &p->early[i];
        if (found->number != number || found->uid != uid || found->pid != pid)
            continue;
        *early = *found;
        p->early[i] = p->early[--p->early_count];
        return true;
    }
    return false;
}

int64_t processes_strangers(struct processes *p, int64_t now_ns)
{
    unsigned kept = 0;
    int64_t next_ns = forget_early(p, now_ns);
    for (unsigned i = 0; i < p->stranger_count; i++) {
        struct stranger stranger = p->strangers[i];
        struct process *process = find_pid(p, stranger.pid);
        if (process != NULL ? !let_in(process) : stranger.deadline_ns <= now_ns) {
            cut(stranger.fd, stranger.pid);
            continue;
        }
        if (process != NULL)
            continue;
        if (stranger.deadline_ns < next_ns)
            next_ns = stranger.deadline_ns;
        p->strangers[kept++] = stranger;
    }
    p->stranger_count = kept;
    return next_ns;
}

/* May this user have one more connection whose process is not known? Those of one must not keep out others'
 * workers. */
static bool may_wait(const struct processes *p, uid_t uid)
{
    unsigned same = 0;
    for (unsigned i = 0; i < p->stranger_count; i++)
        same += p->strangers[i].uid == uid;
    return same < STRANGERS_A_USER && p->stranger_count < STRANGERS_MAX;
}

static void came_in(struct processes *p, int fd, int64_t now_ns)
{
    struct ucred peer;
    int own = look_at(fd, &peer);
    if (own < 0)
        return; /* it has gone */
    struct process *process = find_pid(p, peer.pid);
    if (process != NULL ? !let_in(process) : !may_wait(p, peer.uid))
        shutdown(own, SHUT_RDWR);
    else if (process == NULL)
        p->strangers[p->stranger_count++] =
            (struct stranger){fd, peer.pid, peer.uid, now_ns + STRANGER_S * SECOND_NS};
    close(own);
}

void processes_door(struct broker *broker, int64_t now_ns)
{
    struct processes *p = &broker->processes;
    uint8_t event[6], address[256]; /* u16 event, u32 value: of an accepted connection, its descriptor */
    bool more;
    do {
        int size = zmq_recv(p->doorman, event, sizeof event, ZMQ_DONTWAIT);
        more = size >= 0 || errno == EINTR;
        if (size < 0)
            continue;
        (void)zmq_recv(p->doorman, address, sizeof address, ZMQ_DONTWAIT);
        uint32_t fd;
        memcpy(&fd, event + 2, sizeof fd);
        if (size == sizeof event)
            came_in(p, (int)fd, now_ns);
    } while (more);
    if (p->stranger_count > 0)
        processes_launcher(broker, now_ns); /* it may have said already who they are */
    (void)processes_strangers(p, now_ns);
}
