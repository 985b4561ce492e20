"""A file that cannot be loaded, for test_host."""

import no_such_module_at_all


def double(x):
    return no_such_module_at_all.double(x)
