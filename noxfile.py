"""All checks of the project, each in an environment of its own: `nox` runs the quick ones.

`nox --list` names them, `nox -s lint` runs one, and what stands behind `--` goes to the tool:
`nox -s "tests(3.13-django6.1)" -- tests/mapping`. `.ci/run` runs all that has to pass before a
commit is merged, in one environment and with all servers.
"""

import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "imports", "types", "tests"]

#: The Pythons of each Django: of those that Django supports, those that this package supports.
PYTHONS = {
    "5.2": ("3.11", "3.12", "3.13"),
    "6.0": ("3.12", "3.13"),
    "6.1": ("3.12", "3.13"),
}
PAIRS = [(python, django) for django, pythons in PYTHONS.items() for python in pythons]

#: The tools run with the oldest Python, whose syntax and whose standard library all others have.
OLDEST, NEWEST = "3.11", "3.13"

DEVELOPMENT = ("-r", "requirements-dev.txt")


def install_tests(session: nox.Session, django: str) -> None:
    session.install("-r", "requirements.txt", f"Django~={django}.0")


@nox.session
@nox.parametrize(
    ("python", "django"), PAIRS, ids=[f"{python}-django{django}" for python, django in PAIRS]
)
def tests(session: nox.Session, django: str) -> None:
    """Run the quick tests, with every pair of Python and Django that is supported."""
    install_tests(session, django)
    session.run("pytest", "-n", "4", "--dist", "loadfile", *session.posargs)


@nox.session(python=OLDEST)
def deep(session: nox.Session) -> None:
    """Run the long tests: races, kills, millions, every schedule, the distributions."""
    session.install(*DEVELOPMENT)
    marks = ("-m", "deep or hypothesis", "--hypothesis-profile=deep")
    session.run("pytest", "-n", "3", "--dist", "worksteal", *marks, *session.posargs)


@nox.session(python=OLDEST)
def django_suites(session: nox.Session) -> None:
    """Run Django's own tests of caches on this one, and those of its ORM on kept results."""
    session.install(*DEVELOPMENT)
    files = ("tests/cache/test_django_suite.py", "tests/modelcache/test_django_suite.py")
    session.run("pytest", "-m", "deep or not deep", *files, *session.posargs)


@nox.session(python=OLDEST, venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """Run the quick tests with the oldest releases that the requirements allow."""
    session.install("--resolution", "lowest-direct", "-r", "requirements.txt")
    session.run("pytest", "-n", "4", "--dist", "loadfile", *session.posargs)


@nox.session(python=NEWEST)
@nox.parametrize("release", ["5.4.0", "6.0.0", "7.0.0"])
def django_redis(session: nox.Session, release: str) -> None:
    """Run the tests of borrowed pools and of values that django-redis wrote, with each release."""
    install_tests(session, "5.2")
    session.install(f"django-redis=={release}")
    borrowing = (
        "tests/cache/test_foreign.py",
        "tests/connections/test_registry.py",
        "tests/forks/test_pools.py",
        "tests/near/test_borrowed.py",
        "tests/pools/test_sync_pools.py",
        "tests/test_conf.py",
        "tests/test_testing.py",
    )
    session.run("pytest", *(session.posargs or borrowing))


@nox.session(python=OLDEST)
def lint(session: nox.Session) -> None:
    """Look for mistakes and for code that isn't formatted."""
    session.install("ruff==0.17.6")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=OLDEST)
def types(session: nox.Session) -> None:
    """Check the types, strictly."""
    session.install(*DEVELOPMENT)
    session.run("mypy", *session.posargs)


@nox.session(python=OLDEST)
def imports(session: nox.Session) -> None:
    """Check which part of the package imports which, and that no migration is missing."""
    session.install(*DEVELOPMENT)
    session.run("lint-imports")
    session.run("python", "manage.py", "makemigrations", "--check", "--dry-run")


@nox.session(python=OLDEST)
def docs(session: nox.Session) -> None:
    """Build the site of the documents; a warning is an error."""
    session.install("-r", "requirements.txt", "-r", "docs/requirements.txt")
    session.run("python", "-m", "sphinx", "-W", "-n", "-b", "html", "docs", "docs/_build")


@nox.session(python=OLDEST)
def package(session: nox.Session) -> None:
    """Build wheel and source archive into dist/, and try each as a project that installs it."""
    session.install(*DEVELOPMENT)
    dist = Path("dist")
    for old in [*dist.glob("*.whl"), *dist.glob("*.tar.gz")]:
        old.unlink()
    session.run("python", "-m", "build", "--outdir", str(dist))
    built = [str(one) for one in sorted([*dist.glob("*.whl"), *dist.glob("*.tar.gz")])]
    session.run("twine", "check", "--strict", *built)
    environment = {"REDISDICT_DIST": os.fspath(dist.resolve())}
    session.run("pytest", "-m", "deep or not deep", "tests/distribution", env=environment)
