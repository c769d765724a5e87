"""Writes Docs/reference.md, the services and messages of the public API, from the comments in Proto/. `make reference`; with --check, says whether it is
up to date."""

import pathlib
import re
import sys
import tempfile

import grpc_tools
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "Docs" / "reference.md"
FILES = sorted((ROOT / "Proto" / "needletail" / "v1").glob("*.proto"))
SCALARS = {number: name.removeprefix("TYPE_").lower() for name, number in descriptor_pb2.FieldDescriptorProto.Type.items()}

HEAD = """# API reference

The services and messages of `Proto/needletail/v1`, as their comments have them; written by `make reference`. How they are used is in the [API guide](api.md), what
a caller needs for them in [access](access.md). Each unary method and each stream is also `POST /needletail.v1.SERVICE/METHOD` on the admin port
([over plain HTTP](api.md#over-plain-http)).
"""


def described():
    """The files' descriptors, with comments."""
    with tempfile.NamedTemporaryFile() as out:
        include = pathlib.Path(grpc_tools.__file__).parent / "_proto"
        names = [str(path.relative_to(ROOT / "Proto")) for path in FILES]
        arguments = ["protoc", f"-I{ROOT / 'Proto'}", f"-I{include}", "--include_source_info", f"--descriptor_set_out={out.name}", *names]
        if protoc.main(arguments) != 0:
            sys.exit("protoc could not read Proto/")
        files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(out.name).read_bytes()).file
    # What services share comes after them.
    return sorted(files, key=lambda file: (not file.service, file.name))


class Page:
    def __init__(self, files):
        self.lines = [HEAD]
        for file in files:
            comments = {tuple(one.path): one for one in file.source_code_info.location}
            self.comment = lambda *path, comments=comments: self.words(comments.get(path))
            self.file(file)

    @staticmethod
    def words(location):
        """Leading and trailing comments in one line; tables and lists have no place in them."""
        if location is None:
            return ""
        return " ".join(f"{location.leading_comments} {location.trailing_comments}".split())

    def say(self, *lines):
        self.lines += lines

    def file(self, file):
        for number, service in enumerate(file.service):
            self.say(f"## {service.name}", "", self.comment(6, number), "", "| method | takes | gives | |", "| --- | --- | --- | --- |")
            for index, method in enumerate(service.method):
                takes = ("stream of " if method.client_streaming else "") + self.link(method.input_type)
                gives = ("stream of " if method.server_streaming else "") + self.link(method.output_type)
                self.say(f"| `{method.name}` | {takes} | {gives} | {self.cell(self.comment(6, number, 2, index))} |")
            self.say("")
        for number, enum in enumerate(file.enum_type):
            self.enum(enum, "", 5, number)
        for number, message in enumerate(file.message_type):
            self.message(message, "", 4, number)

    def message(self, message, outer, *path):
        if message.options.map_entry:
            return
        name = outer + message.name
        self.say(f"### {name}", "", *filter(None, [self.comment(*path)]), *([""] if self.comment(*path) else []))
        if message.field:
            self.say("| field | type | |", "| --- | --- | --- |")
            for index, field in enumerate(message.field):
                self.say(f"| `{field.name}` | {self.type(field, message)} | {self.cell((self.choice(field, message) + self.comment(*path, 2, index)).strip())} |")
        else:
            self.say("No fields.")
        self.say("")
        for index, enum in enumerate(message.enum_type):
            self.enum(enum, name + ".", *path, 4, index)
        for index, nested in enumerate(message.nested_type):
            self.message(nested, name + ".", *path, 3, index)

    def enum(self, enum, outer, *path):
        self.say(f"### {outer}{enum.name}", "", *filter(None, [self.comment(*path)]), *([""] if self.comment(*path) else []))
        self.say("| value | number | |", "| --- | --- | --- |")
        for index, value in enumerate(enum.value):
            self.say(f"| `{value.name}` | {value.number} | {self.cell(self.comment(*path, 2, index))} |")
        self.say("")

    def type(self, field, message):
        entry = next((one for one in message.nested_type if field.type_name.endswith(f".{message.name}.{one.name}")), None)
        if entry is not None and entry.options.map_entry:
            return f"map of {self.scalar(entry.field[0])} to {self.scalar(entry.field[1])}"
        many = field.label == descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
        return ("list of " if many else "") + self.scalar(field) + (", optional" if field.proto3_optional else "")

    def scalar(self, field):
        return self.link(field.type_name) if field.type_name else f"`{SCALARS[field.type]}`"

    @staticmethod
    def choice(field, message):
        """Of a field that is one of several."""
        if not field.HasField("oneof_index") or field.proto3_optional:
            return ""
        return f"One of `{message.oneof_decl[field.oneof_index].name}`. "

    @staticmethod
    def link(full):
        name = full.removeprefix(".needletail.v1.")
        return f"[{name}](#{name.lower().replace('.', '')})" if name != full else f"`{full.lstrip('.')}`"

    @staticmethod
    def cell(text):
        return text.replace("|", "\\|")

    def text(self):
        return re.sub(r"\n{3,}", "\n\n", "\n".join(self.lines)).rstrip() + "\n"


def main():
    page = Page(described()).text()
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.exists() and PAGE.read_text() == page else f"{PAGE.relative_to(ROOT)} is not what Proto/ says; run `make reference`")
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
