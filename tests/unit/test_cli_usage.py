"""The command line as such: help, version, wrong words; nothing here needs a server."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from microbatch.console.exits import ExitCode
from microbatch.console.main import COMMANDS, main

if TYPE_CHECKING:
    from pathlib import Path

OURS = [name for name in COMMANDS if name != "demo"]


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\w", shown.out, re.MULTILINE)


def test_help_names_every_exit_code_that_a_user_can_act_on(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    shown = capsys.readouterr().out
    for code in set(ExitCode) - {ExitCode.INTERRUPTED, ExitCode.BROKEN_PIPE}:
        assert re.search(rf"\b{int(code)} ", shown), code


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_the_common_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    for option in ("--redis-url", "--connect-timeout-s", "--json"):
        assert len(re.findall(rf"^  {option} ", shown, re.MULTILINE)) == 1


@pytest.mark.parametrize("name", OURS)
def test_the_help_of_a_command_has_an_example_and_its_exit_codes_in_80_columns(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    main([name, "--help"])
    shown = capsys.readouterr().out
    assert f"$ microbatch {name}" in shown
    assert "exit codes: 0 " in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_version_is_the_distribution_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"microbatch {version('microbatch')}\n"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from microbatch.console.main import main; main(['--help'])\n"
        "for name in sys.argv[1:]: main([name, '--help'])\n"
        "print(sorted({'redis', 'pydantic', 'asyncio', 'rich', 'msgpack'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *OURS], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_probe_that_is_told_where_to_ask_imports_nothing_heavy() -> None:
    code = (
        "import sys; from microbatch.console.main import main\n"
        "main(['health', '--monitoring-address', '1', '--timeout-s', '1'])\n"
        "print(sorted({'redis', 'pydantic', 'asyncio', 'msgpack'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "nobody answers at 127.0.0.1:1" in done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("package", ["microbatch.common", "microbatch.worker"])
def test_what_is_imported_on_demand_is_there_and_nothing_else(package: str) -> None:
    module = import_module(package)
    assert all(getattr(module, name) is not None for name in module.__all__)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nonsense'"):
        module.nonsense  # noqa: B018 - asking is what is tested


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["wroker"], "no command 'wroker'; did you mean worker?"),
        (["\x1b[31m"], "no command '\\x1b[31m'; see microbatch --help"),
        (["--json", "status"], "--json has to come after the command"),
        (["submit"], "the following arguments are required: QUEUE"),
        (["submit", "q"], "give either PAYLOAD_JSON or --file"),
        (["submit", "q", "1", "--file", "x"], "give either PAYLOAD_JSON or --file"),
        (["submit", "q", "1", "--output", "x"], "--output goes with --file"),
        (["submit", "q", "--file", "x", "--job-id", "a"], "--job-id is for a single job"),
        (["submit", "q/r", "1"], "a queue name has 1 to 128 of"),
        (["submit", "q", "1", "--job-id", "q/a"], "a job id has 1 to 128 of"),
        (["submit", "q", "1", "--timeout-s", "-1"], "no number of seconds"),
        (["submit", "q", "1", "--timeout-s", "nan"], "no number of seconds"),
        (["submit", "q", "hello"], "a string needs quotes of its own"),
        (["submit", "q", "{"], "PAYLOAD_JSON is not JSON"),
        (["submit", "q", "1", "--wiat"], "unrecognized arguments: --wiat"),
        (["submit", "q", "--file", "does/not/exist"], "cannot read does/not/exist: No such file"),
        (["submit", "q", "1", "--connect-timeout-s", "x"], "--connect-timeout-s is 'x', it must be a number"),
        (["submit", "q", "1", "--redis-url", "http://u:secret@h"], "--redis-url is 'http://u:***@h'"),
        (["result", "nonsense"], "a full job id is `queue/local`"),
        (["result", "q/a b"], "a job id has 1 to 128 of"),
        (["worker"], "required: MODULE:ATTR"),
        (
            ["worker", "tasks:x", "--max-batch-size", "0"],
            "--max-batch-size is '0', it must be a whole number",
        ),
        (["worker", "tasks:x", "--log-level", "loud"], "invalid choice: 'loud'"),
        (["server", "--port", "0"], "'0' is no port"),
        (["config", "--connect-timeout-s", "-1"], "--connect-timeout-s is '-1'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(
    words: list[str],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    command = f"microbatch {words[0]}" if words[0] in COMMANDS else "microbatch"
    assert line.startswith(f"{command}: ")
    assert complaint in line


def test_no_words_at_all_show_the_help_and_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr()
    assert shown.out.startswith("usage: microbatch COMMAND")
    assert shown.err == "microbatch: say which command\n"


def test_a_bug_of_ours_is_one_line_and_exit_70(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> int:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("microbatch.console.config_command.run", broken)
    assert main(["config"]) == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert "RuntimeError: two\\nlines" in line
    assert main(["config", "--traceback"]) == 70
    assert "in broken" in capsys.readouterr().err


def test_ctrl_c_in_a_command_is_exit_130_without_a_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("microbatch.console.config_command.run", interrupted)
    assert main(["config"]) == 130
    assert capsys.readouterr() == ("", "")
