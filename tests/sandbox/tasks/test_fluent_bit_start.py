"""What a Fluent Bit that runs as a process reads in place of the files that it is given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from inference_sandbox.tasks import fluent_bit_start
from inference_sandbox.tasks.fluent_bit_start import trusting


def test_an_output_to_aws_trusts_the_authority_and_nothing_else_changes() -> None:
    text = """\
@SET region=x
[INPUT]
    Name forward
[OUTPUT]
  Name  s3
  Match *
# a comment

@INCLUDE other.conf
[output]
    match *
    name CloudWatch_Logs
[OUTPUT]
    Name s3
    tls.verify Off
[OUTPUT]
    Name stdout
[FILTER]
    Name s3
""".splitlines()

    amended = list(trusting(text, "/ca.pem"))

    added = [(number, line) for number, line in enumerate(amended) if "tls.ca_file" in line]
    assert added == [(5, "  tls.ca_file /ca.pem"), (13, "    tls.ca_file /ca.pem")]
    assert [line for line in amended if "tls.ca_file" not in line] == text


def test_includes_are_followed_plugins_of_the_image_left_out_and_the_rest_passed_on(tmp_path: Path) -> None:
    given, folder = tmp_path / "given", tmp_path / "folder"
    given.mkdir()
    folder.mkdir()
    (given / "main.conf").write_text("@INCLUDE more/*.conf\n@INCLUDE absent.conf\n")
    (given / "more").mkdir()
    (given / "more" / "one.conf").write_text("[OUTPUT]\n    Name s3\n")
    show = tmp_path / "show"
    show.write_text(f"#!{sys.executable}\nimport json, os, sys\nprint(json.dumps([os.getcwd(), *sys.argv[1:]]))\n")
    show.chmod(0o755)

    words = ["-e", "firehose.so", "-c", str(given / "main.conf"), "-q"]
    command = [sys.executable, "-I", "-S", fluent_bit_start.__file__, str(show), "/ca.pem", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    cwd, option, main, quiet = json.loads(done.stdout)
    assert (Path(cwd), option, quiet) == (folder, "-c", "-q")
    one, absent = Path(main).read_text().splitlines()
    assert Path(one.removeprefix("@INCLUDE ")).read_text() == "[OUTPUT]\n    Name s3\n    tls.ca_file /ca.pem\n"
    assert absent == "@INCLUDE absent.conf"
