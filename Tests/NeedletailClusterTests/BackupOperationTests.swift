import NeedletailCluster
import NeedletailCore
import NeedletailTestSupport
import Testing

@Suite struct BackupOperationTests {
    private func operation(_ kind: BackupKind, target: String = "file:///a") -> BackupOperation {
        BackupOperation(id: 7, kind: kind, target: target, name: "one", collection: "books", nowMilliseconds: 5)
    }

    @Test func comesBackAsItWas() throws {
        var one = operation(.restore)
        (one.shardCount, one.replicationFactor) = (5, 2)
        (one.incarnation, one.staging) = (Incarnation(3), Incarnation(4))
        one.cursors = [0: .complete, 1: .after(.number(9)), 2: .after(.uuid(high: 1, low: 2))]
        (one.figures.bytes, one.figures.heldMicroseconds) = (1, 2)
        for step in BackupOperation.Step.allCases {
            one.step = step
            for value in [one, one.undone(nil), one.ended(NeedletailError(.dataLoss, "damaged")), one.done] {
                #expect(try BackupOperation(encoded: value.encoded) == value)
            }
        }
    }

    @Test func damageAndNewerFormatsAreRefused() {
        let bytes = operation(.backup).encoded
        for count in bytes.indices { #expect(throws: NeedletailError.self) { _ = try BackupOperation(encoded: Array(bytes.prefix(count))) } }
        var newer = bytes
        newer[1] = 9
        let error = #expect(throws: NeedletailError.self) { _ = try BackupOperation(encoded: newer) }
        #expect(error?.code == .unimplemented)
    }

    @Test func endsAsItWasMeantTo() {
        #expect(operation(.restore).undone(nil).ended(nil).step == .cancelled)
        // Why it failed is kept while it is undone, maybe by another leader.
        let failed = operation(.restore).undone(NeedletailError(.dataLoss, "damaged")).ended(nil)
        #expect(failed.step == .failed && failed.problem == "damaged" && failed.failure == .dataLoss)
        #expect(operation(.backup).done.step == .done)
    }

    @Test func removalsAreAlone() {
        var (backup, deletion) = (operation(.backup), operation(.deletion))
        (backup.id, deletion.id) = (1, 2)
        #expect(backup.excludes(deletion) && deletion.excludes(backup))
        var restore = operation(.restore)
        restore.id = 3
        #expect(!backup.excludes(restore) && deletion.excludes(restore))
        deletion.target = "file:///b"
        #expect(!backup.excludes(deletion))
    }
}
