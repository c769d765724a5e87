private import Glibc

/// Zeroed memory that costs nothing until touched: `calloc` of a large block is fresh pages of the system.
enum ZeroedMemory {
    static func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer {
        guard let memory = calloc(1, max(1, byteCount)) else { preconditionFailure("out of memory: \(byteCount) bytes") }
        return memory
    }

    static func free<Pointee: ~Copyable>(_ pointer: UnsafeMutablePointer<Pointee>) { Glibc.free(UnsafeMutableRawPointer(pointer)) }
}
