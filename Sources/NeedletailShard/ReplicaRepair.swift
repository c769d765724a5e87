internal import NeedletailCore
internal import NeedletailStorage

/// What an operator does about a damaged log.
public enum ReplicaRepair {
    /// Cuts the log of the replica in `folder` at the first damaged record. What was cut is moved to `.damaged` files beside it.
    ///
    /// - Returns: what was done, in words for the operator.
    /// - Throws: `notFound` when there is no replica, `failedPrecondition` while a shard worker has the folder open.
    public static func repairLog(inReplica folder: String) throws -> String {
        let disk = Disk.real
        let parts = folder.split(separator: "/", omittingEmptySubsequences: true)
        guard disk.exists(folder + "/assignment"), parts.count >= 3 || !folder.hasPrefix("/") else {
            throw NeedletailError(.notFound, "there is no replica in this folder; name one below replicas/ in a worker's data folder", location: folder)
        }
        let claim = try disk.lock(folder + "/../..")
        defer { withExtendedLifetime(claim) {} }
        let report = try ReplicaLog.repair(directory: folder + "/log", disk: disk)
        guard let cut = report.cutPath else { return "The log is whole, up to sequence \(report.lastSequence); nothing was changed." }
        return """
            The log was damaged in \(cut) at offset \(report.cutOffset): \(report.reason).
            It now ends with sequence \(report.lastSequence); \(report.bytesRemoved) bytes after that were moved to:
              \(report.damagedPaths.joined(separator: "\n  "))
            Writes that were in them are lost unless they are in a checkpoint.
            """
    }
}
