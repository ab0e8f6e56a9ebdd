"""A program of checks: each runs, in its order, and says how it went, so that one
start of the SDK serves many and one failure hides no other."""
import sys
import traceback

failed = []


def check(function):
    name = function.__name__
    try:
        function()
        print("ok", name, flush=True)
    except Exception:
        failed.append(name)
        print("failed", name, traceback.format_exc(), flush=True)
    return function


def same(got, want):
    assert got == want, "%r, want %r" % (got, want)


def close():
    """Ends the program; it says so even if something before it went wrong."""
    if failed:
        print("failed checks:", *failed, flush=True)
    sys.exit(1 if failed else 0)
