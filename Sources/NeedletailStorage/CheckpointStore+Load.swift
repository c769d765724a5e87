import NeedletailCore
import Synchronization

extension CheckpointStore {
    /// Reads the checkpoint into `arrays`, which must be empty: memory is committed as needed, each slab is read straight into its
    /// place by one of `threads` threads and checked. An array without a namesake in the checkpoint stays empty.
    ///
    /// - Throws: `dataLoss` for damaged slabs (the arrays' contents are then undefined); `failedPrecondition` when the checkpoint
    ///   holds an array that is not given, or one of another stride; `resourceExhausted` for a capacity or memory too small.
    public func load(into arrays: [SlabArray], threads: Int = 2) throws {
        guard let manifest else { return }
        var jobs: [SlabLoader.Job] = []
        for saved in manifest.arrays {
            guard let array = arrays.first(where: { $0.name == saved.name }), array.strideBytes == saved.strideBytes else {
                throw NeedletailError(
                    .failedPrecondition,
                    "The checkpoint holds an array \(saved.name) of \(saved.strideBytes)-byte slots that the collection does not have; "
                        + "check that the collection's definition is the one the replica was made with.", location: directory)
            }
            try array.ensureCapacity(slots: saved.slotCount)
            for (index, slab) in saved.slabs.enumerated() where slab.generation != 0 {
                jobs.append(.init(array: array, index: index, slab: slab))
            }
        }
        var files: [UInt64: File] = [:]
        for generation in manifest.liveBytes().keys {
            files[generation] = try SlabFile.open(directory + "/" + SlabFile.name(generation), generation: generation, disk: disk)
        }
        try SlabLoader(jobs: jobs, files: files).run(threads: threads)
    }
}

/// Loads slabs with a few threads that take one job after the other.
private final class SlabLoader: Sendable {
    struct Job: Sendable {
        let array: SlabArray
        let index: Int
        let slab: Manifest.Slab
    }

    private let jobs: [Job]
    private let files: [UInt64: File]
    private let next = Atomic<Int>(0)
    private let failure = Mutex<(any Error)?>(nil)

    init(jobs: [Job], files: [UInt64: File]) {
        self.jobs = jobs
        self.files = files
    }

    func run(threads: Int) throws {
        DedicatedThread.concurrently(min(threads, jobs.count)) { self.work() }
        if let error = failure.withLock({ $0 }) { throw error }
    }

    private func work() {
        while true {
            let index = next.add(1, ordering: .relaxed).oldValue
            guard index < jobs.count, let file = files[jobs[index].slab.generation] else { return }
            let job = jobs[index]
            do {
                // The slab's memory is committed, an image is at most a slab long, and no two jobs share a slab.
                try SlabFile.read(job.slab, from: file, into: job.array.base + job.index * SlabArray.slabBytes)
            } catch {
                failure.withLock { $0 = $0 ?? error }
                next.store(jobs.count, ordering: .relaxed)
                return
            }
        }
    }
}
