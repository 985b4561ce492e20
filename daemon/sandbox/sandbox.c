/*
 * Capabilities, and the order of the sandbox's parts; see sandbox.h.
 */
#include "daemon/sandbox/sandbox.h"

#include "daemon/common/log.h"
#include "daemon/sandbox/parts.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int failed(const char *what, int error)
{
    log_error("cannot enter the sandbox: %s: %s", what, strerror(error));
    return -error;
}

/* What a part could not do that not every kernel or every root can: no reason to stop, but one to say so. */
static void without(const char *what, int rc)
{
    if (rc < 0)
        log_info("the sandbox has no %s: %s", what, strerror(-rc));
}

/*** Capabilities ***/

/* Whatever is executed: no capability comes with it. Returns 0 or a negative errno (without CAP_SETPCAP). */
static int close_bounding_set(void)
{
    for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0UL, 0UL, 0UL) >= 0; capability++) {
        if (prctl(PR_CAPBSET_DROP, capability, 0UL, 0UL, 0UL) < 0)
            return -errno;
    }
    return 0;
}

/*
 * Uid 0 is a user like any other, and that cannot be taken back. Capabilities still go with a change of uid
 * (no NO_SETUID_FIXUP), by which start_drop loses them.
 */
static int lock_securebits(void)
{
    const unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
                               SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
                               SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    return prctl(PR_SET_SECUREBITS, bits, 0UL, 0UL, 0UL) < 0 ? -errno : 0;
}

/* None is left, as the kernel itself says. */
static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}}, left[_LINUX_CAPABILITY_U32S_3];
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0UL, 0UL, 0UL) < 0 ||
        syscall(SYS_capset, &header, none) < 0)
        return -errno;
    header = (struct __user_cap_header_struct){.version = _LINUX_CAPABILITY_VERSION_3};
    if (syscall(SYS_capget, &header, left) < 0)
        return -errno;
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        if (left[i].effective || left[i].permitted || left[i].inheritable)
            return -EPERM;
    }
    return 0;
}

/*** In order ***/

int sandbox_prepare(const struct sandbox *sandbox)
{
    without("empty root directory", root_enter(sandbox->notify));
    without("empty bounding set", close_bounding_set());
    without("locked security bits", lock_securebits());
    return 0;
}

int sandbox_enter(const struct sandbox *sandbox)
{
    /* Again, for who is root and stays it, as in root's own private pool. Others may not. */
    (void)close_bounding_set();
    (void)lock_securebits();
    int rc = drop_capabilities();
    if (rc < 0)
        return failed("capabilities", -rc);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) < 0)
        return failed("no new privileges", errno);
    without("Landlock", landlock_enter(sandbox->sockets, sandbox->notify));
    rc = filter_enter(sandbox->sockets, sandbox->notify);
    /* Not every kernel has it; but where it is there and does not work, somebody should know. */
    if (rc == -EINVAL || rc == -ENOSYS || rc == -EOPNOTSUPP)
        without("filter of system calls", rc);
    else if (rc < 0)
        log_warning("the sandbox has no filter of system calls: %s", strerror(-rc));
    return 0;
}
