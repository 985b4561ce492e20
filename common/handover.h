/*
 * Hand-overs through ZeroMQ, told to ThreadSanitizer. Memory that a message refers to is its sender's until
 * it is sent and the receiver's (or, in the free function, the freeing thread's) afterwards, and libzmq's
 * queues order the two. Debian's libzmq is not instrumented, so ThreadSanitizer sees both threads and no
 * order between them. Saying where memory is given and where it is taken states just that order: what the
 * sender does after it has given is still reported. In every other build both are nothing.
 *
 * They are needed where our own code, not libzmq's, touches the memory on both sides: zmq_msg_init_data, or
 * zmq_msg_init_size and a write through zmq_msg_data. zmq_send copies within libzmq and needs neither.
 */
#ifndef PMAP_HANDOVER_H
#define PMAP_HANDOVER_H

#if defined(__SANITIZE_THREAD__)
#define HANDOVER_IS_TOLD 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HANDOVER_IS_TOLD 1
#endif
#endif

#ifdef HANDOVER_IS_TOLD
#include <sanitizer/tsan_interface.h>
#endif

/*
 * Before the send: all that this thread has done so far happens before what follows a handover_take of the
 * same address in another thread. p: the message's data as the receiver will see it, or what is passed to its
 * free function; NULL is accepted.
 */
static inline void handover_give(const void *p)
{
#ifdef HANDOVER_IS_TOLD
    if (p)
        __tsan_release((void *)p);
#else
    (void)p;
#endif
}

/* After the receipt, or first thing in the free function. p: what was given; one that was not, and NULL, do
 * nothing. */
static inline void handover_take(const void *p)
{
#ifdef HANDOVER_IS_TOLD
    if (p)
        __tsan_acquire((void *)p);
#else
    (void)p;
#endif
}

#endif
