/*
 * The terminal; see screen.h.
 */
#include "client/pmapc/top/screen.h"

#include "client/pmapc/pmapc.h"

#include <errno.h>
#include <ncurses.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <term.h>
#include <unistd.h>

enum { ESCAPE_MS = 50 }; /* an Esc that nothing follows for so long is the key */

static int signals = -1; /* a signalfd */
static sigset_t waited_for;
static int caught; /* the signal that is to end us */
static SCREEN *screen;
static bool taken;

int screen_signals(void)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    sigemptyset(&waited_for);
    sigaddset(&waited_for, SIGWINCH);
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) {
        struct sigaction old;
        /* One that was inherited as ignored stays so. */
        if (sigaction(ending[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaddset(&waited_for, ending[i]);
    }
    if (sigprocmask(SIG_BLOCK, &waited_for, NULL) < 0)
        return -errno;
    signals = signalfd(-1, &waited_for, SFD_NONBLOCK | SFD_CLOEXEC);
    return signals < 0 ? -errno : 0;
}

int screen_start(void)
{
    int error = 0;
    if (setupterm(NULL, STDOUT_FILENO, &error) == ERR)
        return -ENOTTY;
    bool fit = cursor_address && clear_screen;
    del_curterm(cur_term); /* newterm reads its own */
    if (!fit)
        return -ENOTSUP;
    screen = newterm(NULL, stdout, stdin);
    if (!screen)
        return -ENOTTY;
    taken = true;
    cbreak();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(ESCAPE_MS);
    curs_set(0);
    return 0;
}

void screen_stop(void)
{
    if (!taken)
        return;
    taken = false;
    endwin();
    delscreen(screen);
}

void screen_redraw(void)
{
    clearok(curscr, TRUE);
}

static void resize(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
        resizeterm(size.ws_row, size.ws_col);
    screen_redraw();
}

/* Ctrl-Z: stops this program where its user can see the shell, and comes back to a screen that is drawn anew.
 */
static void suspend(void)
{
    endwin();
    /* Not SIGTSTP, which stops nobody where there is no shell to go on with us. */
    raise(SIGSTOP);
    doupdate();
    resize();
}

static enum screen_event take_signal(void)
{
    struct signalfd_siginfo info;
    enum screen_event event = SCREEN_TIME;
    while (event != SCREEN_END && read(signals, &info, sizeof info) == (ssize_t)sizeof info) {
        int number = (int)info.ssi_signo;
        if (number == SIGWINCH) {
            resize();
            event = SCREEN_DRAW;
        } else if (number == SIGTSTP) {
            suspend();
            event = SCREEN_DRAW;
        } else {
            caught = number;
            event = SCREEN_END;
        }
    }
    return event;
}

enum screen_event screen_wait(int news, int timeout_ms)
{
    struct pollfd fds[] = {{signals, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}, {news, POLLIN, 0}};
    if (poll(fds, sizeof fds / sizeof fds[0], timeout_ms) <= 0)
        return SCREEN_TIME;
    if (fds[0].revents)
        return take_signal();
    if (fds[1].revents & (POLLHUP | POLLERR | POLLNVAL))
        return SCREEN_END;
    if (fds[1].revents & POLLIN) {
        int waiting = 0;
        /* Readable, and nothing there: the end of the file. */
        if (ioctl(STDIN_FILENO, FIONREAD, &waiting) == 0 && waiting == 0)
            return SCREEN_END;
        return SCREEN_KEYS;
    }
    return fds[2].revents ? SCREEN_NEWS : SCREEN_TIME;
}

bool screen_key(unsigned *key, bool *special)
{
    wint_t got = 0;
    int rc = get_wch(&got);
    if (rc == ERR)
        return false;
    *key = (unsigned)got;
    *special = rc == KEY_CODE_YES;
    return true;
}

int screen_status(void)
{
    if (caught == SIGINT)
        return STATUS_INTERRUPTED;
    if (caught == 0)
        return STATUS_FAILED;
    sigset_t set;
    signal(caught, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, caught);
    raise(caught);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    _exit(128 + caught);
}
