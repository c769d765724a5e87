import Foundation
import NeedletailAPI
import NeedletailCore
import NeedletailTestSupport
import Testing

/// The other implementation, when there is one: `NEEDLETAIL_PYTHON=/path/to/python` with grpcio-tools installed.
private let python = ProcessInfo.processInfo.environment["NEEDLETAIL_PYTHON"]

@Suite struct MessageJSONTests {
    private let messages = MessageJSON()

    private func roundTrip(_ json: String, _ message: String) throws -> String {
        try messages.json(of: try messages.encoding(of: json.utf8, as: "needletail.v1.\(message)"), as: "needletail.v1.\(message)")
    }

    @Test func whatIsReadIsWrittenInTheFormatsOwnWay() throws {
        let json = #"{"collection": "books", "query": {"vector": {"values": [1, 0.1, "-Infinity"]}, "recall_target": 5e-1, "ef": "40"}, "read": null}"#
        #expect(
            try roundTrip(json, "SearchRequest")
                == #"{"collection":"books","query":{"vector":{"values":[1.0,0.1,"-Infinity"]},"ef":40,"recallTarget":0.5}}"#)
        #expect(try roundTrip(#"{"number": "18446744073709551615"}"#, "PointId") == #"{"number":"18446744073709551615"}"#)
        #expect(try roundTrip(#"{"number": 0}"#, "PointId") == #"{"number":"0"}"#, "a member of a oneof is there though it is zero")
        #expect(try roundTrip(#"{"uuid": "_-8"}"#, "PointId") == #"{"uuid":"/+8="}"#)
        #expect(try roundTrip(#"{"entries": {"b": {"boolValue": false}, "a": {}}}"#, "MapValue") == #"{"entries":{"a":{},"b":{"boolValue":false}}}"#)
        #expect(try roundTrip(#"{"element": 2}"#, "Vector") == #"{"element":"ELEMENT_F16"}"#)
    }

    @Test(arguments: [
        (#"{"colection": "x"}"#, "there is no field \"colection\""), (#"{"query": {"limit": -1}}"#, "query.limit: -1 is no whole number"),
        (#"{"query": {"limit": 4294967296}}"#, "query.limit: "), (#"{"query": {"limit": 1.5}}"#, "query.limit: "), (#"{"query": {"exact": 1}}"#, "true or false"),
        (#"{"query": {"vector": {"data": "*"}}}"#, "query.vector.data: the text is no base64"), (#"{"query": {"vector": {"values": 1}}}"#, "an array"),
        (#"{"query": {"vector": {"values": [null]}}}"#, "number"), (#"{"query": {"vector": {"element": "F32"}}}"#, "ELEMENT_F32"),
        (#"{"collection": "a", "collection": "b"}"#, "given twice"), (#"{"collection": 1}"#, "text is expected"), ("[]", "an object is expected"),
        ("{", "not valid JSON"), ("", "an object is expected"), (#"{} x"#, "something follows"), (#"{"query": {"recallTarget": 1e999}}"#, "no number"),
        (#"{"query": {"recallTarget": "0x1"}}"#, "no number"),
    ])
    func whatIsNoMessageSaysWhere(_ json: String, _ says: String) {
        let error = #expect(throws: NeedletailError.self) { try messages.encoding(of: json.utf8, as: "needletail.v1.SearchRequest") }
        #expect(error?.code == .invalidArgument && error?.message.contains(says) == true, "\(error?.message ?? "")")
    }

    @Test func twoMembersOfAOneofAreRefused() {
        #expect(throws: NeedletailError.self) { try messages.encoding(of: #"{"number": 1, "uuidText": "x"}"#.utf8, as: "needletail.v1.PointId") }
    }

    @Test func nestingIsBounded() {
        let deep = String(repeating: #"{"listValue":{"values":["#, count: 80) + "{}" + String(repeating: "]}}", count: 80)
        let error = #expect(throws: NeedletailError.self) { try messages.encoding(of: deep.utf8, as: "needletail.v1.Value") }
        #expect(error?.message.contains("nests deeper") == true)
    }

    /// Random bytes are no message, or one; nothing else happens.
    @Test func anyBytesAreSurvived() {
        var generator = SeededGenerator.fresh()
        for _ in 0..<5_000 {
            let bytes = (0..<Int.random(in: 0...60, using: &generator)).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
            if let json = try? messages.json(of: bytes, as: "needletail.v1.SearchResponse") { _ = try? messages.encoding(of: json.utf8, as: "needletail.v1.SearchResponse") }
            _ = try? messages.encoding(of: bytes, as: "needletail.v1.SearchRequest")
        }
    }

    @Test(.enabled(if: python != nil), .watchedForHangs) func agreesWithTheOtherImplementation() throws {
        let seed = UInt32.random(in: .min ... .max)
        print("seed \(seed)")
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("needletail-json-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (made, answered) = (folder.appendingPathComponent("made").path, folder.appendingPathComponent("answered").path)
        try run("make", "10000", "\(seed)", made)
        var lines: [String] = []
        for line in try String(contentsOfFile: made, encoding: .utf8).split(separator: "\n") {
            // An empty message has no bytes, so nothing stands between two tabs.
            let parts = line.split(separator: "\t", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
            let (name, encoded, json) = (parts[0], parts[1], parts[2])
            let bytes = Array(try #require(Data(base64Encoded: encoded)))
            let text = try messages.json(of: bytes, as: name)
            lines.append([name, encoded, text, Data(try messages.encoding(of: json.utf8, as: name)).base64EncodedString()].joined(separator: "\t"))
        }
        #expect(lines.count == 10_000)
        try (lines.joined(separator: "\n") + "\n").write(toFile: answered, atomically: true, encoding: .utf8)
        try run("judge", answered)
    }

    private func run(_ arguments: String...) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(python))
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Python/json_peer.py")
        process.arguments = [script.path] + arguments
        let output = Pipe()
        process.standardError = output
        process.standardOutput = output
        try process.run()
        let said = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(String(decoding: said, as: UTF8.self))")
    }
}
