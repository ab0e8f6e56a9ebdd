"""Python imports this by itself when the folder is on PYTHONPATH. It holds every
reply against the SDK's own schema of it; the SDK by itself only looks at the
types of what it uses."""
import importlib.abc
import importlib.util
import sys

REPLIES = "clearml.backend_api.session.callresult"


class Hook(importlib.abc.MetaPathFinder):
    """Waits for the SDK, so that programs without it start as they would."""

    def find_spec(self, name, path, target=None):
        if name != REPLIES:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            check(module.CallResult)

        spec.loader.exec_module = exec_module
        return spec


def known(schema, top):
    """A schema without the references to what its SDK has left out."""
    if isinstance(schema, list):
        return [known(s, top) for s in schema]
    if not isinstance(schema, dict):
        return schema
    name = schema.get("$ref")
    if isinstance(name, str) and name.split("/")[-1] not in top.get("definitions", {}):
        return {}
    return {k: known(v, top) for k, v in schema.items()}


def check(results):
    import jsonschema

    from_result = results.from_result.__func__
    validators = {}  # by class of reply

    def validator(kind):
        if kind not in validators:
            validators[kind] = jsonschema.Draft4Validator(known(kind._schema, kind._schema))
        return validators[kind]

    def checked(cls, res, *args, **kwargs):
        result = from_result(cls, res, *args, **kwargs)
        if result.ok() and result.response is not None:
            try:
                validator(type(result.response)).validate(result.response_data)
            except Exception as e:
                print("ERROR invalid reply of", result.meta.endpoint.name, repr(str(e)[:1000]), flush=True)
        return result

    results.from_result = classmethod(checked)


sys.meta_path.insert(0, Hook())
