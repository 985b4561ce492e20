/*
 * Starts pmap-launcher; see spawn.h.
 */
#include "daemon/launcher/spawn.h"

#include "daemon/common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    CHILD_SOCKET = 3,
    CHILD_STATUS = 4,
    FIRST_FREE = 5,
    WAIT_MS =
        10000, /* for it to end: whatever it kills dies at once, but a disk may keep a process for a while */
    WAIT_STEP_MS = 5,
};

static int failed(const char *what, int error)
{
    log_error("%s: %s", what, strerror(error));
    return -error;
}

/* The launcher in this folder, if there is one. */
static bool is_in(const char *folder, char path[PATH_MAX])
{
    int n = snprintf(path, PATH_MAX, "%s/pmap-launcher", folder);
    return n > 0 && n < PATH_MAX && access(path, X_OK) == 0;
}

/*
 * Beside this program, as in the build folder; in the libexec folder of the same prefix; or where it was
 * configured to be installed.
 */
static int find_programs(char launcher[PATH_MAX], char worker[PATH_MAX])
{
    char folder[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
    bool found = false;
    if (n > 0) {
        folder[n] = '\0';
        char *slash = strrchr(folder, '/');
        if (slash) {
            *slash = '\0';
            found = is_in(folder, launcher);
            size_t used = (size_t)(slash - folder);
            if (!found && (size_t)snprintf(slash, sizeof folder - used, "/../" PMAP_LIBEXEC_NAME) <
                              sizeof folder - used)
                found = is_in(folder, launcher);
        }
    }
    if (!found) {
        snprintf(folder, sizeof folder, "%s", PMAP_LIBEXECDIR);
        found = is_in(folder, launcher);
    }
    if (!found) {
        log_error("there is no pmap-launcher beside pmapd or in %s", PMAP_LIBEXECDIR);
        return -ENOENT;
    }
    int length = snprintf(worker, PATH_MAX, "%s/pmap-worker", folder);
    return length > 0 && length < PATH_MAX ? 0 : failed(folder, ENAMETOOLONG);
}

/*** Environment ***/

/* Is this variable, as in environ, one that a service manager means for its own child only? */
static bool is_services(const char *variable)
{
    static const char *const names[] = {"NOTIFY_SOCKET",
                                        "WATCHDOG_USEC",
                                        "WATCHDOG_PID",
                                        "LISTEN_FDS",
                                        "LISTEN_PID",
                                        "LISTEN_FDNAMES",
                                        "MAINPID",
                                        "INVOCATION_ID",
                                        "SYSTEMD_EXEC_PID",
                                        "FDSTORE",
                                        "RUNTIME_DIRECTORY",
                                        "STATE_DIRECTORY",
                                        "CACHE_DIRECTORY",
                                        "LOGS_DIRECTORY",
                                        "MANAGERPID",
                                        "MEMORY_PRESSURE_WATCH",
                                        "CREDENTIALS_DIRECTORY",
                                        "CONFIGURATION_DIRECTORY",
                                        "MEMORY_PRESSURE_WRITE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t length = strlen(names[i]);
        if (strncmp(variable, names[i], length) == 0 && variable[length] == '=')
            return true;
    }
    return false;
}

/* The launcher's environment: ours without that. From malloc, the strings being environ's; NULL when memory
 * is short. */
static char **make_environment(void)
{
    size_t count = 0, kept = 0;
    while (environ[count])
        count++;
    char **made = calloc(count + 1, sizeof *made);
    for (size_t i = 0; made && i < count; i++) {
        if (!is_services(environ[i]))
            made[kept++] = environ[i];
    }
    return made;
}

/*** Starting ***/

/* Only calls that are safe in a child. Does not return. */
static _Noreturn void execute(char *const arguments[], char *const environment[], int launchers_end,
                              int status)
{
    const struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;
    /* Out of the way of the two numbers first, wherever they are. */
    int high_socket = fcntl(launchers_end, F_DUPFD, FIRST_FREE);
    int high_status = fcntl(status, F_DUPFD_CLOEXEC, FIRST_FREE);
    if (high_socket >= 0 && high_status >= 0 && dup2(high_socket, CHILD_SOCKET) >= 0 &&
        dup3(high_status, CHILD_STATUS, O_CLOEXEC) >= 0) {
        status = CHILD_STATUS;
        closefrom(FIRST_FREE);
        for (int signal = 1; signal < NSIG; signal++)
            sigaction(signal, &standard, NULL); /* some cannot be changed and need not be */
        sigemptyset(&none);
        if (sigprocmask(SIG_SETMASK, &none, NULL) == 0)
            execve(arguments[0], arguments, environment);
    }
    int error = errno;
    ssize_t n = write(status, &error, sizeof error);
    _exit(n == sizeof error ? 126 : 127);
}

/* What the child tells that could not execute; 0 when it could. */
static int read_status(int fd)
{
    int error = 0;
    ssize_t n;
    do
        n = read(fd, &error, sizeof error);
    while (n < 0 && errno == EINTR);
    return n == sizeof error ? error : n < 0 ? errno : 0;
}

/* Forks and waits until it executes. Returns 0 or a negative errno, which was logged. */
static int start(char *const arguments[], int launchers_end, pid_t *out)
{
    int status[2];
    char **environment = make_environment();
    if (!environment)
        return failed("cannot start pmap-launcher", ENOMEM);
    int error = pipe2(status, O_CLOEXEC) < 0 ? errno : 0;
    if (error != 0) {
        free(environment);
        return failed("cannot start pmap-launcher", error);
    }
    pid_t pid = fork();
    if (pid == 0)
        execute(arguments, environment, launchers_end, status[1]);
    error = pid < 0 ? errno : 0;
    free(environment);
    close(status[1]);
    if (error == 0 && (error = read_status(status[0])) != 0) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    close(status[0]);
    if (error != 0)
        return failed("cannot start pmap-launcher", error);
    *out = pid;
    return 0;
}

int launcher_spawn(bool private_pool, const char *config_path, int *socket, pid_t *pid)
{
    char launcher[PATH_MAX], worker[PATH_MAX], number[16];
    char socket_option[] = "--socket", worker_option[] = "--worker", config_option[] = "--config",
         private_option[] = "--private";
    char *arguments[9];
    int ends[2], count = 0;
    char *config = NULL;
    int rc = find_programs(launcher, worker);
    if (rc < 0)
        return rc;
    if (config_path && !(config = strdup(config_path)))
        return failed("cannot start pmap-launcher", ENOMEM);
    snprintf(number, sizeof number, "%d", CHILD_SOCKET);
    arguments[count++] = launcher;
    arguments[count++] = socket_option;
    arguments[count++] = number;
    arguments[count++] = worker_option;
    arguments[count++] = worker;
    if (private_pool)
        arguments[count++] = private_option;
    if (config) {
        arguments[count++] = config_option;
        arguments[count++] = config;
    }
    arguments[count] = NULL;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        rc = failed("cannot start pmap-launcher", errno);
    } else {
        rc = start(arguments, ends[1], pid);
        close(ends[1]);
        if (rc < 0)
            close(ends[0]);
        else
            *socket = ends[0];
    }
    free(config);
    return rc;
}

void launcher_wait(pid_t pid)
{
    const struct timespec step = {.tv_nsec = WAIT_STEP_MS * 1000000L};
    for (int waited_ms = 0; waited_ms < WAIT_MS; waited_ms += WAIT_STEP_MS) {
        pid_t ended = waitpid(pid, NULL, WNOHANG);
        if (ended == pid || (ended < 0 && errno != EINTR))
            return;
        nanosleep(&step, NULL);
    }
    log_warning("pmap-launcher has not ended yet; what it has started may still be dying");
}
