"""Where the packages of the one distribution lie. Everything else about it is in pyproject.toml.

``varloop_functions`` is a namespace package: each ``functions/<step>/function`` is installed under it, and is
at the same time the package ``function`` that Knative's func runtime imports. One copy of the code serves both.
"""

from setuptools import find_packages, setup

STEPS = ("encode", "execute", "postprocess", "optimize")
FOLDERS = {"varloop": "sdk/varloop", "varloop.docs": "docs"} | {
    f"varloop_functions.{step}": f"functions/{step}/function" for step in STEPS
}

setup(
    package_dir=FOLDERS,
    packages=[
        package
        for name, folder in FOLDERS.items()
        for package in (name, *(f"{name}.{inner}" for inner in find_packages(folder)))
    ],
)
