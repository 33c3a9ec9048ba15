"""Starts Fluent Bit in the place of the one that AWS's image has. Run as a script: standard library alone.

    fluent_bit_start.py PROGRAM AUTHORITY FOLDER ARGUMENT…

PROGRAM runs with the ARGUMENTs that the image's program was given, in FOLDER. Two things are not as given. Plugins
(`-e FILE`) that only the image has are left out. And a process has no trust store of its own, so copies of the
configuration's files are used in which each output to AWS trusts AUTHORITY (`tls.ca_file`), unless it has a `tls.…`
entry of its own; the copies are in FOLDER. YAML is used as it is.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

AWS_OUTPUTS = frozenset({"cloudwatch_logs", "s3", "kinesis_firehose", "kinesis_streams", "opensearch", "es"})


def main(program: str, authority: str, folder: str, *arguments: str) -> None:
    os.chdir(folder)
    Path("used").mkdir(exist_ok=True)
    os.execv(program, [program, *_arguments(arguments, authority)])  # noqa: S606 - no shell is wanted


def _arguments(given: Sequence[str], authority: str) -> Iterator[str]:
    words = iter(given)
    for word in words:
        if word in {"-e", "--plugin"}:
            plugin = next(words, "")
            if Path(plugin).exists():
                yield from (word, plugin)
        elif word in {"-c", "--config"}:
            yield from (word, _copy(next(words, ""), authority, Path.cwd()))
        else:
            yield word


def _copy(path: str, authority: str, beside: Path) -> str:
    """A copy of a file and of what it includes, for Fluent Bit to read; a file that is not there stays as it is named.

    Includes are relative to the file that has them.
    """
    source = beside / path
    if source.suffix in {".yaml", ".yml"} or not source.is_file():
        return path
    lines = []
    for line in source.read_text().splitlines():
        included = re.match(r"\s*@include\s+(\S.*?)\s*$", line, re.IGNORECASE)
        if included is None:
            lines.append(line)
            continue
        found = sorted(glob.glob(str(source.parent / included[1]))) or [included[1]]  # noqa: PTH207 - it may be absolute
        lines += [f"@INCLUDE {_copy(each, authority, source.parent)}" for each in found]
    copy = Path("used", f"{len(os.listdir('used'))}-{source.name}")  # noqa: PTH208 - a count
    copy.touch()
    copy.write_text("\n".join(trusting(lines, authority)) + "\n")
    return str(copy.absolute())


def trusting(lines: Sequence[str], authority: str) -> Iterator[str]:
    """The lines of a file, in which each output to AWS has one more."""
    section: list[str] = []
    for line in (*lines, "["):
        if line.startswith("["):
            yield from _with_trust(section, authority)
            section = []
        section.append(line)


def _with_trust(section: Sequence[str], authority: str) -> Iterator[str]:
    entries = {
        found[2].lower(): (number, found)
        for number, line in enumerate(section)
        if (found := re.match(r"(\s+)([^\s#]\S*)\s+(\S+)", line))
    }
    place, name = entries.get("name", (-1, None))
    is_output = bool(section) and section[0].strip().upper() == "[OUTPUT]"
    trusts = any(entry.startswith("tls.") for entry in entries)
    for number, line in enumerate(section):
        yield line
        if is_output and number == place and name and name[3].lower() in AWS_OUTPUTS and not trusts:
            yield f"{name[1]}tls.ca_file {authority}"


if __name__ == "__main__":
    main(*sys.argv[1:])
