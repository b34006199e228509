from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from contextlib import contextmanager

import click
import pytest

from koodrive_async.cli.app import koodrive
from koodrive_async.cli.profiles import config_path

BASH = shutil.which("bash") or ""

# what bash does when somebody presses the tabulator: it calls the function, and offers COMPREPLY
PRESS_TAB = """
eval "$(koodrive completion bash)" || exit 9
complete -p koodrive > /dev/null || exit 8
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_koodrive_completion koodrive "${COMP_WORDS[COMP_CWORD]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def in_path(no_settings, monkeypatch):  # noqa: ARG001 - completing needs none
    if not BASH:
        pytest.skip("there is no bash")
    folder = sysconfig.get_path("scripts")
    monkeypatch.setenv("PATH", os.pathsep.join((folder, os.environ["PATH"])))


@pytest.fixture
def press_tab(in_path):  # noqa: ARG001 - bash has to find the command
    """Complete a command line in a real bash; the last word is the one that is completed."""

    def complete(*words):
        done = subprocess.run(
            [BASH, "--norc", "-c", PRESS_TAB, "bash", "koodrive", *words],
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=40,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return complete


@pytest.fixture
def two_profiles():
    config_path().parent.mkdir()
    config_path().write_text("[profiles.home]\n[profiles.work]\n[profiles.worn]\n")


@pytest.mark.usefixtures("two_profiles")
def test_bash_completes_commands_profiles_and_modules(press_tab):
    assert press_tab("dev") == ["devices"]
    assert press_tab("config", "") == ["explain", "list", "path", "use"]
    assert press_tab("--profile", "wor") == ["work", "worn"]
    assert press_tab("backup", "--profile", "h") == ["home"]
    assert press_tab("config", "use", "") == ["home", "work", "worn"]
    assert press_tab("backup", "--module", "a") == ["album", "address_book"]
    assert "--exclude" in press_tab("backup", "--ex")


@pytest.mark.usefixtures("in_path")
def test_paths_complete_on_a_terminal(tmp_path):
    talking = pytest.importorskip("tests.cli.talking", reason="there are no pseudo-terminals")
    (tmp_path / "photos").mkdir()

    @contextmanager
    def start(*arguments, **streams):
        env = os.environ | {"PS1": "ready> ", "TERM": "dumb", "INPUTRC": os.devnull}
        command = [BASH, "--norc", "--noprofile", "-i", *arguments]
        with subprocess.Popen(command, cwd=tmp_path, env=env, **streams) as process:
            try:
                yield process
            finally:
                process.kill()

    with talking.talk(start) as bash:
        bash.answer("ready> ", 'eval "$(koodrive completion bash)"')
        bash.wait_for("ready> ")
        bash.type("koodrive backup pho\t")
        bash.wait_for("backup photos/")


def test_a_configuration_file_that_is_wrong_does_not_disturb_typing(press_tab):
    config_path().parent.mkdir()
    config_path().write_text("profiles = [")
    assert press_tab("--profile", "") == []


@pytest.mark.parametrize(
    ("shell", "word"),
    [("bash", "complete -o nosort -F"), ("zsh", "compdef"), ("fish", "complete --no-files")],
)
def test_each_shell_has_its_script(invoke, shell, word):
    done = invoke("completion", shell)
    assert done.exit_code == 0, done.output
    assert word in done.stdout
    assert f"{shell}_source" not in done.stdout
    assert f"_KOODRIVE_COMPLETE={shell}_complete" in done.stdout


def test_help_and_completion_know_every_command_without_loading_it(invoke):
    program = "import sys; from koodrive_async.cli.app import koodrive\n"
    program += "koodrive(['--help'], standalone_mode=False)\n"
    program += "sys.exit('aiohttp' in sys.modules or 'koodrive_async.client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=40)
    assert done.returncode == 0
    for name in koodrive.list_commands(click.Context(koodrive)):
        assert invoke(name, "--help").exit_code == 0
        assert f"  {name} " in invoke("--help").stdout


def test_other_shells_are_wrong_usage(invoke):
    assert invoke("completion", "csh").exit_code == 2
