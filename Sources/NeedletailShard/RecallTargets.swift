internal import NeedletailCore
internal import NeedletailIndex
internal import Synchronization

/// What recall targets need of one replica: samples of its queries, calibrations made of them, and when to make them again.
///
/// A calibration is made when a query asks for a recall and there is none for its field and limit, or when much has changed since: the
/// number of points by a tenth, the codec, or the sample it rests on. One at a time, in the background; after it the replica rests
/// so long that calibrating takes a small part of one processor.
final class RecallTargets: Sendable {
    struct Key: Hashable {
        var field: Int
        var limit: Int
    }

    /// What a calibration was made on.
    struct Basis: Equatable {
        var points: Int
        /// Version of the codec that the graph walks on; 0 for the vectors themselves.
        var codec: UInt64
        /// Real queries; 0 when points stood in for them.
        var queries = 0
        /// Queries asked by then.
        var seen: UInt64 = 0
    }

    /// How to search for a target.
    enum Plan {
        case walk(RecallCalibration.Choice, queries: Int)
        /// Nothing is known yet.
        case unknown
    }

    fileprivate struct Calibrated {
        var calibration: RecallCalibration
        var basis: Basis
        /// When it was last asked for, counted in questions.
        var lastUse: UInt64
    }

    fileprivate struct State {
        var calibrated: [Key: Calibrated] = [:]
        var samples: [QuerySample]
        var isBusy = false
        var restUntil: ContinuousClock.Instant?
        var uses: UInt64 = 0
    }

    /// With fewer queries, points of the collection stand in for them.
    static let fewestQueries = 200
    /// Limits kept for all fields together; the least recently asked for goes.
    private static let capacity = 32
    private static let restFactor = 20
    private let state: Mutex<State>

    init(fields: Int) { state = Mutex(State(samples: (0..<fields).map { QuerySample(seed: UInt64($0)) })) }

    func note(_ query: SearchQuery) { state.withLock { $0.samples[query.field].note(query.vector) } }

    /// The effort for a target, and whether the caller is to calibrate anew: then `finish` or `abandon` must follow.
    func plan(_ key: Key, target: Double, points: Int, codec: UInt64, now: ContinuousClock.Instant) -> (plan: Plan, mustCalibrate: Bool) {
        state.withLock { state in
            let basis = state.basis(key.field, points: points, codec: codec)
            state.uses += 1
            state.calibrated[key]?.lastUse = state.uses
            let present = state.calibrated[key]
            var mustCalibrate = false
            if !state.isBusy, state.restUntil.map({ $0 <= now }) ?? true, present.map({ Self.isOutdated($0.basis, now: basis) }) ?? true {
                state.isBusy = true
                mustCalibrate = true
            }
            guard let present, Self.isUsable(present.basis, now: basis) else { return (.unknown, mustCalibrate) }
            return (.walk(present.calibration.choose(target: target), queries: present.basis.queries), mustCalibrate)
        }
    }

    /// The sample to calibrate on, empty when there are too few queries, and what has to be known of it later.
    func sample(_ field: Int, points: Int, codec: UInt64) -> (queries: [DenseVector], basis: Basis) {
        state.withLock { state in
            let basis = state.basis(field, points: points, codec: codec)
            return (basis.queries == 0 ? [] : state.samples[field].queries, basis)
        }
    }

    func finish(_ key: Key, _ calibration: RecallCalibration, _ basis: Basis, took: Duration, now: ContinuousClock.Instant) {
        state.withLock { state in
            state.isBusy = false
            state.restUntil = now.advanced(by: took * Self.restFactor)
            if state.calibrated[key] == nil, state.calibrated.count >= Self.capacity,
                let oldest = state.calibrated.min(by: { $0.value.lastUse < $1.value.lastUse })
            {
                state.calibrated[oldest.key] = nil
            }
            state.calibrated[key] = Calibrated(calibration: calibration, basis: basis, lastUse: state.uses)
        }
    }

    func abandon() { state.withLock { $0.isBusy = false } }

    /// Whether a calibration still says what it said: the codec is the same, and there are not half as many points again, or as few.
    private static func isUsable(_ basis: Basis, now: Basis) -> Bool {
        basis.codec == now.codec && 2 * now.points <= 3 * basis.points && 3 * now.points >= 2 * basis.points
    }

    private static func isOutdated(_ basis: Basis, now: Basis) -> Bool {
        if basis.codec != now.codec || 10 * abs(now.points - basis.points) >= basis.points { return true }
        // A larger sample, or one that has been asked over since: half of it is others then.
        return now.queries >= max(fewestQueries, 2 * basis.queries) || now.seen >= basis.seen + UInt64(16 * QuerySample.capacity)
    }
}

extension RecallTargets.State {
    fileprivate func basis(_ field: Int, points: Int, codec: UInt64) -> RecallTargets.Basis {
        let sample = samples[field]
        let isEnough = sample.queries.count >= RecallTargets.fewestQueries
        return RecallTargets.Basis(points: points, codec: codec, queries: isEnough ? sample.queries.count : 0, seen: sample.seen)
    }
}
