"""Shell blocks taken apart into commands, without running them."""

import re
import shlex
from collections.abc import Iterator

SHELLS = {"sh", "bash", "shell", "console"}
_HEREDOC = re.compile(r"<<-?\s*'?\"?(\w+)'?\"?")
_BETWEEN = {"|", "||", "&&", ";", "&"}
_INTO = {">", ">>", "<", "<<", ">&", "<&"}
_SUBSTITUTED = re.compile(r"\$\(([^()]*)\)")


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of a script, of those in $(...) as well."""
    for line in _lines(text):
        for inner in _SUBSTITUTED.findall(line):
            yield from commands(inner)
        yield from _split(_SUBSTITUTED.sub("SUBSTITUTED", line))


def _lines(text: str) -> Iterator[str]:
    """Yield whole lines: continued ones are joined, what is only fed in is left out."""
    waiting = iter(text.replace("\\\n", " ").splitlines())
    for line in waiting:
        yield line
        if found := _HEREDOC.search(line):
            for fed in waiting:
                if fed.strip() == found[1]:
                    break


def _split(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.wordchars += "{}:@%,+=-~./*[]$!"
    words: list[str] = []
    skip = False
    for word in lexer:
        if skip:
            skip = False
        elif word in _BETWEEN:
            yield from _command(words)
            words = []
        elif word in _INTO:
            skip = True
        else:
            words.append(word)
    yield from _command(words)


def _command(words: list[str]) -> Iterator[list[str]]:
    """Leave out what is set for a command, and who it is run as."""
    while words and (words[0] == "sudo" or re.match(r"[A-Z_]+=", words[0])):
        words = words[1:]
    if words:
        yield words
