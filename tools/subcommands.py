"""A group of commands whose members are the modules of a package, imported when they are needed."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Any

import click


class Subcommands(click.Group):
    """The module `some_thing` of `package` has the command `some_thing`, which is called some-thing."""

    package: ModuleType

    def __init__(self, *arguments: Any, package: ModuleType, **settings: Any):
        super().__init__(*arguments, **settings)
        self.package = package

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [module.name.replace("_", "-") for module in pkgutil.iter_modules(self.package.__path__)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        name = cmd_name.replace("-", "_")
        return getattr(importlib.import_module(f"{self.package.__name__}.{name}"), name)
