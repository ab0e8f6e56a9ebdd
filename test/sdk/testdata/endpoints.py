"""Prints the endpoints that the SDK can send, from its source."""

import importlib.util
import pathlib
import re

package = pathlib.Path(importlib.util.find_spec("clearml").submodule_search_locations[0])
found = set()
for path in package.rglob("*.py"):
    text = path.read_text()
    if path.parts[-3] == "services":  # the generated classes
        found |= {f"{path.stem}.{action}" for action in re.findall(r'^    _action = "(\w+)"', text, re.M)}
    found |= {f"{service}.{action}" for service, action in re.findall(r'service="(\w+)",\s*action="(\w+)"', text)}
    found |= {f"{service}.{action}" for service, action in re.findall(r'send_request\(\s*"(\w+)",\s*"(\w+)"', text)}
print("\n".join(sorted(found)))
