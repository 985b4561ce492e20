/*
 * The processes that came of an item: its process, its children, and theirs, also those that made themselves
 * daemons. This process is their subreaper, so all that lose their parent become its children; it runs one
 * item at a time, so all that descend from it are of that item. What is asked here is asked of the kernel;
 * nothing is kept. Other users' processes (setuid programs) cannot be signalled and are left alone.
 */
#ifndef PMAP_TREE_H
#define PMAP_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Makes this process the subreaper. Returns 0 or a negative errno. */
int tree_init(void);

/* What was learned by reaping; zeroed to begin with, then added to. */
struct reaped {
    bool ended;     /* the process asked about has: */
    int status;     /* as from waitpid(2) */
    uint64_t count; /* processes */
    uint64_t cpu_ns;
    uint64_t peak_bytes; /* the largest of one of them */
};

enum tree_left {
    TREE_NONE, /* nothing is left of it */
    TREE_SOME,
    TREE_MORE, /* some, and more that could be reaped at once */
};
enum tree_left tree_reap(pid_t process, struct reaped *reaped);

/* Sends a signal, and SIGCONT so that it arrives, to the whole tree. */
void tree_signal(int number);

/*
 * Kills what can be found. To be called again, with reaping between, until nothing is left: what was killed
 * hands us its children. Returns how many have been killed that are to be reaped: sooner than that there is
 * little use in another call. 0: there is nothing that could be killed.
 */
size_t tree_kill(void);

/*
 * Calls back for each process of the tree until `look` returns true, and returns whether it did. The process
 * may be gone by then.
 */
bool tree_find(bool (*look)(pid_t pid, void *cookie), void *cookie);

/* Is a process of the tree running, or about to, or waiting for a disk? */
bool tree_runs(void);

#endif
