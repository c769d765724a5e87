private import CNeedletailChecksum

/// CRC32C, continued from `seed` (0 to begin).
func crc32c(_ bytes: UnsafeRawBufferPointer, seed: UInt32 = 0) -> UInt32 { nt_crc32c(seed, bytes.baseAddress, bytes.count) }

/// The same of an array.
public func crc32c(_ bytes: [UInt8], seed: UInt32 = 0) -> UInt32 { bytes.withUnsafeBytes { crc32c($0, seed: seed) } }
