"""Generates needletail/v1 from the project's Proto/ folder, which lies two folders up, or beside this file in a source distribution."""

import pathlib
import shutil

import google.protobuf
import grpc_tools
from grpc_tools import protoc
from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = pathlib.Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "Proto"
PROTOS = SHARED if SHARED.is_dir() else HERE / "Proto"


def generate(target):
    files = sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / "needletail" / "v1").glob("*.proto"))
    include = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    code = protoc.main(["protoc", f"-I{PROTOS}", f"-I{include}", f"--python_out={target}", f"--pyi_out={target}", f"--grpc_python_out={target}", *files])
    if code != 0:
        raise SystemExit(f"the messages in {PROTOS} could not be generated")
    (target / "needletail" / "v1" / "__init__.py").write_text('"""The messages and stubs of the cluster\'s public API, generated from Proto/."""\n')


class BuildWithMessages(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:
            generate(pathlib.Path(self.build_lib))

    def find_package_modules(self, package, package_dir):
        return [] if package == "needletail.v1" else super().find_package_modules(package, package_dir)

    def check_package(self, package, package_dir):
        return None if package == "needletail.v1" else super().check_package(package, package_dir)


class SourcesWithProtos(sdist):
    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        shutil.copytree(PROTOS / "needletail", pathlib.Path(base_dir) / "Proto" / "needletail")


if __name__ == "__main__":
    (HERE / "needletail" / "v1").mkdir(exist_ok=True)
    setup(
        cmdclass={"build_py": BuildWithMessages, "sdist": SourcesWithProtos},
        # Generated code asks for the runtime that it was generated for, or a newer one.
        install_requires=["grpcio>=1.60", f"protobuf>={google.protobuf.__version__}", "numpy>=1.24"],
    )
