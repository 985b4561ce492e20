/*
 * The broker's own sandbox. The broker reads what strangers send, with libraries that have had holes: so it
 * gives up, before it listens to anybody, all that it will not need. Whoever takes it over gets the jobs that
 * go through it and nothing of the machine. The sandbox is this process's alone: the launcher is another one
 * by then, tasks are the launcher's children, and the broker itself can have none.
 *
 * It is entered while there is one thread: later ones are born in it, ZeroMQ's included; one that was there
 * already would be left outside. What holds then, where the kernel has it (what it has not is told in the
 * log):
 *
 * Capabilities: none in any set, and of root's pmapd none in the bounding set either; no new privileges.
 *
 * Files: of root's pmapd the root directory is empty and read-only, home directories and all else being gone
 * from view (its own mount namespace). Landlock lets nothing be opened, made or removed, save that the
 * sockets' own files may be renamed and removed where that is asked for.
 *
 * System calls: those of an allow-list (filter.c). Others fail with EPERM, and those with which one breaks
 * out or in, execve(2) and ptrace(2) among them, end the process with SIGSYS. No process can be made, no
 * memory be made executable, no socket be made but one to tell the service manager something, and no signal
 * be sent.
 *
 * What is open stays open. Builds with sanitizers have no filter, no Landlock and no empty root: reports are
 * written to files, by other processes.
 */
#ifndef PMAPD_SANDBOX_H
#define PMAPD_SANDBOX_H

struct sandbox {
    const char *const
        *sockets;       /* paths whose files may be renamed and removed later; ends in NULL; or NULL */
    const char *notify; /* NOTIFY_SOCKET: where the service manager is told something; or NULL */
};

/*
 * The first half, which takes privileges that the second no longer has: the bounding set, the empty root. To
 * be called by root's pmapd before start_drop. Paths no longer mean anything afterwards. Returns 0 or a
 * negative errno, which was logged: the process must end then.
 */
int sandbox_prepare(const struct sandbox *sandbox);

/* The second half, for ever. Returns 0 or a negative errno, which was logged: the process must end then. */
int sandbox_enter(const struct sandbox *sandbox);

#endif
