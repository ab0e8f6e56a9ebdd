"""Compiles Python sources to bytecode: compile.py CORES FOLDER…, or CORES -i FILE with a source on each line.

Workers compile and this process writes: in a file system, writers side by side wait for each other. What does not
compile, as templates and code of another Python, stays as it is. A disk that refuses ends it with an OSError.
"""

import gc
import importlib.util
import marshal
import os
import struct
import sys

CHUNK = 8  # sources that a worker is given at once
FEW = 1 << 17  # bytes of source below which workers cost more than they save


def sources(folders):
    """Lists the sources below folders with their sizes. No link to a folder is followed."""
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue
        for e in entries:
            if e.is_dir(follow_symlinks=False):
                if e.name != "__pycache__":
                    folders.append(e.path)
            elif e.name.endswith(".py") and e.is_file():
                yield e.stat().st_size, e.path


def listed(path):
    with open(path, encoding=sys.getfilesystemencoding(), errors="surrogateescape") as f:
        for path in filter(os.path.isfile, f.read().splitlines()):
            yield os.path.getsize(path), path


def target(path):
    return importlib.util.cache_from_source(path, optimization="")


def head(info):
    """Is the start of timestamp-based bytecode (PEP 552)."""
    return importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, int(info.st_mtime) & 0xFFFFFFFF, info.st_size & 0xFFFFFFFF)


def there(path, start):
    try:
        with open(target(path), "rb") as f:
            return f.read(len(start)) == start
    except OSError:
        return False


def compiled(path):
    """Gives where the bytecode of a source goes, its mode, header and code; None if there is nothing to do."""
    try:
        with open(path, "rb") as f:
            info, text = os.fstat(f.fileno()), f.read()
        start = head(info)
        if there(path, start):
            return None
        return target(path), info.st_mode & 0o777 | 0o200, start, marshal.dumps(compile(text, path, "exec", dont_inherit=True))
    except (OSError, SyntaxError, ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        return None


def write(path, mode, start, code):
    """Writes bytecode, its header last: what was cut short is none, to Python and to the next run."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, mode)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        fd = os.open(path, flags, mode)
    try:
        done = 0
        while done < len(code):
            done += os.pwrite(fd, code[done:] if done else code, len(start) + done)
        os.pwrite(fd, start, 0)
    finally:
        os.close(fd)


def results(found, cores):
    # The large ones first: the last one to end keeps nobody waiting.
    paths = [path for _, path in sorted(found, reverse=True)]
    if min(cores, len(paths)) < 2 or sum(size for size, _ in found) < FEW:
        yield from map(compiled, paths)
        return
    import multiprocessing
    from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor

    with ProcessPoolExecutor(cores, multiprocessing.get_context("fork"), gc.disable) as pool:
        try:
            yield from pool.map(compiled, paths, chunksize=CHUNK)
        except BrokenProcessPool:  # a source that kills the compiler: a task that imports it will tell
            pass


def main(cores, *what):
    found = list(listed(what[1]) if what[0] == "-i" else sources(list(what)))
    for result in results(found, int(cores) or len(os.sched_getaffinity(0))):
        if result:
            write(*result)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError as e:
        sys.exit("OSError: " + str(e))
