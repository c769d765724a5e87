import CNeedletailMessages

/// The files of the API and what each declares, for reflection.
struct DescriptorIndex: Sendable {
    struct File: Sendable {
        let name: String
        let dependencies: [String]
        /// A serialised `google.protobuf.FileDescriptorProto`.
        let bytes: [UInt8]
    }

    private(set) var files: [String: File] = [:]
    private var fileOfSymbol: [String: String] = [:]
    private var messageNames: Set<String> = []

    /// Everything in Proto/.
    static let shared = DescriptorIndex(fileDescriptorSet: byteArray(nt_descriptor_set_start(), nt_descriptor_set_size))

    /// `FileDescriptorSet { repeated FileDescriptorProto file = 1; }`
    init(fileDescriptorSet bytes: [UInt8]) {
        for file in DescriptorReader.all(1, in: bytes[...]) { add(file: file) }
    }

    /// The file and, before whoever needs them come, all it imports; nil when there is no such file.
    func filesNeeded(for name: String) -> [File]? {
        guard let file = files[name] else { return nil }
        var needed = [file]
        var seen: Set = [name]
        var index = 0
        while index < needed.count {
            for dependency in needed[index].dependencies where seen.insert(dependency).inserted {
                if let file = files[dependency] { needed.append(file) }
            }
            index += 1
        }
        return needed
    }

    /// The file that declares a service, method, message, field, enum or enum value, by its full name.
    func fileDeclaring(_ symbol: String) -> String? { fileOfSymbol[symbol] }

    func isMessage(_ name: String) -> Bool { messageNames.contains(name) }
}

// The numbers of the fields are those of google/protobuf/descriptor.proto.
extension DescriptorIndex {
    private mutating func add(file: ArraySlice<UInt8>) {
        let name = DescriptorReader.text(1, in: file)
        let package = DescriptorReader.text(2, in: file)
        let dependencies = DescriptorReader.all(3, in: file).map { String(decoding: $0, as: UTF8.self) }
        files[name] = File(name: name, dependencies: dependencies, bytes: Array(file))
        for message in DescriptorReader.all(4, in: file) { add(message: message, scope: package, file: name, depth: 0) }
        for enumeration in DescriptorReader.all(5, in: file) { add(enumeration: enumeration, scope: package, file: name) }
        for service in DescriptorReader.all(6, in: file) {
            let full = add(service, scope: package, file: name)
            for method in DescriptorReader.all(2, in: service) { add(method, scope: full, file: name) }
        }
    }

    private mutating func add(message: ArraySlice<UInt8>, scope: String, file: String, depth: Int) {
        guard depth < 32 else { return }
        let full = add(message, scope: scope, file: file)
        messageNames.insert(full)
        for field in DescriptorReader.all(2, in: message) { add(field, scope: full, file: file) }
        for oneof in DescriptorReader.all(8, in: message) { add(oneof, scope: full, file: file) }
        for nested in DescriptorReader.all(3, in: message) { add(message: nested, scope: full, file: file, depth: depth + 1) }
        for enumeration in DescriptorReader.all(4, in: message) { add(enumeration: enumeration, scope: full, file: file) }
    }

    /// The values of an enum stand beside it, not inside (as in C++). Some clients ask for them the other way, so both are known.
    private mutating func add(enumeration: ArraySlice<UInt8>, scope: String, file: String) {
        let full = add(enumeration, scope: scope, file: file)
        for value in DescriptorReader.all(2, in: enumeration) {
            add(value, scope: scope, file: file)
            add(value, scope: full, file: file)
        }
    }

    /// Every declaration has its name in field 1.
    @discardableResult
    private mutating func add(_ declaration: ArraySlice<UInt8>, scope: String, file: String) -> String {
        let name = DescriptorReader.text(1, in: declaration)
        let full = scope.isEmpty ? name : "\(scope).\(name)"
        fileOfSymbol[full] = file
        return full
    }
}
