// swift-tools-version: 6.2
import PackageDescription

/// The strictest settings the compiler has; `Docs/architecture.md` gives the layers the targets below stand in.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableExperimentalFeature("Lifetimes"),
]

/// For targets that own no pointer: the compiler then refuses every unmarked unsafe construct.
let pointerFree = strict + [.strictMemorySafety()]

let nio: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let x509: Target.Dependency = .product(name: "X509", package: "swift-certificates")
let asn1: Target.Dependency = .product(name: "SwiftASN1", package: "swift-asn1")
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
let hummingbirdCore: Target.Dependency = .product(name: "HummingbirdCore", package: "hummingbird")
let httpTypes: Target.Dependency = .product(name: "HTTPTypes", package: "swift-http-types")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let deque: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")
let heap: Target.Dependency = .product(name: "HeapModule", package: "swift-collections")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let httpClient: Target.Dependency = .product(name: "AsyncHTTPClient", package: "async-http-client")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let jwt: Target.Dependency = .product(name: "JWTKit", package: "jwt-kit")
let metrics: Target.Dependency = .product(name: "CoreMetrics", package: "swift-metrics")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let signals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
let histogram: Target.Dependency = .product(name: "Histogram", package: "hdrhistogram-swift")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")

let package = Package(
    name: "needletail",
    products: [
        .library(name: "NeedletailClient", targets: ["NeedletailClient"]),
        .executable(name: "needletail", targets: ["needletail"]),
        .executable(name: "needletail-coordinator", targets: ["needletail-coordinator"]),
        .executable(name: "needletail-shard", targets: ["needletail-shard"]),
        .executable(name: "needletail-bench", targets: ["needletail-bench"]),
        .executable(name: "needletail-load", targets: ["needletail-load"]),
        // For `make fuzz` only, whose program is a package of its own in Tests/Fuzz.
        .library(name: "NeedletailFuzzReaders", targets: ["NeedletailFuzzReaders"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.1.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.4.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/vapor/jwt-kit", from: "5.7.1"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // Layer 0: C.
        .systemLibrary(name: "CNghttp2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
        .systemLibrary(name: "CProtobufC", pkgConfig: "libprotobuf-c", providers: [.apt(["libprotobuf-c-dev"])]),
        .systemLibrary(name: "CLMDB", pkgConfig: "lmdb", providers: [.apt(["liblmdb-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .target(name: "CNeedletailKernels"),
        .target(name: "CNeedletailChecksum"),
        .target(name: "CNeedletailMessages", dependencies: ["CProtobufC"]),

        // Layer 1: the vocabulary.
        .target(name: "NeedletailCore", swiftSettings: pointerFree),

        // Layer 2.
        .target(name: "NeedletailVectors", dependencies: ["NeedletailCore", "CNeedletailKernels"], swiftSettings: strict),
        .target(name: "NeedletailStorage", dependencies: ["NeedletailCore", "CLMDB", "CNeedletailChecksum", deque], swiftSettings: strict),
        .target(name: "NeedletailHTTP2", dependencies: ["NeedletailCore", "CNghttp2", nio, nioPosix, nioSSL, x509, asn1], swiftSettings: strict),
        .target(name: "NeedletailCluster", dependencies: ["NeedletailCore"], swiftSettings: pointerFree),
        .target(name: "NeedletailJSON", dependencies: ["NeedletailCore"], swiftSettings: strict),
        .target(name: "NeedletailQuery", dependencies: ["NeedletailCore"], swiftSettings: pointerFree),
        .target(name: "NeedletailSyntheticSets", dependencies: ["NeedletailCore"], swiftSettings: strict),
        .target(name: "NeedletailTelemetry", dependencies: ["NeedletailCore", logging, metrics], swiftSettings: pointerFree),

        // Layer 3.
        .target(
            name: "NeedletailIndex",
            dependencies: ["NeedletailCore", "NeedletailVectors"], swiftSettings: strict),
        .target(
            name: "NeedletailGRPC",
            dependencies: ["NeedletailCore", "NeedletailHTTP2", "NeedletailTelemetry", "CZlib", nio, nioPosix, logging, metrics], swiftSettings: strict),
        .target(name: "NeedletailMetadata", dependencies: ["NeedletailCore", "NeedletailStorage"], swiftSettings: strict),
        .target(
            name: "NeedletailBackup", dependencies: ["NeedletailCore", "NeedletailStorage", httpClient, nioHTTP1, nio, nioPosix, crypto],
            swiftSettings: strict),

        .target(
            name: "NeedletailSecurity", dependencies: ["NeedletailCore", "NeedletailJSON", "NeedletailTelemetry", crypto, jwt], swiftSettings: pointerFree),

        // Layer 4.
        .target(
            name: "NeedletailAPI",
            dependencies: [
                "NeedletailCore", "NeedletailCluster", "NeedletailJSON", "NeedletailGRPC", "NeedletailHTTP2", "NeedletailTelemetry", "CNeedletailMessages", "CProtobufC",
                nio,
            ],
            swiftSettings: strict),
        .target(
            name: "NeedletailShard",
            dependencies: [
                "NeedletailCore", "NeedletailVectors", "NeedletailStorage", "NeedletailIndex", "NeedletailQuery", "NeedletailTelemetry", metrics,
            ],
            swiftSettings: strict),

        .target(name: "NeedletailScale", dependencies: ["NeedletailCore", "NeedletailCluster", deque, heap], swiftSettings: pointerFree),
        .target(
            name: "NeedletailTuning", dependencies: ["NeedletailCore", "NeedletailVectors", "NeedletailIndex"], swiftSettings: strict),

        // Layer 5.
        .target(
            name: "NeedletailWorker",
            dependencies: [
                "NeedletailAdmin", "NeedletailCore", "NeedletailStorage", "NeedletailBackup", "NeedletailShard", "NeedletailAPI", "NeedletailGRPC", "NeedletailHTTP2",
                "NeedletailCluster", "NeedletailQuery", "NeedletailTelemetry", lifecycle, logging,
            ],
            swiftSettings: strict),
        .target(name: "NeedletailAdmin", dependencies: ["NeedletailCore", "NeedletailHTTP2", "NeedletailTelemetry", hummingbird, hummingbirdCore, httpTypes, nio, logging], swiftSettings: strict),
        .target(
            name: "NeedletailCoordinator",
            dependencies: [
                "NeedletailAdmin", "NeedletailBackup", "NeedletailSecurity",
                "NeedletailCore", "NeedletailAPI", "NeedletailGRPC", "NeedletailHTTP2", "NeedletailCluster", "NeedletailQuery", "NeedletailMetadata",
                "NeedletailTelemetry", nio, lifecycle, logging, metrics,
            ],
            resources: ["index.html", "console.css", "console.js", "api.js", "dom.js", "projection.js"].map { .embedInCode("Console/\($0)") },
            swiftSettings: strict),
        .target(
            name: "NeedletailEtcd",
            dependencies: ["NeedletailCore", "NeedletailMetadata", "NeedletailAPI", "NeedletailGRPC", "NeedletailHTTP2", "CNeedletailMessages", "CProtobufC", nio],
            swiftSettings: strict),
        .target(
            name: "NeedletailClient",
            dependencies: ["NeedletailCore", "NeedletailAPI", "NeedletailGRPC", "NeedletailHTTP2", "NeedletailCluster", nioPosix], swiftSettings: strict),

        // Layer 6.
        .target(
            name: "NeedletailLoad",
            dependencies: ["NeedletailClient", "NeedletailAPI", "NeedletailGRPC", "NeedletailHTTP2", "NeedletailSyntheticSets", "NeedletailCore", nio, histogram, yams],
            swiftSettings: strict),

        .target(name: "NeedletailCertificates", dependencies: ["NeedletailCore", x509, asn1, crypto], swiftSettings: strict),
        .target(
            name: "NeedletailFlags",
            dependencies: ["NeedletailCore", "NeedletailHTTP2", "NeedletailClient", "NeedletailTelemetry", arguments, signals, logging, yams],
            swiftSettings: strict),

        // Layer 7: flags in, one configuration value, run.
        .executableTarget(
            name: "needletail",
            dependencies: [
                "NeedletailClient", "NeedletailAPI", "NeedletailCoordinator", "NeedletailSecurity", "NeedletailWorker", "NeedletailTuning", "NeedletailScale",
                "NeedletailJSON", "NeedletailCore", "NeedletailFlags", "NeedletailCertificates",
                "NeedletailTelemetry", arguments, lifecycle, signals, logging,
            ],
            resources: [.copy("Resources/sample"), .copy("Resources/profiles")], swiftSettings: strict),
        .executableTarget(
            name: "needletail-coordinator",
            dependencies: [
                "NeedletailCoordinator", "NeedletailSecurity", "NeedletailCluster", "NeedletailEtcd", "NeedletailFlags", "NeedletailHTTP2", "NeedletailCore",
                "NeedletailTelemetry", arguments, lifecycle, signals,
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "needletail-shard",
            dependencies: ["NeedletailWorker", "NeedletailFlags", "NeedletailCore", "NeedletailTelemetry", arguments, lifecycle, signals], swiftSettings: strict),
        .executableTarget(
            name: "needletail-bench",
            dependencies: [
                "NeedletailClient", "NeedletailAPI", "NeedletailShard", "NeedletailStorage", "NeedletailIndex", "NeedletailVectors", "NeedletailGRPC", "NeedletailHTTP2",
                "NeedletailSyntheticSets", "NeedletailScale", "NeedletailCore", arguments, nio, nioPosix,
            ],
            swiftSettings: strict),

        .executableTarget(
            name: "needletail-load",
            dependencies: ["NeedletailLoad", "NeedletailFlags", "NeedletailCore", "NeedletailTelemetry", arguments, signals], swiftSettings: strict),

        // Tests mirror the sources.
        .target(
            name: "NeedletailTestSupport", dependencies: ["NeedletailCore", "NeedletailSyntheticSets"], path: "Tests/NeedletailTestSupport",
            swiftSettings: strict),
        .testTarget(name: "NeedletailCoreTests", dependencies: ["NeedletailCore", "NeedletailTestSupport"], swiftSettings: strict),
        .testTarget(name: "NeedletailTelemetryTests", dependencies: ["NeedletailTelemetry", metrics, logging], swiftSettings: strict),
        .testTarget(
            name: "NeedletailVectorsTests", dependencies: ["NeedletailVectors", "NeedletailTestSupport"], swiftSettings: strict),
        .testTarget(
            name: "NeedletailStorageTests", dependencies: ["NeedletailStorage", "NeedletailTestSupport"], swiftSettings: strict),
        .testTarget(
            name: "NeedletailBackupTests", dependencies: ["NeedletailBackup", "NeedletailStorage", "NeedletailTestSupport"], swiftSettings: strict),
        .testTarget(
            name: "NeedletailClusterTests", dependencies: ["NeedletailCluster", "NeedletailQuery", "NeedletailTestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "NeedletailSimulationTests", dependencies: ["NeedletailCluster", "NeedletailCore", "NeedletailTestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "NeedletailSecurityTests",
            dependencies: [
                "NeedletailSecurity", "NeedletailCore", "NeedletailTestSupport", crypto, jwt, .product(name: "CryptoExtras", package: "swift-crypto"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "NeedletailCoordinatorTests",
            dependencies: [
                "NeedletailCoordinator", "NeedletailSecurity", "NeedletailAPI", "NeedletailAdmin", "NeedletailCluster", "NeedletailMetadata", "NeedletailTestSupport", "NeedletailBackup", logging,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "NeedletailMetadataTests",
            dependencies: ["NeedletailMetadata", "NeedletailEtcd", "NeedletailStorage", "NeedletailGRPC", "NeedletailTestSupport", nio],
            swiftSettings: strict),
        .testTarget(
            name: "NeedletailGRPCTests",
            dependencies: ["NeedletailGRPC", "NeedletailHTTP2", "NeedletailCertificates", "NeedletailTestSupport", nio, nioPosix], swiftSettings: strict),
        .testTarget(
            name: "NeedletailCertificatesTests", dependencies: ["NeedletailCertificates", "NeedletailCore", "NeedletailTestSupport"], swiftSettings: strict),
        .testTarget(
            name: "NeedletailIndexTests",
            dependencies: ["NeedletailIndex", "NeedletailVectors", "NeedletailSyntheticSets", "NeedletailTestSupport"], swiftSettings: strict),
        .testTarget(name: "NeedletailScaleTests", dependencies: ["NeedletailScale", "NeedletailTestSupport"], swiftSettings: strict),
        .testTarget(name: "NeedletailTuningTests", dependencies: ["NeedletailTuning", "NeedletailTestSupport"], swiftSettings: strict),
        .testTarget(
            name: "NeedletailLoadTests", dependencies: ["NeedletailLoad", "NeedletailSyntheticSets", "NeedletailCore"], swiftSettings: strict),
        .testTarget(
            name: "NeedletailAPITests",
            dependencies: ["NeedletailAPI", "NeedletailCluster", "NeedletailGRPC", "NeedletailHTTP2", "NeedletailTestSupport", nio, nioPosix],
            swiftSettings: strict),
        .testTarget(
            name: "NeedletailShardTests", dependencies: ["NeedletailShard", "NeedletailIndex", "NeedletailStorage", "NeedletailTestSupport"],
            swiftSettings: strict),
        .target(
            name: "NeedletailFuzzReaders",
            dependencies: [
                "NeedletailAPI", "NeedletailCluster", "NeedletailGRPC", "NeedletailStorage", "NeedletailCore", "NeedletailTestSupport", nio,
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ],
            path: "Tests/Fuzz/Readers", swiftSettings: strict),
        .testTarget(
            name: "NeedletailFuzzTests", dependencies: ["NeedletailFuzzReaders", "NeedletailTestSupport"], swiftSettings: strict),
    ]
)
