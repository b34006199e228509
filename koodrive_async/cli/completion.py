"""``koodrive completion``: what a shell needs to complete command lines."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_KOODRIVE_COMPLETE"


_HELP = """Print the script that completes commands, options, profiles and paths in SHELL.

\b
bash  eval "$(koodrive completion bash)"      in ~/.bashrc
zsh   eval "$(koodrive completion zsh)"       in ~/.zshrc, after compinit
fish  koodrive completion fish | source       in ~/.config/fish/config.fish
"""


@click.command(help=_HELP)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options, profiles and paths in SHELL."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has all of these
    click.echo(kind(ctx.find_root().command, {}, "koodrive", _VARIABLE).source())
