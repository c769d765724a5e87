internal import Glibc
internal import NeedletailCore

extension ShardWorkerConfiguration {
    /// What the cluster is told of this worker for placement; limits that nobody gave are the machine's.
    var facts: NodeFacts {
        var status = statvfs()
        let isKnown = statvfs(dataDirectory, &status) == 0
        let unit = UInt64(status.f_frsize)
        let total = isKnown ? UInt64(status.f_blocks) * unit : 0
        return NodeFacts(
            zone: zone, weight: weight, memoryLimitBytes: memoryLimitBytes ?? Self.machineMemoryBytes, diskLimitBytes: diskLimitBytes ?? total,
            diskFreeBytes: isKnown ? UInt64(status.f_bavail) * unit : 0)
    }

    private static var machineMemoryBytes: UInt64 {
        let (pages, size) = (sysconf(Int32(_SC_PHYS_PAGES)), sysconf(Int32(_SC_PAGESIZE)))
        return pages > 0 && size > 0 ? UInt64(pages) * UInt64(size) : 0
    }
}
