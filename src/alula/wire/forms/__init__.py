"""Launch forms: literals and their types as JSON Schema and JSON values, and back.

`schemas.py` and `types.py` turn types into schemas and back, `shown.py` and `read.py` literals into JSON values and
back, `packed.py` does the insides of dataclasses, `launch.py` puts whole forms together.

Protobuf's `Struct` is a map: it keeps no order of keys. The order of a form's fields is therefore told by its lists,
``ui:order`` (all fields) and ``required``; literals always come in the order of the interface.
"""
