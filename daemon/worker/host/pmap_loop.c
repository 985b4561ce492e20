/*
 * The Python harness's loop over a chunk's items, in C: taking an item, keeping the time and leaving the
 * result in the arena cost more there than most functions do. The harness has the same in Python (class
 * Plain) for interpreters that cannot load this one.
 *
 * The module knows the stable interface of CPython 3.10 and later, and the arena (host.h). It has one state,
 * since a harness has one arena; all is called with the interpreter's lock held.
 */
#define Py_LIMITED_API 0x030a0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "common/clock.h"
#include "daemon/worker/host.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

static struct {
    uint8_t *map;
    size_t size;
    uint64_t limit, next; /* items of the chunk; those taken */
    uint64_t at;          /* where the next one is, from the first one on */
} loop;

static struct arena *arena(void)
{
    return (struct arena *)loop.map;
}

static bool map_arena(size_t size)
{
    if (size == loop.size)
        return true;
    if (loop.map != NULL)
        munmap(loop.map, loop.size);
    loop.size = 0;
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, HOST_ARENA, 0);
    loop.map = map != MAP_FAILED ? map : NULL;
    if (loop.map != NULL)
        loop.size = size;
    return loop.map != NULL;
}

/* begin(limit) -> bool: a chunk is in the arena, of which so many items are to be done. False: the arena
 * could not be mapped here, too; it takes room in the address space twice. */
static PyObject *begin(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long limit;
    if (!PyArg_ParseTuple(args, "K", &limit))
        return NULL;
    bool mapped = (loop.map != NULL || map_arena(ARENA_PAGE)) && map_arena(arena()->size);
    loop.limit = mapped ? limit : 0;
    loop.next = loop.at = 0;
    return PyBool_FromLong(mapped);
}

/* leave(): this process is a fork of the harness's, which has the arena for itself. */
static PyObject *leave(PyObject *module, PyObject *none)
{
    (void)module;
    (void)none;
    if (loop.map != NULL)
        munmap(loop.map, loop.size);
    loop.map = NULL;
    loop.size = loop.limit = 0;
    Py_RETURN_NONE;
}

/* take() -> str: the next item, which is the caller's to run then. */
static PyObject *take(PyObject *module, PyObject *none)
{
    (void)module;
    (void)none;
    if (loop.next >= loop.limit) {
        PyErr_SetString(PyExc_RuntimeError, "there is no further item");
        return NULL;
    }
    const uint32_t *lengths = (const uint32_t *)(loop.map + arena()->lengths);
    const char *item = (const char *)(loop.map + arena()->items + loop.at);
    uint32_t size = lengths[loop.next++];
    loop.at += size;
    return PyUnicode_DecodeUTF8(item, size, "surrogateescape");
}

/* A result's bytes, which are there as long as *owner, a new reference; NULL: an exception is set. */
static const char *bytes_of(PyObject *result, PyObject **owner, Py_ssize_t *size)
{
    char *bytes = NULL;
    if (PyBytes_CheckExact(result)) {
        *owner = Py_NewRef(result);
        return PyBytes_AsStringAndSize(result, &bytes, size) == 0 ? bytes : NULL;
    }
    *owner = PyObject_Str(result);
    if (*owner == NULL)
        return NULL;
    if (*owner != result) {
        const char *text = PyUnicode_AsUTF8AndSize(*owner, size);
        if (text != NULL || !PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
            return text;
        PyErr_Clear();
    }
    /* The function's own string, which would keep its UTF-8 with it for as long as it lives; or one with
     * surrogates, which are what the bytes of an item that are not UTF-8 have become. */
    PyObject *string = *owner;
    *owner = PyUnicode_AsEncodedString(string, "utf-8", "surrogateescape");
    Py_DECREF(string);
    return *owner != NULL && PyBytes_AsStringAndSize(*owner, &bytes, size) == 0 ? bytes : NULL;
}

/* The exception that is set, as an object with its traceback; none is set then. */
static PyObject *take_exception(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

struct progress {
    uint64_t done, used;
    int64_t start_ns;
};

static void publish(struct progress *p, const char *bytes, size_t size, int64_t now_ns)
{
    struct arena *a = arena();
    memcpy(loop.map + a->bytes + p->used, bytes, size);
    ((uint32_t *)(loop.map + a->out_lengths))[p->done] = (uint32_t)size;
    ((uint64_t *)(loop.map + a->out_times))[p->done] = (uint64_t)(now_ns - p->start_ns);
    p->used += size;
    p->done++;
    p->start_ns = now_ns;
    atomic_store_explicit(&a->bytes_used, p->used, memory_order_release);
    atomic_store_explicit(&a->done, p->done, memory_order_release);
}

/*
 * One item: true when its result is in the arena. Else *result (bytes) does not fit, or *failure is what it
 * has come to; or an exception is set, which is not the item's.
 */
static bool run_item(struct progress *p, PyObject *function, PyObject *x, PyObject **result,
                     PyObject **failure)
{
    atomic_store_explicit(&arena()->current, p->done + 1, memory_order_release);
    PyObject *value = PyObject_CallFunctionObjArgs(function, x, NULL), *owner = NULL;
    Py_ssize_t size = 0;
    const char *bytes = value != NULL ? bytes_of(value, &owner, &size) : NULL;
    Py_XDECREF(value); /* what it takes to be rid of it is still the item's */
    int64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    bool fits = false;
    if (loop.map == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this process has left the arena");
    } else if (bytes == NULL) {
        *failure = take_exception();
    } else {
        fits = (uint64_t)size <= arena()->bytes_room - p->used;
        if (fits)
            publish(p, bytes, (size_t)size, now_ns);
        else
            *result = PyBytes_CheckExact(owner) ? Py_NewRef(owner) : PyBytes_FromStringAndSize(bytes, size);
    }
    Py_XDECREF(owner);
    return fits;
}

/*
 * run(function, done, used, start, look) -> (done, used, start, x, result, failure): runs items until there
 * is none, or the clock has come to `look`. done, used: items and bytes of results so far; start: when the
 * next item begins, ns of CLOCK_MONOTONIC. x: the item that it has stopped at, or None: either its result
 * (bytes) does not fit, or the function, or str() of what it gave, has raised `failure`.
 */
static PyObject *run(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *function, *x = NULL, *result = NULL, *failure = NULL;
    unsigned long long done, used;
    long long start_ns, look_ns;
    if (!PyArg_ParseTuple(args, "OKKLL", &function, &done, &used, &start_ns, &look_ns))
        return NULL;
    struct progress p = {done, used, start_ns};
    while (loop.next < loop.limit && p.start_ns < look_ns) {
        x = take(module, NULL);
        if (x == NULL)
            return NULL;
        if (!run_item(&p, function, x, &result, &failure))
            break;
        Py_CLEAR(x);
    }
    if (PyErr_Occurred()) {
        Py_XDECREF(x);
        return NULL;
    }
    PyObject *none = Py_None;
    PyObject *all =
        Py_BuildValue("KKLOOO", (unsigned long long)p.done, (unsigned long long)p.used, (long long)p.start_ns,
                      x != NULL ? x : none, result != NULL ? result : none, failure != NULL ? failure : none);
    Py_XDECREF(x);
    Py_XDECREF(result);
    Py_XDECREF(failure);
    return all;
}

static PyMethodDef functions[] = {
    {"begin", begin, METH_VARARGS, NULL},
    {"leave", leave, METH_NOARGS, NULL},
    {"run", run, METH_VARARGS, NULL},
    {"take", take, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "pmap_loop", .m_size = -1,
                                        .m_methods = functions};

PyMODINIT_FUNC PyInit_pmap_loop(void); /* by this name the interpreter finds it */
PyMODINIT_FUNC PyInit_pmap_loop(void)
{
    return PyModule_Create(&definition);
}
