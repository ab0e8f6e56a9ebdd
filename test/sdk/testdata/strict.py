"""Holds every reply against the SDK's own schema of it; the SDK by itself only
looks at the types of what it uses."""
import jsonschema
from clearml.backend_api.session.callresult import CallResult

_from_result = CallResult.from_result.__func__


def _checked(cls, res, *args, **kwargs):
    result = _from_result(cls, res, *args, **kwargs)
    if result.ok() and result.response is not None:
        try:
            jsonschema.validate(result.response_data, result.response._schema)
        except Exception as e:
            print("ERROR invalid reply of", result.meta.endpoint.name, repr(str(e)[:1000]))
    return result


CallResult.from_result = classmethod(_checked)
