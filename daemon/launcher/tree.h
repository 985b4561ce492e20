/*
 * Killing whole trees of processes, and what such trees leave behind. The launcher is a child subreaper, so
 * whatever loses its parent below it becomes its child: a child of the launcher's that is no worker is a
 * stray. Each process is named by a descriptor that was opened before it was known to be in the tree, so none
 * that merely came to its number is ever hit; and all are stopped before the first is killed, so that those
 * who fork find no one left to do it.
 */
#ifndef PMAPD_TREE_H
#define PMAPD_TREE_H

#include <stdbool.h>
#include <sys/types.h>

/* Can the kernel say which children a process has? Returns 0 or a negative errno. */
int tree_check(void);

/*
 * Kills a child of ours, which is not yet waited for, and everything below it. What is forked meanwhile, or
 * lies very deep, is left, and becomes a stray.
 */
void tree_kill(pid_t child);

/* Is this child no stray? */
typedef bool tree_spared(void *arg, pid_t child);

/*
 * Kills all our children that are not spared, and everything below them. Returns how many processes were
 * found that may be killed and do not stand as dead yet, or a negative errno: so it is called again after a
 * while until it returns 0. Children are left to be waited for.
 */
int tree_kill_strays(tree_spared *spared, void *arg);

#endif
