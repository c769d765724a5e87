import Glibc
import NeedletailFuzzReaders

// libFuzzer brings the `main` and calls the functions below.

/// NEEDLETAIL_FUZZ names the reader.
private nonisolated(unsafe) var reader: FuzzReader!

/// With NEEDLETAIL_FUZZ_SEEDS the reader's seeds are written to that folder, and that is all.
@_cdecl("LLVMFuzzerInitialize")
public func initialize(
    _ count: UnsafeMutablePointer<Int32>?, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>?
) -> Int32 {
    guard let chosen = FuzzReader(rawValue: getenv("NEEDLETAIL_FUZZ").map { String(cString: $0) } ?? "") else {
        print("Set NEEDLETAIL_FUZZ to one of \(FuzzReader.allCases.map(\.rawValue).joined(separator: ", ")).")
        exit(2)
    }
    reader = chosen
    guard let folder = getenv("NEEDLETAIL_FUZZ_SEEDS") else { return 0 }
    for (number, seed) in chosen.seeds().enumerated() {
        guard let file = fopen("\(String(cString: folder))/seed-\(number)", "w") else { exit(2) }
        fwrite(seed, 1, seed.count, file)
        fclose(file)
    }
    exit(0)
}

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    reader.read(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}
