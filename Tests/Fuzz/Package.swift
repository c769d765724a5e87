// swift-tools-version: 6.2
import PackageDescription

/// The libFuzzer program of `make fuzz`. A package of its own, because it links only with `--sanitize fuzzer`.
let package = Package(
    name: "NeedletailFuzz",
    dependencies: [.package(name: "needletail", path: "../..")],
    targets: [
        .executableTarget(
            name: "NeedletailFuzz", dependencies: [.product(name: "NeedletailFuzzReaders", package: "needletail")], path: "Driver",
            swiftSettings: [.unsafeFlags(["-parse-as-library"])])
    ]
)
