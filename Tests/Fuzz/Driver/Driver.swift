import Glibc
import NeedletailFuzzReaders

/// libFuzzer's own `main`, callable.
@_extern(c, "LLVMFuzzerRunDriver")
func runDriver(
    _ count: UnsafeMutablePointer<Int32>, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
    _ test: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

private nonisolated(unsafe) var reader: FuzzReader!

/// SwiftPM makes `main` a second name of this. NEEDLETAIL_FUZZ names the reader; the arguments are libFuzzer's. With
/// NEEDLETAIL_FUZZ_SEEDS the reader's seeds are written to that folder instead.
@_cdecl("NeedletailFuzz_main")
public func fuzzMain(_ count: Int32, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> Int32 {
    let name = getenv("NEEDLETAIL_FUZZ").map { String(cString: $0) } ?? ""
    guard let chosen = FuzzReader(rawValue: name) else {
        print("Set NEEDLETAIL_FUZZ to one of \(FuzzReader.allCases.map(\.rawValue).joined(separator: ", ")).")
        return 2
    }
    reader = chosen
    if let folder = getenv("NEEDLETAIL_FUZZ_SEEDS") {
        for (number, seed) in chosen.seeds().enumerated() {
            guard let file = fopen("\(String(cString: folder))/seed-\(number)", "w") else { return 2 }
            fwrite(seed, 1, seed.count, file)
            fclose(file)
        }
        return 0
    }
    var (count, arguments) = (count, arguments)
    return runDriver(&count, &arguments) { bytes, count in
        reader.read(Array(UnsafeBufferPointer(start: bytes, count: count)))
        return 0
    }
}
