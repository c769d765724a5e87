/// Asks again and again until it is so; the suite's time limit ends what never is. Between two looks the processors are left to the
/// code under test: a poll that only yielded would take a thread of the pool from it.
public func eventually(_ condition: () async throws -> Bool) async throws {
    while try await !condition() { try await Task.sleep(for: .milliseconds(2)) }
}
