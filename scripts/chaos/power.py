"""What a disk holds after a loss of power: all that was synced, and any part of the rest.

A model of the strictest legal file system: the data of a file is safe when the file was synced, a
name when its directory was. What is not may be there, be missing or, for data, be cut short.
After "All File Systems Are Not Created Equal" (Pillai et al., OSDI 2014) and CrashMonkey
(Mohan et al., OSDI 2018).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Node:
    """A file (with data) or a directory (with names); ``safe`` is what was synced of it."""

    data: bytes = b""
    safe: bytes = b""
    names: dict[str, Node] | None = None
    unsafe: list[tuple[str, Node | None]] = field(default_factory=list)

    def sync(self) -> None:
        self.safe = self.data
        for name, node in self.unsafe:
            self._set(name, node)
        self.unsafe.clear()

    def _set(self, name: str, node: Node | None) -> None:
        assert self.names is not None
        self.names.pop(name, None) if node is None else self.names.__setitem__(name, node)

    def now(self) -> dict[str, Node]:
        """The names as the living system sees them."""
        assert self.names is not None
        current = Node(names=dict(self.names))
        for name, node in self.unsafe:
            current._set(name, node)
        assert current.names is not None
        return current.names


class Disk:
    """Follows the calls of a writer below ``root``; everything there at first is safe."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tree = _read(root)

    def hook(self, _: int, name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Do the call and note what it changes; see ``system_calls.Hook``."""
        place = _place(args[0])
        result = real(*args)
        if place.is_relative_to(self._root):
            self._follow(name, place, args, result)
        return result

    def _follow(self, name: str, place: Path, args: tuple[Any, ...], result: Any) -> None:
        match name:
            case "mkdir":
                self._name(place, Node(names={}))
            case "open" if args[1] & os.O_CREAT and self._find(place) is None:
                self._name(place, Node())
            case "write":
                self._must(place).data += bytes(args[1])[:result]
            case "fsync":
                self._must(place).sync()
            case "link":
                self._name(Path(args[1]), self._must(place))
            case "unlink":
                self._name(place, None)
            case "replace" | "rename":
                self._name(Path(args[1]), self._must(place))
                self._name(place, None)

    def cut(self, target: Path, chance: random.Random) -> None:
        """Write to ``target`` what the disk may hold if the power fails now."""
        _write(self._tree, target, chance)

    def _find(self, path: Path) -> Node | None:
        node: Node | None = self._tree
        for part in path.relative_to(self._root).parts:
            node = None if node is None else node.now().get(part)
        return node

    def _must(self, path: Path) -> Node:
        node = self._find(path)
        assert node is not None, path
        return node

    def _name(self, path: Path, node: Node | None) -> None:
        self._must(path.parent).unsafe.append((path.name, node))


def _place(target: Any) -> Path:
    """The file that a path or a descriptor means."""
    if not isinstance(target, int):
        return Path(target)
    try:
        return Path(f"/proc/self/fd/{target}").readlink()
    except OSError:
        return Path("/")  # a pipe, or a file that has no name any more


def _read(path: Path) -> Node:
    if path.is_dir():
        return Node(names={child.name: _read(child) for child in path.iterdir()})
    data = path.read_bytes()
    return Node(data, data)


def _write(node: Node, target: Path, chance: random.Random) -> None:
    if node.names is None:
        target.write_bytes(_rest(node, chance))
        return
    after = Node(names=dict(node.names))
    share = chance.choice((0.0, 0.5, 1.0))
    for name, child in node.unsafe:
        if chance.random() < share:
            after._set(name, child)
    target.mkdir()
    assert after.names is not None
    for name, child in after.names.items():
        _write(child, target / name, chance)


def _rest(node: Node, chance: random.Random) -> bytes:
    if node.data == node.safe:
        return node.data
    return chance.choice((node.safe, node.data, node.data[: chance.randrange(len(node.data) + 1)]))
