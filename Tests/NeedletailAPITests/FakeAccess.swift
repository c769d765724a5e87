import NeedletailCore

extension FakeCluster {
    func createKey(_ order: CallerInfo, deadline: Deadline?) async throws -> (key: String, info: AccessKeyInfo) {
        (key: "secret", info: AccessKeyInfo(id: "made", caller: order, createdMilliseconds: 5))
    }
    func keys(deadline: Deadline?) async throws -> [AccessKeyInfo] { [] }
    func revokeKey(_ id: String, deadline: Deadline?) async throws { throw NeedletailError(.notFound, "there is no key \(id)") }
    func whoAmI(deadline: Deadline?) async throws -> CallerInfo { CallerInfo(name: "anyone", grants: []) }
}
