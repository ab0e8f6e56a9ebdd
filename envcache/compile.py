"""Compiles Python sources to bytecode: compile.py CORES FOLDER…, or CORES -i FILE with a source on each line.

What does not compile, as templates and code of another Python, or kills the compiler, stays as it is. A disk that
refuses ends it with an OSError.
"""

import gc
import importlib.util
import marshal
import os
import struct
import sys

CHUNK = 8  # sources that a worker is given at once
FEW = 4 << 20  # bytes of source below which workers cost more than they save


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


def each(paths):
    """Compiles one source after the other."""
    for result in map(compiled, paths):
        if result:
            write(*result)


def side_by_side(paths, cores):
    """Has each core do its part: for few sources that is over before workers and their modules would be there."""
    children = []
    for i in range(1, cores):
        pid = os.fork()
        if pid == 0:
            os._exit(told(each, paths[i::cores]))
        children.append(pid)
    each(paths[::cores])
    ends = [os.waitpid(pid, 0)[1] for pid in children]
    if any(map(os.WEXITSTATUS, filter(os.WIFEXITED, ends))):
        sys.exit(1)  # it has told why


def by_workers(paths, cores):
    """Has workers compile, and this process write: in a file system, many writers wait for each other."""
    import multiprocessing
    from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor

    with ProcessPoolExecutor(cores, multiprocessing.get_context("fork"), gc.disable) as pool:
        try:
            for result in pool.map(compiled, paths, chunksize=CHUNK):
                if result:
                    write(*result)
        except BrokenProcessPool:  # a source that kills the compiler: a task that imports it will tell
            pass


def told(do, *what):
    """Gives the exit code of what it does."""
    try:
        do(*what)
    except OSError as e:
        print("OSError: " + str(e), file=sys.stderr, flush=True)
        return 1
    return 0


def main(cores, *what):
    found = list(listed(what[1]) if what[0] == "-i" else sources(list(what)))
    # The large ones first: the last one to end keeps nobody waiting.
    paths = [path for _, path in sorted(found, reverse=True)]
    cores = min(int(cores) or len(os.sched_getaffinity(0)), len(paths))
    if cores < 2:
        each(paths)
    elif sum(size for size, _ in found) < FEW:
        side_by_side(paths, cores)
    else:
        by_workers(paths, cores)


if __name__ == "__main__":
    sys.exit(told(main, *sys.argv[1:]))
