/*
 * The parts of the sandbox, each in a file of its own; see sandbox.h for what they are together. They return
 * 0 or a negative errno (-EOPNOTSUPP where the build has none), never log, and a part that fails leaves
 * nothing half done.
 */
#ifndef PMAPD_SANDBOX_PARTS_H
#define PMAPD_SANDBOX_PARTS_H

/*
 * A sanitizer's run time opens files when it has something to report, makes processes, and maps memory as no
 * other program would.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED 1
#endif

/* As struct sandbox has them. Root's; afterwards there are no files but the service manager's socket. */
int root_enter(const char *notify);
/* Takes no privileges, but no_new_privs must be set. */
int landlock_enter(const char *const *sockets, const char *notify);
/* The same. */
int filter_enter(const char *const *sockets, const char *notify);

#endif
