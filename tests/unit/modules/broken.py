"""A file that cannot be compiled, for test_host."""


def double(x):
    return 2 *
