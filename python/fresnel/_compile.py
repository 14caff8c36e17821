"""Compiles methods by running the `fresnel` executable, into a cache of immutable bundles.

A bundle is found by what it was made from: method, parameters, schedules, target, the executable's content, and the tuning
database that the executable takes schedules from. Entries are written aside and published by link(2), so readers see whole
files only and processes need no lock; of two that compile the same bundle the second keeps the first one's file.
"""

import contextlib
import errno
import functools
import hashlib
import json
import os
import pathlib
import shutil
import socket
import stat
import subprocess
import tempfile
import warnings

from ._bundle import DamagedBundle, read_manifest
from ._errors import FresnelError, UnsupportedError

_USAGE, _UNSUPPORTED = 2, 3


def find_executable():
    """Path of `fresnel`: FRESNEL_BIN, then PATH, then beside the runtime, then the checkout's build; None if absent."""
    chosen = os.environ.get("FRESNEL_BIN")
    if chosen:
        return chosen if os.access(chosen, os.X_OK) else None
    found = shutil.which("fresnel")
    if found:
        return found
    package = pathlib.Path(__file__).resolve().parent
    folders = [package / "bin", package.parent.parent / "build" / "bin"]
    if os.environ.get("FRESNEL_RUNTIME"):
        library = pathlib.Path(os.environ["FRESNEL_RUNTIME"]).resolve().parent
        folders = [library, library.parent / "bin"] + folders
    for folder in folders:
        if os.access(folder / "fresnel", os.X_OK):
            return str(folder / "fresnel")
    return None


@functools.lru_cache(maxsize=8)
def _hash_file(path, size, time):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def hash_file(path):
    """SHA-256 of a file's content, read again only when its size or time changed."""
    info = os.stat(path)
    return _hash_file(os.fspath(path), info.st_size, info.st_mtime_ns)


def _user_folder(variable):
    """Where the user's files lie, as `fresnel` sees it: a relative XDG_CACHE_HOME counts as none."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if base.startswith("/"):
        return pathlib.Path(base) / "fresnel"
    if not os.environ.get("HOME"):
        raise FresnelError(f"there is no place for the user's files: HOME is not set; set {variable}")
    return pathlib.Path(os.environ["HOME"]) / ".cache" / "fresnel"


def cache_folder():
    """The folder of the cache, made if it is not there; refused if others could write what we would execute."""
    chosen = os.environ.get("FRESNEL_CACHE_DIR")
    folder = pathlib.Path(chosen) if chosen else _user_folder("FRESNEL_CACHE_DIR")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = os.lstat(folder)
    except OSError as error:
        raise FresnelError(f"the cache folder {folder} cannot be made: {error.strerror}; set FRESNEL_CACHE_DIR to a "
                           f"folder of your own") from error
    if stat.S_ISLNK(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
        raise FresnelError(f"the cache folder {folder} is refused: it is a link, belongs to another user, or others may "
                           f"write to it; run `chmod go-w {folder}` or set FRESNEL_CACHE_DIR to a folder of your own")
    return folder


def text_of(value):
    """A parameter's value as `--set` takes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(str(length) for length in value)
    return str(value)


def _database():
    """The tuning database that `fresnel compile` reads (docs/environment.md); None where it reads none."""
    chosen = os.environ.get("FRESNEL_DB")
    try:
        return pathlib.Path(chosen) if chosen else _user_folder("FRESNEL_DB") / "tuning"
    except FresnelError:
        return None


def _hash_compiler(executable):
    """Hash of the executable and of the tuning database's files: what makes one method another bundle."""
    database, digest = _database(), hashlib.sha256(hash_file(executable).encode())
    try:
        files = [] if database is None else [database] if database.is_file() else sorted(
            path for path in database.rglob("*") if path.is_file())
        for path in files:
            with contextlib.suppress(FileNotFoundError):  # `db prune` removes files.
                digest.update(f"{path.name} {hash_file(path)}\n".encode())
    except OSError as error:
        raise FresnelError(f"the tuning database {database} cannot be read: {error.strerror}; set FRESNEL_DB to one that "
                           f"can") from error
    return digest.hexdigest()[:16]


def _key(method, parameters, grad, target, options):
    content = hash_file(method) if is_file(method) else ""
    parts = {"method": os.path.basename(method), "content": content, "grad": bool(grad), "target": target,
             "parameters": {name: text_of(value) for name, value in parameters.items()}, **options}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def is_file(method):
    """Whether a method is an .mlir file rather than a preset."""
    return method.endswith(".mlir") or "/" in method


def _usable(path):
    """Whether a cache entry is there and whole; a damaged one is put aside, with a warning."""
    if not path.exists():
        return False
    try:
        read_manifest(path)
        return True
    except (DamagedBundle, OSError, ValueError, KeyError) as error:
        warnings.warn(f"fresnel: cache entry put aside and compiled again: {error}", RuntimeWarning, stacklevel=2)
        path.replace(path.with_suffix(f".bad-{os.getpid()}"))
        return False


def _publish(temporary, path):
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass  # Another process was first; what it made is the same.
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        os.replace(temporary, path)  # A file system without links.
        return
    os.unlink(temporary)


def _run_compiler(command, method):
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise FresnelError(f"{command[0]} cannot be run: {error.strerror}; set FRESNEL_BIN to the `fresnel` "
                           f"executable") from error
    if result.returncode == 0:
        return
    try:
        error = json.loads(result.stdout)["error"]
        message = error["message"] + (f"; {error['hint']}" if error.get("hint") else "")
    except (ValueError, KeyError):
        message = (result.stderr or result.stdout).strip() or f"exit code {result.returncode}"
    message = f"fresnel cannot compile method '{method}': {message}"
    kind = {_USAGE: ValueError, _UNSUPPORTED: UnsupportedError}.get(result.returncode, FresnelError)
    raise kind(message)


def _check_written(path, executable):
    """What is published stays: a program that is not the compiler must not leave its output in the cache."""
    try:
        read_manifest(path)
    except (ValueError, KeyError) as error:
        raise FresnelError(f"{executable} ended without an error, but wrote no bundle; set FRESNEL_BIN to the `fresnel` "
                           f"executable") from error


def _compile_into(command, method, path):
    prefix = f".{socket.gethostname()}.{os.getpid()}."
    handle, temporary = tempfile.mkstemp(prefix=prefix, suffix=".tmp", dir=path.parent)
    os.close(handle)
    try:
        _run_compiler(command + ["-o", temporary], method)
        _check_written(temporary, command[0])
        _publish(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def _find_without_compiler(folder, key):
    """The newest entry of any compiler, for machines that have the cache only."""
    entries = sorted(folder.glob(f"*/{key[:2]}/{key}.fkb"), key=lambda path: path.stat().st_mtime, reverse=True)
    return next((entry for entry in entries if _usable(entry)), None)


def check_options(deterministic, workspace_limit, group_queries, **schedules):
    """Refuses schedules that are no text of one line; what the text says is the compiler's to check."""
    for name, flag in (("deterministic", deterministic), ("group_queries", group_queries)):
        if not isinstance(flag, bool):
            raise TypeError(f"{name} must be a bool, but got {type(flag).__name__}")
    if not isinstance(workspace_limit, int) or isinstance(workspace_limit, bool):
        raise TypeError(f"workspace_limit must be a number of bytes, but got {type(workspace_limit).__name__}")
    if workspace_limit < 0:
        raise ValueError(f"workspace_limit is {workspace_limit}, but it is a number of bytes, or 0 for no limit")
    for name, text in schedules.items():
        if not isinstance(text, str):
            raise TypeError(f"{name} must be a string FIELD=VALUE:..., but got {type(text).__name__}")
        if "\n" in text or "|" in text:
            raise ValueError(f"{name} is {text!r}, but a schedule has one line, without |")


def _options(grad, deterministic, schedule, gradient_schedule, workspace_limit, group_queries):
    """The options that are not the defaults, as part of the key: entries made without them keep their names."""
    check_options(deterministic, workspace_limit, group_queries, schedule=schedule, gradient_schedule=gradient_schedule)
    if deterministic and "ordered=false" in gradient_schedule.split(":"):
        raise ValueError(f"gradient_schedule is {gradient_schedule!r}, which adds in any order, but deterministic is True; "
                         f"pass deterministic=False")
    options = {"schedule": schedule, "gradient_schedule": gradient_schedule, "unordered": bool(grad and not deterministic),
               "workspace_limit": workspace_limit, "alone": not group_queries}
    return {name: value for name, value in options.items() if value}


def _gradient_schedules(options):
    """What --gradient-schedule is tried with, in turn. Adding in any order is allowed, not asked for, unless the caller's
    own schedule says something about the order."""
    chosen = options.get("gradient_schedule", "")
    fields = [field for field in chosen.split(":") if field]
    if not options.get("unordered") or any(field.startswith("ordered=") for field in fields):
        return [chosen]
    return [":".join(fields + ["ordered=false"]), chosen]


def _command(executable, method, grad, target, parameters, options):
    command = [executable, "compile", method, "--target", target, "--no-ptxas", "--json"] + ["--grad"] * bool(grad)
    for name, value in sorted(parameters.items()):
        command += ["--set", f"{name}={text_of(value)}"]
    for name, option in (("schedule", "--schedule"), ("workspace_limit", "--workspace-limit")):
        command += [option, str(options[name])] if name in options else []
    return command + ["--no-grouped-queries"] * ("alone" in options)


def _compile_with(command, gradient_schedules, method, path):
    """Compiles with the first of the gradient's schedules that the method's kernels have."""
    for number, schedule in enumerate(gradient_schedules, 1):
        try:
            return _compile_into(command + (["--gradient-schedule", schedule] if schedule else []), method, path)
        except UnsupportedError:
            if number == len(gradient_schedules):
                raise


def compile_bundle(method, *, grad=True, target="sm_90a", deterministic=True, schedule="", gradient_schedule="",
                   workspace_limit=0, group_queries=True, **parameters):
    """Path of the bundle of `method` (a preset, or an .mlir file) with its parameters, compiled if it is not cached.

    With `grad` the bundle has a backward plan. `schedule` and `gradient_schedule` are those of `fresnel compile`;
    `deterministic=False` lets gradients be added in any order where there are kernels for it (docs/training.md). Either
    takes the place of the tuning database. `workspace_limit` is that of `--workspace-limit`, in bytes; 0 for none.
    `group_queries=False` is `--no-grouped-queries`. Parameters are the preset's, as for `fresnel compile --set`.
    """
    if not isinstance(method, (str, os.PathLike)):
        raise TypeError(f"method must be a preset's name or a path, but got {type(method).__name__}")
    method = os.fspath(method)
    if not isinstance(grad, bool):
        raise TypeError(f"grad must be a bool, but got {type(grad).__name__}")
    if not isinstance(target, str):
        raise TypeError(f"target must be a name such as sm_90a, but got {type(target).__name__}")
    if method.startswith("-"):
        raise ValueError(f"method is {method!r}, but a preset's name or the path of an .mlir file is expected")
    if method.endswith(".fkb"):
        raise ValueError(f"method: {method} is a bundle, which is compiled already; fresnel.load takes it")
    if is_file(method) and not os.path.isfile(method):
        raise ValueError(f"method: there is no file {method}")
    if is_file(method) and parameters:
        raise ValueError(f"method: parameters {sorted(parameters)} apply to presets, but {method} is a file; edit it")
    options = _options(grad, deterministic, schedule, gradient_schedule, workspace_limit, group_queries)
    key, folder, executable = _key(method, parameters, grad, target, options), cache_folder() / "v1", find_executable()
    if executable is None:
        found = _find_without_compiler(folder, key)
        if found:
            return found
        raise FresnelError(f"method '{method}' is not in the cache ({folder}) and the `fresnel` executable that would "
                           f"compile it was not found: set FRESNEL_BIN to its path or put it into PATH"
                           + (f" (FRESNEL_BIN is {os.environ['FRESNEL_BIN']})" if os.environ.get("FRESNEL_BIN") else ""))
    path = folder / _hash_compiler(executable) / key[:2] / f"{key}.fkb"
    if _usable(path):
        return path
    command = _command(executable, method, grad, target, parameters, options)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _compile_with(command, _gradient_schedules(options), method, path)
    except OSError as error:
        raise FresnelError(f"the cache entry {path} cannot be written: {error.strerror}; make room, or set FRESNEL_CACHE_DIR "
                           f"to a folder that can be written") from error
    return path
