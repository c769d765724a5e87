import Foundation
import NeedletailCore

@testable import NeedletailBackup

/// A real S3 service with an empty bucket, until this process ends: moto's, if the Python that `NEEDLETAIL_PYTHON` names has it.
final class S3Process: Sendable {
    static let python = ProcessInfo.processInfo.environment["NEEDLETAIL_PYTHON"]
    private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../Python/s3_server.py").path

    let access: S3Access
    private let process: Process
    /// The service ends when this is closed, at the latest with this process.
    private let input = Pipe()

    init(python: String) async throws {
        let (process, output) = (Process(), Pipe())
        process.executableURL = URL(fileURLWithPath: python)
        process.arguments = [Self.script]
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        self.process = process
        let line = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
        guard let port = Int(line.trimmingCharacters(in: .whitespacesAndNewlines)) else {
            throw NeedletailError(.failedPrecondition, "the S3 service did not begin: \(line)")
        }
        access = try S3Access(
            environment: ["AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL": "http://127.0.0.1:\(port)"])
        try await S3Storage(bucket: "conformance", prefix: "", access).makeBucket()
    }
}
