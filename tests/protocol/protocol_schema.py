# SPDX-License-Identifier: Apache-2.0
"""The schemas of docs/schema, for tests that hold a client or the daemon to them."""

import json
import pathlib

import jsonschema

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMA_DIR = ROOT / "docs" / "schema"
NOTIFICATIONS = ("event", "capture.packets")


class Schemas:
    """Every schema file by its name; check() raises jsonschema.ValidationError."""

    def __init__(self):
        self.documents = {
            path.name.removesuffix(".json"): json.loads(path.read_text())
            for path in sorted(SCHEMA_DIR.glob("*.json"))
        }
        self._store = {f"{name}.json": doc for name, doc in self.documents.items()}
        self._validators = {}

    def methods(self):
        return sorted(set(self.documents) - {"common", *NOTIFICATIONS})

    def access(self, method):
        return self.documents[method]["$comment"].removeprefix("access: ")

    def check(self, name, part, value):
        """`part` is "params" or "result"."""
        key = (name, part)
        if key not in self._validators:
            resolver = jsonschema.RefResolver("", {}, store=self._store)
            self._validators[key] = jsonschema.Draft202012Validator(
                {"$ref": f"{name}.json#/$defs/{part}"}, resolver=resolver
            )
        self._validators[key].validate(value)

    def check_error(self, error):
        resolver = jsonschema.RefResolver("", {}, store=self._store)
        jsonschema.Draft202012Validator(
            {"$ref": "common.json#/$defs/error"}, resolver=resolver
        ).validate(error)
