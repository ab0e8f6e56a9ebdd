# Reads documents of HOCON by pyhocon, as clearml-agent does: each file is parsed and
# resolved by itself, and laid over those before it. Runs as a child with limits.
import json
import logging
import math
import os
import re
import resource
import sys

resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
logging.disable(logging.CRITICAL)
sys.setrecursionlimit(2000)

ask = json.load(sys.stdin)
sys.path[:0] = ask["libraries"]

import pyparsing  # noqa: E402
from pyhocon import ConfigFactory, config_parser  # noqa: E402
from pyhocon.config_tree import ConfigTree, NoneValue  # noqa: E402
from pyhocon.exceptions import ConfigException, ConfigSubstitutionException  # noqa: E402


class Refused(Exception):
    pass


def refuse(what):
    def do(*_args, **_kwargs):
        raise Refused("it includes " + what + ", which is not read: put the text into the file")

    return do


# Who reads a configuration does not fetch things, nor look into packages of this program.
config_parser.urlopen = refuse("a URL")
config_parser.find_package_dirs = refuse("a package")

reading = []
parse_file = ConfigFactory.parse_file.__func__


def parse_named(cls, filename, *args, **kwargs):
    reading.append(str(filename))
    try:
        found = parse_file(cls, filename, *args, **kwargs)
    except RecursionError:
        raise Refused("it is nested too deep, or includes itself")
    reading.pop()
    return found


ConfigFactory.parse_file = classmethod(parse_named)


def plain(value):
    if isinstance(value, dict):
        return {str(k).strip('"'): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if value is None or isinstance(value, NoneValue):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (str, int, float, bool)):
        return value
    if hasattr(value, "total_seconds"):
        return value.total_seconds()
    return str(value)


def read(part):
    if "text" in part:
        return ConfigFactory.parse_string(part["text"])
    return ConfigFactory.parse_file(part["file"])


def document(parts):
    whole = ConfigTree()
    for part in parts:
        tree = read(part)
        if not isinstance(tree, ConfigTree):
            raise Refused("it is a list, not a mapping")
        if part.get("under"):
            outer = ConfigTree()
            outer.put(part["under"], tree)
            tree = outer
        whole = ConfigTree.merge_configs(whole, tree, copy_trees=True)
    return plain(whole.as_plain_ordered_dict())


# What stands in a file may be a secret: messages name places and variables alone.
def fault(error, last):
    line = column = 0
    text = "it is not HOCON: a bracket, a quote or a comma before this place is not closed, or not allowed"
    if isinstance(error, Refused):
        text = str(error)
    elif isinstance(error, pyparsing.ParseBaseException):
        line, column = error.lineno, error.column
    elif isinstance(error, ConfigSubstitutionException):
        text = "a substitution can't be resolved"
        if names := re.findall(r"\$\{\??([A-Za-z0-9_.-]{1,100})\}", str(error)):
            text = "there is no value for " + ", ".join("${%s}" % n for n in names)
    elif isinstance(error, ConfigException):
        text = "values of different types are put together, or a substitution is of itself"
    elif isinstance(error, UnicodeDecodeError):
        text = "it is no text in UTF-8"
    elif isinstance(error, OSError):
        text = "it can't be read: " + (error.strerror or "")
    elif isinstance(error, MemoryError):
        text = "it is too large"
    elif isinstance(error, RecursionError):
        text = "it is nested too deep"
    if not line and (found := re.search(r"\(line: ?(\d+), ?col: ?(\d+)\)", str(error))):
        line, column = int(found[1]), int(found[2])
    return {"file": reading[-1] if reading else last, "line": line, "column": column, "fault": text}


answers = []
for parts in ask["documents"]:
    reading.clear()
    try:
        answers.append({"value": document(parts)})
    except Exception as error:  # noqa: BLE001
        answers.append({"error": fault(error, parts[-1].get("file", ""))})
json.dump(answers, sys.stdout)
